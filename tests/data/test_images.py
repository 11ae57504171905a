import io
import os
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from mezzotint.data.images import UnreadableImage, Wanted, fit, read_image
from mezzotint.errors import UserError


def test_rgb_png_is_returned_as_it_is(encode, noise):
    pixels = noise(0, 5, 7, 3)
    read = read_image(encode(Image.fromarray(pixels)))
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, pixels)


def test_a_path_reads_as_its_bytes(tmp_path, encode, noise):
    content = encode(Image.fromarray(noise(0, 5, 7, 3)), "JPEG")
    (tmp_path / "x").write_bytes(content)
    np.testing.assert_array_equal(
        read_image(tmp_path / "x", wanted=Wanted("rgb", size=4)),
        read_image(content, wanted=Wanted("rgb", size=4)),
    )


def test_grey_becomes_three_equal_channels(encode, noise):
    grey = noise(0, 4, 6)
    read = read_image(encode(Image.fromarray(grey)))
    np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=2))


def test_one_bit(encode):
    image = Image.new("1", (3, 1))
    image.putpixel((1, 0), 1)
    assert read_image(encode(image))[0, :, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_white(encode, mode, format):
    values = (0, 0, 0)[: len(mode) - 1]
    image = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (*values, alpha))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    # black at alpha a on white is 255 - a
    assert read_image(encode(image, format, **options))[0].tolist() == [
        [255] * 3,
        [127] * 3,
        [0] * 3,
    ]


def test_rgba_on_white_exactly(encode):
    image = Image.new("RGBA", (1, 1), (200, 100, 0, 51))  # alpha one fifth
    assert read_image(encode(image))[0, 0].tolist() == [244, 224, 204]


