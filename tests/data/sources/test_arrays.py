import zipfile

import numpy as np
import pytest
from PIL import Image

from mezzotint.data import find_source, prepare
from mezzotint.data.sources import arrays
from mezzotint.errors import UserError


@pytest.fixture
def images(noise):
    return noise(0, 5, 6, 8, 3)


@pytest.fixture
def save(tmp_path):
    """A function that saves an array as .npy, or named arrays as .npz, and returns the path."""

    def save(*array, compressed=False, **named):
        if array:
            np.save(tmp_path / "x.npy", *array)
            return str(tmp_path / "x.npy")
        (np.savez_compressed if compressed else np.savez)(tmp_path / "x.npz", **named)
        return str(tmp_path / "x.npz")

    return save


def refused(data):
    """Return the one-line error of `prepare`, without the path at its beginning."""
    with pytest.raises(UserError) as caught:
        prepare(data)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(data)
    return message.removeprefix(data)


def test_npy(save, images):
    prepared = prepare(save(images))
    np.testing.assert_array_equal(prepared.images, images)
    assert prepared.classes == ()
    assert prepared.labels.tolist() == [-1] * 5
    source = find_source(save(images))
    assert source.count == 5
    assert [item.name for item in source.items()] == [f"x.npy row {i}" for i in range(5)]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("image", "label"), [("arr_0", "arr_1"), ("images", "labels")])
def test_npz(save, images, image, label, compressed):
    data = save(compressed=compressed, **{image: images})
    plain = prepare(data)
    np.testing.assert_array_equal(plain.images, images)
    assert plain.classes == ()
    assert plain.labels.tolist() == [-1] * 5
    data = save(compressed=compressed, **{image: images, label: np.array([2, 0, 0, 3, 2])})
    labelled = prepare(data)
    np.testing.assert_array_equal(labelled.images, images)
    assert labelled.classes == ("0", "1", "2", "3")  # class 1 has no image, as in a small sample
    assert labelled.labels.tolist() == [2, 0, 0, 3, 2]


def test_the_suffix_may_be_in_capitals(save, images, tmp_path):
    save(images)
    save(arr_0=images)
    for suffix in ("npy", "npz"):
        (tmp_path / f"x.{suffix}").rename(tmp_path / f"X.{suffix.upper()}")
        data = str(tmp_path / f"X.{suffix.upper()}")
        np.testing.assert_array_equal(prepare(data).images, images)


def test_other_arrays_are_passed_over(save, images):
    data = save(mu=np.zeros(4), arr_0=images, names=np.array([{}], dtype=object))
    np.testing.assert_array_equal(prepare(data).images, images)


def test_same_fingerprint_as_the_folder(save, images, tmp_path):
    for i, pixels in enumerate(images):
        (tmp_path / "set" / f"{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / f"{i % 2}" / f"{i}.png")
    order = [0, 2, 4, 1, 3]
    data = save(arr_0=images[order], arr_1=np.array([0, 0, 0, 1, 1]))
    for size in (None, 4):
        expected = prepare(str(tmp_path / "set"), size=size)
        assert prepare(data, size=size).fingerprint == expected.fingerprint


@pytest.mark.parametrize("shape", [(4, 6, 8), (4, 6, 8, 1)])
def test_grey_stays_grey_as_that_of_a_file_does(save, noise, tmp_path, shape):
    grey = noise(1, *shape)
    expected = grey.reshape(4, 6, 8, 1)
    np.testing.assert_array_equal(prepare(save(grey)).images, expected)
    np.testing.assert_array_equal(prepare(save(arr_0=grey)).images, expected)
    (tmp_path / "set").mkdir()
    for i, pixels in enumerate(grey.reshape(4, 6, 8)):
        Image.fromarray(pixels).save(tmp_path / "set" / f"{i}.png")
    assert (
        prepare(save(grey), size=5).fingerprint
        == prepare(str(tmp_path / "set"), size=5).fingerprint
    )


@pytest.mark.parametrize("dtype", ["u2", ">u2", "i2", ">i4", "i8"])
def test_other_integers_in_range(save, images, dtype):
    np.testing.assert_array_equal(prepare(save(images.astype(dtype))).images, images)
    np.testing.assert_array_equal(prepare(save(arr_0=images.astype(dtype))).images, images)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("u2", 0, 65535), ("i2", -1, 255), ("i8", 0, 256), ("i1", -128, 127)]
)
def test_other_integers_out_of_range(save, images, cache, dtype, low, high):
    values = (images % 100).astype(dtype)
    values[0, 0, 0, 0] = low
    values[-1, -1, -1, -1] = high
    if dtype == "u2":
        data = prepare(save(values))
        np.testing.assert_array_equal(data.images, values)
        assert str(data.values) == "uint16 from 0 to 65535"
        return
    rest = f" with values from {low} to {high}: give the values of black and white"
    assert rest in refused(save(values))
    assert rest in refused(save(images=values))
    assert not any((cache / "prepared").iterdir())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_need_a_range_and_keep_their_values(save, dtype):
    values = np.array([-1, 0.25, 0.5, 0], dtype=dtype).repeat(5).reshape(2, 2, 1, 5)
    rest = f" is {dtype} with values from -1.0 to 0.5: give the values of black and white, such as"
    assert rest in refused(save(values))
    assert rest in refused(save(arr_0=values))
    data = prepare(save(values), range=(-1, 1))
    np.testing.assert_array_equal(data.images, values)
    assert str(data.values) == "float32 from -1 to 1"
    assert data.notes == (() if dtype == "float32" else (f"{dtype} values are kept as float32",))
    values[1, 1, 0, 2] = np.nan
    with pytest.raises(UserError, match=r"row 1 of .* has values that are not finite"):
        prepare(save(values), range=(-1, 1))
    with pytest.raises(
        UserError, match=r"outside `range=\(0, 1\)`: clip them or give another range"
    ):
        prepare(save(values), range=(0, 1))


