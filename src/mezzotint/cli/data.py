"""The verb ``data``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse, subject
from mezzotint.config.sections import DataConfig, SizeField
from mezzotint.data.describing import describe
from mezzotint.data.images import Mode
from mezzotint.data.showing import example_grid, understood
from mezzotint.errors import UserError, as_flags
from mezzotint.storage import files

MARK = "mezzotint data"  # the key of a text in the PNG file of a grid, which names the data
FOR_EXAMPLES = ("size", "mode", "range", "skip_bad", "condition", "labels_from", "image_condition")


@dataclass(frozen=True)
class DataFlags:
    """Describe a data set: its splits, classes and images, and the files that are left out.

    Nothing is trained. Images are prepared only for --examples.
    """

    conditional: bool = True
    """Whether labels are required; --no-conditional takes all images, with or without classes."""
    examples: Path | None = None
    """Prepare the images with the options below, as a training would, describe the result, and draw
    a grid of examples to this file."""
    size: SizeField = None
    """Scale and crop the images to a square of this side, or to HEIGHTxWIDTH, such as 48x80."""
    mode: Mode | None = None
    """Channels: keep, or 8-bit rgb, grey or rgba."""
    range: tuple[float, float] | None = None
    """The values of black and white, for arrays and 32-bit images."""
    condition: tuple[str, ...] = ()
    """Columns of numbers to condition on, as in `train`."""
    labels_from: str = ""
    """The column with the labels of the images."""
    image_condition: str = ""
    """The column with a second image for each image: a file name, or in parquet the image."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""


def data(arguments: list[str]) -> Answer:
    """Describe a data set, and return the description as the answer."""
    what = "a folder, an archive, a file or the name of a data set"
    name, rest = subject(arguments, what, "mezzotint data PATH", DataFlags())
    flags = parse(DataFlags(), rest, f"mezzotint data {name}")
    if flags.examples:
        _check_free(flags.examples)
    found = describe(name, conditional=flags.conditional)
    print(as_flags(str(found)))
    if flags.examples:
        _draw(name, flags, flags.examples)
    elif used := [f for f in FOR_EXAMPLES if getattr(flags, f) != getattr(DataFlags(), f)]:
        names = ", ".join(f"`{field}`" for field in used)
        raise UserError(f"{names} can only be used with `examples`: give `examples` a file")
    return Answer(found.as_json() | {"examples": flags.examples})


def _check_free(path: Path) -> None:
    """Raise UserError if a path does not end in .png, or exists and is not a grid of examples.

    A grid of examples may be overwritten.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"{path} is not the name of a PNG file: end it in .png")
    ours = False
    with suppress(OSError, SyntaxError, ValueError), Image.open(path, formats=["PNG"]) as image:
        ours = MARK in image.info
    if path.exists() and not ours:
        raise UserError(
            f"{path} exists and is not a grid of examples: choose another file for `examples`"
        )


def _draw(name: str, flags: DataFlags, path: Path) -> None:
    """Prepare the training split with the options in ``flags``, and write a grid of examples."""
    section = DataConfig(
        data=name,
        size=flags.size,
        mode=flags.mode,
        range=flags.range,
        skip_bad=flags.skip_bad,
        conditional=flags.conditional,
        condition=flags.condition,
        labels_from=flags.labels_from,
        image_condition=flags.image_condition,
    )
    data = section.prepared()
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.beside(path) as partial:
        text = PngInfo()
        text.add_text(MARK, name)
        example_grid(data).save(partial, "PNG", pnginfo=text)
    print(f"for training: {understood(data)}")
    if shown := data.values.shown_as(data.images.shape[3]):
        print(f"the grid shows {shown}")
    print(f"wrote a grid of examples to {path}")
