"""Make a source from a tree of image files: the code that folders, zips and tars share."""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from mezzotint.data.images import ImageFile, Pixels, Wanted, read_image
from mezzotint.data.layout import understand
from mezzotint.data.naming import shown
from mezzotint.data.source import Item, Source
from mezzotint.data.tables import of_tree
from mezzotint.data.tree import OUTSIDE, Names, Tree

Reader = Callable[[PurePosixPath], Path | bytes]


def source_of(
    tree: Tree,
    split: str,
    conditional: bool,
    key: Callable[[Names], dict[str, Any]],
    opened: Callable[[], Reader],
    *,
    archive: bool = False,
) -> Source:
    """Return a split of a tree as a source.

    Args:
        tree: The files.
        split: The name of the split.
        conditional: Whether wrong labels raise UserError. If not, and some labels are wrong, all
            images are used without classes.
        key: A function from the names of images to a part of the cache's key. This part changes
            when one of these images changes.
        opened: A function that is called before the first image is read. It returns the function
            that reads one image.
        archive: Whether the tree comes from an archive.

    Raises:
        UserError: If the layout is ambiguous, if there are no images or no such split, or if the
            rules of `data.layout` refuse the split.
    """
    layout = understand(tree, archive)
    found = layout.contents(split, conditional)
    left_out = layout.left_out(found, split)
    warned = [*layout.warnings, *found.warnings]
    outside = [left for left in left_out if left.why in OUTSIDE]
    warned += [f"{tree.place}: mezzotint leaves out {left}" for left in outside]
    others = (name for folder in tree.root.walk() for name in folder.others)
    arrays = {name for name in others if name.suffix == ".npy"}
    if arrays and (twins := [name for name in found.files if name.with_suffix(".npy") in arrays]):
        warned.append(
            f"{tree.place}: mezzotint reads {shown([*map(str, twins)])}, and not the .npy files "
            "of the same names: if these hold the images, pass them to mz.prepare as one array"
        )
    notes = [f"left out: {left}" for left in left_out if left not in outside]
    labels = json.dumps([list(found.labels), found.classes]).encode()

    reader = cache(opened)

    def image(name: PurePosixPath) -> tuple[Callable[[], Pixels], str]:
        def decode() -> Pixels:
            return read_image(reader()(name), name.name, Wanted())

        return decode, json.dumps([str(name), key([name])])

    def items() -> Iterator[Item]:
        read, base = opened(), f"{found.base}/"
        for name, label in zip(found.files, found.labels, strict=True):
            shown = str(name).removeprefix(base)
            file = partial(read, name)
            yield Item(shown, ImageFile(file, name.name), label, file)

    return Source(
        f"{PurePosixPath(tree.place).name.split('.')[0] or 'data'}-{split}",
        {**key(found.files), "split": split, "labels": hashlib.sha256(labels).hexdigest()},
        found.classes,
        len(found.files),
        items,
        (*notes, *warned),
        files=True,
        layout=found.layout,
        left_out=left_out,
        warnings=tuple(warned),
        table=lambda column: of_tree(tree, found.files, column, image),
    )
