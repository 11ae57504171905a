"""From what the user wrote as `data` to the source it means."""

import difflib
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

from PIL import Image

from mezzotint.data.arrays import arrays
from mezzotint.data.cached import cached
from mezzotint.data.cifar10 import ARCHIVE, cifar10
from mezzotint.data.folder import folder, zip_file
from mezzotint.data.glyphs import glyphs
from mezzotint.data.hub import hub
from mezzotint.data.parquet import parquet
from mezzotint.data.source import Source
from mezzotint.errors import UserError

_NAMED = {"glyphs": glyphs, "cifar10": cifar10}
_HUB = "hub:"
_ARRAY = "array:"
_JPEG = {".jpg", ".jpeg", ".jfif"}


def find_source(data: str, split: str = "train") -> Source:
    """The source that `data` means.

    Args:
        data: `glyphs`, `cifar10`, `hub:OWNER/NAME` (a data set of parquet files on the Hugging Face
            Hub, fetched into its own cache), or a path: the official CIFAR-10 archive (.tar.gz) or
            a folder that contains it, a zip, a parquet file, a folder of parquet files or a clone
            of a repository of the hub that has one, a .npy or .npz file of images, or a folder of
            pictures. A folder that bears the name of a data set is written `./cifar10`.
        split: `train`, `test`, `validation` ...; which exist depends on the source.

    Raises:
        UserError: nothing of that name, no such split, a source that is damaged at first sight, or
            one that cannot be fetched.
    """
    if data in _NAMED:
        return _NAMED[data](split)
    if data.startswith(_HUB):
        return hub(data.removeprefix(_HUB), split)
    if data.startswith(_ARRAY):
        return cached(data.removeprefix(_ARRAY), split)
    path = Path(os.path.expanduser(data))
    if not data or not path.exists():
        raise _unknown(data)
    path = path.resolve()
    if path.is_dir():
        if any(path.glob("*.parquet")):
            return parquet(path, split)
        if (path / ARCHIVE).is_file():
            return cifar10(split, path / ARCHIVE)
        if below := _parquet_below(path):
            return replace(parquet(below, split), name=f"{path.name}-{split}")
        return folder(path, split)
    name = path.name.lower()
    if name.endswith((".tar.gz", ".tgz")):
        return cifar10(split, path)
    if name.endswith(".zip"):
        return zip_file(path, split)
    if name.endswith(".parquet"):
        return parquet(path, split)
    if name.endswith((".npy", ".npz")):
        return arrays(path, split)
    raise UserError(
        f"{data} is no data set: give a folder, a .zip, a .parquet, a .npy, a .npz or {ARCHIVE}"
    )


def jpegs(data: str, split: str) -> int:
    """How many of a split's pictures are JPEG files, by their suffix.

    They lie in a folder or a zip; of every other kind of data the answer is 0. Raises as
    `find_source`.
    """
    source = find_source(data, split)
    if source.key["kind"] not in ("folder", "zip"):
        return 0
    names = (PurePosixPath(picture.name) for picture in source.pictures())
    return sum(name.suffix.lower() in _JPEG for name in names)


def _parquet_below(path: Path) -> Path | None:
    """The one folder below that holds parquet files, if there is one and there are no pictures."""

    def visible(pattern: str) -> list[Path]:
        names = [file.relative_to(path) for file in path.rglob(pattern)]
        return [name for name in names if not any(part[0] == "." for part in name.parts)]

    folders = {name.parent for name in visible("*.parquet")}
    if len(folders) != 1:
        return None
    pictures = Image.registered_extensions()
    return None if any(n.suffix.lower() in pictures for n in visible("*")) else path / folders.pop()


def _unknown(data: str) -> UserError:
    near = difflib.get_close_matches(data.lower(), _NAMED, n=1)
    known = f"{', '.join(_NAMED)}, {_HUB}OWNER/NAME or a path that exists"
    hint = f"did you mean {near[0]}?" if near else f"give {known}"
    return UserError(f"there is no data set, file or folder {data!r}: {hint}")