@pytest.mark.parametrize("dtype", ["bool", "complex64", "<U2"])
def test_other_types(save, dtype):
    assert (
        refused(save(np.ones((2, 4, 4, 3), dtype))) == f" is {dtype}: give uint8, uint16 or float32"
    )


def test_objects_are_not_unpickled(save, images):
    objects = np.empty(2, dtype=object)
    objects[:] = [images[0], {}]
    rest = " holds Python objects, which mezzotint does not unpickle: save numbers"
    assert refused(save(objects)) == rest
    assert refused(save(arr_0=objects)) == f" arr_0{rest}"
    assert refused(save(arr_0=images[:2], arr_1=objects)) == f" arr_1{rest}"


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        ((2, 3, 6, 8), ": transpose it to (N, H, W, 3)"),
        ((2, 1, 6, 8), ": transpose it to (N, H, W, 1)"),
        ((6, 8, 3), ", a single image: give (N, H, W, 3)"),
        ((6, 8, 4), ", a single image: give (N, H, W, 4)"),
        ((2, 5, 16, 16), ": transpose it to (N, H, W, 5)"),
        ((2, 48), ": give (N, H, W, C), or (N, H, W) if grey"),
        ((), ": give (N, H, W, C), or (N, H, W) if grey"),
        ((0, 6, 8, 3), ", so it holds no images: save one or more"),
        ((2, 0, 8, 3), ", so it holds no images: save one or more"),
        ((0,), ", so it holds no images: save one or more"),
    ],
)
def test_other_shapes(save, noise, shape, what):
    assert refused(save(noise(0, *shape))) == f" has the shape {shape}{what}"
    assert refused(save(arr_0=noise(0, *shape))) == f" arr_0 has the shape {shape}{what}"


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ([0, 1, 0, 1], "shape (4,) for 5 images: give one label for each image"),
        (np.zeros((5, 1), int), "shape (5, 1) for 5 images: give one label for each image"),
        ([0, 1, -1, 1, 0], "label -1: number classes from 0, or give no labels"),
        ([0, 1, 2**40, 1, 0], f"label {2**40}, too large for a class: number the classes from 0"),
    ],
)
def test_wrong_labels(save, images, labels, what):
    assert refused(save(arr_0=images, arr_1=np.array(labels))) == f" arr_1 has the {what}"


def test_labels_that_are_not_integers(save, images):
    assert refused(save(images=images, labels=np.zeros(5, "f4"))) == (
        " labels is float32: give the class of each image as an integer from 0"
    )


def test_missing_keys(save, tmp_path):
    data = save(mu=np.zeros(4), sigma=np.eye(4))
    assert refused(data) == " holds mu, sigma: save the images in it under the name arr_0 or images"
    with zipfile.ZipFile(tmp_path / "x.npz", "w"):
        pass
    assert refused(data) == " holds nothing: save the images in it under the name arr_0 or images"


