"""The verb ``edit``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from math import inf, log10
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import (
    check_sampling,
    has_flag,
    parse,
    parsed_labels,
    settings,
    subject,
)
from mezzotint.config.sampling import UNGUIDED, SampleConfig, names
from mezzotint.drawing.bars import bar
from mezzotint.errors import UserError, counted, nearest
from mezzotint.evaluation.conditions import condition_of
from mezzotint.evaluation.edited import free_place, read_images, write_edited
from mezzotint.networks.precision import Precision
from mezzotint.pipeline import loading, restoring
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.pipeline.restoring import METHOD, shares
from mezzotint.storage import files

OFTEN = (
    "--out",
    "--labels",
    "--condition",
    "--fit",
    "--seed",
    "--sampler",
    "--steps",
    "--guidance",
)


@dataclass(frozen=True)
class EditFlags:
    """Edit images: vary, inpaint, outpaint, enlarge, interpolate or invert them.

    Every kind of edit has these options. `mezzotint edit MODEL KIND --help` shows all options of
    one kind, with the model's own defaults.
    """

    how: SampleConfig
    out: Path
    """The folder of the results. A strip of originals and results is written beside it, as
    OUT.png."""
    labels: tuple[str, ...] = ()
    """One class for all images, or one for each, by name or number; without this option, no class
    is used."""
    condition: tuple[str, ...] = ()
    """The other conditions as NAME=VALUE. Give one value for all images, or one for each, separated
    by commas: weight=50,60."""
    fit: bool = False
    """Scale and crop images to the model's size."""
    seed: int = 0
    """The seed of all randomness."""
    batch: int = 64
    """How many images to make at once."""
    precision: Precision = "auto"
    """The precision of the network; auto is bf16 on hardware that computes in it, else float32."""


@dataclass(frozen=True)
class VaryFlags(EditFlags):
    """Make variations of images."""

    strength: float = 0.5
    """From 0 (the image does not change) to 1 (a new image)."""
    n: int = 1
    """How many variations to make of each image."""


@dataclass(frozen=True)
class InpaintFlags(EditFlags):
    """Fill in the part of images where a mask is white."""

    mask: Path | None = None
    """An image of the model's size: white is filled in, black is kept, grey is blended."""
    method: str | None = None
    """repaint, which always makes DDPM's steps, or a posterior method: ddnm, pigdm, dps, mmps."""


@dataclass(frozen=True)
class OutpaintFlags(EditFlags):
    """Continue images beyond their borders, up to the size of the model's images."""

    border: int = 0
    """Pixels to add on each side; 0 means a quarter of the shorter side. The given images and this
    border together must have the model's size; --fit scales the images."""
    method: str | None = None
    """repaint, which always makes DDPM's steps, or a posterior method: ddnm, pigdm, dps, mmps."""


@dataclass(frozen=True)
class EnlargeFlags(EditFlags):
    """Make images larger by an integer factor: `mezzotint edit MODEL enlarge small.png 2`."""

    method: str = METHOD
    """A posterior method: ddnm, pigdm, dps, mmps."""


@dataclass(frozen=True)
class InterpolateFlags(EditFlags):
    """Make images that lead from one image to another, and an animation of them, OUT.webp."""

    n: int = 9
    """How many images to make, both ends included."""
    corrections: int = 10
    """The largest number of fixed-point iterations in each step of the inversion."""


@dataclass(frozen=True)
class InvertFlags(EditFlags):
    """Find the noise (OUT/noise.npy) that the model turns into given images, and sample from it."""

    corrections: int = 10
    """The largest number of fixed-point iterations in each step."""


PLAIN = (InterpolateFlags, InvertFlags)  # kinds that are guided only with --guidance


@dataclass(frozen=True)
class Edited:
    """The edited images (``made``), the original images (``given``), the mask and the noise."""

    made: Tensor
    given: Tensor | None = None
    mask: Tensor | None = None
    noise: Tensor | None = None


Follow = Callable[[int, int], None]


