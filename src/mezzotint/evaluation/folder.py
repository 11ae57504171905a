"""A folder of samples: numbered PNG files, with a grid of the first samples next to the folder.

If PNG cannot store the values or channels of a sample, the sample is a .npy file (H, W, C), beside
a PNG file that shows it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from mezzotint.config.sampling import chosen
from mezzotint.data.formats import SUFFIXES
from mezzotint.drawing import figures
from mezzotint.errors import UserError, counted
from mezzotint.evaluation.writing import write_share
from mezzotint.networks.conditions import Given, Labels
from mezzotint.pipeline import own
from mezzotint.pipeline.conditioning import labels_of
from mezzotint.pipeline.editing import image_shape
from mezzotint.pipeline.loading import load
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.pipeline.sampling import SampleRequest, rows_of
from mezzotint.processes import Share, join
from mezzotint.storage import files
from mezzotint.storage.arrays import nchw
from mezzotint.storage.parse import parsed, regular

# The key of a text in a grid's PNG file. The text records the number and settings of the samples.
MARK = "mezzotint sample"
GRID = 256  # the most samples in a grid
MADE_OF = "the weights"  # in this text, the key of the digests of the model and its code


def write_samples(
    pipe: Pipeline | str | Path,
    out: str | Path,
    n: int = 64,
    labels: Labels = None,
    *,
    condition: Any = None,
    seed: int = 0,
    batch: int = 64,
    on_step: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Tensor:
    """Make samples as `Pipeline.sample` does, and write them to a folder.

    The files are ``out/000000.png`` and so on, numbered in the order of the samples. A grid of the
    first 256, with the class names, is ``out.png`` beside the folder. So the folder holds only
    samples, and can be measured or used for training.

    PNG cannot store float32, uint16 of more than one channel, or channels other than grey, RGB and
    RGBA. Such samples are written to ``out/000000.npy`` and so on, as arrays (H, W, C). PNG files
    beside them show the samples as ``pipe.values.shown_as`` describes.

    No image is ever removed or replaced. If the folder holds samples of the same model, settings,
    conditions and seed, only the missing samples are made. So the same call continues a request
    that was stopped, and a larger ``n`` adds samples. A folder with any other samples is refused.

    Under torchrun the processes share the batches. Each process writes its share and returns all
    samples. The samples are bit for bit the same as from a single process.

    Args:
        pipe: A model, or a path or name that `load` takes.
        out: The folder.
        n: The number of samples.
        labels: One class for all samples, or n classes, by index or name. None takes all classes
            in turn.
        condition: The conditions other than the class, as in `Pipeline.sample`.
        seed: The seed of all randomness. The noise of sample i depends only on (seed, i).
        batch: The number of samples made at once.
        on_step: Called with the number of denoiser calls done and the total.
        **settings: The fields of SampleConfig that differ from the model's defaults.

    Returns:
        All n samples, (n, C, H, W), including those that were in the folder already.

    Raises:
        UserError: If ``out`` is a file or has the suffix of a file; if the folder holds other
            samples, other images or a damaged sample; if a file ``out.png`` exists that is not a
            grid of samples; or if a label, a condition or a setting does not exist or does not suit
            the model.
    """
    share, device = join()
    pipe = pipe if isinstance(pipe, Pipeline) else load(pipe, device)
    out = files.as_folder(out)
    SampleRequest(n, seed, 0, batch)  # refuses impossible numbers
    given = pipe.given(n, labels, condition)
    every = labels_of(pipe, given)
    with share.first():  # because a grid may have to be optimised
        facts = made_by(pipe, given, labels is condition is None, seed, settings)
        found, before = _there(out, facts, pipe)
    if n <= len(found):
        return found[:n]
    mark = {**facts, "n": max(n, before)}

    def follow(done: int, calls: int) -> None:
        out.mkdir(parents=True, exist_ok=True)  # only after the request has proved possible
        if on_step:
            on_step(done, calls)

    def grid(made: Tensor) -> None:
        _save_grid(torch.cat([found, made]), every, pipe, out, mark)

    request = SampleRequest(n - len(found), seed, len(found), batch)
    how, rows = chosen(pipe.defaults, settings), rows_of(given, range(len(found), n))
    images = torch.cat([found, write_share(pipe, out, request, how, rows, share, grid, follow)])
    if share.count > 1:
        images = _together(out, facts, pipe, n, share)
    if not share.number:
        grid(images[len(found) :])
    return images


def _together(out: Path, facts: dict[str, Any], pipe: Pipeline, n: int, share: Share) -> Tensor:
    """Wait for all processes, and return the samples that they have written."""
    share.wait()
    images, _ = _there(out, facts, pipe)
    if len(images) < n:
        raise UserError(
            f"{out} lacks the samples that other processes have made: choose an `out` on a disk "
            "that all processes share"
        )
    share.wait()  # until all processes have read the samples
    return images[:n]


def grid_of(out: Path) -> Path:
    """Return the path of the image that shows a folder's samples in a grid."""
    return files.named_after(out, ".png")