def test_a_file_is_one_set_for_training(save, images):
    data = save(images)
    with pytest.raises(UserError, match=r"x\.npy has no split 'test': choose train"):
        find_source(data, "test")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_more_than_one_block(save, images, monkeypatch, dtype, compressed):
    monkeypatch.setattr(arrays, "_BLOCK", 2 * images[0].nbytes)
    labels = np.arange(5)
    data = save(compressed=compressed, arr_0=images.astype(dtype), arr_1=labels)
    prepared = prepare(data)
    np.testing.assert_array_equal(prepared.images, images)
    np.testing.assert_array_equal(prepared.labels, labels)
    np.testing.assert_array_equal(prepare(save(images.astype(dtype))).images, images)


def test_fortran_order(save, images):
    turned = np.asfortranarray(images)
    np.testing.assert_array_equal(prepare(save(turned)).images, images)
    np.testing.assert_array_equal(prepare(save(arr_0=turned)).images, images)


def test_a_changed_file_changes_the_key(save, images):
    before = find_source(save(images)).key
    assert find_source(save(images[:4])).key != before


def test_cut_npy(save, images, tmp_path):
    data = save(images)
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-7])
    assert refused(data) == " lacks its last 7 bytes: save it again"
    for content in (b"", whole[:60], b"not an array", b"\x93NUMPY\x01\x00\x05\x00{a:b}"):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(UserError, match=r"x\.npy cannot be read as \.npy \(.*\): save it aga"):
            find_source(data)


def test_damaged_npz(save, images, tmp_path):
    data = save(arr_0=images)
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[:-40])
    assert refused(data) == " cannot be read as .npz (File is not a zip file): save it again"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("arr_0.npy", b"not an array")
    assert "cannot be read as .npz" in refused(data)


@pytest.mark.parametrize("block", [1, arrays._BLOCK])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_member_stops_the_preparation(
    save, noise, tmp_path, cache, monkeypatch, compressed, block
):
    monkeypatch.setattr(arrays, "_BLOCK", block)
    data = save(compressed=compressed, arr_0=noise(0, 5, 100, 100, 3))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "x.npz").write_bytes(content)
    assert find_source(data).count == 5  # only the header has been read
    assert refused(data).startswith(" cannot be read as .npz (")
    assert not any((cache / "prepared").iterdir())


def test_keras(tmp_path, noise):
    x, y = noise(0, 5, 4, 4, 3), np.array([[1], [0], [2], [1], [0]])
    np.savez(tmp_path / "k.npz", x_train=x, y_train=y, x_test=x[:2] // 2, y_test=y[:2])
    data, held = (prepare(tmp_path / "k.npz", split=split) for split in ("train", "test"))
    np.testing.assert_array_equal(data.images, x)
    np.testing.assert_array_equal(held.images, x[:2] // 2)
    assert (data.labels.tolist(), held.labels.tolist()) == ([1, 0, 2, 1, 0], [1, 0])
    with pytest.raises(UserError, match="no split 'val': choose train, test"):
        prepare(tmp_path / "k.npz", split="val")
    np.savez(tmp_path / "g.npz", x_train=x[..., :2, 0], y_train=y[:, 0])
    assert prepare(tmp_path / "g.npz").images.shape == (5, 4, 2, 1)
    np.savez(tmp_path / "s.npz", x_train=x, x_test=x // 2, labels=y)
    for split in ("train", "test"):
        with pytest.raises(
            UserError, match=r"holds labels, .* splits train, test: save .* y_train"
        ):
            prepare(tmp_path / "s.npz", split=split)
    assert prepare(tmp_path / "s.npz", conditional=False).classes == ()


def test_labels_by_name(tmp_path, noise):
    x = noise(0, 4, 4, 4, 3)
    np.savez(tmp_path / "n.npz", images=x, labels=np.array(["b", "a10", "a9", "b"]))
    data = prepare(tmp_path / "n.npz")
    assert (data.labels.tolist(), data.classes) == ([2, 1, 0, 2], ("a9", "a10", "b"))
    np.savez(tmp_path / "f.npz", images=x, labels=np.ones(4) / 2)
    with pytest.raises(UserError, match="give the class of each image as an integer"):
        prepare(tmp_path / "f.npz")
    assert prepare(tmp_path / "f.npz", conditional=False).classes == ()
