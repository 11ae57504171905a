"""Describe how mezzotint reads a path or the name of a data set."""

import io
import json
import os
import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from mezzotint.data.find import as_text, opened, recognise
from mezzotint.data.formats import PILLOW, raw
from mezzotint.data.images import Wanted
from mezzotint.data.naming import WORDS, shown
from mezzotint.data.reading import UnreadableImage
from mezzotint.data.source import Item, NoSplit, Source
from mezzotint.data.tree import LeftOut
from mezzotint.errors import UserError, counted, printable

ORIENTATION = ExifTags.Base.Orientation
SEEN = 1_000
"""How many images of a split are inspected for their sizes and modes."""


@dataclass(frozen=True)
class SplitDescription:
    """A split of a data set.

    Attributes:
        name: `train`, `validation` or `test`.
        images: the number of images.
        classes: the classes by name, in the order of the labels, each with its number of images.
        sizes: how many inspected images have each size (height, width), the most frequent first.
        modes: how many inspected images have each of Pillow's modes: RGB, L (grey), P (palette),
            RGBA ...
        unreadable: the names of images that cannot be read, and why.
        seen: the number of inspected images, which are evenly spread over the split.
        problem: why the split is refused; empty if it is accepted.
    """

    name: str
    images: int
    classes: dict[str, int]
    sizes: dict[tuple[int, int], int]
    modes: dict[str, int]
    unreadable: tuple[str, ...]
    seen: int
    problem: str = ""

    def lines(self) -> list[str]:
        """Return the description as lines of text."""
        if self.problem:
            return [f"{self.name}: refused: {self.problem}"]
        seen = f" (of {self.seen:,} inspected)" if self.seen < self.images else ""
        sizes = [f"{h}x{w}: {count:,}" for (h, w), count in self.sizes.items()]
        modes = [f"{mode}: {count:,}" for mode, count in self.modes.items()]
        found = [f"{self.name}: {counted(self.images, 'image')}"]
        if self.classes:
            classes = [f"{name}: {count:,}" for name, count in self.classes.items()]
            number = counted(len(classes), "class", "classes")
            found.append(f"  {number} ({shown(classes, 10)})")
        else:
            found.append("  no classes")
        found.append(f"  sizes{seen}: {shown(sizes, 5)}")
        if modes:
            found.append(f"  modes{seen}: {', '.join(modes)}")
        if self.unreadable:
            found.append(f"  cannot be read{seen}: {shown(self.unreadable, 3)}")
        return found


@dataclass(frozen=True)
class Description:
    """How mezzotint reads a data set.

    Attributes:
        data: the name or the absolute path of the data set.
        kind: the kind of data, in words (see `Kind.written`).
        layout: the layout that was recognised.
        splits: a description of each split.
        left_out: the files that are left out, and the reasons.
        warnings: the decisions that may not be what the user meant.
    """

    data: str
    kind: str
    layout: str
    splits: tuple[SplitDescription, ...]
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        layout = f": {self.layout}" if self.layout else ""
        found = [f"{self.data}", f"{self.kind}{layout}"]
        found += [line for split in self.splits for line in split.lines()]
        found += [f"left out: {left}" for left in self.left_out]
        found += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(map(printable, found))

    def as_json(self) -> dict[str, Any]:
        """Return the description as a dict that JSON can store, with sizes as "HEIGHTxWIDTH"."""
        content = asdict(self)
        for split, own in zip(content["splits"], self.splits, strict=True):
            split["sizes"] = {f"{h}x{w}": count for (h, w), count in own.sizes.items()}
        found: dict[str, Any] = json.loads(json.dumps(content))
        return found


def describe(data: str | os.PathLike[str], *, conditional: bool = True) -> Description:
    """Describe a data set: its splits, classes and images, and the files that are left out.

    Nothing is prepared. If the images are files, only their first bytes are read. `docs/folders.md`
    explains how folders are read.

    Args:
        data: A name, `hub:OWNER/NAME` or a path, as in `prepare`.
        conditional: Whether labels are required, as in `prepare`.

    Returns:
        The description. ``print`` shows it; `as_json` returns it for a program.

    Raises:
        UserError: If the data cannot be found or read. If a split other than ``train`` is refused,
            the description says so instead.
    """
    place, kind = recognise(as_text(data))
    sources: dict[str, Source | UserError] = {}
    missing: NoSplit | None = None
    for split in WORDS:
        try:
            sources[split] = opened(place, kind, split, conditional)
        except NoSplit as error:
            missing = missing or error
        except UserError as error:
            if split == "train":
                raise
            sources[split] = error
    found = [source for source in sources.values() if isinstance(source, Source)]
    if not found:
        raise next((e for e in sources.values() if isinstance(e, UserError)), None) or missing  # type: ignore[misc]
    described = [_described(split, source) for split, source in sources.items()]
    left = {str(entry): entry for source in found for entry in source.left_out}
    warned = {warning: None for source in found for warning in source.warnings}
    return Description(
        place, kind.written, found[0].layout, tuple(described), tuple(left.values()), tuple(warned)
    )


def _described(split: str, source: Source | UserError) -> SplitDescription:
    """Describe a split, after inspecting some of its images, or say why the split is refused."""
    if isinstance(source, UserError):
        return SplitDescription(split, 0, {}, {}, {}, (), 0, str(source))
    chosen = set(np.linspace(0, source.count - 1, min(source.count, SEEN)).round().astype(int))
    counts = [0] * len(source.classes)
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    unreadable = []
    for row, item in enumerate(source.items()):
        if source.classes:
            counts[item.label] += 1
        if row not in chosen:
            continue
        try:
            size, mode = _looked_at(item)
        except UnreadableImage as error:
            unreadable.append(f"{item.name} ({error})")
            continue
        sizes[size] += 1
        modes.update([mode] if mode else [])
    return SplitDescription(
        split,
        source.count,
        dict(zip(source.classes, counts, strict=True)),
        dict(sizes.most_common()),
        dict(modes.most_common()),
        tuple(unreadable),
        len(chosen),
    )


def _looked_at(item: Item) -> tuple[tuple[int, int], str]:
    """Return the size (height, width) and the mode of an image.

    The image is decoded only if its header cannot be read; the mode is then "".
    """
    if item.file is not None and not raw(item.name):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                file = item.file()
                place = file if isinstance(file, Path) else io.BytesIO(file)
                with Image.open(place, formats=PILLOW) as image:
                    turned = "exif" in image.info and image.getexif().get(ORIENTATION, 1) > 4
                    size = image.height, image.width
                    return size[::-1] if turned else size, image.mode
        except UnreadableImage:
            raise
        except Exception:
            # Pillow raises many types of errors. The decoder below reads the file, or reports it.
            pass
    height, width = item.decode(Wanted()).shape[:2]
    return (height, width), ""
