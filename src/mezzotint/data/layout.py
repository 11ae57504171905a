"""The rules that turn the files of a folder into splits, classes and images.

The same rules hold for folders, zips and tars.

1. **Images** are files with an image's suffix or first bytes (`data.formats`). Every other file is
   left out, and reported by a count and the first three names. Files that operating systems leave
   behind are not counted. A folder that mezzotint wrote (a run, its figures) is left out.
2. **Wrappers.** A folder is a wrapper if it holds a single folder with images, no empty folder, and
   no images of its own. Folders of files other than images may lie beside the single folder. If the
   single folder is called ``images``, ``jpg`` ..., folders such as ``masks`` and ``annotations``
   may lie beside it too, even if they hold images. The single folder is entered, that is, read in
   place of the wrapper, if it holds no images directly, or has its parent's name, or is called
   ``images``, ``jpg`` ... The entered folder may be a wrapper too. The single top folder of an
   archive is always entered, unless it is a split.
3. **Splits** are folders called train or training; test or testing; validation, val, valid, dev or
   eval, in upper or lower case. ``set``, ``data``, ``images``, a year or the number of a part may
   follow the word. Numbered parts are merged into one split. A prefix is allowed if two splits
   share it (``seg_train``, ``seg_test``). Splits may lie inside each class folder. In ``trainA``,
   ``trainB``, ``testA``, ``testB`` the letters are classes.

   - Suppose folders with images lie beside ``train`` and are not splits. The data is refused,
     because ``train`` may be a class. But if there is a second split, these folders are left out in
     two cases: ``train`` holds no images directly, or the names of all these folders mean
     annotations.
   - Suppose there is no ``train``, and ``test`` or ``val`` lies beside class folders. If all these
     folders hold images directly, they are all classes, and no images are held out. If one of them
     holds images only in its subfolders, the data is refused.
   - If there is no ``train``, and images lie beside ``test`` or ``val``, the data is refused.
4. **Classes** are the folders of a split that hold images at any depth, in natural order (1, 2,
   10), with their names in NFC. ``Labels.json`` may give other names. The numbered parts of one set
   (``images_001``, ``images_002``) are not classes. Images without class folders have no classes,
   with two exceptions: ``dataset.json`` (EDM's format) may hold their labels; and a table beside
   the images of a held-out split may name a class of the training split for each image.
5. Images beside class folders, and class folders without any file, are **refused**. If no
   labels are required (`conditional=False`), all images at any depth are taken instead, without
   classes. Folders such as ``masks`` are not class folders if images lie beside them; the images in
   such folders are left out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mezzotint.data import annotations
from mezzotint.data.formats import advice
from mezzotint.data.naming import (
    are_parts,
    canonical,
    is_annotation,
    natural,
    nfc,
    plain,
    shown,
    split_folders,
)
from mezzotint.data.source import UNLABELLED, Unlabelled, no_split
from mezzotint.data.splitting import splits_by_letter, splits_inside, splits_of, wrapped
from mezzotint.data.tree import OTHERS, OUTSIDE, Folder, LeftOut, Names, Tree
from mezzotint.errors import UserError, counted, without_controls


@dataclass(frozen=True, eq=False)
class Contents:
    """The images of a split in order, their labels, and notes for the user.

    ``base`` is the folder that holds the images or class folders. ``layout`` says in words how the
    images are arranged, such as "a folder for each class".
    """

    base: PurePosixPath
    files: Names
    labels: Sequence[int]
    classes: tuple[str, ...]
    layout: str
    warnings: tuple[str, ...] = ()


@dataclass(eq=False)
class Layout:
    """The splits, classes and images in a tree of files.

    Attributes:
        tree: the files.
        chain: the folders from the root to the folder that holds the splits or classes.
        splits: {split: {name of a folder in lower case: the folder}}; empty if the tree has no
            splits.
        warnings: decisions that may not be what the user meant.
    """

    tree: Tree
    chain: list[Folder]
    splits: dict[str, dict[str, Folder]]
    warnings: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names of all folders that are splits."""
        return [f.name for split in self.splits.values() for f in split.values()] or ["train"]

    def left_out(self, contents: Contents, split: str) -> tuple[LeftOut, ...]:
        """Return the files left out of a split and of the whole data set, grouped by reason."""
        others = [name for folder in self.tree.root.walk() for name in folder.others]
        read = set(contents.files)
        for name, folders in self.splits.items():
            if name != canonical(split):
                read.update(file for folder in folders.values() for file in folder.every())
        beside = [name for name in self.tree.root.every() if name not in read]
        found = [LeftOut.of(OTHERS, others)] if others else []
        if beside:
            found.append(LeftOut.of(OUTSIDE, beside))
        return (*found, *self.tree.left)

    def contents(self, split: str, conditional: bool = True) -> Contents:
        """Return the images of a split.

        Raises UserError if the rules of this module refuse the split, and `NoSplit` if there is no
        such split.
        """
        chain = [*self.chain, *self._split(split)]
        while inner := wrapped(chain[-1]):
            chain.append(inner)
        try:
            return self._labelled(chain, canonical(split))
        except Unlabelled:
            files = sorted(chain[-1].every(), key=lambda name: name.parts)
            if conditional or not files:
                raise
            return self._plain(chain, files, "images at any depth, without classes")

    def _split(self, split: str) -> list[Folder]:
        """Return the folder of a split, in a list; the list is empty if the tree has no splits."""
        folders = self.splits.get(canonical(split), {})
        if not self.splits and canonical(split) == "train":
            return []
        if not folders:
            raise no_split(self.tree.place, split, self.names)
        if len(folders) == 1:
            return list(folders.values())
        if exact := folders.get(plain(split)):
            return [exact]
        names = " and ".join(folder.name for folder in folders.values())
        raise UserError(
            f"{self.tree.place} has the folders {names}, each of which may be the split {split!r}: "
            "keep one of them, or give the path of one"
        )

    def _labelled(self, chain: list[Folder], split: str) -> Contents:
        place, node = self.tree.place, chain[-1]
        where = "/".join([place, *node.path.parts])
        files = sorted(node.every(), key=lambda name: name.parts)
        if not files and not node.bare:
            every = [name for folder in node.walk() for name in folder.others]
            raise UserError(f"{where} holds no images: {advice([*every])}")
        if files and (given := annotations.dataset_json(self.tree, chain, files)):
            said = self._said("images with labels in dataset.json")
            return Contents(node.path, files, *given, said)
        folders = sorted(node.filled, key=lambda folder: natural(folder.name))
        if node.images and all(is_annotation(folder.name) for folder in folders):
            folders, files = [], sorted(node.images, key=lambda name: name.parts)
        names = [nfc(folder.name) for folder in folders]
        if are_parts(names) and not node.images:
            return self._plain(chain, files, "images in numbered parts")
        if not folders and not node.bare:
            return self._flat(chain, split, files)
        _check_classes(where, node, names)
        by_class = [(k, _images(folder)) for k, folder in enumerate(folders)]
        rows = [(k, name) for k, every in by_class for name in sorted(every, key=lambda n: n.parts)]
        classes = annotations.renamed(self.tree, chain, names)
        return Contents(
            node.path,
            [name for _, name in rows],
            [k for k, _ in rows],
            classes,
            self._said("a folder for each class"),
            tuple(_doubts(where, node, folders)),
        )

    def _flat(self, chain: list[Folder], split: str, files: Names) -> Contents:
        """Return the images of a split that has no class folders.

        In a held-out split, a table beside the images may name the class of each image; the classes
        are then the class folders of the training split.
        """
        if split != "train" and len(self.splits.get("train", {})) == 1:
            train = [*self.chain, *self._split("train")]
            while inner := wrapped(train[-1]):
                train.append(inner)
            names = sorted((nfc(folder.name) for folder in train[-1].filled), key=natural)
            if names and (labels := annotations.table(self.tree, chain, files, names)):
                said = self._said("images with classes in a table")
                classes = annotations.renamed(self.tree, train, names)
                return Contents(chain[-1].path, files, labels, classes, said)
        return self._plain(chain, files, "images side by side")

    def _plain(self, chain: list[Folder], files: Names, what: str) -> Contents:
        labels = [UNLABELLED] * len(files)
        return Contents(chain[-1].path, files, labels, (), self._said(what))

    def _said(self, what: str) -> str:
        splits = f"splits ({', '.join(self.names)}), each with " if self.splits else ""
        path = self.chain[-1].path
        return f"{splits}{what}" + (f", in the folder {path}" if path.parts else "")


