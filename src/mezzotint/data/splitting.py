"""Find the folders that are wrappers or splits: rules 2 and 3 of `data.layout`."""

from mezzotint.data.naming import (
    WORDS,
    is_annotation,
    is_container,
    lettered,
    nfc,
    plain,
    shown,
    split_folders,
)
from mezzotint.data.tree import Folder, Tree
from mezzotint.errors import UserError


def wrapped(node: Folder) -> Folder | None:
    """Return the folder to enter if ``node`` is a wrapper (rule 2 of `data.layout`), else None."""
    filled = node.filled
    if node.images or node.bare or not filled:
        return None
    inner = [folder for folder in filled if is_container(folder.name)]
    if len(filled) > 1:
        apart = [folder for folder in filled if is_annotation(folder.name)]
        return inner[0] if len(inner) == 1 and len(apart) == len(filled) - 1 else None
    only = filled[0]
    entered = not only.images or inner or plain(only.name) == plain(node.name)
    return only if entered else None


def splits_of(tree: Tree, node: Folder, warnings: list[str]) -> dict[str, dict[str, Folder]]:
    """Return the splits among the subfolders of ``node``; none if the subfolders are classes.

    Raises UserError if it is unclear whether a subfolder is a split or a class. Adds to
    ``warnings`` if the choice may be wrong.
    """
    known = split_folders(folder.name for folder in node.folders)
    found = [folder for folder in node.folders if folder.name in known]
    others = [folder for folder in node.filled if folder.name not in known]
    where = "/".join([tree.place, *node.path.parts])
    trains = [folder for folder in found if known[folder.name][0] == "train"]
    if not found or _are_classes(where, node, found, trains, others, warnings):
        return {}
    splits: dict[str, dict[str, Folder]] = {}
    for split in WORDS:
        stems: dict[str, list[Folder]] = {}
        for folder in found:
            if known[folder.name][0] == split:
                stems.setdefault(known[folder.name][1], []).append(folder)
        if stems:
            splits[split] = {stem: _united(where, parts, known) for stem, parts in stems.items()}
    return splits


def _are_classes(
    where: str,
    node: Folder,
    found: list[Folder],
    trains: list[Folder],
    others: list[Folder],
    warnings: list[str],
) -> bool:
    """Return whether folders named like splits are classes. Raises UserError if this is unclear."""
    here = shown([folder.name for folder in found])
    rest = shown([folder.name for folder in others])
    if others and not trains:
        nested = any(not folder.images and folder.filled for folder in found)
        if nested or not all(folder.images for folder in others):
            raise UserError(
                f"{where} holds {rest} beside {here}, so it is unclear whether {here} means a "
                f"split or a class: if it is a split, move {rest} into a new folder called train; "
                f"if it is a class, move {rest} and {here} into a new folder called train"
            )
        warnings.append(
            f"{where}: {here} lies beside {rest} and is taken as a class, so no images are held "
            f"out; to hold out the images in {here}, move {rest} into a new folder called train"
        )
        return True
    held = len(trains) < len(found)
    plainly = held and not any(folder.images for folder in trains)
    if others and not plainly and not (held and all(is_annotation(f.name) for f in others)):
        raise UserError(
            f"{where} holds {rest} beside {here}, so it is unclear whether {here} means a split or "
            "a class: if all these folders are classes, move them into a new folder called train; "
            "if not, give the path of the split"
        )
    if node.images and not trains:
        raise UserError(
            f"{where} holds images beside {here}, so it is unclear whether {here} means a split: "
            "if it does, move the other images into a new folder called train; if not, move all "
            "images into one folder"
        )
    return False


def _united(where: str, parts: list[Folder], known: dict[str, tuple[str, str, str]]) -> Folder:
    """Merge the numbered parts of a split into one folder.

    ``known`` is the return value of `split_folders`.
    """
    if len(parts) == 1:
        return parts[0]
    numbers = [known[folder.name][2] for folder in parts]
    if len(set(numbers)) < len(parts) or "" in numbers:
        raise UserError(
            f"{where} holds {' and '.join(folder.name for folder in parts)}, which are names of "
            "the same split: keep one of them, or merge them"
        )
    classes: dict[str, list[Folder]] = {}
    for part in parts:
        for folder in part.folders:
            classes.setdefault(nfc(folder.name), []).append(folder)
    merged = Folder(", ".join(folder.name for folder in parts), parts[0].path.parent)
    merged.images = [name for part in parts for name in part.images]
    merged.folders = [_merged(name, folders) for name, folders in classes.items()]
    return merged


def _merged(name: str, folders: list[Folder]) -> Folder:
    inner = [folder for each in folders for folder in each.folders]
    images = [image for each in folders for image in each.images]
    others = [other for each in folders for other in each.others]
    return Folder(name, folders[0].path, inner, images, others)


def splits_inside(node: Folder) -> dict[str, dict[str, Folder]]:
    """Return the splits that lie inside each class folder (``cat/train``, ``cat/test``).

    The folders are regrouped: the result maps each split to its class folders, as if they were
    ``train/cat`` and ``test/cat``. Returns {} if there are no such splits.
    """
    classes = node.filled
    splits: dict[str, dict[str, Folder]] = {}
    if node.images or len(classes) < 2 or any(folder.images for folder in classes):
        return {}
    for folder in classes:
        parts = [inner for inner in folder.filled if not is_annotation(inner.name)]
        known = split_folders(inner.name for inner in parts)
        if len(known) < len(parts) or all(split != "train" for split, *_ in known.values()):
            return {}
        for inner in parts:
            split, stem, part = known[inner.name]
            whole = splits.setdefault(split, {}).setdefault(stem + part, Folder(stem, node.path))
            whole.folders.append(
                Folder(folder.name, inner.path, inner.folders, inner.images, inner.others)
            )
    return splits


def splits_by_letter(node: Folder) -> dict[str, dict[str, Folder]]:
    """Return the splits of folders such as ``trainA``, ``trainB``, ``testA`` and ``testB``.

    The letters are the classes, as in CycleGAN's data sets. Returns {} if images, or other
    folders with images, lie beside these folders, or if ``train`` or a second split is missing.
    """
    splits: dict[str, dict[str, Folder]] = {}
    for folder in node.filled:
        found = lettered(folder.name)
        if found is None:
            return {}
        split, letter = found
        whole = splits.setdefault(split, {}).setdefault(split, Folder(split, node.path))
        whole.folders.append(
            Folder(letter, folder.path, folder.folders, folder.images, folder.others)
        )
    return splits if "train" in splits and len(splits) > 1 and not node.images else {}
