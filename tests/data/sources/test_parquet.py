import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mezzotint.data import find_source, prepare
from mezzotint.errors import UserError


@pytest.fixture
def files(animals):
    """The image files of `animals` in order, and their labels."""
    names = sorted(file for file in animals.rglob("*") if file.is_file())
    return [file.read_bytes() for file in names], [0, 0, 0, 1, 1]


def test_same_fingerprint_as_the_folder(tmp_path, animals, files, write_parquet):
    path = write_parquet(tmp_path / "one.parquet", *files, names=["cats", "dogs"])
    expected = prepare(str(animals))
    prepared = prepare(str(path))
    assert prepared.fingerprint == expected.fingerprint
    assert prepared.classes == ("cats", "dogs")
    images, labels = files
    write_parquet(tmp_path / "two/train-0.parquet", images[:2], labels[:2], ["cats", "dogs"])
    write_parquet(tmp_path / "two/train-1.parquet", images[2:], labels[2:], ["cats", "dogs"])
    assert prepare(str(tmp_path / "two")).fingerprint == expected.fingerprint


@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
@pytest.mark.parametrize("image", ["image", "img"])
def test_column_names(tmp_path, files, write_parquet, image, label):
    path = write_parquet(tmp_path / "x.parquet", *files, ["a", "b"], image, label)
    source = find_source(str(path))
    assert source.classes == ("a", "b")
    assert [item.label for item in source.items()] == files[1]


def test_classes_without_names_are_numbered(tmp_path, files, write_parquet):
    path = write_parquet(tmp_path / "x.parquet", files[0], [0, 3, 1, 1, 0])
    assert find_source(str(path)).classes == ("0", "1", "2", "3")


def test_without_labels(tmp_path, files, write_parquet):
    prepared = prepare(str(write_parquet(tmp_path / "x.parquet", files[0])))
    assert prepared.classes == ()
    assert prepared.labels.tolist() == [-1] * 5


def test_splits_of_a_folder(tmp_path, files, write_parquet):
    root = tmp_path / "set"
    image = files[0][:1]
    write_parquet(root / "train-00000-of-00002.parquet", image * 2)
    write_parquet(root / "train-00001-of-00002.parquet", image * 3)
    write_parquet(root / "test.parquet", image)
    write_parquet(root / "validation-0.parquet", image * 4)
    counts = {s: find_source(str(root), s).count for s in ("train", "test", "validation", "val")}
    assert counts == {"train": 5, "test": 1, "validation": 4, "val": 4}
    with pytest.raises(UserError, match="no split 'other': choose test, train, validation"):
        find_source(str(root), "other")


def test_missing_files_of_a_split(tmp_path, files, write_parquet):
    root, image = tmp_path / "set", files[0][:1]
    write_parquet(root / "train-00000-of-00003.parquet", image)
    write_parquet(root / "train-00002-of-00003-0f3a.parquet", image)  # as `datasets` once wrote
    whole = write_parquet(root / "test-00000-of-00001.parquet", image)
    expected = r"set has only 2 of the 3 files train-\*-of-00003: add the missing files$"
    with pytest.raises(UserError, match=expected):
        find_source(str(root))
    assert find_source(str(root), "test").count == 1
    assert find_source(str(root / "train-00000-of-00003.parquet")).count == 1  # that one was meant
    write_parquet(root / "train-00001-of-00003.parquet", image)
    assert find_source(str(root)).count == 3
    whole.rename(root / "train-00000-of-00002.parquet")  # of another way of dividing it
    with pytest.raises(UserError, match=r"1 of the 2 files train-\*-of-00002"):
        find_source(str(root))


def test_files_without_a_split_are_for_training(tmp_path, files, write_parquet):
    root = tmp_path / "set"
    write_parquet(root / "part-0.parquet", files[0])
    write_parquet(root / "part-1.parquet", files[0])
    assert find_source(str(root)).count == 10
    with pytest.raises(UserError, match="no split 'test': choose train"):
        find_source(str(root), "test")
    with pytest.raises(UserError, match="no split 'test': choose train"):
        find_source(str(root / "part-0.parquet"), "test")


@pytest.mark.parametrize("wrong", [2, -1, None])
def test_label_without_a_class(tmp_path, files, write_parquet, wrong, cache):
    path = write_parquet(tmp_path / "x.parquet", files[0], [0, 1, 0, wrong, 1], ["a", "b"])
    with pytest.raises(UserError, match=rf"x\.parquet row 3: the label {wrong} is outside the 2"):
        prepare(str(path))
    plain = prepare(str(path), conditional=False)
    assert (len(plain), plain.classes) == (5, ())


def test_row_without_bytes_is_a_bad_picture(tmp_path, files, write_parquet):
    path = write_parquet(tmp_path / "x.parquet", [*files[0], None])
    with pytest.raises(UserError, match=r"x\.parquet row 5 \(no bytes in the row\)"):
        prepare(str(path))
    assert prepare(str(path), skip_bad=True).skipped == 1


def test_wrong_columns(tmp_path, files, write_parquet):
    path = write_parquet(tmp_path / "x.parquet", files[0], image="picture")
    with pytest.raises(UserError, match="no column image or img"):
        find_source(str(path))
    pq.write_table(pa.table({"image": files[0]}), path)
    with pytest.raises(UserError, match="column image is binary: make it a struct"):
        find_source(str(path))
    images = [{"bytes": content} for content in files[0]]
    pq.write_table(pa.table({"image": images, "label": [0.5] * 5}), path)
    with pytest.raises(UserError, match="column label is double, not integers or names"):
        find_source(str(path))
    root = tmp_path / "set"
    write_parquet(root / "a.parquet", *files)
    write_parquet(root / "b.parquet", files[0])
    with pytest.raises(UserError, match=r"b\.parquet has no column label"):
        find_source(str(root))


