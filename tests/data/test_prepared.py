import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mezzotint.data import Prepared, building, held_out, prepare, preparing
from mezzotint.data.images import Wanted, read_image
from mezzotint.data.prepared import is_same
from mezzotint.errors import UserError
from mezzotint.storage import leftovers


@pytest.fixture
def messy(animals):
    """`animals` with three more files that are not images."""
    good = (animals / "dogs" / "d").read_bytes()
    (animals / "cats" / "cut.png").write_bytes(good[:-40])
    (animals / "dogs" / "empty.jpg").write_bytes(b"")
    (animals / "dogs" / "note.png").write_text("about the dogs")
    return animals


def entries(cache):
    return sorted(path.name for path in (cache / "prepared").iterdir())


def test_prepared(animals, cache):
    result = prepare(str(animals))
    files = sorted(file for file in animals.rglob("*") if file.is_file())
    np.testing.assert_array_equal(result.images, [read_image(file) for file in files])
    assert isinstance(result.images, np.memmap)
    assert result.images.dtype == np.uint8
    assert result.labels.dtype == np.int64
    assert result.labels.tolist() == [0, 0, 0, 1, 1]
    assert result.classes == ("cats", "dogs")
    assert result.skipped == 0
    assert result.folder.parent == cache / "prepared"
    assert sorted(file.name for file in result.folder.iterdir()) == [
        "images.npy",
        "labels.npy",
        "meta.json",
    ]
    with pytest.raises(ValueError, match="read-only"):
        result.images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        result.labels[0] = 0


def test_fingerprint_is_of_the_pictures_not_of_their_place(animals, tmp_path):
    first = prepare(str(animals))
    shutil.copytree(animals, tmp_path / "elsewhere")
    assert prepare(str(tmp_path / "elsewhere")).fingerprint == first.fingerprint
    (animals / "dogs").rename(animals / "wolves")
    assert prepare(str(animals)).fingerprint != first.fingerprint  # class names count
    (animals / "wolves").rename(animals / "dogs")
    (animals / "cats" / "a.png").rename(animals / "dogs" / "0.png")
    assert prepare(str(animals)).fingerprint != first.fingerprint  # labels count


def test_hit_does_not_decode_and_says_nothing(animals, monkeypatch, capfd):
    first = prepare(str(animals))
    capfd.readouterr()
    monkeypatch.setattr(preparing, "build", None)
    again = prepare(str(animals))
    assert again.fingerprint == first.fingerprint
    assert again.folder == first.folder
    assert capfd.readouterr() == ("", "")


def test_a_changed_file_is_decoded_anew(animals, noise):
    first = prepare(str(animals))
    Image.fromarray(noise(9, 6, 8, 3)).save(animals / "cats" / "a.png")
    assert prepare(str(animals)).fingerprint != first.fingerprint


def test_more_pictures_than_are_under_way_at_a_time_keep_their_order(tmp_path, encode):
    (tmp_path / "many").mkdir()
    for i in range(500):
        content = encode(Image.new("L", (1, 1), i % 256), "BMP")
        (tmp_path / "many" / f"{i:03}.bmp").write_bytes(content)
    images = prepare(str(tmp_path / "many")).images
    assert images[:, 0, 0, 0].tolist() == [i % 256 for i in range(500)]


def test_size(animals):
    result = prepare(str(animals), size=4)
    assert result.images.shape == (5, 4, 4, 3)
    expected = read_image(animals / "cats" / "a.png", wanted=Wanted("rgb", size=4))
    np.testing.assert_array_equal(result.images[0], expected)
    with pytest.raises(UserError, match="`size` is 0"):
        prepare(str(animals), size=0)


def test_different_sizes_need_a_size(animals, cache):
    Image.new("RGB", (5, 7)).save(animals / "dogs" / "d.png")
    with pytest.raises(UserError, match=r"cats/a\.png is 6x8 and dogs/d\.png is 7x5 .*pass `size`"):
        prepare(str(animals))
    assert entries(cache) == []
    assert len(prepare(str(animals), size=8).images) == 6


def test_all_unreadable_files_are_listed_in_one_line(messy, cache):
    with pytest.raises(UserError) as caught:
        prepare(str(messy))
    assert str(caught.value) == (
        "3 of 8 images cannot be read: cats/cut.png (truncated), dogs/empty.jpg (empty file), "
        "dogs/note.png (not an image); remove them or pass `skip_bad=True`"
    )
    assert entries(cache) == []


def test_skip_bad_counts_and_leaves_the_others(messy):
    result = prepare(str(messy), skip_bad=True)
    assert result.skipped == 3
    assert prepare(str(messy), skip_bad=True).skipped == 3  # from the cache
    for name in ("cats/cut.png", "dogs/empty.jpg", "dogs/note.png"):
        (messy / name).unlink()
    clean = prepare(str(messy))
    assert result.fingerprint == clean.fingerprint
    np.testing.assert_array_equal(result.images, clean.images)
    assert result.labels.tolist() == clean.labels.tolist()


