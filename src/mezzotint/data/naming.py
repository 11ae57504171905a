"""Recognise splits, classes and litter (files that systems leave behind) by their names."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "eval"),
    "test": ("test", "testing"),
}
"""The splits, and the words that stand for them in names, in upper or lower case."""

_SPLIT = {word: split for split, words in WORDS.items() for word in words}
_WORD = "|".join(sorted(_SPLIT, key=len, reverse=True))
_SPLIT_NAME = re.compile(
    rf"(?:(?P<prefix>.+)[ ._-])?"
    rf"(?P<stem>(?P<word>{_WORD})(?:[ ._-]?(?:set|data|dataset|images?|imgs?))?(?:[ ._-]?\d{{4}})?)"
    rf"(?P<part>[ ._-](?:x|part|chunk)?[ ._-]?\d{{0,3}}|\d{{1,3}})?"
)
_NUMBERED = re.compile(r"(?:.*[ ._-])?(?:images?|imgs?|part|batch|chunk|shard)[ ._-]?\d+")
_CONTAINER = re.compile(r"images?|imgs?|jpe?gs?|pngs?|jpegimages|pictures?|photos?")
_ANNOTATION = re.compile(
    r"(?:.*[ ._-])?(?:masks?|labels?|annotations?|annots?|trimaps?|ground[ ._-]?truth|gt|boxes|"
    r"bbox|bounding[ ._-]?box(?:es)?|depths?|parts|attributes|segmentation\w*|meta(?:data)?|"
    r"unlabell?ed|extra|samples?|pred(?:iction)?s?|single_prediction)"
)

_LITTER = {
    *("__macosx", "icon\r", "network trash folder", "temporary items"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "autorun.inf"),
    *("$recycle.bin", "recycler", "system volume information", "found.000"),
    *("lost+found", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
    *("__pycache__", "picasa.ini", "zbthumbnail.info", "thevolumesettingsfolder"),
}
# Windows attaches streams to files. Other systems show them as files with these endings.
_STREAMS = (":zone.identifier", ":encryptable")


def nfc(text: str) -> str:
    """Return a name in Unicode's NFC, because macOS stores letters and accents separately."""
    return unicodedata.normalize("NFC", text)


def plain(text: str) -> str:
    """Return a name in NFC and case-folded, for comparisons."""
    return nfc(text).casefold()


def natural(text: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return a key that sorts names with numbers by value: 1, 2, 10."""
    key: list[str | tuple[int, str]] = []
    for i, part in enumerate(re.split(r"([0-9]+)", nfc(text))):
        digits = part.lstrip("0")
        key.append((len(digits), digits) if i % 2 else part)
    return key, text


def shown(names: Sequence[str], most: int = 3) -> str:
    """Return the first ``most`` names and the number of further names: "a, b, c and 4 more"."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def canonical(split: str) -> str:
    """Return the split that a word means: ``validation`` for ``val``; other words are unchanged."""
    return _SPLIT.get(plain(split), split)


def is_litter(name: str) -> bool:
    """Return whether the name of a file or folder begins with a dot, or is known as litter.

    Operating systems, storage devices and programs leave litter behind.
    """
    low = plain(name)
    return low.startswith(".") or low in _LITTER or low.endswith(_STREAMS)


def split_folders(names: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Find the splits among the subfolders of a folder, by their names.

    A folder is a split if its name is a word in `WORDS`. The word may be followed by another word,
    such as ``set``, ``data`` or ``images``; then by a year; and then by the number of a part, as in
    ``train.X1``. A prefix (``seg_train``) is allowed if another split has the same prefix
    (``seg_test``).

    Returns:
        A dict of ``name: (split, stem, part)`` for the folders that are splits or parts of splits.
        ``split`` is a key of `WORDS`. ``part`` is the end of the name with the number of the part,
        such as ".x1", or "" if there is none. ``stem`` is the name in lower case without ``part``,
        and without the separator after a prefix, such as "segtrain".
    """
    found = {name: match for name in names if (match := _SPLIT_NAME.fullmatch(plain(name)))}
    splits: dict[str | None, set[str]] = {}
    for match in found.values():
        splits.setdefault(match["prefix"], set()).add(_SPLIT[match["word"]])
    return {
        name: (_SPLIT[m["word"]], (m["prefix"] or "") + m["stem"], m["part"] or "")
        for name, m in found.items()
        if m["prefix"] is None or len(splits[m["prefix"]]) > 1
    }


def lettered(name: str) -> tuple[str, str] | None:
    """Return the split and the letter of a folder such as ``trainA``; None for other names."""
    found = re.fullmatch(rf"({_WORD})[ ._-]?([a-z])", plain(name))
    return (_SPLIT[found[1]], found[2].upper()) if found else None


def is_container(name: str) -> bool:
    """Return whether a folder's name, such as ``images``, cannot be the name of a class."""
    return bool(_CONTAINER.fullmatch(plain(name)))


def is_annotation(name: str) -> bool:
    """Return whether a folder's name says that it holds annotations, such as masks."""
    return bool(_ANNOTATION.fullmatch(plain(name)))


def are_parts(names: Sequence[str]) -> bool:
    """Return whether folders are numbered parts of one set, such as images_001 or 01000."""
    thousands = all(re.fullmatch(r"[0-9]{2,}000", name) for name in names)
    padded = len({len(name) for name in names}) == 1 and any(name[0] == "0" for name in names)
    return len(names) > 1 and (
        (thousands and padded) or all(map(_NUMBERED.fullmatch, map(plain, names)))
    )