def test_files_that_name_other_classes(tmp_path, files, write_parquet):
    write_parquet(tmp_path / "set/a.parquet", *files, ["cats", "dogs"])
    write_parquet(tmp_path / "set/b.parquet", *files, ["dogs", "cats"])
    with pytest.raises(UserError, match=r"b\.parquet names other classes than a\.parquet"):
        find_source(str(tmp_path / "set"))


def test_damaged_file(tmp_path, files, write_parquet):
    path = write_parquet(tmp_path / "x.parquet", *files)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"x\.parquet cannot be read as parquet") as caught:
        find_source(str(path))
    assert "\n" not in str(caught.value)
    path.write_bytes(whole[:4] + bytes(np.full(300, 255, np.uint8)) + whole[304:])
    with pytest.raises(UserError, match=r"x\.parquet cannot be read as parquet"):
        prepare(str(path))


def test_no_rows(tmp_path, write_parquet):
    with pytest.raises(UserError, match="have no rows"):
        find_source(str(write_parquet(tmp_path / "x.parquet", [])))


def test_without_pyarrow(tmp_path, files, write_parquet, monkeypatch):
    path = write_parquet(tmp_path / "x.parquet", *files)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'mezzotint\[parquet\]'"):
        find_source(str(path))


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (["b10", "a", "b2", "a", "b2"], [2, 0, 1, 0, 1], ("a", "b2", "b10")),
        ([True, False, True, True, False], [1, 0, 1, 1, 0], ("False", "True")),
        ([-1] * 5, [-1] * 5, ()),
        ([None] * 5, [-1] * 5, ()),
    ],
)
def test_labels_that_are_names_or_none(tmp_path, files, labels, numbers, names):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": content, "path": None} for content in files[0]], struct)
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "x.parquet")
    for conditional in (True, False):
        data = prepare(tmp_path / "x.parquet", conditional=conditional)
        assert (data.labels.tolist(), data.classes) == (numbers, names)
    coded = pa.array(labels).dictionary_encode() if names else pa.array(labels)
    pq.write_table(pa.table({"image": images, "label": coded}), tmp_path / "y.parquet")
    assert prepare(tmp_path / "y.parquet").fingerprint == data.fingerprint


def test_labels_that_are_not_wanted_are_not_refused(tmp_path, files):
    images = [{"bytes": content} for content in files[0]]
    for labels in ([0.5] * 5, [-1, 0, 1, 1, 0], [[0], [1], [1], [0], [0]]):
        pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "x.parquet")
        with pytest.raises(UserError, match="`conditional=False`"):
            prepare(tmp_path / "x.parquet")
        assert prepare(tmp_path / "x.parquet", conditional=False).classes == ()


def test_splits_by_other_marks(tmp_path, files, write_parquet):
    root = tmp_path / "set"
    for count, name in enumerate(("train_0", "Train-1", "test_0", "valid.00", "testimony"), 1):
        write_parquet(root / f"{name}.parquet", files[0][:count])
    counts = {s: find_source(str(root), s).count for s in ("train", "test", "validation")}
    assert counts == {"train": 3, "test": 3, "validation": 4}


def test_captions_are_not_classes(tmp_path, files):
    images = [{"bytes": files[0][0]}] * 101
    labels = [f"image {i}" * 1000 for i in range(101)]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "x.parquet")
    with pytest.raises(
        UserError, match="column label has 101 different labels for 101 images, too many for"
    ):
        prepare(tmp_path / "x.parquet")
    assert prepare(tmp_path / "x.parquet", conditional=False).classes == ()


@pytest.mark.parametrize("labels", [["a", None, "b", "a", "b"], [True, None, False, True, True]])
def test_a_missing_name_of_a_class_is_refused(tmp_path, files, labels):
    images = [{"bytes": content} for content in files[0]]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"x\.parquet row 1 has no label: add it, remove the row"):
        prepare(tmp_path / "x.parquet")
    assert len(prepare(tmp_path / "x.parquet", conditional=False)) == 5


@pytest.mark.parametrize("wrong", [-1, 2])
def test_columns_with_names_have_no_other_labels(tmp_path, files, write_parquet, wrong):
    kinds = [0, 1, 0, wrong, 1]
    path = write_parquet(tmp_path / "x.parquet", files[0], kinds, ["red", "blue"], label="kind")
    with pytest.raises(UserError, match=rf"'kind' has the label {wrong}, which is outside the 2"):
        prepare(path, labels_from="kind")


def test_files_outside_the_splits_are_not_forgotten(tmp_path, files, write_parquet):
    write_parquet(tmp_path / "set/train-0.parquet", files[0])
    write_parquet(tmp_path / "set/more.parquet", files[0])
    with pytest.warns(UserWarning, match=r"leaves out 1 file \(more\.parquet\)"):
        assert len(prepare(tmp_path / "set")) == 5
    write_parquet(tmp_path / "set/training-1.parquet", files[0])
    with pytest.raises(UserError, match="files of one split under the names train and training"):
        find_source(str(tmp_path / "set"))


def test_columns_agree_in_all_files(tmp_path, files, write_parquet):
    for file, names in (("a", ["red", "blue"]), ("b", ["blue", "red"])):
        write_parquet(tmp_path / f"set/{file}.parquet", *files, names, label="kind")
    with pytest.raises(UserError, match=r"b\.parquet names other classes than a\.parquet"):
        prepare(tmp_path / "set", labels_from="kind")
    write_parquet(tmp_path / "set/b.parquet", files[0])
    with pytest.raises(UserError, match=r"b\.parquet has 0 columns called kind"):
        prepare(tmp_path / "set", labels_from="kind")
