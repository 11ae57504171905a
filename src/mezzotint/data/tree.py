"""The files of a data set as a tree of folders, divided into images and other files."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from mezzotint.data.formats import HEAD, is_image
from mezzotint.data.naming import is_litter
from mezzotint.data.reading import TABLE, passing, read_file
from mezzotint.errors import UserError

Names = list[PurePosixPath]
_DEEPEST = 100  # the largest number of folders inside each other

OTHERS = "file that is not an image", "files that are not images"
OUTSIDE = (
    "image outside the folders that are read",
    "images outside the folders that are read",
)
SPECIAL = "entry that is not a file", "entries that are not files"
RUNS = "folder of a run or its figures", "folders of runs or their figures"
"""The reasons why files are left out, each in singular and plural."""


@dataclass(frozen=True)
class LeftOut:
    """What a data set leaves out for one reason: the number of entries, and up to three names."""

    why: str
    count: int
    first: tuple[str, ...]

    @staticmethod
    def of(nouns: tuple[str, str], names: Iterable[PurePosixPath]) -> "LeftOut":
        """Return a `LeftOut` for the entries ``names``, which are left out for one reason.

        ``nouns`` are a noun for these entries and its plural, for example ("video", "videos").
        """
        every = sorted(map(str, names))
        return LeftOut(nouns[len(every) > 1], len(every), tuple(every[:3]))

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        return f"{self.count:,} {self.why} ({', '.join(self.first)}{more})"


@dataclass(eq=False)
class Folder:
    """A folder; the paths of its files are relative to the root of the data."""

    name: str
    path: PurePosixPath = field(default_factory=PurePosixPath)
    folders: list["Folder"] = field(default_factory=list)
    images: Names = field(default_factory=list)
    others: Names = field(default_factory=list)

    def walk(self) -> Iterator["Folder"]:
        """Yield the folder and all folders below it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def every(self) -> Names:
        """Return the images in this folder and in all folders below it."""
        return [name for folder in self.walk() for name in folder.images]

    @property
    def filled(self) -> list["Folder"]:
        """The direct subfolders with an image in them or in a folder below them."""
        return [folder for folder in self.folders if any(f.images for f in folder.walk())]

    @property
    def bare(self) -> list["Folder"]:
        """The direct subfolders without a file in them or in any folder below them."""
        return [
            folder
            for folder in self.folders
            if not any(f.images or f.others for f in folder.walk())
        ]


@dataclass(frozen=True, eq=False)
class Tree:
    """The files of a data set.

    Attributes:
        place: The name of the data set in messages.
        root: The top folder, with all folders and files in it except those in ``left`` and those
            that operating systems leave behind.
        read: A function that returns the content of a file that is not an image.
        left: What is left out of ``root`` and reported: entries that are neither files nor folders,
            the folders of runs, and other folders with a figures.jsonl.
    """

    place: str
    root: Folder
    read: Callable[[PurePosixPath], bytes]
    left: tuple[LeftOut, ...] = ()


def of_folder(path: Path) -> Tree:
    """Return the files below a folder. Links are followed, except to a folder that contains them.

    Only regular files are opened. Raises UserError if a folder cannot be read, or if ``path`` is
    the folder of a run.
    """
    special: Names = []

    def visit(folder: Path, name: PurePosixPath, above: frozenset[Path]) -> Folder:
        _check_depth(str(path), name)
        found = Folder(folder.name, name)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be read ({error.strerror}): correct its permissions, or give "
                "another folder"
            ) from None
        for entry in entries:
            if is_litter(entry.name):
                continue
            inner = name / entry.name
            if _is_folder(entry):
                here = folder / entry.name
                if (real := here.resolve()) not in above:
                    found.folders.append(visit(here, inner, above | {real}))
            elif _is_special(entry):
                special.append(inner)
            elif is_image(inner, lambda: _head(entry.path)):  # noqa: B023 (called at once)
                found.images.append(inner)
            else:
                found.others.append(inner)
        return found

    root = visit(path, PurePosixPath(), frozenset([path.resolve()]))
    return _of(str(path), root, lambda name: read_file(path / name, TABLE), special)


def of_archive(
    path: Path,
    files: Iterable[tuple[PurePosixPath, bytes | None]],
    folders: Iterable[PurePosixPath],
    read: Callable[[PurePosixPath], bytes],
    special: Iterable[PurePosixPath] = (),
) -> Tree:
    """Build the tree of an archive from its files and their first bytes.

    Raises UserError if the archive contains the files of a run at its root.
    """
    found = {PurePosixPath(): Folder(path.name.split(".")[0])}

    def at(name: PurePosixPath) -> Folder:
        if name not in found:
            _check_depth(str(path), name)
            found[name] = Folder(name.name, name)
            at(name.parent).folders.append(found[name])
        return found[name]

    for name in folders:
        if not any(map(is_litter, name.parts)):
            at(name)
    for name, head in files:
        if not any(map(is_litter, name.parts)):
            folder = at(name.parent)
            (folder.images if is_image(name, lambda: head) else folder.others).append(name)  # noqa: B023
    return _of(str(path), at(PurePosixPath()), read, [n for n in special if not is_litter(n.name)])


def is_run(folder: Folder) -> bool:
    """Return whether a folder is a run of mezzotint."""
    names = {name.name for name in folder.others}
    below = {inner.name for inner in folder.folders}
    return "config.json" in names and ("log.jsonl" in names or "checkpoints" in below)


def _of(place: str, root: Folder, read: Callable[[PurePosixPath], bytes], special: Names) -> Tree:
    if is_run(root):
        raise UserError(f"{place} is the folder of a run, not data: give the folder of the images")
    runs: Names = []
    root = _without_runs(root, runs)
    left = [LeftOut.of(SPECIAL, special)] if special else []
    if runs:
        left.append(LeftOut.of(RUNS, runs))
    return Tree(place, root, read, tuple(left))


def _without_runs(folder: Folder, runs: Names) -> Folder:
    kept = []
    for inner in folder.folders:
        before = len(runs)
        if is_run(inner) or any(name.name == "figures.jsonl" for name in inner.others):
            runs.append(inner.path)
            continue
        rest = _without_runs(inner, runs)
        if len(runs) == before or any(f.images or f.others for f in rest.walk()):
            kept.append(rest)
    return replace(folder, folders=kept)


def _check_depth(place: str, name: PurePosixPath) -> None:
    if len(name.parts) > _DEEPEST:
        raise UserError(
            f"{place} holds folders that are nested more than {_DEEPEST} deep, such as "
            f"{str(name)[:40]}...: move the folders that you need to a higher level"
        )


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise passing(entry.path, error) from None


def _is_special(entry: "os.DirEntry[str]") -> bool:
    try:
        return not entry.is_file() and bool(entry.stat())
    except OSError:  # a broken link; if it has the suffix of an image, the decoder reports it
        return False


def _head(path: str) -> bytes | None:
    """Return the first bytes of a file; None for a broken link, or if permission is denied.

    Raises UserError for a temporary fault, because an image whose first bytes are not known could
    be mistaken for another kind of file.
    """
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except (FileNotFoundError, PermissionError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise passing(path, error) from None