def made_by(
    pipe: Pipeline, given: Given | None, in_turn: bool, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return what determines the samples of a request, except their number, as a dict for JSON.

    ``in_turn`` is set if the user gave no conditions; the samples then take all classes in turn.
    """
    labels = labels_of(pipe, given)
    one = labels[0] if labels and len(set(labels)) == 1 else labels
    others = {} if in_turn else {each.name: _digest(given, each.name) for each in pipe.conditions}
    how = pipe.settled(chosen(pipe.defaults, settings))
    facts = {
        MADE_OF: " ".join([pipe.identity, *own.code(pipe, how)]),
        "prediction": pipe.prediction,  # the digest of the weights does not include it
        "precision": str(pipe.net.dtype).removeprefix("torch."),
        "seed": seed,
        "labels": "every class in turn" if in_turn else one,
        **({"condition": others} if others else {}),
        **asdict(how),
    }
    found: dict[str, Any] = json.loads(json.dumps(facts))
    return found


def _digest(given: Given | None, name: str) -> str:
    """Return a digest of a condition's values for all images, or of one value if all are equal."""
    rows = given[name] if given else torch.empty(0)
    same = len(rows) > 0 and bool((rows == rows[:1]).all())
    return hashlib.sha256((rows[:1] if same else rows).numpy().tobytes()).hexdigest()[:16]


def _there(out: Path, facts: dict[str, Any], pipe: Pipeline) -> tuple[Tensor, int]:
    """Return the samples that a folder holds, and the number of samples requested earlier.

    The samples are (N, C, H, W), from 000000 up to the first missing number. Raises UserError if
    the folder holds images that no earlier request wrote, if the file with the grid's name is not a
    grid, if a sample is damaged, or if the model, the settings, the conditions or the seed of the
    samples differ from those in ``facts`` (see `made_by`).
    """
    mark, grid = _mark(out), grid_of(out)
    found = sorted(out.glob("[0-9]" * 6 + ".png"))
    if grid.exists() and not mark:
        raise UserError(f"{grid} exists and is not a grid of samples: choose another `out`")
    others = [path for path in _images(out) if path.stem not in {each.stem for each in found}]
    if not mark:  # arrays with the names of samples, which would be overwritten
        others += sorted(out.glob("[0-9]" * 6 + ".npy"))
    if found and int(found[-1].stem) >= mark.get("n", 0):
        others = [found[-1]]
    if others:
        raise UserError(f"{out} holds other images, such as {others[0].name}: choose another `out`")
    none = torch.empty(0, dtype=pipe.values.tensor_dtype)
    if not found:
        return none, 0
    mark.setdefault("prediction", facts["prediction"])  # earlier versions did not record it
    if other := [name for name, value in facts.items() if mark.get(name, ...) != value]:
        name, holds = other[0], f"{out} holds {counted(len(found), 'sample')}"
        if name == MADE_OF or name not in mark:
            raise UserError(
                f"{holds} of another model, or made with other weights or code: choose another "
                "`out`"
            )
        was, now = (_short(each[name]) for each in (mark, facts))
        raise UserError(f"{holds} made with `{name}={was}`, not {now}: choose another `out`")
    images = [_read(out / f"{i:06d}.png", pipe) for i in range(_unbroken(found))]
    return nchw(np.stack(images)) if images else none, mark["n"]


def _images(out: Path) -> list[Path]:
    """Return the image files in a folder, sorted; [] if there is no such folder."""
    return sorted(path for path in out.glob("*") if path.suffix.lower() in SUFFIXES)


def _short(value: Any) -> str:
    """Return a value as text, cut after 40 characters."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _unbroken(found: list[Path]) -> int:
    """Return how many files are numbered 0, 1, 2 ... without a gap."""
    return next((i for i, path in enumerate(found) if int(path.stem) != i), len(found))


def _read(path: Path, pipe: Pipeline) -> np.ndarray:
    """Read a sample (H, W, C) from the PNG file ``path``, or from the .npy file beside it.

    The .npy file is read if PNG cannot store the model's images. Raises UserError if the file is
    missing or damaged.
    """
    channels, height, width = image_shape(pipe)
    values = path if pipe.values.fits_png(channels) else path.with_suffix(".npy")
    try:
        if values.suffix == ".npy":
            array: np.ndarray = np.load(regular(values))
        else:
            with Image.open(regular(values), formats=["PNG"]) as image:
                array = np.asarray(image).reshape(height, width, -1)
        if array.shape != (height, width, channels) or str(array.dtype) != pipe.values.dtype:
            raise ValueError
    except (OSError, SyntaxError, ValueError):
        raise UserError(
            f"{values} is missing or damaged: delete {path}, and it will be made again"
        ) from None
    return array


def _mark(out: Path) -> dict[str, Any]:
    """Return the settings that an earlier request stored in the file ``out``, a grid of samples.

    Return {} if there are none.
    """
    mark: Any = {}
    # Image.open is not used, because it refuses large images.
    with suppress(OSError, SyntaxError, ValueError), PngImageFile(regular(grid_of(out))) as image:
        mark = parsed(image.info.get(MARK, "{}"))
    if isinstance(mark, int):  # versions before 0.1 recorded only the number of samples
        return {"n": mark}
    return mark if isinstance(mark, dict) and isinstance(mark.get("n"), int) else {}


def _save_grid(
    images: Tensor, labels: list[int] | None, pipe: Pipeline, out: Path, mark: dict[str, Any]
) -> None:
    """Save a grid and its settings atomically: a crash leaves the old grid or the new grid."""
    shown = images[:GRID]
    sheet = figures.grid(pipe.values.visible(shown), labels and labels[: len(shown)], names(pipe))
    with files.beside(grid_of(out)) as partial:
        sheet.save(partial, pnginfo=marked(mark))


def names(pipe: Pipeline) -> tuple[str, ...]:
    """Return the names of all classes, followed by the name of the null class."""
    return (*pipe.classes, "any class")


def marked(mark: dict[str, Any]) -> PngInfo:
    """Return metadata for a PNG file: a record of how the samples were made."""
    text = PngInfo()
    text.add_text(MARK, json.dumps(mark))
    return text
