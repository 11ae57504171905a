"""One policy that turns any image file into 8-bit RGB.

In this order: the first frame of an animation; the EXIF orientation applied; 16-bit grey scaled to
8 bits as round(v / 257); transparency of whatever kind composited on white; grey, 1-bit, palette,
CMYK, YCbCr and LAB converted to RGB as Pillow does, ICC profiles ignored; and, where a size is
given, scaled so that the short side fits and cropped around the centre. 32-bit integer and
floating-point pixels have no stated range and are refused, as is every file that does not decode to
its last row. Text and profiles in a file, of whatever size, change nothing.
"""

import io
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mezzotint.data.formats import HEAD, PILLOW, foreign, raw
from mezzotint.data.in_flight import InFlight
from mezzotint.data.metadata import without_text
from mezzotint.data.reading import UnreadableImage, may_pass, passing, read_file

POLICY = 1
"""The number of the policy above: raise it with every change of pixels, and caches are rebuilt."""

Pixels = npt.NDArray[np.uint8]

_PIXELS = InFlight(1 << 27)  # of all images that are decoded at a time: some 2 GB


def read_image(source: bytes | Path, size: int | None = None, name: str = "") -> Pixels:
    """Decode one image under the policy of this module.

    Args:
        source: the bytes of an image file, or its path.
        size: the side in pixels of the square to return; None keeps the image's own size.
        name: what the file is called, where that is known and `source` is not its path.

    Returns:
        uint8 (H, W, 3), RGB, 0 to 255, contiguous. An image that is already `size` by `size` keeps
        its pixels exactly.

    Raises:
        UnreadableImage: empty, truncated, not an image, too large, of no stated range, or of a
            format that is named.
        UserError: the file cannot be read now, or memory is short.
    """
    if isinstance(source, Path):
        name, source = source.name, read_file(source)
    if not source:
        raise UnreadableImage("empty file")
    if advice := raw(name):
        raise UnreadableImage(advice)
    try:
        return _decoded(source, size)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(foreign(name, source[:HEAD]) or "not an image") from None
    except Image.DecompressionBombError:
        raise UnreadableImage("too many pixels") from None
    except Exception as error:  # Pillow's decoders raise whatever their parsers stumble upon
        if may_pass(error):
            raise passing(name or "an image", error) from None
        reason = " ".join(str(error).split()) or type(error).__name__
        short = "truncated" if "truncated" in reason.lower() else f"damaged: {reason}"
        raise UnreadableImage(short) from None


def _decoded(source: bytes, size: int | None) -> Pixels:
    try:
        return _opened(source, size)
    except (ValueError, zlib.error):  # Pillow stops at text that is larger than it cares for
        plain = without_text(source)
        if plain is None:
            raise
    return _opened(plain, size)


def _opened(source: bytes, size: int | None) -> Pixels:
    with (
        _quiet(),
        Image.open(io.BytesIO(source), formats=PILLOW) as image,
        _PIXELS(image.width * image.height),
    ):
        return _fitted(_rgb(ImageOps.exif_transpose(image)), size)


def fit(pixels: Pixels, size: int | None) -> Pixels:
    """Scale (bicubic, antialiased) and centre-crop uint8 (H, W, 3) to (size, size, 3).

    None, or an image that has this size already, changes nothing.
    """
    if size is None or pixels.shape[:2] == (size, size):
        return pixels
    return _fitted(Image.fromarray(pixels), size)


def _fitted(image: Image.Image, size: int | None) -> Pixels:
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.array(image, dtype=np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise UnreadableImage("32-bit pixels, which have no stated range")
    if image.mode.startswith("I;16"):
        return _from_grey16(image)
    if image.has_transparency_data:
        if image.mode == "La":  # Pillow leads from premultiplied grey to nowhere but LA
            image = image.convert("LA")
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_grey16(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32)
    # 257 = 65535 / 255 is odd, so adding its half before the division rounds without ties.
    grey = ((values + 128) // 257).astype(np.uint8)
    clear = image.info.get("transparency")  # PNG may name one grey value that is transparent
    if clear is not None:
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")


_lock = threading.Lock()
_readers = 0
_filters: "warnings.catch_warnings[None] | None" = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings while any thread decodes.

    `catch_warnings` swaps a list that all threads share: left to each thread alone, the last to
    leave could put another's filters back. The first to enter swaps, the last to leave restores.
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