def edit(arguments: list[str]) -> Answer:
    """Edit images with a run, a checkpoint, a diffusers folder or a shipped model."""
    shown = EditFlags(SampleConfig(), Path("KIND"))
    name, rest = subject(arguments, "a model", "mezzotint edit MODEL KIND", shown, OFTEN)
    kind, rest = subject(
        rest,
        f"the kind of edit after {name}: {', '.join(KINDS)}",
        f"mezzotint edit {name} {next(iter(KINDS))}",
    )
    if kind not in KINDS:
        hint = nearest(kind, list(KINDS)) or f": choose {', '.join(KINDS)}"
        raise UserError(f"unknown kind of edit {kind!r}{hint}")
    flags_class, work = KINDS[kind]
    words = list(takewhile(lambda word: not word.startswith("--"), rest))
    pipe = loading.load(name, precision="float32")
    # Guidance distorts inversion and interpolation, which starts with an inversion.
    how = replace(pipe.defaults, **UNGUIDED) if flags_class in PLAIN else pipe.defaults
    default = flags_class(settings(how, rest), Path(kind))
    own = [f"--{field}" for field in flags_class.__annotations__]
    flags = parse(default, rest[len(words) :], f"mezzotint edit {name} {kind}", (*own, *OFTEN))
    if not words:
        raise UserError(f"give the image files after {kind}")
    _check_guidance(flags, rest)
    check_sampling(rest, flags.how, weaker=None)
    if flags_class in PLAIN and has_flag(rest, "sampler") and flags.how.sampler != "ddim":
        raise UserError(f"{kind} always uses the sampler ddim: leave out `sampler`")
    if isinstance(flags, InpaintFlags | OutpaintFlags):
        restoring.method_of(pipe, flags.method, [n for n in names() if has_flag(rest, n)])
    free_place(flags.out)
    pipe = replace(pipe.in_precision(flags.precision), defaults=flags.how)
    progress = bar("network calls")
    task = progress.add_task(kind, total=None, loss="")

    def follow(done: int, calls: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=calls)

    try:
        found = work(pipe, words, flags, follow)
    finally:
        if progress.live.is_started:
            progress.stop()
    made, row = found.made, kind == "interpolate"
    strip = write_edited(flags.out, made, found.given, found.mask, animate=row, values=pipe.values)
    film = strip.with_suffix(".webp") if row else None
    films = f", an animation to {film}" if film else ""
    print(f"wrote {counted(len(made), 'image')} to {flags.out}{films}, and a strip to {strip}")
    inverted = _inverted(pipe, found, flags.out) if found.noise is not None else {}
    here = {"images": len(made), "folder": flags.out, "strip": strip, "animation": film}
    return Answer({**here, "noise": None, "psnr": None, **inverted})


def _check_guidance(flags: EditFlags, words: list[str]) -> None:
    """Raise UserError for guidance without a condition, because guidance would have no effect."""
    for name, off in UNGUIDED.items():
        chosen = has_flag(words, name) and getattr(flags.how, name) != off
        if chosen and not (flags.labels or flags.condition):
            raise UserError(
                f"`{name}` has no effect without a condition: give `labels` or `condition`, or "
                f"leave out `{name}`"
            )


def _inverted(pipe: Pipeline, found: Edited, folder: Path) -> dict[str, Any]:
    """Write the noise of an inversion; return the path of the noise, and a PSNR in dB.

    The PSNR compares the images sampled from the noise with the original images. The PSNR is
    ``inf`` if the images are equal.
    """
    assert found.noise is not None
    assert found.given is not None
    place = folder / "noise.npy"
    with files.beside(place) as partial:
        np.save(partial, found.noise.numpy())
    error = float((found.made.double() - found.given.double()).square().mean())
    peak = pipe.values.high - pipe.values.low
    psnr = 10 * log10(peak**2 / error) if error else inf
    back = f"with a PSNR of {psnr:.1f} dB" if error else "exactly"
    print(f"wrote the noise to {place}; sampling from it reproduces the images {back}")
    return {"noise": place, "psnr": psnr}


def _read(pipe: Pipeline, words: list[str], flags: EditFlags) -> Tensor:
    return read_images(words, pipe.size, fit=flags.fit, **_images_of(pipe))


def _images_of(pipe: Pipeline) -> dict[str, Any]:
    return {"channels": pipe.codec.image_shape(pipe.shape)[0], "values": pipe.values}


def _shared(pipe: Pipeline, flags: EditFlags, follow: Follow) -> dict[str, Any]:
    """Return the arguments that all editing methods of the pipeline have in common."""
    labels = parsed_labels(flags.labels, pipe.classes)
    given = condition_of(flags.condition, pipe.every)
    condition = {name: value for name, (value, _) in given.items()} or None
    guided = {"guidance": flags.how.guidance} if labels is not None or condition else {}
    shared = {"labels": labels, "condition": condition, "batch": flags.batch, "on_step": follow}
    return shared | guided


