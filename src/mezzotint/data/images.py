"""Decode any image file into an array with the image's own channels, or with requested channels.

The steps, in this order:

1. An animation is reduced to its first frame.
2. The EXIF orientation is applied.
3. Transparency is composited on white, unless the mode "rgba" is requested. (The transparent value
   of a 16-bit grey PNG becomes white even in this mode.)
4. Grey and 1-bit images stay grey. Pillow converts palette, CMYK, YCbCr and LAB images to RGB; ICC
   profiles are ignored.
5. If the mode "rgb", "grey" or "rgba" is requested, the image is converted to it, in 8 bits.
6. If a size is given, the image is scaled to cover it and cropped around the centre.

A 16-bit grey value v becomes round(v / 257) if the mode "rgb", "grey" or "rgba" is requested, and
stays v otherwise. If all pages of a TIFF are grey and of the same size and type, the pages become
channels, unless one of these three modes is requested. 32-bit integer and floating-point pixels are
refused unless their range is stated. A file that does not decode to its last row is refused. Text
and profiles in a file have no effect, whatever their size.
"""

import io
import re
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mezzotint.data.formats import HEAD, PILLOW, foreign, raw
from mezzotint.data.in_flight import InFlight
from mezzotint.data.metadata import without_text
from mezzotint.data.reading import UnreadableImage, may_pass, passing, read_file
from mezzotint.data.sizes import Size, height_and_width
from mezzotint.data.values import OF_16_BITS, Array, Bounds, Values
from mezzotint.errors import UserError

POLICY = 2
"""The version of the steps above. Raise it if the decoded pixels change, to rebuild the caches."""

Pixels: TypeAlias = npt.NDArray[Any]
"""One image (H, W, C), or many (N, H, W, C), of uint8, uint16 or float32."""
Mode = Literal["keep", "rgb", "grey", "rgba"]
"""The channels to decode to: the image's own, or 8-bit RGB, grey or RGB with opacity."""
CHANNELS = {"rgb": 3, "grey": 1, "rgba": 4}
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # a tag of TIFF, and its value for inverted grey
PAGES = 1_000
"""The largest number of pages of a TIFF that can be channels."""


@dataclass(frozen=True)
class Wanted:
    """The format to decode images to.

    Attributes:
        mode: The channels. None and "keep" keep the image's own channels.
        range: The values of black and white in 32-bit images; None if the user does not state them.
        size: The size to scale and crop the image to. None keeps the image's own size.
    """

    mode: Mode | None = None
    range: Bounds | None = None
    size: Size | None = None


RGB = Wanted("rgb")

IN_FLIGHT = InFlight(1 << 27)
"""The limit on the pixels of all images that are decoded at a time; they need about 2 GB."""


def read_image(source: bytes | Path, name: str = "", wanted: Wanted = RGB) -> Pixels:
    """Decode one image file, by the steps that the description of `data.images` lists.

    Args:
        source: the bytes of an image file, or its path.
        name: the name of the file, if `source` is not its path.
        wanted: the channels to return, the range of 32-bit values, and the size to scale and crop
            the image to.

    Returns:
        (H, W, C), contiguous: uint8, 0 to 255, if the mode is "rgb", "grey" or "rgba"; else uint8,
        uint16 or float32 in the image's own channels. An image that has the size already is not
        resampled.

    Raises:
        UnreadableImage: If the file is empty, damaged, too large or not an image; has 32-bit values
            without a stated range; or has an unsupported format, which the message names.
        UserError: If the file cannot be read, or there is not enough memory.
    """
    if isinstance(source, Path):
        name, source = source.name, read_file(source)
    if not source:
        raise UnreadableImage("empty file")
    if advice := raw(name):
        raise UnreadableImage(advice)
    try:
        return fit(_decoded(source, wanted), wanted.size, alpha=wanted.mode == "rgba")
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(foreign(name, source[:HEAD]) or "not an image") from None
    except Image.DecompressionBombError:
        raise UnreadableImage("too many pixels") from None
    except Exception as error:  # Pillow's decoders raise many types of errors
        if may_pass(error):
            raise passing(name or "an image", error) from None
        reason = " ".join(str(error).split()) or type(error).__name__
        short = "truncated" if "truncated" in reason.lower() else f"damaged: {reason}"
        raise UnreadableImage(short) from None


