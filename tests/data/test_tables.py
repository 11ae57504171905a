"""Conditions of a data set: columns of metadata, of parquet and of arrays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint.errors import UserError

ROWS = [
    {"file_name": "0.png", "age": 30, "weight": "61.5", "tags": "red|round"},
    {"file_name": "1.png", "age": 40, "weight": "70", "tags": "red"},
    {"file_name": "2.png", "age": 50, "weight": "80", "tags": ""},
]


def drawn(i: int, height: int = 8, width: int = 8) -> Image.Image:
    draw = np.random.default_rng(i)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


def written(folder: Path, rows: list[dict[str, object]], kind: str = "csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(3):
        drawn(i).save(folder / f"{i}.png")
    if kind == "jsonl":
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        lines = [rows[0].keys(), *(row.values() for row in rows)]
        text = "\n".join(",".join(map(str, line)) for line in lines)
        (folder / "metadata.csv").write_text(text)
    return folder


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_columns_of_metadata_are_conditions(tmp_path: Path, kind: str) -> None:
    folder = written(tmp_path / "q", ROWS[::-1], kind)  # rows in any order
    data = mz.prepare(folder, condition="age,weight", labels_from="tags")
    assert data.condition["age"].tolist() == [[30], [40], [50]]
    assert data.condition["weight"].tolist() == [[61.5], [70], [80]]
    assert data.condition["tags"].tolist() == [[1, 1], [1, 0], [0, 0]]
    age, _, tags = data.conditions
    assert (age.mean, age.low, age.high) == ((40.0,), (30.0,), (50.0,))
    assert tags.tags == ("red", "round")
    assert "age, 30 to 50" in repr(data)
    plain = mz.prepare(folder)
    assert not plain.conditions
    assert plain.fingerprint != data.fingerprint
    again = mz.prepare(data.source, **{k: getattr(data.asked, k) for k in vars(data.asked)})
    assert again.fingerprint == data.fingerprint


def test_one_label_each_is_a_class(tmp_path: Path) -> None:
    rows = [{**row, "tags": name} for row, name in zip(ROWS, ("b", "a", "b"), strict=True)]
    data = mz.prepare(written(tmp_path / "q", rows), labels_from="tags")
    assert data.classes == ("a", "b")
    assert data.labels.tolist() == [1, 0, 1]
    assert not data.conditions


def test_images_beside_images_are_no_images_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "q"
    rows = [{"file_name": f"{i}.png", "mask": f"m{i}.png"} for i in range(3)]
    written(folder, rows)
    for i in range(3):
        drawn(10 + i, 4, 4).save(folder / f"m{i}.png")
    data = mz.prepare(folder, image_condition="mask")
    assert len(data) == 3
    assert np.array_equal(data.condition["mask"][1], np.asarray(drawn(11, 4, 4)))
    assert data.conditions[0].shape == (3, 4, 4)
    small = mz.prepare(folder, image_condition="mask", size=4)
    assert small.condition["mask"].shape == (3, 2, 2, 3)
    (folder / "m1.png").unlink()
    with pytest.raises(UserError, match=r"names m1.png, which does not exist"):
        mz.prepare(folder, image_condition="mask")
    drawn(11, 5, 4).save(folder / "m1.png")
    with pytest.raises(UserError, match="has 5x4 pixels, but the image has 8x8"):
        mz.prepare(folder, image_condition="mask")


def test_an_image_may_be_the_condition_of_another(tmp_path: Path) -> None:
    rows = [{"file_name": f"{i}.png", "before": f"{max(i - 1, 0)}.png"} for i in range(3)]
    data = mz.prepare(written(tmp_path / "q", rows), image_condition="before")
    assert len(data) == 3
    assert np.array_equal(data.condition["before"][2], data.images[1])


def test_a_missing_label_is_no_label(tmp_path: Path) -> None:
    values = [["a", None], float("nan"), "b\u2028c"]
    rows = [{"file_name": f"{i}.png", "k": value} for i, value in enumerate(values)]
    folder = written(tmp_path / "q", [], "jsonl")
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = mz.prepare(folder, labels_from="k")
    assert data.condition["k"].tolist() == [[1, 0], [0, 0], [0, 1]]


def test_masks_may_lie_in_their_own_folder_and_have_16_bits(tmp_path: Path) -> None:
    rows = [{"file_name": f"{i}.png", "mask": f"masks/{i}.png"} for i in range(3)]
    folder = written(tmp_path / "q", rows)
    (folder / "masks").mkdir()
    values = np.array([[0, 257], [32896, 65535]], np.uint16)
    for i in range(3):
        Image.fromarray(values).save(folder / f"masks/{i}.png")
    with pytest.warns(UserWarning, match="leaves out 3 images outside the folders"):
        data = mz.prepare(folder, image_condition="mask")
    assert (len(data), data.condition["mask"].dtype) == (3, np.uint8)
    assert data.condition["mask"][2, :, :, 0].tolist() == [[0, 1], [128, 255]]
    (folder / "masks/1.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"'mask' of 1\.png cannot be read"):
        mz.prepare(folder, image_condition="mask")


def test_masks_are_named_relative_to_the_table(tmp_path: Path) -> None:
    rows = [{"file_name": f"images/{i}.png", "mask": f"masks/{i}.png"} for i in range(3)]
    folder = written(tmp_path / "q" / "images", rows).parent
    (folder / "images/metadata.csv").rename(folder / "metadata.csv")
    (folder / "masks").mkdir()
    for i in range(3):
        drawn(10 + i).save(folder / f"masks/{i}.png")
    with pytest.warns(UserWarning, match="leaves out 3 images outside the folders"):
        data = mz.prepare(folder, image_condition="mask")
    assert np.array_equal(data.condition["mask"][1], np.asarray(drawn(11)))


def test_a_malformed_table_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "q", ROWS)
    (folder / "metadata.csv").write_text("file_name,tags\n0.png,red\n1.png,a,b\n2.png,c\n")
    with pytest.raises(UserError, match=r"has 3 cells for 1.png, but 2 columns: put text with"):
        mz.prepare(folder, labels_from="tags")
    (folder / "metadata.csv").write_text("file_name,age,age\n0.png,1,2\n1.png,2,3\n2.png,3,4\n")
    with pytest.raises(UserError, match="has two columns 'age': rename one of them"):
        mz.prepare(folder, condition="age")
    (folder / "metadata.csv").write_text("")
    with pytest.raises(UserError, match="has no rows for 3 images"):
        mz.prepare(folder, condition="age")


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_archives_have_metadata_too(tmp_path: Path, kind: str) -> None:
    rows = [{"file_name": f"{i}.png", "age": i, "mask": f"m{i}.png"} for i in range(3)]
    folder = written(tmp_path / "q" / "in", rows, "jsonl")
    for i in range(3):
        drawn(10 + i, 4, 4).save(folder / f"m{i}.png")
    packed = shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path / "q")
    data = mz.prepare(packed, condition="age", image_condition="mask")
    assert data.condition["age"].tolist() == [[0], [1], [2]]
    assert np.array_equal(data.condition["mask"][2], np.asarray(drawn(12, 4, 4)))


def test_what_is_wrong_with_metadata_is_one_line(tmp_path: Path) -> None:
    def refused(rows: list[dict[str, object]], **asked: str) -> str:
        folder = written(tmp_path / "q", rows)
        with pytest.raises(UserError) as error:
            mz.prepare(folder, **(asked or {"condition": "age"}))
        return str(error.value)

    assert "has no column 'ages'; did you mean age" in refused(ROWS, condition="ages")
    assert "has no rows for 1 image (2.png)" in refused(ROWS[:2])
    assert "names 9.png, which does not exist" in refused(
        [*ROWS, {**ROWS[0], "file_name": "9.png"}]
    )
    assert "names 0.png twice" in refused([*ROWS, ROWS[0]])
    assert "'age' of 1.png is 'old', not a number" in refused(
        [ROWS[0], {**ROWS[1], "age": "old"}, ROWS[2]]
    )
    assert "'age' of 1.png is 'nan': give a finite" in refused(
        [ROWS[0], {**ROWS[1], "age": "nan"}, ROWS[2]]
    )
    assert "'age' is the same for all images" in refused([{**row, "age": 0.1} for row in ROWS])
    assert "has no column file_name" in refused([{"name": "0.png", "age": 1}])
    (tmp_path / "q" / "metadata.csv").unlink()
    with pytest.raises(UserError, match="has no metadata"):
        mz.prepare(tmp_path / "q", condition="age")
    with pytest.raises(UserError, match="`labels_from` cannot be used with images in memory"):
        mz.prepare(np.zeros((2, 8, 8, 3), np.uint8), labels_from="x")
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="has no columns: give a folder with"):
        mz.prepare(tmp_path / "a.npy", labels_from="x")


def test_parquet_has_columns_too(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import io

    import pyarrow.parquet as parquet

    def encoded(image: Image.Image) -> dict[str, bytes]:
        content = io.BytesIO()
        image.save(content, "PNG")
        return {"bytes": content.getvalue()}

    table = pyarrow.table(
        {
            "image": [encoded(drawn(i)) for i in range(3)],
            "vector": [[0.0, 1.0], [1.0, 0.5], [2.0, 0.0]],
            "tags": [["a"], ["a", "b"], []],
            "mask": [encoded(drawn(i, 4, 4)) for i in range(3)],
        }
    )
    parquet.write_table(table, tmp_path / "train.parquet")
    data = mz.prepare(
        tmp_path / "train.parquet", condition="vector", labels_from="tags", image_condition="mask"
    )
    assert data.condition["vector"].tolist() == [[0, 1], [1, 0.5], [2, 0]]
    assert data.condition["tags"].tolist() == [[1, 0], [1, 1], [0, 0]]
    assert np.array_equal(data.condition["mask"][2], np.asarray(drawn(2, 4, 4)))


def test_arrays_are_conditions_by_their_type(few_glyphs: None) -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    given = {
        "pose": draw.random((6, 2)),
        "tags": draw.integers(0, 2, (6, 3)),
        "small": draw.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8),
    }
    data = mz.prepare(images, np.arange(6) % 2, condition=given)
    assert [each.kind for each in data.conditions] == ["numbers", "tags", "image"]
    assert all(np.array_equal(data.condition[name], given[name]) for name in given)
    again = mz.prepare(data.source)
    assert again.fingerprint == data.fingerprint
    assert again.conditions == data.conditions
    halved = mz.prepare(data.source, size=4)
    assert halved.condition["small"].shape == (6, 2, 2, 3)
    only = mz.prepare(images, condition=torch.arange(6.0).bfloat16())
    assert only.condition["condition"].tolist() == [[0], [1], [2], [3], [4], [5]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((5, 2)), "for 6 images"),
        (np.arange(6), "if each image has one class, give `labels`"),
        (np.full((6, 2), np.nan), "is not finite"),
        (np.zeros((6, 2)), "the same for all images"),
        (np.zeros((6, 8, 8, 3), np.float32), "uint8"),
        (np.zeros((6, 5, 5, 3), np.uint8), "a whole multiple of the other's size"),
        (np.ma.masked_less(np.eye(6), 1), "is no array: give a dense array or tensor"),
        (torch.eye(6).to_sparse(), "is no array: give a dense array or tensor"),
        ({1: np.eye(6)}, "has the key 1: give names"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        mz.prepare(np.zeros((6, 8, 8, 3), np.uint8), condition=value)


def test_glyphs_say_how_they_are_drawn(few_glyphs: None) -> None:
    data = mz.prepare("glyphs", condition=["rotation", "hue"])
    rotation = data.condition["rotation"]
    assert rotation.shape == (100, 1)
    assert -14.33 < rotation.min() < -10 < 10 < rotation.max() < 14.33
    assert data.classes
