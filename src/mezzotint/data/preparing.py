"""Prepare a data set, given as a name, a path or images in memory."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from mezzotint.data.building import build
from mezzotint.data.columns import of_arrays, write
from mezzotint.data.find import as_text, opened, recognise
from mezzotint.data.images import CHANNELS, POLICY, Mode, Wanted
from mezzotint.data.memory import Layout, memory
from mezzotint.data.prepared import Prepared, load, sum_of
from mezzotint.data.sizes import Size, sides
from mezzotint.data.source import NoSplit, Source
from mezzotint.data.tables import Asked, with_columns
from mezzotint.data.values import EIGHT_BIT, Bounds, checked
from mezzotint.errors import UserError, counted, warn
from mezzotint.storage.cache import begun, cache_folder, commit, kept


def held_out(train: Prepared) -> Prepared:
    """Return the test split of a data set, else its validation split, else ``train`` itself.

    ``train`` is the training split. The images are prepared like those of ``train``, and have the
    same channels and range of values. Raises UserError if the test or validation split exists,
    but `prepare` refuses it or cannot convert it.
    """
    for split in ("test", "validation"):
        with suppress(NoSplit):
            found = prepare(
                train.source,
                size=train.size,
                split=split,
                skip_bad=train.skip_bad,
                conditional=train.conditional,
                condition=train.asked.condition,
                labels_from=train.asked.labels_from,
                image_condition=train.asked.image_condition,
                mode=_mode_of(train),
                range=train.range,
            )
            ours, theirs = (
                f"{each.values} of {counted(each.images.shape[3], 'channel')}"
                for each in (found, train)
            )
            if ours != theirs:
                raise UserError(
                    f"the images of the split {split} of {train.source} are {ours}, but those of "
                    f"the split train are {theirs}: convert them, or choose another `mode`"
                )
            if found.fingerprint != train.fingerprint:  # equal if both splits are the same file
                return found
    return train


def _mode_of(data: Prepared) -> Mode | None:
    """Return the `mode` with which `prepare` gives another split the same channels as ``data``."""
    if data.mode is None and data.values == EIGHT_BIT:
        modes: dict[int, Mode] = {3: "rgb", 1: "grey"}
        return modes.get(data.images.shape[3])
    return data.mode


def prepare(
    data: Any,
    labels: Any = None,
    *,
    classes: Sequence[str] | None = None,
    layout: Layout | None = None,
    range: Bounds | None = None,
    size: Size | str | None = None,
    split: str = "train",
    skip_bad: bool = False,
    conditional: bool = True,
    mode: Mode | None = None,
    condition: Any = None,
    labels_from: str | None = None,
    image_condition: str | None = None,
) -> Prepared:
    """Prepare a data set: decode it into the cache, or find it there.

    Args:
        data: a name, `hub:OWNER/NAME` or a path (see docs/folders.md); a `pathlib.Path`; or images
            in memory, a numpy array or a torch tensor (N, H, W), (N, H, W, C) or (N, C, H, W),
            which are copied to the cache. Prepared data is returned unchanged.
        labels: with images in memory: N non-negative integers, or N names of classes, or None.
        classes: with labels: the names of the classes. If it is None, the classes of integer labels
            are named "0" to the largest label; labels that are names are themselves the names.
        layout: with images in memory: the order of the axes, "NHW", "NHWC" or "NCHW". It is
            required if the lengths of the axes are ambiguous.
        range: for an array or 32-bit image files, the values (black, white) that networks see as -1
            and 1. For uint8 it is required only if the largest value is 1. For uint16 it
            defaults to 0 to 65535 if a value exceeds 255. The values themselves are not changed.
        size: the size in pixels to which images are scaled and centre-cropped: the side of a
            square, or (height, width), or "48x80". None keeps the images' own size.
        split: for a name or a path: `train`, `test`, `validation` ...
        skip_bad: if True, files that cannot be read are left out and counted. If False, `prepare`
            raises UserError for such files.
        conditional: whether labels are required. If not, faults of labels are ignored, and all
            images in a folder are used, with or without class folders. Labels that can be read are
            kept.
        mode: the channels: "keep" for the images' own, or 8-bit "rgb", "grey" or "rgba" (RGB and
            opacity), to which images are converted. None keeps the channels if all images have the
            same channels, and converts to RGB if grey and RGB are mixed. Transparency is composited
            on white except with "rgba". With "keep" or None, the grey pages of a TIFF are its
            channels.
        condition: conditions of the network besides the class. With images in memory: an array or a
            tensor with a row for each image, or a dict of these by name. A float array (N, D) holds
            numbers. An integer array (N, K) of zeros and ones holds several labels for each image.
            A uint8 array (N, H, W, C) holds images. With a path: the names of columns of numbers,
            in `metadata.csv` or `metadata.jsonl` beside the images, or in parquet files.
        labels_from: the column with the labels of the images. An image may have several labels, as
            a list or separated by | or ;.
        image_condition: the column with a second image for each image, as a condition. It holds
            file names, or in parquet files the images themselves. Both images must have the same
            size, or sizes that differ by an integer factor.

    Returns:
        The data set. Its `notes` say what was converted. Its `source` is a string that this
        function takes as `data` to return the same data set, also in another process (see
        `Prepared`).

    Raises:
        UserError: If `find_source` fails; files cannot be read (the message gives their number, and
            names up to five); images differ in size without `size`; images differ in channels (only
            grey and RGB may be mixed, and not with `mode="keep"`); more than half of the images, or
            all images of a class, were skipped; the disk is full; or arguments contradict each
            other. Images in memory are refused if their shape or type is not one of those described
            at `data` and `range`; values are not finite, or outside `range`; or labels have a wrong
            length, type or range. Conditions are refused if a column does not exist, is not numeric
            or has a value that is not finite; metadata names a missing file, or lacks an image; or
            the sizes of image and condition do not match.
    """
    size = sides(size)
    if mode not in (None, *get_args(Mode)):
        raise UserError(f"`mode` is {mode!r}: choose {', '.join(get_args(Mode))}")
    if not isinstance(split, str):
        raise UserError(f"`split` is {split!r}: give a name, such as train or test")
    if not isinstance(skip_bad, bool):
        raise UserError(f"`skip_bad` is {skip_bad!r}: give True or False")
    if not isinstance(conditional, bool):
        raise UserError(f"`conditional` is {conditional!r}: give True or False")
    in_memory = {"labels": labels, "classes": classes, "layout": layout}
    named = {"split": None if split == "train" else split, "skip_bad": skip_bad or None}
    if isinstance(data, Prepared):
        again = {"size": size, "range": range, "mode": mode, "condition": condition}
        again |= {"labels_from": labels_from, "image_condition": image_condition}
        _refuse({**again, **in_memory, **named}, "prepared data")
        return data
    wanted = Wanted(mode, None if range is None else checked(range))
    if isinstance(data, str | os.PathLike):
        data = as_text(data)
        _refuse(in_memory, f"{data}, only with images in memory")
        asked = Asked.of(condition, labels_from, image_condition)
        found, warned = _found(data, size, split, skip_bad, conditional, wanted, asked)
        for warning in warned:
            warn(warning)
        return found
    by_column = {"labels_from": labels_from, "image_condition": image_condition}
    _refuse(named | by_column, "images in memory, only with a name or a path")
    source = memory(data, labels, classes, layout)
    source = replace(source, columns=of_arrays(condition, source.count))
    cache = cache_folder("prepared")
    with begun(cache, "array") as building:
        fingerprint = _build(source, size, False, building, wanted)
        made = load(building)
        found = commit(building, cache / f"array-{fingerprint[:16]}", load)
    notes = made.notes if made else ()
    return replace(found, source=f"array:{fingerprint[:16]}", notes=notes)


def _build(source: Source, size: Size | None, skip_bad: bool, folder: Path, wanted: Wanted) -> str:
    """Decode a source and its conditions into an empty folder; return the fingerprint."""
    fingerprint = build(source, size, skip_bad, folder, wanted)
    if not source.columns:
        return fingerprint
    meta = write(source, folder, lambda item: item.decode(wanted), size is not None)
    meta["sum"] = sum_of(meta, np.load(folder / "labels.npy"))
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    return str(meta["fingerprint"])


def _refuse(arguments: dict[str, Any], data: str) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise UserError(f"`{name}` cannot be used with {data}: leave it out")


def _found(
    data: str,
    size: Size | None,
    split: str,
    skip_bad: bool,
    conditional: bool,
    wanted: Wanted,
    asked: Asked,
) -> tuple[Prepared, tuple[str, ...]]:
    """Return the data set of a name or a path, and the warnings of its source.

    The warnings are () if the data set was already in the cache.
    """
    place, kind = recognise(data)
    source = with_columns(opened(place, kind, split, conditional), asked)
    found, new = _entry(source, size, skip_bad, wanted)
    prepared = replace(
        found,
        source=place,
        size=size,
        split=split,
        skip_bad=skip_bad,
        conditional=conditional,
        mode=wanted.mode,
        range=wanted.range,
        asked=asked,
        # The cache does not keep the source's notes, because other files may come and go.
        notes=tuple(dict.fromkeys([*source.notes, *found.notes])),
    )
    return prepared, source.warnings if new else ()


def _entry(
    source: Source, size: Size | None, skip_bad: bool, wanted: Wanted
) -> tuple[Prepared, bool]:
    """Return a source's prepared array, and whether the array was made just now."""
    if source.entry and size is None and wanted.range is None and (found := load(source.entry)):
        channels = found.images.shape[3] if found.values.eight_bit else 0
        opaque = wanted.mode == "rgba" and not found.values.alpha
        if CHANNELS.get(wanted.mode or "keep", channels) == channels and not opaque:
            return found, False
    key: dict[str, Any] = {
        "source": source.key,
        "size": size,
        "skip_bad": skip_bad,
        "policy": POLICY,
    }
    if wanted.mode != "rgb":  # the keys of older entries had no such field
        key["mode"] = wanted.mode
    if wanted.range:
        key["range"] = wanted.range
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    name = f"{source.name[:50]}-{digest[:16]}"  # file systems allow 255 bytes
    new: list[str] = []

    def built(folder: Path) -> None:
        new.append(_build(source, size, skip_bad, folder, wanted))

    return kept(cache_folder("prepared") / name, load, built), bool(new)
