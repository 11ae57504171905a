"""The prepared array: images that were decoded once into memory-mapped files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mezzotint.data.columns import stored
from mezzotint.data.images import Mode, Pixels
from mezzotint.data.naming import nfc
from mezzotint.data.sizes import Size
from mezzotint.data.tables import NOTHING, Asked
from mezzotint.data.values import EIGHT_BIT, Bounds, Values, from_json
from mezzotint.errors import counted, first_of
from mezzotint.networks.conditions import Condition
from mezzotint.storage.arrays import SUMMED, crc
from mezzotint.storage.parse import content, parsed, regular

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Prepared:
    """A data set ready for training, read-only.

    Attributes:
        images: (N, H, W, C), memory-mapped: uint8, uint16 or float32, as `values` says.
        labels: int64 (N,), the class of each image; all are -1 if `classes` is empty.
        classes: the names of the classes.
        fingerprint: a SHA-256 that changes with the pixels, shape, labels, class names, conditions
            and `values`. It does not depend on the place where the images are stored.
        folder: the entry of the cache.
        skipped: the number of images that were left out because they could not be read.
        source: the name or path of the data; "" for a subset of a data set. To get the same data
            set again, call `prepare(data.source, size=data.size, split=data.split,
            skip_bad=data.skip_bad, conditional=data.conditional, mode=data.mode,
            range=data.range)`, and pass the columns in `asked` too if there are any.
        whole: for a subset of a data set, the source of the whole data set.
        values: the type and range of `images`.
        notes: a line for each conversion, and for each group of files that was left out.
        condition: the conditions besides the class, by name, each with N rows: numbers float64 (N,
            D), labels uint8 (N, K) of 0 and 1, images uint8 (N, h, w, c).
        conditions: the kinds of these conditions, with their measured statistics.
        asked: the columns that `prepare` was asked to use as conditions or labels.
        size, split, skip_bad, conditional, mode, range: the arguments that `prepare` was given.
    """

    images: Pixels
    labels: Labels
    classes: tuple[str, ...]
    fingerprint: str
    folder: Path
    skipped: int = 0
    source: str = ""
    size: Size | None = None
    split: str = "train"
    skip_bad: bool = False
    conditional: bool = True
    notes: tuple[str, ...] = ()
    condition: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    whole: str = ""
    mode: Mode | None = None
    range: Bounds | None = None
    values: Values = EIGHT_BIT
    asked: Asked = NOTHING

    @property
    def origin(self) -> str:
        """The source of these images, or of the data set that they are a subset of."""
        return self.source or self.whole

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width, channels = self.images.shape[1:]
        name = f"from {self.source!r} ({self.split})" if self.source else "part of another"
        scale = "" if self.values.eight_bit else f", {self.values}"
        images = f"{counted(len(self), 'image')} of {height}x{width}x{channels}{scale}"
        first = f"Prepared: {images}, {name}"
        second = (
            f"{counted(len(self.classes), 'class', 'classes')}: {first_of(self.classes)}"
            if self.classes
            else "no classes"
        )
        skipped = [f"{self.skipped} left out"] if self.skipped else []
        others = [str(each) for each in self.conditions]
        return first + "\n  " + "; ".join([second, *others, *skipped, *self.notes])

    def some(self, count: int) -> "Prepared":
        """Return up to ``count`` images, drawn at random with a fixed seed.

        Data is often ordered by class, so the first images, or every k-th image, might show only a
        few classes.
        """
        if count >= len(self):
            return self
        rows = np.sort(np.random.default_rng(0).permutation(len(self))[:count])
        name = f"{count} of {self.fingerprint}"
        fingerprint = hashlib.sha256(name.encode()).hexdigest()
        picked = self.images[rows], self.labels[rows]
        part = Prepared(*picked, self.classes, fingerprint, self.folder)
        return replace(part, whole=self.origin, values=self.values)


def load(entry: Path) -> Prepared | None:
    """Return the prepared array in a folder of the cache; None for a missing or damaged array.

    The checksum of the labels and of meta.json is verified. The checksum of the pixels is verified
    if they have at most `SUMMED` bytes.
    """
    try:
        meta = parsed(content(entry / "meta.json"))
        images = np.load(regular(entry / "images.npy"), mmap_mode="r")
        labels = np.load(regular(entry / "labels.npy"))
        if [*images.shape] != meta["shape"] or labels.shape != images.shape[:1]:
            return None
        if meta["sum"] != sum_of(meta, labels):
            return None
        if images.nbytes <= SUMMED and crc(images) != meta["pixels"]:
            return None
        labels.setflags(write=False)
        facts = meta["fingerprint"], entry, meta["skipped"]
        notes, values = tuple(meta["notes"]), from_json(meta)
        if str(images.dtype) != values.dtype:
            return None
        more = {"notes": notes, "values": values, **stored(entry, meta)}
        return Prepared(images, labels, tuple(meta["classes"]), *facts, **more)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def sum_of(meta: dict[str, Any], labels: Labels) -> str:
    """Return the SHA-256 of a prepared array's labels and meta.json, without its pixels."""
    facts = [meta[name] for name in ("shape", "classes", "fingerprint", "skipped", "notes")]
    more = ("values", "conditions", "rows")  # missing for 8-bit images without conditions
    facts += [meta[name] for name in more if name in meta]
    digest = hashlib.sha256(json.dumps([*facts, meta["pixels"]]).encode())
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def in_order(data: Prepared, classes: Sequence[str]) -> Prepared:
    """Return data with the classes in the order of ``classes``, a list of the same names."""
    places = {nfc(name): i for i, name in enumerate(classes)}
    labels = np.array([places[nfc(name)] for name in data.classes])[data.labels]
    return replace(data, labels=labels, classes=tuple(classes))


def is_same(data: Prepared, fingerprint: str) -> bool:
    """Return whether ``fingerprint`` is that of ``data`` in this or an older version of mezzotint.

    Older versions numbered class folders in the order of text (1, 10, 2). Newer versions number
    them in natural order (1, 2, 10). So the same images can have two fingerprints.
    """
    if data.fingerprint == fingerprint:
        return True
    before = sorted(data.classes)
    if before == list(data.classes):
        return False
    labels = np.array([before.index(name) for name in data.classes])[data.labels]
    rows = np.argsort(labels, kind="stable")
    sha = hashlib.sha256()
    for start in range(0, len(rows), 1024):
        sha.update(data.images[rows[start : start + 1024]].tobytes())
    sha.update(labels[rows].astype("<i8").tobytes())
    sha.update(json.dumps([data.images.shape, before]).encode())
    return sha.hexdigest() == fingerprint
