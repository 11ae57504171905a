"""Requests for edits of uploaded images, and the functions that carry them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mezzotint.data.images import stated_pixels
from mezzotint.errors import UserError, counted
from mezzotint.evaluation.edited import read_images
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.ui import conditions
from mezzotint.ui.samples import Step

MOST_PIXELS = 64_000_000  # limit for an upload; larger images take minutes and gigabytes to decode
MOST_MADE = 16  # limit on the images that a request makes

Emit = Callable[[Step], None]


@dataclass(frozen=True)
class Edit:
    """A request to edit some files.

    Attributes:
        kind: The kind of edit, a name in KINDS.
        files: The uploads, in their order.
        classes: No class or one; an interpolation may also have two, one for each end.
        seed: The seed of all randomness.
        settings: The sampling settings that differ from the model's defaults.
        options: The options of this kind of edit: strength, n, border, factor, method.
        mask: The pixels that inpaint fills in, bool (H, W).
        condition: The conditions other than the class, as words such as ``age=30``.
    """

    kind: str
    files: tuple[Path, ...]
    classes: tuple[int, ...]
    seed: int
    settings: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    mask: Tensor | None = None
    condition: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[int, int] | tuple[None, None]:
        """The labels of the two ends of an interpolation."""
        return (self.classes[0], self.classes[-1]) if self.classes else (None, None)

    @property
    def used(self) -> dict[str, Any]:
        """The settings that affect this edit.

        Without a class or another condition, guidance is left out.
        """
        kind, conditioned = KINDS[self.kind], self.classes or self.condition
        left_out = kind.ignores if conditioned else (*kind.ignores, "guidance")
        return {name: value for name, value in self.settings.items() if name not in left_out}


@dataclass(frozen=True)
class Kind:
    """A kind of edit.

    Attributes:
        text: A sentence for the page that says what the edit does.
        options: The names of the edit's options.
        work: ``work(pipe, edit, given, shared)`` returns edited versions of the images ``given``;
            ``shared`` holds the arguments that all kinds of edits have in common.
        size: ``size(pipe, options)`` returns the height and width of the image to edit.
        files: The number of images to edit.
        ignores: The settings that do not affect the edit.
    """

    text: str
    options: tuple[str, ...]
    work: Callable[[Pipeline, Edit, Tensor, dict[str, Any]], Tensor]
    size: Callable[[Pipeline, dict[str, Any]], tuple[int, int]] = lambda pipe, _: pipe.size
    files: int = 1
    ignores: tuple[str, ...] = ()


def make(pipe: Pipeline, edit: Edit, emit: Emit) -> Step:
    """Carry out an edit, and call ``emit`` with the progress (a `Step`) after each denoiser call.

    Returns:
        The last `Step`, with two columns: the given images, in the model's size, and the edited
        images.

    Raises:
        UserError: If an image or the mask is missing or unusable, or the model does not support the
            settings.
    """
    kind = KINDS[edit.kind]
    if len(edit.classes) > kind.files:
        most = counted(kind.files, "class", "classes")
        raise UserError(f"{edit.kind} takes {most}, not {len(edit.classes)}: choose fewer")
    given = read(pipe, edit)
    shown = _shown(pipe, edit, given)
    shared: dict[str, Any] = {
        "labels": edit.classes[0] if edit.classes else None,
        "condition": conditions.values(pipe, edit.condition, each=False),
        "on_step": lambda done, calls: emit(Step(done, calls, (shown,))),
        **edit.used,
    }
    made = kind.work(pipe, edit, given, shared)
    return Step(1, 1, (shown, made))


def read(pipe: Pipeline, edit: Edit) -> Tensor:
    """Return the uploads of an edit, (N, C, h, w), in the size that this kind of edit needs.

    Raises:
        UserError: If the number of uploads is wrong, or an upload is not an image, is too large, or
            differs from the model's images in its type or number of channels. The message names the
            file without its folder.
    """
    kind = KINDS[edit.kind]
    if len(edit.files) != kind.files:
        raise UserError(
            f"{edit.kind} needs {counted(kind.files, 'image')}, not {len(edit.files)}: "
            + ("upload one" if kind.files == 1 else "upload the first and the last image")
        )
    size = kind.size(pipe, edit.options)
    channels = pipe.codec.image_shape(pipe.shape)[0]
    found = []
    for path in edit.files:
        try:
            _refuse_large(path)
            found += [read_images([path], size, fit=True, channels=channels, values=pipe.values)]
        except UserError as error:
            raise UserError(str(error).replace(str(path), path.name)) from None
    return torch.cat(found)


def _refuse_large(path: Path) -> None:
    """Raise UserError if the header of an image states too many pixels."""
    pixels = stated_pixels(path)
    if pixels > MOST_PIXELS:
        raise UserError(
            f"{path} has {pixels / 1e6:,.0f} megapixels: scale it down to at most "
            f"{MOST_PIXELS / 1e6:.0f}"
        )


def canvas(pipe: Pipeline, image: Tensor, side: int = 480) -> Image.Image:
    """Return the background on which a visitor paints the mask of an image (C, H, W).

    It is the image, enlarged by the largest integer factor with which both sides have at most
    ``side`` pixels. An image that is already larger keeps its size.
    """
    height, width = image.shape[1:]
    zoom = max(1, side // max(height, width))
    seen = pipe.values.visible(image[None])[0]
    large = seen.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    rgb = large if len(large) == 3 else large.expand(3, -1, -1)
    return Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())


def painted(layers: Sequence[Image.Image], size: tuple[int, int]) -> Tensor:
    """Return a mask, bool (H, W), of the pixels that are at least half painted over.

    The canvas shows the image in the middle, as large as possible.

    Args:
        layers: The painted layers, RGBA images in the size of the canvas.
        size: Height and width of the mask.

    Raises:
        UserError: If nothing is painted.
    """
    height, width = size
    found = torch.zeros(size, dtype=torch.bool)
    for layer in layers:
        opaque = layer.convert("RGBA").getchannel("A")
        zoom = min(opaque.width / width, opaque.height / height)
        left, top = (opaque.width - zoom * width) / 2, (opaque.height - zoom * height) / 2
        box = (left, top, opaque.width - left, opaque.height - top)
        small = opaque.resize((width, height), Image.Resampling.BOX, box=box)
        found |= torch.from_numpy(np.array(small)) >= 128
    if not found.any():
        raise UserError("nothing is marked: paint over the part to fill in")
    return found


def mask_image(mask: Tensor) -> Tensor:
    """Return a mask as an image, uint8 (1, H, W), which is white where pixels are filled in."""
    return (255 * mask.to(torch.uint8))[None]


def _shown(pipe: Pipeline, edit: Edit, given: Tensor) -> Tensor:
    """Return the given images, padded or enlarged to the model's size."""
    if edit.kind == "outpaint":
        border = edit.options["border"]
        return F.pad(given, (border, border, border, border), value=pipe.values.middle)
    if edit.kind == "enlarge":
        factor = edit.options["factor"]
        return given.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return given


