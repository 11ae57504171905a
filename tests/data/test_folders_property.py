"""Random folders are read as they were built, or refused, or read with a warning."""

import tempfile
import unicodedata
import zipfile
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mezzotint.data import Source, find_source
from mezzotint.errors import UserError

from trees import png

SPELLINGS = {
    "train": ("train", "Train", "TRAINING", "training_set", "Train Data"),
    "validation": ("val", "Valid", "validation", "DEV", "eval"),
    "test": ("test", "Testing", "TEST", "test_images"),
}
PLAIN = (
    "cat",
    "Dog",
    "1",
    "2",
    "10",
    "n01440764",
    unicodedata.normalize("NFD", "café"),
    "ein Haus",
)
TRICKY = ("train", "Test", "valid", "images", "masks", "part_1", "part_2", "00000", "01000", "meta")
LITTER = ("Thumbs.db", "@eaDir/x.png", ".DS_Store", "__MACOSX/x.png", "lost+found/x.png")
SIDECARS = ("README.md", "notes.txt", "labels.csv", "docs/paper.pdf", "list.json")
RUN = ("runs/a/config.json", "runs/a/log.jsonl", "runs/a/samples/0.png")
IMAGE = png()


@st.composite
def built(draw, names=PLAIN):
    """Draw the files of a data set, and for each split the class of each image."""
    wrappers = draw(st.lists(st.sampled_from(["data", "archive", "flowers"]), max_size=2))
    held = draw(st.lists(st.sampled_from(["validation", "test"]), unique=True, max_size=2))
    splits = {s: draw(st.sampled_from(SPELLINGS[s])) for s in ("train", *held)} if held else {}
    classes = draw(st.lists(st.sampled_from(names), unique=True, min_size=2, max_size=4))
    assume(not {"train", "Test", "valid"}.issuperset(classes))  # those alone are splits
    inside = draw(st.booleans())  # the splits inside of the classes
    root = "".join(f"{name}/" for name in wrappers)
    files, meant = [], {}
    for split, folder in (splits or {"train": ""}).items():
        for name in classes:
            path = f"{name}/{folder}" if inside else f"{folder}/{name}"
            for i in range(draw(st.integers(1, 3))):
                file = f"{root}{path.strip('/')}/{split}{i}.{draw(st.sampled_from(['png', 'JPG']))}"
                files.append(file)
                meant.setdefault(split, {})[file] = unicodedata.normalize("NFC", name)
    places = {"", root, *(file.rpartition("/")[0] + "/" for file in files)}
    for extra in draw(st.lists(st.sampled_from((*LITTER, *SIDECARS)), max_size=4)):
        files.append(draw(st.sampled_from(sorted(places))) + extra)
    if draw(st.booleans()):
        files += [root + name for name in RUN]
    return sorted(set(files)), meant


def write(folder: Path, files: list[str], packed: bool) -> str:
    if packed:
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            for name in files:
                archive.writestr(name, content(name))
        return str(folder / "x.zip")
    for name in files:
        (folder / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "x" / name).write_bytes(content(name))
    return str(folder / "x")


def content(name: str) -> bytes:
    """Return an image with its own name after its end, or an empty JSON file."""
    return IMAGE + name.encode() if name.lower().endswith((".png", ".jpg")) else b"{}"


def understood(data: str, split: str) -> tuple[dict[str, str | None], Source]:
    """Return the class of each image in a split by its name, and the source."""
    source = find_source(data, split)
    rows = {}
    for item in source.items():
        given = item.file()
        file = given.read_bytes() if isinstance(given, Path) else given
        label = source.classes[item.label] if source.classes else None
        rows[file.removeprefix(IMAGE).decode()] = label
    assert len(rows) == source.count
    return rows, source


quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@quick
@given(built(), st.booleans())
def test_what_was_built_is_understood(tree, packed):
    files, meant = tree
    with tempfile.TemporaryDirectory() as folder:
        data = write(Path(folder), files, packed)
        for split, classes in meant.items():
            rows, source = understood(data, split)
            assert rows == classes
            assert list(source.classes) == sorted(
                set(classes.values()), key=lambda name: (not name.isdigit(), name.zfill(2))
            )


@quick
@given(built((*PLAIN, *TRICKY)), st.booleans())
def test_what_can_be_meant_otherwise_is_refused_or_said(tree, packed):
    files, meant = tree
    with tempfile.TemporaryDirectory() as folder:
        data = write(Path(folder), files, packed)
        seen = {}
        for split in ("train", "validation", "test"):
            try:
                rows, source = understood(data, split)
            except UserError:
                continue
            unlabelled = not source.classes and rows.keys() == meant.get(split, {}).keys()
            assert rows == meant.get(split) or unlabelled or source.warnings
            seen[split] = rows.keys()
        if "train" in seen:  # what is held out was not trained on
            assert all(not seen["train"] & seen[split] for split in seen.keys() - {"train"})