def understand(tree: Tree, archive: bool = False) -> Layout:
    """Return the layout of a tree by the rules of this module.

    Raises UserError if the layout is ambiguous.

    Args:
        tree: The files.
        archive: Whether the files come from an archive (see rule 2).
    """
    chain, warnings = [tree.root], list[str]()
    if archive and not tree.root.images and len(tree.root.folders) == 1:
        only = tree.root.folders[0]
        if not split_folders([only.name]):
            chain.append(only)
    while True:
        splits = splits_of(tree, chain[-1], warnings)
        if splits or not (inner := wrapped(chain[-1])):
            splits = splits or splits_inside(chain[-1]) or splits_by_letter(chain[-1])
            return Layout(tree, chain, splits, warnings)
        chain.append(inner)


def _inner(folder: Folder) -> Folder | None:
    """Return the subfolder ``images`` of a class if all others hold annotations, such as masks."""
    return wrapped(folder) if len(folder.filled) > 1 else None


def _images(folder: Folder) -> Names:
    """Return the images of a class: those in ``images`` (see `_inner`), or all in its folder.

    Subfolders of annotations beside images are left out.
    """
    if inner := _inner(folder):
        return inner.every()
    if not folder.images:
        return folder.every()
    others = [each for each in folder.filled if not is_annotation(each.name)]
    return [*folder.images, *(name for other in others for name in other.every())]


