"""A folder of image files, with or without class folders."""

from functools import partial
from pathlib import Path
from typing import Any

from mezzotint.data.files import source_of
from mezzotint.data.naming import shown
from mezzotint.data.source import Kind, Source, stamp
from mezzotint.data.tree import Names, of_folder
from mezzotint.errors import UserError


def folder(data: str, split: str, conditional: bool = True) -> Source:
    """Return the images of one split of a folder, by the rules of `data.layout`.

    Raises:
        UserError: If there are no images or no such split, or if the layout is ambiguous.
    """
    path = Path(data)

    def key(names: Names) -> dict[str, Any]:
        stamps = [stamp(f"{data}/{name}", str(name)) for name in names]
        return {"kind": "folder", "root": data, "files": stamps}

    tree = of_folder(path)
    tables = [f for each in tree.root.walk() for f in each.others if f.suffix == ".parquet"]
    if tables and tree.root.every():
        raise UserError(
            f"{data} holds parquet files ({shown(list(map(str, tables)))}) and image files: give "
            "the path of the files that you mean"
        )
    return source_of(tree, split, conditional, key, lambda: path.joinpath)


KIND = Kind("a folder of images", folder, Path.is_dir, partial(folder, conditional=False))