def test_palette(encode):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert read_image(encode(image))[0].tolist() == [[10, 20, 30], [200, 100, 50]]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_with_transparency(encode, transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    read = read_image(encode(image, transparency=transparency))
    assert read[0].tolist() == [[255, 255, 255], [200, 100, 50]]


def test_cmyk_jpeg(encode):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan: red
    read = read_image(encode(image, "JPEG", quality=100))
    assert np.abs(read.astype(int) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_other_colour_spaces(encode, mode):
    image = Image.new("RGB", (4, 4), (255, 255, 255))
    if mode == "LAB":
        image = Image.merge("LAB", [Image.new("L", (4, 4), v) for v in (255, 128, 128)])
    else:
        image = image.convert(mode)
    # Some versions of Pillow cannot read the uncompressed YCbCr that they write.
    packed = {"compression": "tiff_lzw"} if mode == "YCbCr" else {}
    assert read_image(encode(image, "TIFF", **packed)).min() >= 250


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(encode, format):
    values = np.array([[0, 128, 129, 257, 32896, 65535]], dtype=np.uint16)
    read = read_image(encode(Image.fromarray(values), format))
    assert read[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    np.testing.assert_array_equal(read[..., 0], np.rint(values / 257))


def test_16_bit_big_endian_tiff(encode):
    image = Image.frombytes("I;16B", (2, 1), b"\xff\xff\x01\x01")
    assert read_image(encode(image, "TIFF"))[0, :, 0].tolist() == [255, 1]


def test_16_bit_tiff_in_which_zero_is_white(encode):
    image = Image.fromarray(np.array([[0, 257]], np.uint16))
    assert read_image(encode(image, "TIFF", tiffinfo={262: 0}))[0, :, 0].tolist() == [255, 254]


def test_transparent_value_of_16_bit_grey(encode):
    values = np.array([[0, 257]], dtype=np.uint16)
    read = read_image(encode(Image.fromarray(values), transparency=0))
    assert read[0, :, 0].tolist() == [255, 1]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_without_a_range_are_refused(encode, kind):
    with pytest.raises(UnreadableImage, match="no stated range"):
        read_image(encode(Image.fromarray(np.zeros((2, 2), kind)), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(encode, orientation):
    upright = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40).convert("RGB")
    # Where the image's first row and column lie in the file, by the table of the standard.
    stored = {
        1: upright,
        2: ImageOps.mirror(upright),
        3: upright.rotate(180),
        4: ImageOps.flip(upright),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.rotate(90, expand=True),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.rotate(-90, expand=True),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_image(encode(stored, exif=exif))
    np.testing.assert_array_equal(read, np.asarray(upright))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(encode, format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    content = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert (read_image(content) == [255, 0, 0]).all()


def test_size_scales_the_short_side_and_crops_the_centre(encode):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    read = read_image(encode(Image.fromarray(pixels)), wanted=Wanted("rgb", size=10))
    assert read.shape == (10, 10, 3)
    assert (read[:, 1:-1] == 255).all()  # the filter reaches a little beyond the crop


def test_size_is_antialiased(encode):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    read = read_image(encode(Image.fromarray(stripes)), wanted=Wanted("rgb", size=8))
    assert np.abs(read.astype(int) - 127.5).max() < 8


def test_a_picture_of_the_size_is_untouched(encode, noise):
    pixels = noise(0, 9, 9, 3)
    np.testing.assert_array_equal(
        read_image(encode(Image.fromarray(pixels)), wanted=Wanted("rgb", size=9)), pixels
    )
    np.testing.assert_array_equal(fit(pixels, 9), pixels)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_truncated(encode, noise, format, part, capfd):
    content = encode(Image.fromarray(noise(0, 64, 64, 3)), format)
    with pytest.raises(UnreadableImage) as caught:
        read_image(content[: int(part * len(content))])
    if format in ("JPEG", "PNG"):
        assert str(caught.value) == "truncated"
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"a note about images\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
        (b"\xff\xd8\xff", "not an image"),
    ],
)
def test_not_an_image(content, reason):
    with pytest.raises(UnreadableImage, match=reason):
        read_image(content)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*: give the path"):
        read_image(tmp_path / "x.png", wanted=Wanted("rgb", size=8))


def test_decompression_bomb(encode, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="too many pixels"):
        read_image(encode(Image.new("L", (15, 14))))
    # Between the limit and twice the limit Pillow warns, on the user's terminal.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(encode(Image.new("L", (15, 12)))).shape == (12, 15, 3)


def test_threads_leave_the_warning_filters_as_they_were(encode, noise):
    content = encode(Image.fromarray(noise(0, 32, 32, 3)))
    before = list(warnings.filters)

    def read():
        for _ in range(50):
            read_image(content)

    threads = [threading.Thread(target=read) for _ in range(4 * (os.cpu_count() or 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


LARGE = zlib.compress(b"a" * (2 << 20))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
        chunk(b"zTXt", b"Comment\0\0" + LARGE),
        chunk(b"iCCP", b"profile\0\0" + LARGE),
        chunk(b"tEXt", b"Comment\0" + b"a" * (2 << 20)),
        chunk(b"zTXt", b"Comment\0\0" + b"no zlib"),
        70 * chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 1_000_000)),
    ],
    ids=["XMP", "zTXt", "ICC", "tEXt", "damaged text", "much text"],
)
def test_text_and_profiles_of_any_size_change_nothing(encode, noise, extra):
    pixels = noise(0, 5, 7, 3)
    content = encode(Image.fromarray(pixels))
    np.testing.assert_array_equal(read_image(content[:33] + extra + content[33:]), pixels)
    with pytest.raises(UnreadableImage):  # what is damaged stays so
        read_image(content[:33] + extra + content[33:-60])


@pytest.mark.parametrize(
    "tag", [b'tiff:Orientation="6"', b"<tiff:Orientation>6</tiff:Orientation>"]
)
def test_the_orientation_in_large_xmp_counts(encode, noise, tag):
    pixels = noise(0, 5, 7, 3)
    content = encode(Image.fromarray(pixels))
    for text in (tag, tag + b" " * (2 << 20)):
        xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text))
        read = read_image(content[:33] + xmp + content[33:])
        np.testing.assert_array_equal(read, np.rot90(pixels, -1))


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC: convert it to PNG or JPEG"),
        ("phone.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC: convert it to PNG or JPEG"),
        (
            "a.svg",
            b'<?xml version="1.0"?><svg xmlns="x"/>',
            "SVG, which has no pixels: render it to PNG",
        ),
        ("a", b"<svg width='4'/>", "SVG, which has no pixels"),
        ("a.jxl", b"\xff\x0a\0\0", "JPEG XL: convert it to PNG"),
        ("a.png", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        ("a.NEF", b"MM\0*\0\0\0\x08", "raw file: develop it"),
    ],
)
def test_formats_that_are_named(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImage, match=what):
        read_image(tmp_path / name)
    with pytest.raises(UnreadableImage, match=what):
        read_image(content, name)