@dataclass(frozen=True)
class ImageFile:
    """A decoder of one image file, for `Item.decode`.

    A worker process can decode the file instead, from the path or the bytes that ``read`` returns.

    Attributes:
        read: Returns the path of the file, or its bytes.
        name: The name of the file, if ``read`` does not return its path.
    """

    read: Callable[[], Path | bytes]
    name: str = ""

    def __call__(self, wanted: Wanted) -> Pixels:
        return read_image(self.read(), self.name, wanted)


def stated_pixels(path: Path) -> int:
    """Return the number of pixels that an image file's header states; 0 for any other file."""
    try:
        with quiet(), Image.open(path, formats=PILLOW) as image:
            return image.width * image.height
    except Image.DecompressionBombError as error:
        found = re.search(r"\d+", str(error))
        return int(found[0]) if found else 0
    except Exception as error:  # Pillow's parsers raise many types of errors
        if may_pass(error):
            raise passing(path.name, error) from None
        return 0


def _decoded(source: bytes, wanted: Wanted) -> Pixels:
    try:
        return _opened(source, wanted)
    except (ValueError, zlib.error):  # Pillow raises these if the text in a PNG is too long
        plain = without_text(source)
        if plain is None:
            raise
    return _opened(plain, wanted)


def _opened(source: bytes, wanted: Wanted) -> Pixels:
    with quiet(), Image.open(io.BytesIO(source), formats=PILLOW) as image:
        pages = range(0) if wanted.mode in CHANNELS else _grey_pages(image)
        with IN_FLIGHT(image.width * image.height * max(1, len(pages))):
            return _pixels(image, pages, wanted)


def _pixels(image: Image.Image, pages: range, wanted: Wanted) -> Pixels:
    """Return the pages of a TIFF as channels, or the first frame of any other image."""
    if not pages:
        ImageOps.exif_transpose(image, in_place=True)
        return _one(image, wanted)
    channels = []
    for page in pages:
        image.seek(page)
        channels.append(_one(image, wanted))
    return np.concatenate(channels, axis=2)


def _grey_pages(image: Image.Image) -> range:
    """Return the indices of the pages of a TIFF if each page is a channel, else an empty range.

    The pages are channels if there are several, and all are grey and of the same size and type.
    """
    count = getattr(image, "n_frames", 1)
    if image.format != "TIFF" or count < 2:
        return range(0)
    if count > PAGES:
        raise UnreadableImage(f"{count:,} pages, but at most {PAGES:,} can be channels")
    seen = set()
    for page in range(count):
        image.seek(page)
        seen.add((image.mode, image.size))
    image.seek(0)
    grey = len(seen) == 1 and (image.mode in ("1", "L", "I", "F") or _is_16_bit(image))
    return range(count if grey else 0)


def _one(image: Image.Image, wanted: Wanted) -> Pixels:
    """Convert one image, or one page of a TIFF, to an array (H, W, C) in the wanted mode."""
    if image.mode in ("I", "F"):
        if wanted.range is None:
            raise UnreadableImage("32-bit pixels, which have no stated range")
        values = Values("float32", *wanted.range)
        pixels = np.asarray(image).astype(np.float32)[..., None]
        inside = (pixels >= values.low) & (pixels <= values.high)  # False for NaN
        if wanted.mode in CHANNELS and not inside.all():
            raise UnreadableImage(
                f"values from {pixels.min():g} to {pixels.max():g}, outside "
                f"`range=({values.low:g}, {values.high:g})`"
            )
        return converted(pixels, wanted.mode, values)
    if _is_16_bit(image):
        return converted(_from_grey16(image), wanted.mode, Values("uint16", *OF_16_BITS))
    if image.has_transparency_data:
        if image.mode == "La":  # Pillow converts premultiplied grey only to LA
            image = image.convert("LA")
        rgba = image.convert("RGBA")
        if wanted.mode == "rgba":
            return np.array(rgba, dtype=np.uint8)
        white = Image.new("RGBA", rgba.size, "white")
        whole = Image.alpha_composite(white, rgba).convert("RGB")
        image = whole.getchannel(0) if image.mode in ("1", "L", "LA") else whole
    if image.mode not in ("L", "RGB"):  # convert() copies even an image that has the mode
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode == "RGB" and wanted.mode not in ("grey", "rgba"):  # `fit` would do it later
        image = _fitted(image, wanted.size)
    pixels = np.array(image, dtype=np.uint8)
    return converted(pixels if pixels.ndim == 3 else pixels[..., None], wanted.mode)


