"""The channels of image files: those of the file, or those that the user requests."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import mezzotint as mz
from mezzotint.data import held_out
from mezzotint.data.images import read_image

MODES = ("keep", "rgb", "grey", "rgba")


@pytest.fixture
def folder(tmp_path):
    """Write images to a folder, and return it."""

    def write(*images: Image.Image, suffix: str = "png", **options):
        place = tmp_path / f"set{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        for i, image in enumerate(images):
            image.save(place / f"{i}.{suffix}", **options)
        return place

    return write


def grey(noise, seed=0):
    return Image.fromarray(noise(seed, 6, 8))


def colour(noise, seed=0):
    return Image.fromarray(noise(seed, 6, 8, 3))


def refused(*arguments, **options):
    with pytest.raises(mz.UserError) as caught:
        mz.prepare(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_grey_files_stay_grey_and_become_what_is_wanted(folder, noise):
    images = [grey(noise, i) for i in range(3)]
    place = folder(*images)
    pixels = np.stack([np.asarray(image) for image in images])[..., None]
    np.testing.assert_array_equal(mz.prepare(place).images, pixels)
    for mode, channels in zip(MODES, (1, 3, 1, 4), strict=True):
        data = mz.prepare(place, mode=mode)
        assert (data.images.shape[3], data.mode, data.notes) == (channels, mode, ())
        np.testing.assert_array_equal(data.images[..., :1], pixels)
        again = mz.prepare(data.source, mode=data.mode)
        assert (again.folder, again.values) == (data.folder, data.values)
    assert (mz.prepare(place, mode="rgba").images[..., 3] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_as_rgb_is_what_pillow_makes_of_it(noise, tmp_path, mode):
    image = grey(noise).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


def test_colours_become_grey_as_pillow_does_it(folder, noise):
    images = [colour(noise, i) for i in range(2)]
    data = mz.prepare(folder(*images), mode="grey")
    wanted = [np.asarray(image.convert("L")) for image in images]
    np.testing.assert_array_equal(data.images[..., 0], wanted)


def test_mixed_modes_become_rgb_and_it_is_said(folder, noise):
    place = folder(colour(noise), grey(noise), colour(noise, 1))
    data = mz.prepare(place)
    assert data.images.shape == (3, 6, 8, 3)
    assert data.fingerprint == mz.prepare(place, mode="rgb").fingerprint
    assert data.notes == (
        "the images have different channels (0.png is RGB, 1.png is grey): "
        "all were converted to RGB",
    )
    message = refused(place, mode="keep")
    assert "0.png is RGB, 1.png is grey" in message
    assert message.endswith(
        'pass `mode="rgb"` or `mode="grey"` to convert them all, or prepare them separately'
    )


def test_sixteen_bit_files_keep_all_values(folder):
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(2, 16, 32)
    for suffix in ("png", "tif"):
        place = folder(*map(Image.fromarray, values), suffix=suffix)
        data = mz.prepare(place)
        np.testing.assert_array_equal(data.images[..., 0], values)
        assert str(data.values) == "uint16 from 0 to 65535"
        np.testing.assert_array_equal(
            mz.prepare(place, mode="rgb").images[..., 1], np.rint(values / 257)
        )


def test_sixteen_bit_files_of_12_bits_are_warned_of(folder):
    place = folder(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)))
    said = "the largest value of the 16-bit images is 4,095 of 65,535, so they are nearly black"
    with pytest.warns(UserWarning, match=said):
        mz.prepare(place)
    assert said in mz.prepare(place).notes[-1]


def test_previews_beside_arrays_are_warned_of(folder, noise):
    place = folder(Image.fromarray(noise(0, 4, 4)))
    image = next(place.glob("*.png"))
    np.save(image.with_suffix(".npy"), np.zeros((4, 4, 1)))
    with pytest.warns(UserWarning, match=f"reads {image.name}, and not the .npy files of the same"):
        mz.prepare(place)


def test_transparency_is_kept_on_request(folder, noise):
    pixels = noise(3, 6, 8, 4)
    place = folder(Image.fromarray(pixels))
    data = mz.prepare(place, mode="rgba")
    np.testing.assert_array_equal(data.images[0], pixels)
    assert data.values.alpha
    flat = mz.prepare(place)
    assert (flat.images.shape[3], flat.values.alpha) == (3, False)
    assert flat.fingerprint == mz.prepare(place, mode="rgb").fingerprint
    plain = folder(Image.fromarray(noise(4, 6, 8, 2), "LA"))
    assert mz.prepare(plain).images.shape[3] == 1


def test_the_grey_pages_of_a_tiff_are_channels(folder, noise):
    pages = noise(5, 5, 6, 8)
    first, *rest = map(Image.fromarray, pages)
    place = folder(first, suffix="tif", save_all=True, append_images=rest)
    data = mz.prepare(place)
    np.testing.assert_array_equal(data.images[0], pages.transpose(1, 2, 0))
    np.testing.assert_array_equal(mz.prepare(place, mode="grey").images[0, ..., 0], pages[0])
    assert mz.prepare(place, size=(3, 4)).images.shape == (1, 3, 4, 5)


def test_other_pages_are_an_animation_whose_first_frame_counts(folder, noise):
    frames = [colour(noise, i) for i in range(3)]
    place = folder(frames[0], suffix="tif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(mz.prepare(place).images[0], np.asarray(frames[0]))


def test_floating_point_files_need_a_range(folder):
    values = np.linspace(-3, 3, 96, dtype=np.float32).reshape(2, 6, 8)
    place = folder(*map(Image.fromarray, values), suffix="tif")
    assert "32-bit pixels, which have no stated range" in refused(place)
    data = mz.prepare(place, range=(-4, 4))
    np.testing.assert_array_equal(data.images[..., 0], values)
    assert str(data.values) == "float32 from -4 to 4"
    message = refused(place, range=(-2, 2))
    assert message.startswith("0.tif of set")
    assert "has values from -3 to" in message
    assert "outside `range=(-2, 2)`" in message
    for mode in ("grey", "rgb", "rgba"):
        message = refused(place, range=(-2, 2), mode=mode)
        assert "values from -3 to" in message
        assert "outside `range=(-2, 2)`" in message
    broken = values.copy()
    broken[1, 2, 3] = np.nan
    place = folder(*map(Image.fromarray, broken), suffix="tif")
    assert "1.tif of set" in refused(place, range=(-4, 4))
    assert "values from nan" in refused(place, range=(-4, 4), mode="grey")


def test_a_range_belongs_to_values_that_need_one(folder, noise):
    assert "their range is known: leave out `range`" in refused(folder(grey(noise)), range=(0, 1))
    assert refused(folder(grey(noise)), mode="blue").startswith("`mode` is 'blue': choose keep, ")


def test_scaled_images_keep_their_type_and_range(folder):
    values = np.zeros((1, 16, 16), np.uint16)
    values[:, :, 8:] = 60000
    data = mz.prepare(folder(Image.fromarray(values[0])), size=(4, 6))
    assert (data.images.dtype, data.images.shape) == (np.uint16, (1, 4, 6, 1))
    assert data.images.max() == 60000  # bicubic weights would overshoot


def test_a_held_out_split_has_the_channels_of_the_training_set(tmp_path, noise):
    for split, images in {"train": [grey, grey], "test": [colour, grey]}.items():
        (tmp_path / "d" / split).mkdir(parents=True)
        for i, made in enumerate(images):
            made(noise, i).save(tmp_path / "d" / split / f"{i}.png")
    train = mz.prepare(tmp_path / "d")
    held = held_out(train)
    assert (train.images.shape[3], held.images.shape[3], len(held)) == (1, 1, 2)


def test_a_held_out_split_of_other_values_is_refused(tmp_path, noise):
    for split, values in {
        "train": noise(0, 4, 4).astype(np.uint16) * 257,
        "test": noise(0, 4, 4),
    }.items():
        (tmp_path / "d" / split).mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / "d" / split / "0.png")
    with pytest.raises(
        mz.UserError, match=r"split test of .* are uint8 from 0 to 255 of 1 channel"
    ):
        held_out(mz.prepare(tmp_path / "d"))


def test_four_channels_from_the_cache_become_rgba_on_request(noise):
    data = mz.prepare(noise(0, 2, 6, 8, 4))
    assert not data.values.alpha
    assert mz.prepare(data.source, mode="rgba").values.alpha
