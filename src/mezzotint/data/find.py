"""From what the user wrote as `data` to the source it means."""

import difflib
import os
from pathlib import Path

from mezzotint.data.cifar10 import ARCHIVE, cifar10
from mezzotint.data.folder import folder, zip_file
from mezzotint.data.glyphs import glyphs
from mezzotint.data.parquet import parquet
from mezzotint.data.source import Source
from mezzotint.errors import UserError

_NAMED = {"glyphs": glyphs, "cifar10": cifar10}


def find_source(data: str, split: str = "train") -> Source:
    """The source that `data` means.

    Args:
        data: `glyphs`, `cifar10`, or a path: the official CIFAR-10 archive (.tar.gz) or a folder
            that contains it, a zip, a parquet file, a folder of parquet files, or a folder of
            pictures. A folder that bears the name of a data set is written `./cifar10`.
        split: `train`, `test`, `validation` ...; which exist depends on the source.

    Raises:
        UserError: nothing of that name, no such split, or a source that is damaged at first sight.
    """
    if data in _NAMED:
        return _NAMED[data](split)
    path = Path(os.path.expanduser(data))
    if not data or not path.exists():
        raise _unknown(data)
    path = path.resolve()
    if path.is_dir():
        if any(path.glob("*.parquet")):
            return parquet(path, split)
        if (path / ARCHIVE).is_file():
            return cifar10(split, path / ARCHIVE)
        return folder(path, split)
    name = path.name.lower()
    if name.endswith((".tar.gz", ".tgz")):
        return cifar10(split, path)
    if name.endswith(".zip"):
        return zip_file(path, split)
    if name.endswith(".parquet"):
        return parquet(path, split)
    raise UserError(f"{data} is no data set: give a folder, a .zip, a .parquet or {ARCHIVE}")


def _unknown(data: str) -> UserError:
    near = difflib.get_close_matches(data.lower(), _NAMED, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give {', '.join(_NAMED)} or a path that exists"
    return UserError(f"there is no data set, file or folder {data!r}: {hint}")
