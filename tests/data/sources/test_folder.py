import os
import shutil
import zipfile

import pytest

from mezzotint.data import find_source, prepare
from mezzotint.errors import UserError


def pack(folder, path, prefix="", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, f"{prefix}{file.relative_to(folder)}")
    return path


@pytest.fixture(params=["folder", "zip"])
def packed(request, tmp_path):
    """A function that passes a folder to the test as a folder, or as a zip."""
    return lambda folder: str(
        folder if request.param == "folder" else pack(folder, tmp_path / "packed.zip")
    )


def listing(data, split="train"):
    source = find_source(data, split)
    items = list(source.items())
    assert source.count == len(items)
    return source.classes, [(item.name, item.label) for item in items]


def test_classes_and_order(animals, packed):
    classes, items = listing(packed(animals))
    assert classes == ("cats", "dogs")
    assert items == [
        ("cats/a.png", 0),
        ("cats/b.png", 0),
        ("cats/more/c.png", 0),
        ("dogs/a.png", 1),
        ("dogs/d", 1),
    ]


def test_flat_is_unlabelled(animals, packed):
    shutil.rmtree(animals / "cats" / "more")
    classes, items = listing(packed(animals / "dogs"))
    assert classes == ()
    assert items == [("a.png", -1), ("d", -1)]


def test_litter_is_passed_over(animals, packed):
    for name in ("Thumbs.db", "dogs/desktop.ini", "cats/.DS_Store", "__MACOSX/dogs/._a.png"):
        (animals / name).parent.mkdir(exist_ok=True, parents=True)
        (animals / name).write_bytes(b"x")
    (animals / ".git").mkdir()
    classes, items = listing(packed(animals))
    assert classes == ("cats", "dogs")
    assert len(items) == 5


def test_zip_has_the_fingerprint_of_its_folder(animals, tmp_path):
    expected = prepare(str(animals))
    plain = prepare(str(pack(animals, tmp_path / "plain.zip")))
    stored = prepare(str(pack(animals, tmp_path / "stored.zip", "", zipfile.ZIP_STORED)))
    wrapped = prepare(str(pack(animals, tmp_path / "wrapped.zip", "my-animals/")))
    fingerprints = {p.fingerprint for p in (expected, plain, stored, wrapped)}
    assert len(fingerprints) == 1


def test_pictures_beside_class_folders(animals, packed):
    shutil.copy(animals / "dogs" / "d", animals / "stray.png")
    with pytest.raises(UserError, match=r"beside its class folders \(stray.png\)"):
        find_source(packed(animals))


def test_empty_class_folder(animals, packed):
    (animals / "emus" / "deep").mkdir(parents=True)
    with pytest.raises(UserError, match=r"without images \(emus\)"):
        find_source(packed(animals))


def test_no_pictures(tmp_path, packed):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden").write_bytes(b"x")
    with pytest.raises(UserError, match="holds no images"):
        find_source(packed(tmp_path / "empty"))


def test_splits(animals, packed, tmp_path):
    root = tmp_path / "both"
    shutil.copytree(animals, root / "train")
    shutil.copytree(animals, root / "val")
    shutil.rmtree(root / "val" / "dogs")
    data = packed(root)
    assert listing(data)[0] == ("cats", "dogs")
    assert listing(data, "val") == listing(data, "validation")
    assert listing(data, "val")[0] == ("cats",)
    with pytest.raises(UserError, match="no split 'test': choose train, val"):
        find_source(data, "test")
    shutil.rmtree(root / "train")
    with pytest.raises(UserError, match="no split 'train': choose val"):
        find_source(packed(root), "train")


def test_without_split_folders_all_is_for_training(animals, packed):
    with pytest.raises(UserError, match="no split 'test': choose train"):
        find_source(packed(animals), "test")


def test_a_class_may_be_called_test(animals, packed):
    (animals / "dogs").rename(animals / "test")
    data = packed(animals)
    assert listing(data)[0] == ("cats", "test")
    assert "taken as a class" in find_source(data).warnings[0]
    with pytest.raises(UserError, match="no split 'test': choose train"):
        find_source(data, "test")


def test_links_are_followed_but_not_in_circles(animals):
    (animals / "cats" / "loop").symlink_to(animals)
    (animals / "around").symlink_to(animals)
    (animals / "elks").symlink_to(animals / "dogs")
    classes, items = listing(str(animals))
    assert classes == ("cats", "dogs", "elks")
    assert len(items) == 7


def test_dangling_link_is_named(animals):
    (animals / "dogs" / "gone.png").symlink_to(animals / "nowhere")
    with pytest.raises(UserError, match=r"dogs/gone.png \(a link to a file that does not exist"):
        prepare(str(animals))


def test_a_changed_file_changes_the_key(animals):
    before = find_source(str(animals)).key
    assert find_source(str(animals)).key == before
    os.utime(animals / "dogs" / "d", ns=(1, 1))
    assert find_source(str(animals)).key != before


def test_broken_zip(animals, tmp_path):
    path = pack(animals, tmp_path / "broken.zip")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"broken\.zip cannot be opened as a zip"):
        find_source(str(path))


def test_encrypted_zip(animals, tmp_path):
    path = pack(animals, tmp_path / "secret.zip")
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02")
    content[at + 8] |= 1  # the flag, in the central directory, that says: encrypted
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"secret\.zip is encrypted"):
        find_source(str(path))


def test_damaged_member_is_one_bad_picture(animals, tmp_path):
    path = pack(animals, tmp_path / "bad.zip", "", zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        content[archive.getinfo("dogs/d").header_offset + 60] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"1 of 5 images cannot be read: dogs/d \(damaged in the"):
        prepare(str(path))
