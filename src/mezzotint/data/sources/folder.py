"""A folder of image files, by class or side by side."""

from functools import partial
from pathlib import Path, PurePosixPath

from mezzotint.data.images import read_image
from mezzotint.data.source import Kind, Source, stamp
from mezzotint.data.sources.layout import Decode, Names, ignored, layout, source
from mezzotint.errors import UserError


def folder(data: str, split: str) -> Source:
    """The images of one split of a folder.

    Raises:
        UserError: no images, an empty class folder, images beside class folders, or no such
            split.
    """
    path = Path(data)
    files, folders = _walk(path)
    root, names, classes = layout(data, files, folders, split)
    stamps = [stamp(path / root / name, str(name)) for name in names]
    key = {"kind": "folder", "root": str(path / root), "split": split, "files": stamps}

    def decoder(name: PurePosixPath) -> Decode:
        return partial(read_image, path / root / name)

    return source(f"{path.name}-{split}", key, names, classes, decoder)


KIND = Kind("a folder of images", folder, Path.is_dir)


def _walk(top: Path) -> tuple[Names, Names]:
    """All files and all folders below, relative; a link back to a folder above is not entered."""
    files: Names = []
    folders: Names = []

    def visit(folder: Path, above: frozenset[Path]) -> None:
        try:
            entries = list(folder.iterdir())
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror}") from None
        for entry in entries:
            if ignored((entry.name,)):
                continue
            name = PurePosixPath(entry.relative_to(top).as_posix())
            if not entry.is_dir():
                files.append(name)
            elif (real := entry.resolve()) not in above:
                folders.append(name)
                visit(entry, above | {real})

    visit(top, frozenset([top.resolve()]))
    return files, folders