def _vary(pipe: Pipeline, words: list[str], flags: VaryFlags, follow: Follow) -> Edited:
    """Return several variations of each image."""
    if flags.n < 1:
        raise UserError(f"`n` is {flags.n}: choose 1 or more")
    given = _read(pipe, words, flags).repeat_interleave(flags.n, 0)
    how = _shared(pipe, flags, follow)
    if isinstance(how["labels"], list):
        how["labels"] = [label for label in how["labels"] for _ in range(flags.n)]
    for name, (value, rows) in condition_of(flags.condition, pipe.every).items():
        if rows > 1:
            how["condition"][name] = (
                value.repeat_interleave(flags.n, 0)
                if isinstance(value, Tensor)
                else [each for each in value for _ in range(flags.n)]
            )
    return Edited(pipe.vary(given, flags.strength, seed=flags.seed, **how), given)


def _inpaint(pipe: Pipeline, words: list[str], flags: InpaintFlags, follow: Follow) -> Edited:
    if flags.mask is None:
        raise UserError("inpaint needs `mask`: give an image that is white in the part to fill in")
    given, drawn = _read(pipe, words, flags), read_images([flags.mask], pipe.size, fit=flags.fit)
    mask = shares(drawn[0]).mean(0)
    shared = _shared(pipe, flags, follow)
    made = pipe.inpaint(given, mask, method=flags.method, seed=flags.seed, **shared)
    return Edited(made, given, mask)


def _outpaint(pipe: Pipeline, words: list[str], flags: OutpaintFlags, follow: Follow) -> Edited:
    border = flags.border or min(pipe.size) // 4
    height, width = (side - 2 * border for side in pipe.size)
    if border < 0 or min(height, width) < 1:
        most = (min(pipe.size) - 1) // 2
        raise UserError(f"`border` is {flags.border}: choose 1 to {most} pixels")
    small = read_images(words, (height, width), fit=flags.fit, **_images_of(pipe))
    shared = _shared(pipe, flags, follow)
    made = pipe.outpaint(small, method=flags.method, seed=flags.seed, **shared)
    given = F.pad(small, (border, border, border, border), value=pipe.values.middle)
    return Edited(made, given)


def _enlarge(pipe: Pipeline, words: list[str], flags: EnlargeFlags, follow: Follow) -> Edited:
    *paths, factor = words
    if not factor.isdecimal() or not paths or int(factor) < 2:
        raise UserError(
            f"enlarge needs image files and then a factor, not {' '.join(words)!r}: give a whole "
            "number of 2 or more after the files, such as photo.png 4"
        )
    if int(factor) > min(pipe.size):
        raise UserError(f"the factor is {factor}: choose 2 to {min(pipe.size)}")
    height, width = (side // int(factor) for side in pipe.size)
    small = read_images(paths, (height, width), fit=flags.fit, **_images_of(pipe))
    shared = _shared(pipe, flags, follow)
    made = pipe.enlarge(small, int(factor), method=flags.method, seed=flags.seed, **shared)
    given = small.repeat_interleave(int(factor), 2).repeat_interleave(int(factor), 3)
    return Edited(made, given)


def _interpolate(
    pipe: Pipeline, words: list[str], flags: InterpolateFlags, follow: Follow
) -> Edited:
    if len(words) != 2:
        raise UserError(
            f"interpolate needs two images, not {len(words)}: give the first and the last image"
        )
    a, b = _read(pipe, words, flags)
    shared = _shared(pipe, flags, follow)
    if isinstance(shared["labels"], list):
        shared["labels"] = tuple(shared["labels"])
    made = pipe.interpolate(a, b, flags.n, corrections=flags.corrections, sampler="ddim", **shared)
    return Edited(made)


def _invert(pipe: Pipeline, words: list[str], flags: InvertFlags, follow: Follow) -> Edited:
    """Find the noise from which the model makes given images, and sample from this noise."""
    given, shared = _read(pipe, words, flags), _shared(pipe, flags, follow)
    noise = pipe.invert(given, corrections=flags.corrections, **shared)
    unlabelled = 0.0 if pipe.every else 1.0
    made = pipe.sample(
        *(len(given), shared["labels"]),
        condition=shared["condition"],
        noise=noise,
        sampler="ddim",
        guidance=shared.get("guidance", unlabelled),
    )
    return Edited(made, given, noise=noise)


KINDS: dict[str, tuple[Any, Callable[..., Edited]]] = {
    "vary": (VaryFlags, _vary),
    "inpaint": (InpaintFlags, _inpaint),
    "outpaint": (OutpaintFlags, _outpaint),
    "enlarge": (EnlargeFlags, _enlarge),
    "interpolate": (InterpolateFlags, _interpolate),
    "invert": (InvertFlags, _invert),
}
