"""From what the user has, a name, a path or images in memory, to the prepared array."""

import hashlib
import json
import math
import operator
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mezzotint.data.building import build
from mezzotint.data.find import opened, recognise
from mezzotint.data.images import POLICY
from mezzotint.data.memory import Bounds, Layout, memory
from mezzotint.data.prepared import Prepared, load
from mezzotint.data.reading import PIXELS
from mezzotint.data.source import NoSplit, Source
from mezzotint.errors import UserError
from mezzotint.storage.cache import begun, cache_folder, commit, kept

_LARGEST = math.isqrt(PIXELS)


def held_out(data: str, size: int | None, train: Prepared, skip_bad: bool = False) -> Prepared:
    """The images of a data set that no training sees: its test or validation split, or `train`.

    Raises UserError as `prepare` does for a split that there is.
    """
    for split in ("test", "validation"):
        with suppress(NoSplit):
            found = prepare(
                data, size=size, split=split, skip_bad=skip_bad, conditional=train.conditional
            )
            if found.fingerprint != train.fingerprint:  # or one file was given as both
                return found
    return train


def prepare(
    data: Any,
    labels: Any = None,
    *,
    classes: Sequence[str] | None = None,
    layout: Layout | None = None,
    range: Bounds | None = None,
    size: int | None = None,
    split: str = "train",
    skip_bad: bool = False,
    conditional: bool = True,
) -> Prepared:
    """Prepare a data set: decode it into the cache, or find it there.

    Args:
        data: a name, `hub:OWNER/NAME` or a path, as `find_source` takes them; a `pathlib.Path`; or
            images in memory, a numpy array or a torch tensor (N, H, W), (N, H, W, C) or
            (N, C, H, W) with C 1 (grey, repeated to 3 channels) or 3 (RGB), of which a copy is
            kept in the cache. What is prepared already is returned as it is.
        labels: with images in memory: N integers from 0, or N names of classes, or None.
        classes: with labels: the names of the classes; None calls them "0" to the largest label.
        layout: with images in memory: the order of the axes, "NHW", "NHWC" or "NCHW". It must be
            said where the lengths of the axes leave a doubt.
        range: with images in memory: the values (black, white) that become 0 and 255. It must be
            said unless the values are uint8, or uint16 above 255, which fill 0 to 65535.
        size: side in pixels to scale and centre-crop to; None takes the images as they are.
        split: of a name or a path: `train`, `test`, `validation` ...
        skip_bad: leave out files that cannot be read, and count them, instead of raising.
        conditional: whether labels are wanted. If not, nothing that is wrong with labels alone is
            refused: a folder is taken with all that lies in it, with or without class folders.
            Labels that can be read are kept.

    Returns:
        The data set. Its `notes` say what was converted, its `source` is a string that this
        function takes as `data` to find the same again, here or in another process.

    Raises:
        UserError: as `find_source`; files that cannot be read, all named in one line; images of
            different sizes without `size`; a class of which all were skipped; no room on disk; an
            argument that does not fit the others. For images in memory: a shape, a type or values
            other than the above; values that are not finite, or outside `range`; labels of another
            length, type or range.
    """
    size = _side(size)
    if not isinstance(split, str):
        raise UserError(f"`split` is {split!r}: give a name, such as train or test")
    if not isinstance(skip_bad, bool):
        raise UserError(f"`skip_bad` is {skip_bad!r}: give True or False")
    if not isinstance(conditional, bool):
        raise UserError(f"`conditional` is {conditional!r}: give True or False")
    in_memory = {"labels": labels, "classes": classes, "layout": layout, "range": range}
    named = {"split": None if split == "train" else split, "skip_bad": skip_bad or None}
    if isinstance(data, Prepared):
        _refuse({"size": size, **in_memory, **named}, "data that is prepared already")
        return data
    if isinstance(data, os.PathLike):
        data = str(Path(os.path.expanduser(data)).absolute())  # a path, even if it is called glyphs
    if isinstance(data, str):
        _refuse(in_memory, f"{data}, but with images in memory")
        found, warned = _found(data, size, split, skip_bad, conditional)
        for warning in warned:
            warnings.warn(warning, stacklevel=2)
        return found
    _refuse(named, "images in memory, but with a name or a path")
    source = memory(data, labels, classes, layout, range)
    cache = cache_folder("prepared")
    with begun(cache, "array") as building:
        fingerprint = build(source, size, False, building)
        found = commit(building, cache / f"array-{fingerprint[:16]}", load)
    return replace(found, source=f"array:{fingerprint[:16]}", notes=source.notes)


def _side(size: int | None) -> int | None:
    if size is None:
        return None
    if isinstance(size, bool) or not hasattr(size, "__index__") or size < 1:
        raise UserError(f"`size` is {size!r}: give a side of at least 1 pixel")
    if size > _LARGEST:
        raise UserError(f"`size` is {size:,}: give a side of at most {_LARGEST:,} pixels")
    return operator.index(size)


def _refuse(arguments: dict[str, Any], data: str) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise UserError(f"`{name}` does not go with {data}: leave it out")


def _found(
    data: str, size: int | None, split: str, skip_bad: bool, conditional: bool
) -> tuple[Prepared, tuple[str, ...]]:
    """Return the prepared data set that `data` stands for, and warnings unless it was cached."""
    place, kind = recognise(data)
    source = opened(place, kind, split, conditional)
    found, new = _entry(source, size, skip_bad)
    prepared = replace(
        found, source=place, size=size, split=split, skip_bad=skip_bad, conditional=conditional
    )
    return prepared, source.warnings if new else ()


def _entry(source: Source, size: int | None, skip_bad: bool) -> tuple[Prepared, bool]:
    """The entry of the cache, and whether it is new."""
    if source.entry and size is None and (found := load(source.entry)):
        return found, False
    key = {"source": source.key, "size": size, "skip_bad": skip_bad, "policy": POLICY}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    name = f"{source.name[:50]}-{digest[:16]}"  # file systems stop at 255 bytes
    new: list[str] = []

    def built(folder: Path) -> None:
        new.append(build(source, size, skip_bad, folder))

    return kept(cache_folder("prepared") / name, load, built), bool(new)