@pytest.mark.parametrize("split", ["test", "validation"])
def test_bad_files_are_left_out_of_what_is_held_out_too(messy, tmp_path, split):
    (tmp_path / "both").mkdir()
    for part in ("train", split):
        shutil.copytree(messy, tmp_path / "both" / part)
    (tmp_path / "both" / split / "cats" / "a.png").unlink()
    train = prepare(str(tmp_path / "both"), skip_bad=True)
    with pytest.raises(UserError, match="3 of 7 images cannot be read"):
        held_out(replace(train, skip_bad=False))
    others = held_out(train)
    assert others.folder != train.folder
    assert (len(others.images), others.skipped) == (4, 3)


def test_a_fault_of_what_is_held_out_is_not_taken_for_its_absence(animals, tmp_path) -> None:
    both = tmp_path / "both"
    shutil.copytree(animals, both / "train")
    train = prepare(str(both))
    assert held_out(train) is train
    shutil.copytree(animals, both / "test")
    (both / "test" / "rabbits").mkdir()
    with pytest.raises(UserError, match="rabbits"):
        held_out(train)


def test_a_class_called_test_is_not_held_out_of_itself(animals) -> None:
    shutil.copytree(animals / "cats", animals / "test")
    with pytest.warns(UserWarning, match="test lies beside cats, dogs and is taken as a class"):
        train = prepare(str(animals))
    assert "test" in train.classes
    assert held_out(train) is train


def test_a_class_of_which_all_are_skipped(animals, cache):
    (animals / "dogs" / "d").rename(animals / "dogs" / "d.png")
    for file in (animals / "dogs").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match="without them no image with the label dogs is left"):
        prepare(str(animals), skip_bad=True)
    with pytest.raises(UserError, match="2 of 2 images cannot be read, and `skip_bad=True` leaves"):
        prepare(str(animals / "dogs"), skip_bad=True)
    assert entries(cache) == []


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_damaged_entry_is_built_anew(animals, cache, name, damage):
    first = prepare(str(animals))
    expected = first.images.copy()
    file = first.folder / name
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:-5] if damage == "short" else b"")
    again = prepare(str(animals))
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.images, expected)
    assert entries(cache) == [first.folder.name]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_crash_in_the_middle_leaves_no_entry(animals, cache, monkeypatch, error):
    add = building._Writer.add

    def crash(self, name, pixels):
        if self.kept == 2:
            raise error("pulled the plug")
        add(self, name, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(building._Writer, "add", crash)
        with pytest.raises(error, match="pulled the plug"):
            prepare(str(animals))
    assert entries(cache) == []
    assert len(prepare(str(animals)).images) == 5


def test_the_slower_of_two_processes_discards_its_own(animals, cache, monkeypatch):
    build = preparing.build

    def overtaken(*arguments):
        build(*arguments)
        monkeypatch.setattr(preparing, "build", build)
        prepare(str(animals))  # meanwhile, another process finishes the same entry

    monkeypatch.setattr(preparing, "build", overtaken)
    monkeypatch.setattr(leftovers, "written", lambda folder, name: None)  # a disk without locks
    result = prepare(str(animals))
    assert len(result.images) == 5
    assert entries(cache) == [result.folder.name]


def test_no_room(animals, cache, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100))
    with pytest.raises(UserError, match="set MEZZOTINT_CACHE to a folder on a larger disk"):
        prepare(str(animals))
    assert entries(cache) == []


def test_some_pictures_are_of_all_classes_in_turn_and_always_the_same(tmp_path) -> None:
    """Classes come in turn, so every tenth image would be of one class."""
    images = np.arange(200, dtype=np.uint8)[:, None, None, None]
    data = Prepared(images, np.arange(200) % 10, tuple("0123456789"), "", tmp_path, 0)
    some = data.some(40)
    assert some.images.shape == (40, 1, 1, 1)
    assert len(np.unique(some.images)) == 40
    assert len(np.unique(some.labels)) > 5
    assert np.array_equal(some.labels, some.images.ravel() % 10)
    assert np.array_equal(some.images, data.some(40).images)
    assert len({data.fingerprint, some.fingerprint, data.some(41).fingerprint}) == 3
    assert data.some(1000) is data


def test_data_is_the_same_whose_classes_were_sorted_letter_by_letter(tmp_path, noise) -> None:
    images = noise(0, 6, 5, 5, 3)
    for i, name in enumerate(("1", "1", "10", "10", "2", "2")):
        (tmp_path / "d" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(tmp_path / "d" / name / f"{i}.png")
    now = prepare(tmp_path / "d")
    then = prepare(images, [0, 0, 1, 1, 2, 2], classes=("1", "10", "2"))
    assert now.classes == ("1", "2", "10")
    assert now.fingerprint != then.fingerprint
    assert is_same(now, now.fingerprint)
    assert is_same(now, then.fingerprint)
    assert not is_same(then, now.fingerprint)
    assert not is_same(now, prepare(images[::-1].copy(), [0, 0, 1, 1, 2, 2]).fingerprint)
