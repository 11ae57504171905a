"""MNIST's idx files, compressed or not, the arrays of keras, and CIFAR-10's extracted folder."""

import gzip
import shutil
import struct

import numpy as np
import pytest

import mezzotint as mz


def idx(values):
    shape = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + shape + values.astype(np.uint8).tobytes()


@pytest.fixture
def digits(tmp_path, noise):
    """A folder of idx files, and the arrays in them by name."""
    arrays = {
        "train-images-idx3-ubyte": noise(0, 5, 4, 6),
        "train-labels-idx1-ubyte": np.array([2, 0, 1, 1, 0]),
        "t10k-images-idx3-ubyte": noise(1, 3, 4, 6),
        "t10k-labels-idx1-ubyte": np.array([1, 1, 2]),
    }
    (tmp_path / "mnist").mkdir()
    for name, values in arrays.items():
        (tmp_path / "mnist" / name).write_bytes(idx(values))
    return tmp_path / "mnist", arrays


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw"])
def test_both_splits(digits, tmp_path, packed, place):
    folder, arrays = digits
    inner = tmp_path / "d" / place
    inner.mkdir(parents=True)
    for file in folder.iterdir():
        name = file.name.replace("-idx", ".idx") if place == "raw" else file.name
        content = file.read_bytes()
        (inner / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    data = mz.prepare(tmp_path / "d")
    images = arrays["train-images-idx3-ubyte"]
    np.testing.assert_array_equal(data.images, images[..., None])
    assert mz.prepare(tmp_path / "d", mode="rgb", size=3).images.shape == (5, 3, 3, 3)
    assert (data.labels.tolist(), data.classes) == ([2, 0, 1, 1, 0], ("0", "1", "2"))
    held = mz.prepare(tmp_path / "d", split="test")
    assert (len(held), held.labels.tolist()) == (3, [1, 1, 2])
    with pytest.raises(mz.UserError, match="no split 'val': choose "):
        mz.prepare(tmp_path / "d", split="val")


def test_emnist_is_written_column_by_column(digits):
    folder, arrays = digits
    for file in list(folder.iterdir()):
        name = file.name.replace("t10k", "test")
        file.rename(folder / f"emnist-letters-{name}")
    images = arrays["train-images-idx3-ubyte"].transpose(0, 2, 1)
    np.testing.assert_array_equal(mz.prepare(folder).images[..., 0], images)


def test_damaged_files(digits):
    folder, _ = digits
    path = folder / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    for content, what in (
        (whole[:-1], "but it holds 119 bytes"),
        (b"\0\0\7\3" + whole[4:], "is not an idx file of bytes with 3 axes"),
        (gzip.compress(whole)[:-9], "is damaged"),
        (whole[:6], "is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(mz.UserError, match=what):
            mz.prepare(folder)
    path.write_bytes(whole)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(4)))
    with pytest.raises(mz.UserError, match="has 4 labels for 5 images"):
        mz.prepare(folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    assert mz.prepare(folder).classes == ()
    path.rename(folder / "fashion-train-images-idx3-ubyte")
    (folder / "kmnist-train-images-idx3-ubyte").write_bytes(whole)
    with pytest.raises(mz.UserError, match="keep one data set in a folder"):
        mz.prepare(folder)
    (folder / "kmnist-train-images-idx3-ubyte").unlink()
    with pytest.raises(mz.UserError, match="holds fashion-train-images-idx3-ubyte and t10k-images"):
        mz.prepare(folder)
    path.write_bytes(idx(np.zeros((0, 4, 6))))
    (folder / "fashion-train-images-idx3-ubyte").unlink()
    with pytest.raises(mz.UserError, match="train-images-idx3-ubyte holds no images"):
        mz.prepare(folder)


def test_several_data_sets_in_one_folder_are_refused(digits, tmp_path):
    for name in ("KMNIST", "MNIST"):
        shutil.copytree(digits[0], tmp_path / "d" / name / "raw")
    with pytest.raises(mz.UserError, match=r"several data sets \(KMNIST/raw, MNIST/raw\)"):
        mz.prepare(tmp_path / "d")