def _vary(pipe: Pipeline, edit: Edit, given: Tensor, shared: dict[str, Any]) -> Tensor:
    n = edit.options["n"]
    _at_most(n)
    several = given.repeat_interleave(n, 0)
    return pipe.vary(several, edit.options["strength"], seed=edit.seed, **shared)


def _inpaint(pipe: Pipeline, edit: Edit, given: Tensor, shared: dict[str, Any]) -> Tensor:
    if edit.mask is None:
        raise UserError("nothing is marked: paint over the part to fill in")
    method = edit.options.get("method")
    return pipe.inpaint(given, edit.mask, method=method, seed=edit.seed, **shared)


def _outpaint(pipe: Pipeline, edit: Edit, given: Tensor, shared: dict[str, Any]) -> Tensor:
    method = edit.options.get("method")
    return pipe.outpaint(given, method=method, seed=edit.seed, **shared)


def _inside(pipe: Pipeline, options: dict[str, Any]) -> tuple[int, int]:
    border, most = options["border"], (min(pipe.size) - 1) // 2
    if not 1 <= border <= most:
        raise UserError(f"`border` is {border}: choose 1 to {most} pixels")
    height, width = pipe.size
    return height - 2 * border, width - 2 * border


def _enlarge(pipe: Pipeline, edit: Edit, given: Tensor, shared: dict[str, Any]) -> Tensor:
    method = {"method": edit.options["method"]} if edit.options.get("method") else {}
    return pipe.enlarge(given, edit.options["factor"], seed=edit.seed, **method, **shared)


def _smaller(pipe: Pipeline, options: dict[str, Any]) -> tuple[int, int]:
    factor, most = options["factor"], min(pipe.size)
    if not 2 <= factor <= most:
        raise UserError(f"`factor` is {factor}: choose 2 to {most}")
    height, width = pipe.size
    return height // factor, width // factor


def _interpolate(pipe: Pipeline, edit: Edit, given: Tensor, shared: dict[str, Any]) -> Tensor:
    n = edit.options["n"]
    _at_most(n)
    return pipe.interpolate(given[0], given[1], n, **{**shared, "labels": edit.ends})


def _at_most(n: int) -> None:
    if not 1 <= n <= MOST_MADE:
        raise UserError(f"`n` is {n}: choose 1 to {MOST_MADE}")


KINDS = {
    "vary": Kind("Make variations of an image.", ("strength", "n"), _vary),
    "inpaint": Kind("Fill in the part of an image that you paint over.", ("method",), _inpaint),
    "outpaint": Kind(
        "Continue an image beyond its borders.", ("border", "method"), _outpaint, size=_inside
    ),
    "enlarge": Kind("Make a small image larger.", ("factor", "method"), _enlarge, size=_smaller),
    "interpolate": Kind(
        "Make images between two given images.",
        ("n",),
        _interpolate,
        files=2,
        ignores=("guidance", "sampler"),
    ),
}
