"""Images in memory: arrays and tensors."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint.data import held_out


@pytest.fixture
def images(noise):
    return noise(0, 5, 6, 8, 3)


LABELS = [0, 1, 1, 0, 1]


def refused(*arguments, **options):
    with pytest.raises(mz.UserError) as caught:
        mz.prepare(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_array_is_what_it_was(images, cache):
    data = mz.prepare(images, LABELS, classes=("cat", "dog"))
    np.testing.assert_array_equal(data.images, images)
    assert isinstance(data.images, np.memmap)
    assert data.labels.tolist() == LABELS
    assert data.classes == ("cat", "dog")
    assert (len(data), data.condition, data.skipped, data.notes) == (5, {}, 0, ())
    assert data.source == f"array:{data.fingerprint[:16]}"
    assert data.folder.parent == cache / "prepared"
    assert repr(data) == (
        f"Prepared: 5 images of 6x8x3, from '{data.source}' (train)\n  2 classes: cat, dog"
    )


def test_it_is_found_again_by_its_source(images):
    first = mz.prepare(images, LABELS, classes=("cat", "dog"))
    again = mz.prepare(first.source)
    assert (again.source, again.folder) == (first.source, first.folder)
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.images, images)
    assert mz.prepare(images, LABELS, classes=("cat", "dog")).folder == first.folder
    assert mz.prepare(images, LABELS).source != first.source  # class names count
    assert held_out(first) is first
    smaller = mz.prepare(first.source, size=4)
    np.testing.assert_array_equal(
        smaller.images, mz.prepare(images, LABELS, classes=("cat", "dog"), size=4).images
    )
    with pytest.raises(mz.UserError, match=r"array:.* has no split 'test': choose train"):
        mz.prepare(first.source, split="test")


def test_what_has_left_the_cache_is_to_be_given_again(images):
    data = mz.prepare(images)
    shutil.rmtree(data.folder)
    with pytest.raises(
        mz.UserError, match=rf"{data.source} is not in .* prepare the images again, from"
    ):
        mz.prepare(data.source)
    with pytest.raises(mz.UserError, match="prepare the images again"):
        mz.prepare("array:../prepared")
    assert mz.prepare(images).source == data.source


def test_same_fingerprint_as_files(images, tmp_path):
    for i, pixels in enumerate(images):
        (tmp_path / "set" / "ab"[i // 3]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / "ab"[i // 3] / f"{i}.png")
    for size in (None, 4):
        data = mz.prepare(images, [0, 0, 0, 1, 1], classes=["a", "b"], size=size)
        assert data.fingerprint == mz.prepare(tmp_path / "set", size=size).fingerprint


def test_a_path_is_never_a_name(animals, monkeypatch):
    animals.rename(animals.parent / "glyphs")
    monkeypatch.chdir(animals.parent)
    data = mz.prepare(Path("glyphs"))
    assert len(data) == 5
    assert data.source == str(animals.parent / "glyphs")


@pytest.mark.parametrize(
    "labels",
    [np.array(LABELS), np.array(LABELS, np.uint8), torch.tensor(LABELS), LABELS, tuple(LABELS)],
    ids=lambda labels: type(labels).__name__,
)
def test_labels_of_any_integer_type(images, labels):
    data = mz.prepare(images, labels)
    assert (data.labels.tolist(), data.labels.dtype) == (LABELS, np.int64)
    assert data.classes == ("0", "1")


def test_classes_without_an_image_are_kept(images):
    assert mz.prepare(images, LABELS, classes=("a", "b", "c")).classes == ("a", "b", "c")
    assert mz.prepare(images).classes == ()
    assert mz.prepare(images).labels.tolist() == [-1] * 5


def test_axes_whose_order_is_plain(images):
    rgb = torch.from_numpy(images)
    for data in (rgb, rgb.permute(0, 3, 1, 2), images.transpose(0, 3, 1, 2)):
        np.testing.assert_array_equal(mz.prepare(data).images, images)


@pytest.mark.parametrize("shape", [(5, 6, 8), (5, 6, 8, 1), (5, 1, 6, 8), (1, 6, 8)])
def test_grey_stays_grey(noise, shape):
    grey = noise(1, *shape)
    data = mz.prepare(grey)
    np.testing.assert_array_equal(data.images, grey.reshape(-1, 6, 8, 1))
    assert data.notes == ()
    repeated = np.repeat(data.images, 3, axis=3)
    np.testing.assert_array_equal(mz.prepare(grey, mode="rgb").images, repeated)
    np.testing.assert_array_equal(mz.prepare(data.source, mode="rgb").images, repeated)


@pytest.mark.parametrize(
    ("shape", "layout", "seen"),
    [
        ((5, 3, 8, 3), "NHWC", (5, 3, 8, 3)),
        ((5, 3, 8, 3), "NCHW", (5, 8, 3, 3)),
        ((3, 6, 8), "NHW", (3, 6, 8, 1)),
        ((4, 6, 3), "NHW", (4, 6, 3, 1)),
        ((2, 6, 8, 5), "NHWC", (2, 6, 8, 5)),
        ((2, 5, 6, 8), "NCHW", (2, 6, 8, 5)),
        ((5, 4, 6, 3), "NHWC", (5, 4, 6, 3)),
    ],
)
def test_axes_in_doubt_are_as_said(noise, shape, layout, seen):
    pixels = noise(2, *shape)
    assert "`layout=" in refused(pixels)
    data = mz.prepare(pixels, layout=layout)
    assert data.images.shape == seen
    if layout == "NCHW":
        np.testing.assert_array_equal(data.images, pixels.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("shape", "layout", "what"),
    [
        ((2, 48), None, "give (N, H, W), (N, H, W, C) or (N, C, H, W)"),
        ((1, 2, 6, 8, 3), None, "give (N, H, W), (N, H, W, C) or (N, C, H, W)"),
        ((0, 6, 8, 3), None, "so it holds no images: give at least one"),
        ((2, 0, 8, 3), None, "so it holds no images: give at least one"),
        ((2, 6, 8, 2), None, "in which neither axis 1 nor axis 3 may be the channels (1, 3 or 4)"),
        ((2, 3, 6, 3), None, "in which both axis 1 and axis 3 may be the channels (1, 3 or 4)"),
        ((6, 8, 3), None, 'which may be one image: give `layout="NHW"` for 6 grey images'),
        ((3, 6, 8), None, 'which may be one image: give `layout="NHW"` for 3 grey images'),
        ((2, 6, 8), "NHWC", "`layout` is 'NHWC': give images with the axes of the `layout`"),
        ((2, 6, 8, 3), "NHW", "`layout` is 'NHW': give images with the axes of the `layout`"),
    ],
)
def test_other_shapes(noise, shape, layout, what):
    message = refused(noise(0, *shape), layout=layout)
    assert message.startswith(f"`data` has the shape {shape}")
    assert what in message


def test_other_layouts(images):
    assert refused(images, layout="HWCN") == "`layout` is 'HWCN': choose NHW, NHWC, NCHW"


def test_sixteen_bits_keep_their_values_as_those_of_a_file_do(tmp_path):
    values = np.arange(0, 65536, 32, dtype=np.uint16).reshape(2, 32, 32)
    values[0, 0, 1] = 65535
    data = mz.prepare(values)
    np.testing.assert_array_equal(data.images[..., 0], values)
    assert str(data.values) == "uint16 from 0 to 65535"
    eight = mz.prepare(values, mode="grey")
    np.testing.assert_array_equal(eight.images[..., 0], np.rint(values / 257))
    (tmp_path / "set").mkdir()
    for i, grey in enumerate(values):
        Image.fromarray(grey).save(tmp_path / "set" / f"{i}.png")
    assert mz.prepare(tmp_path / "set").fingerprint == data.fingerprint
    assert mz.prepare(torch.from_numpy(values)).fingerprint == data.fingerprint


def test_sixteen_bits_that_may_be_eight(images):
    small = images.astype(np.uint16)
    message = refused(small)
    assert message.startswith(
        "`data` is uint16 with values from 0 to 255: give `range=(0, 255)` or "
    )
    for top in (255, 65535):
        data = mz.prepare(small, range=(0, top))
        np.testing.assert_array_equal(data.images, images)
        assert str(data.values) == f"uint16 from 0 to {top}"
    np.testing.assert_array_equal(mz.prepare(small, range=(0, 255), mode="rgb").images, images)


def test_values_that_would_all_be_black_are_refused(images):
    bits = (images > 100).astype(np.uint8)
    assert refused(bits).startswith("`data` is uint8 with values from 0 to 1: give `range=(0, 1)`")
    assert str(mz.prepare(bits, range=(0, 1)).values) == "uint8 from 0 to 1"
    assert mz.prepare(bits, range=(0, 255)).values.eight_bit
    said = "so all images would be black with `range=(0, 255)`: give `range=(0, 1)`"
    assert said in refused(images / 255, range=(0, 255))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1)])
def test_floats_in_a_stated_range_come_back(images, dtype, bounds):
    low, high = bounds
    pixels = torch.from_numpy(images).double()
    values = (pixels / 255 * (high - low) + low).to(dtype).requires_grad_()
    data = mz.prepare(values, range=bounds)
    np.testing.assert_array_equal(data.images, values.detach().float().numpy())
    eight = mz.prepare(values, range=bounds, mode="rgb")
    off = np.abs(eight.images.astype(int) - images).max()
    assert off == 0 if dtype in (torch.float64, torch.float32) else off <= 1
    message = refused(values)
    assert (
        "give the values of black and white, such as `range=(0, 1)` or `range=(-1, 1)`" in message
    )


@pytest.mark.parametrize(
    ("value", "bounds", "what"),
    [
        (np.nan, (0, 1), "image 3 of `data` has values that are not finite"),
        (np.inf, (0, 1), "image 3 of `data` has values that are not finite"),
        (np.nan, None, "image 3 of `data` has values that are not finite"),
        (1.5, (0, 1), "`data` is float32 with values from 0.0 to 1.5, outside `range=(0, 1)`"),
        (-0.5, (0, 1), "`data` is float32 with values from -0.5 to 0.0, outside `range=(0, 1)`"),
        (0, (1, 0), "`range` is (1, 0): give the values of black and white, such as (0, 1)"),
        (0, (0, 0), "`range` is (0, 0)"),
        (0, (0, np.inf), "`range` is (0, inf)"),
        (0, (0, np.nan), "`range` is (0, nan)"),
        (0, (0,), "`range` is (0,)"),
        (0, 255, "`range` is 255"),
        (0, "ab", "`range` is 'ab'"),
    ],
)
def test_floats_out_of_range(value, bounds, what):
    values = np.zeros((5, 6, 8, 3), np.float32)
    values[3, 2, 1, 0] = value
    assert refused(values, range=bounds).startswith(what)


@pytest.mark.parametrize("dtype", [bool, object, complex, "<U2", "datetime64[s]"])
def test_other_types(dtype):
    values = np.zeros((2, 6, 8, 3), dtype)
    assert refused(values) == f"`data` is {values.dtype}: give uint8, uint16 or float"
    assert refused(values, range=(0, 1)) == f"`data` is {values.dtype}: give uint8, uint16 or float"


def test_other_integers_need_a_range(images):
    wide = torch.from_numpy(images).long()
    assert refused(wide).endswith("give the values of black and white, such as `range=(0, 255)`")
    np.testing.assert_array_equal(mz.prepare(wide, range=(0, 255)).images, images)
    assert "outside `range=(0, 255)`" in refused(wide - 1, range=(0, 255))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (None, "`data` is of type NoneType"),
        ([np.zeros((4, 4, 3), np.uint8)], "`data` is of type list: give one numpy array or one to"),
        (Image.new("RGB", (4, 4)), "`data` is of type Image"),
        (np.ma.masked_array(np.zeros((2, 4, 4, 3), np.uint8)), "`data` is a masked array"),
        (torch.zeros(2, 4, 4, 3).to_sparse(), "`data` cannot be converted to an array"),
        (torch.zeros(2, 4, 4, 3, device="meta"), "`data` cannot be converted to an array"),
    ],
)
def test_what_is_no_array(data, what):
    assert refused(data).startswith(what)


@pytest.mark.parametrize(
    ("labels", "classes", "numbers", "names"),
    [
        (["b", "a", "b", "a10", "a2"], None, [3, 0, 3, 2, 1], ("a", "a2", "a10", "b")),
        (["b", "a", "b", "a", "a"], ("b", "c", "a"), [0, 2, 0, 2, 2], ("b", "c", "a")),
        ([True, False, False, True, True], None, [1, 0, 0, 1, 1], ("False", "True")),
        (torch.tensor([1, 0, 0, 0, 0]).bool(), None, [1, 0, 0, 0, 0], ("False", "True")),
        (["e\u0301"] * 5, ("a", "e\u0301"), [1] * 5, ("a", "\u00e9")),
    ],
)
def test_names_and_truths_are_classes(images, labels, classes, numbers, names):
    data = mz.prepare(images, labels, classes=classes)
    assert (data.labels.tolist(), data.classes) == (numbers, names)


@pytest.mark.parametrize(
    ("labels", "classes", "what"),
    [
        (
            [0, 1, 0, 1],
            None,
            "`labels` has the shape (4,) for 5 images: give one label for e",
        ),
        (np.zeros((5, 1), int), None, "`labels` has the shape (5, 1) for 5 images"),
        ([0, 1, -1, 1, 0], None, "`labels` has the label -1: number classes from 0"),
        ([0, 1, 2**40, 1, 0], None, f"`labels` has the label {2**40}, too large for a class"),
        (
            np.zeros(5),
            None,
            "`labels` is float64: give the class of each image as an integer from 0",
        ),
        (list("abbca"), ("a", "b"), "`labels` has the label 'c', which is not in `classes`"),
        ([[0], 1, 1, 1, 1], None, "the entries of `labels` have different lengths"),
        ("cats", None, "`labels` is of type str"),
        (3, None, "`labels` is of type int"),
        (
            LABELS,
            ("a",),
            "`labels` has the label 1, but `classes` has only 1 name: name",
        ),
        (LABELS, (), "`labels` has the label 1, but `classes` has only 0 names"),
        (LABELS, ("a", "a"), "`classes` has the name 'a' twice"),
        (LABELS, ("\u00e9", "e\u0301"), "`classes` has the name '\u00e9' twice"),
        (LABELS, "ab", "`classes` is 'ab': give a sequence of names"),
        (LABELS, 2, "`classes` is 2: give a sequence of names"),
        (LABELS, (1, 2), "`classes` is (1, 2): give a sequence of names"),
        (
            None,
            ("a", "b"),
            "`classes` are given without `labels`: give `labels`, one for each image",
        ),
    ],
)
def test_wrong_labels(images, labels, classes, what):
    assert refused(images, labels, classes=classes).startswith(what)


@pytest.mark.parametrize("size", [0, -1, 1.5, "8x", "8x8x8", True, (), (4, 0), (4, 4, 4)])
def test_wrong_sizes(images, size):
    message = refused(images, size=size)
    assert message.startswith(f"`size` is {size!r}: give a side of at least 1 pixel, or height and")


@pytest.mark.parametrize("size", [(4, 3), "4x3", [4, 3]])
def test_height_and_width(images, size):
    data = mz.prepare(images, size=size)
    assert data.images.shape == (5, 4, 3, 3)
    assert mz.prepare(images, size="4x4").fingerprint == mz.prepare(images, size=4).fingerprint


def test_arguments_for_the_other_kind_of_data(images, animals):
    for name, value in (("split", "test"), ("skip_bad", True)):
        message = refused(images, **{name: value})
        assert message.startswith(
            f"`{name}` cannot be used with images in memory, only with a name"
        )
    for name, value in (("labels", LABELS), ("layout", "NHWC")):
        message = refused(str(animals), **{name: value})
        assert message.startswith(f"`{name}` cannot be used with {animals}, only with images")
    for name, value in (("split", 3), ("split", None), ("skip_bad", "yes"), ("skip_bad", 1)):
        assert refused(str(animals), **{name: value}).startswith(f"`{name}` is {value!r}: give")


def test_what_is_prepared_stays_as_it_is(images):
    data = mz.prepare(images)
    assert mz.prepare(data) is data
    for name, value in (("size", 4), ("labels", LABELS), ("split", "test"), ("skip_bad", True)):
        message = refused(data, **{name: value})
        assert message == f"`{name}` cannot be used with prepared data: leave it out"


def test_nothing_is_left_of_what_is_refused(images, cache):
    values = images / 255.0
    values[4, 0, 0, 0] = np.nan
    refused(values, range=(0, 1))
    assert not any((cache / "prepared").glob("*"))


def test_captions_are_not_classes(noise):
    images = noise(0, 101, 5, 5)
    with pytest.raises(
        mz.UserError, match="`labels` has 101 different labels for 101 images: so many are"
    ):
        mz.prepare(images, [f"image {i}" for i in range(101)])