def _check_classes(where: str, node: Folder, names: list[str]) -> None:
    """Raise `Unlabelled` if the folders inside ``node`` cannot all be classes."""
    if node.images:
        raise Unlabelled(
            f"{where} has images beside its class folders "
            f"({shown([name.name for name in sorted(node.images)])}): move each into the folder of "
            "its class, or pass `conditional=False` to take all images without classes"
        )
    if node.bare:
        empty = shown(sorted(folder.name for folder in node.bare))
        raise Unlabelled(f"{where} has class folders without images ({empty}): fill or remove them")
    texts = Counter(map(without_controls, set(names)))
    if alike := sorted(text for text, count in texts.items() if count > 1):
        raise Unlabelled(
            f"{where} has several class folders whose names look the same when they are printed "
            f"({shown(alike)}): rename one of them"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Unlabelled(
            f"{where} has class folders whose names differ only in their Unicode form "
            f"({shown(twice)}): merge them"
        )


def _doubts(where: str, node: Folder, folders: list[Folder]) -> list[str]:
    """Return warnings about class folders that may not be what the user meant."""
    found = []
    nested = [folder for folder in folders if not folder.images and not _inner(folder)]
    inner = {tuple(plain(f.name) for f in folder.filled) for folder in nested}
    if nested and not (len(inner) == 1 and len(next(iter(inner))) == 1):
        found.append(
            f"{where}: {len(nested)} of {counted(len(folders), 'class folder')} "
            f"({shown([folder.name for folder in nested])}) "
            f"{'holds' if len(nested) == 1 else 'hold'} only folders, and all images inside a "
            "class folder are taken as one class: if the inner folders are the classes, give the "
            "path of the class folder that holds them"
        )
    without = [f for f in node.folders if f not in folders and f not in node.bare]
    if without:
        found.append(
            f"{where}: {shown([folder.name for folder in without])} "
            f"{'holds' if len(without) == 1 else 'hold'} no images and "
            f"{'is' if len(without) == 1 else 'are'} left out"
        )
    return found