def _is_16_bit(image: Image.Image) -> bool:
    return image.mode.startswith("I;16")


def _from_grey16(image: Image.Image) -> Pixels:
    values = np.asarray(image).astype(np.uint16)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow ignores it
        values = 65535 - values
    clear = image.info.get("transparency")  # PNG may declare one grey value transparent
    if clear is not None:
        values[values == clear] = 65535
    return values[..., None]


def converted(pixels: Pixels, mode: Mode | None, values: Values | None = None) -> Pixels:
    """Convert an image (H, W, C) to the channels of a mode, in 8 bits.

    The modes ``keep`` and None change nothing. A grey channel is repeated to make RGB, Pillow
    converts RGB to grey, and a new opacity channel is opaque. ``values`` is the type and range of
    the pixels; None means 8-bit. Raises UserError if the number of channels is neither 1 nor 3, nor
    the number that the mode requests.
    """
    if mode not in CHANNELS:
        return pixels
    if values and not values.eight_bit:
        low, high = values.low, values.high
        pixels = np.rint((pixels.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)
    have, want = pixels.shape[2], CHANNELS[mode]
    if have == want:
        return pixels
    if have not in (1, 3):
        raise UserError(
            f"images of {have} channels cannot be converted to {mode}: leave out `mode`, to keep "
            "their channels"
        )
    if want == 1:
        return np.array(Image.fromarray(pixels).convert("L"))[..., None]
    colours = np.repeat(pixels, 3 // have, axis=2)
    opaque = np.full_like(colours[..., :1], 255)
    return colours if want == 3 else np.concatenate([colours, opaque], axis=2)


def fit(pixels: Pixels, size: Size | None, *, alpha: bool = False) -> Pixels:
    """Scale an image (H, W, C) to cover a size (bicubic, antialiased) and crop its centre.

    If the size is None or the image's own, the image is unchanged. With ``alpha``, the last channel
    is opacity, and the colours are weighted by it.
    """
    if size is None or pixels.shape[:2] == height_and_width(size):
        return pixels
    if pixels.dtype == np.uint8 and (pixels.shape[2] == 3 or (alpha and pixels.shape[2] == 4)):
        return np.array(_fitted(Image.fromarray(pixels), size), dtype=np.uint8)
    channels = [_fitted_channel(pixels[..., c], size) for c in range(pixels.shape[2])]
    return np.stack(channels, axis=2)


def _fitted_channel(channel: Array, size: Size) -> Array:
    if channel.dtype == np.uint8:
        return np.array(_fitted(Image.fromarray(np.ascontiguousarray(channel)), size))
    scaled = np.array(_fitted(Image.fromarray(channel.astype(np.float32)), size))
    scaled = scaled.clip(channel.min(), channel.max())  # bicubic interpolation overshoots
    return (scaled if channel.dtype == np.float32 else np.rint(scaled)).astype(channel.dtype)


def _fitted(image: Image.Image, size: Size | None) -> Image.Image:
    height, width = height_and_width(size) if size else (image.height, image.width)
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)


_lock = threading.Lock()
_readers = 0
_filters: "warnings.catch_warnings[None] | None" = None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings while any thread decodes.

    `catch_warnings` swaps the list of warning filters, which all threads share. Threads that did
    this independently could restore the wrong list. So the first thread that enters swaps the list,
    and the last thread that leaves restores it.
    """
    global _readers, _filters
    with _lock:
        if _readers == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0 and _filters is not None:
                _filters.__exit__(None, None, None)
                _filters = None
