"""Read images for editing, and write the edited images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mezzotint.data import UnreadableImage
from mezzotint.data.images import Mode, Wanted, read_image
from mezzotint.data.images import fit as fitted
from mezzotint.data.reading import read_file
from mezzotint.data.values import EIGHT_BIT, Values
from mezzotint.drawing import figures
from mezzotint.errors import UserError, counted
from mezzotint.evaluation.film import FRAME, write_film
from mezzotint.evaluation.writing import save_image
from mezzotint.pipeline.restoring import shares
from mezzotint.storage import files
from mezzotint.storage.arrays import nchw


def read_images(
    paths: Sequence[str | Path],
    size: tuple[int, int],
    *,
    fit: bool = False,
    channels: int = 3,
    values: Values = EIGHT_BIT,
) -> Tensor:
    """Read image files to be edited.

    Args:
        paths: Image files in any format that `prepare` reads, or .npy files of one image (H, W, C).
        size: Height and width that the images must have, such as ``pipe.size``.
        fit: Whether to scale and crop images of another size, around their centre.
        channels: The channels that the images must have.
        values: The type that the images must have, and their values of black and white. The range
            of the pixels is not checked.

    Returns:
        Images (N, C, H, W): uint8 RGB by default.

    Raises:
        UserError: If ``paths`` is empty; a file cannot be read or is not one image; an image has
            other channels or another type; or ``fit`` is False and an image has another size.
    """
    if not paths:
        raise UserError("there are no `paths`: give one image file or more")
    height, width = size
    wanted = _wanted(channels, values)
    images = []
    for path in map(Path, paths):
        try:
            pixels = _loaded(path) if path.suffix == ".npy" else read_image(path, wanted=wanted)
        except UnreadableImage as error:
            raise UserError(f"{path}: {error}") from None
        if pixels.ndim != 3:
            raise UserError(f"{path} has the shape {pixels.shape}: give one image, (H, W, C)")
        if pixels.shape[:2] != (height, width) and not fit:
            raise UserError(
                f"{path} is {pixels.shape[0]}x{pixels.shape[1]}, but the model's images are "
                f"{height}x{width} (height x width): pass `fit=True` to scale and crop it"
            )
        if pixels.shape[2] != channels or str(pixels.dtype) != values.dtype:
            raise UserError(
                f"{path} is {pixels.dtype} of {counted(pixels.shape[2], 'channel')}, but the "
                f"model's images are {values.dtype} of {counted(channels, 'channel')}: give a file "
                "with the model's type and channels"
            )
        images.append(fitted(pixels, (height, width), alpha=values.alpha))
    return nchw(np.stack(images))


def _loaded(path: Path) -> np.ndarray:
    """Read the array in a .npy file. Raises UnreadableImage if the file holds no array."""
    content = read_file(path)
    with suppress(ValueError, EOFError, BadZipFile):
        pixels = np.load(io.BytesIO(content))
        if isinstance(pixels, np.ndarray):  # not an archive of several arrays
            return pixels
    raise UnreadableImage("not an array of numbers, (H, W, C)")


def _wanted(channels: int, values: Values) -> Wanted:
    """Return the format to decode files to, for images with these channels, type and range."""
    if values.alpha:
        return Wanted("rgba")
    modes: dict[int, Mode] = {1: "grey", 3: "rgb"}
    if values.eight_bit and channels in modes:
        return Wanted(modes[channels])
    return Wanted("keep", (values.low, values.high) if values.dtype == "float32" else None)


def write_edited(
    out: str | Path,
    images: Tensor,
    given: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    animate: bool = False,
    values: Values = EIGHT_BIT,
) -> Path:
    """Write edited images to a folder, and beside it a strip of the originals and results.

    The images are ``out/000000.png`` and so on, as `write_samples` writes them; the strip is
    ``out.png``. With ``animate`` the images are also the frames of ``out.webp``, forwards and then
    backwards.

    Args:
        out: The folder, which must be empty or not exist.
        images: (N, C, H, W).
        given: The original images, of the same size and channels, for the strip.
        mask: The mask of filled-in pixels, (H, W) or (N, H, W), from 0 to 1, for the strip.
        animate: Whether to write the animation.
        values: The type and the range of the images' values, `Pipeline.values`.

    Returns:
        The strip's path.

    Raises:
        UserError: If the folder is not empty; ``out.png`` or ``out.webp`` exists; a file cannot be
            written; ``images`` or ``given`` does not have the shape or type above; or ``mask`` is
            not a tensor of the images' height and width.
    """
    _check("images", images, values)
    if given is not None:
        _check("given", given, values, images.shape[1:])
    sizes = (images.shape[2:], (1, *images.shape[2:]), (len(images), *images.shape[2:]))
    if mask is not None and (not isinstance(mask, Tensor) or tuple(mask.shape) not in sizes):
        raise UserError(
            "`mask` is not a tensor of the images' height and width: give (H, W), or (N, H, W) for "
            "N images"
        )
    folder, strip, film = free_place(out)
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        save_image(image, values, folder / f"{i:06d}.png")
    images = values.visible(images)
    given = None if given is None else values.visible(given)
    rows = [("given", given), ("mask", _shown(mask, images)), ("made", images)]
    there = [(name, row) for name, row in rows if row is not None]
    labels = [k for k, (_, row) in enumerate(there) for _ in row]
    sheet = figures.grid(torch.cat([row for _, row in there]), labels, [name for name, _ in there])
    with files.beside(strip) as partial:
        sheet.save(partial)
    if animate:
        frames = [_large(figures.to_pil(image)) for image in images]
        back = frames[-2:0:-1]
        write_film(film, [*frames, *back], FRAME)
    return strip


def _check(name: str, x: Tensor, values: Values, shape: Sequence[int] | None = None) -> None:
    """Raise UserError unless the argument ``name`` is images (N, C, H, W) of the type ``values``.

    If ``shape`` is given, it is the (C, H, W) that they must have.
    """
    images = isinstance(x, Tensor) and x.ndim == 4 and len(x) and x.dtype == values.tensor_dtype
    if not images or (shape is not None and x.shape[1:] != shape):
        found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        wanted = f"(N, {', '.join(map(str, shape or 'CHW'))})"
        raise UserError(f"`{name}` is {found}: give a tensor of {values.dtype} images {wanted}")


def free_place(out: str | Path) -> tuple[Path, Path, Path]:
    """Return the paths for the folder, the strip and the animation.

    Raises UserError if the strip or the animation exists already, or the folder is not empty.
    """
    folder = files.as_folder(out)
    strip, film = files.named_after(folder, ".png"), files.named_after(folder, ".webp")
    for path in (strip, film):
        if path.exists():
            raise UserError(f"{path} exists: choose another `out`")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another `out`")
    return folder, strip, film


def _shown(mask: Tensor | None, images: Tensor) -> Tensor | None:
    """Convert a mask to images in which filled-in pixels are white; None if there is no mask."""
    if mask is None:
        return None
    grey = (255 * shares(mask)).round().to(torch.uint8).reshape(-1, 1, *mask.shape[-2:])
    return grey.expand(len(grey), images.shape[1], -1, -1)


def _large(image: Image.Image) -> Image.Image:
    """Enlarge small images to about 256 pixels, for an animation."""
    zoom = max(1, 256 // max(image.size))
    return image.resize((zoom * image.width, zoom * image.height), Image.Resampling.NEAREST)
