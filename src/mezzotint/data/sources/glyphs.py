"""The data set `glyphs`: digits in light ink on a dark coloured background, 32x32 RGB.

The ten classes are "0" to "9". Each digit is drawn with Pillow's own font in a random pose. Image i
of a split depends on (split, i) alone. Its label is i mod 10, and the rest is random with the seed
(split, i). The columns `rotation` and `hue` describe each image.
"""

import colorsys
from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mezzotint.data.images import Pixels, Wanted
from mezzotint.data.source import Item, Kind, Source, no_split
from mezzotint.data.tables import Table

SIDE = 32
COUNTS = {"train": 20_000, "test": 2_000}
CLASSES = tuple("0123456789")
VERSION = 1
"""The version of the drawing. Raise it with every change, and caches are rebuilt."""

_OVER = 4  # digits are drawn at four times the size and averaged, for smooth edges at any angle
_INK = 96  # height of a stencil in pixels, near the drawn heights so that scaling loses little
_MARGIN = 1.0  # pixels of ground around the digit


def glyphs(data: str, split: str) -> Source:
    """Return the digits of a split: train (20,000) or test (2,000), equally many of each class."""
    if split not in COUNTS:
        raise no_split("glyphs", split, COUNTS)
    count = COUNTS[split]
    key = {"kind": "glyphs", "version": VERSION, "split": split, "count": count}
    items = partial(_items, split, count)
    return Source(
        *(f"glyphs-{split}", key, CLASSES, count, items), table=lambda _: _table(split, count)
    )


KIND = Kind("glyphs", glyphs)


def draw(split: str, index: int) -> Pixels:
    """Draw the image at ``index`` of a split: uint8 (32, 32, 3)."""
    u = _drawn(split, index)
    mask = _posed(_stencil(CLASSES[index % 10]), 20 + 6 * u[0], (u[1] - 0.5) / 2, u[2:4])
    hue = u[4]
    top = colorsys.hsv_to_rgb(hue, 0.60 + 0.35 * u[5], 0.22 + 0.22 * u[6])
    ink = colorsys.hsv_to_rgb(u[7], 0.10 * u[8], 0.92 + 0.08 * u[9])
    # The ground gets darker towards the lower edge, like a plate that is lit from above.
    light = np.linspace(1.0, 0.65, SIDE)[:, None, None]
    ground = np.asarray(top) * light
    blend = ground + mask[..., None] * (np.asarray(ink) - ground)
    return np.rint(255 * blend).astype(np.uint8)


def _drawn(split: str, index: int) -> np.ndarray:
    """Return the uniform random numbers (10,) that determine an image."""
    seed = np.random.SeedSequence((list(COUNTS).index(split), index))
    return np.random.Generator(np.random.PCG64(seed)).random(10)


def _table(split: str, count: int) -> Table:
    """Return the columns `rotation` (anticlockwise) and `hue` (of the background), in degrees."""
    u = np.array([_drawn(split, index) for index in range(count)])
    values = {
        "rotation": np.degrees((u[:, 1] - 0.5) / 2).tolist(),
        "hue": (360 * u[:, 4]).tolist(),
    }
    return Table("glyphs", values, range(count))


def _items(split: str, count: int) -> Iterator[Item]:
    def decode(index: int, wanted: Wanted) -> Pixels:
        return draw(split, index)

    for index in range(count):
        yield Item(f"{split} {index}", partial(decode, index), index % 10)


@lru_cache
def _stencil(digit: str) -> Image.Image:
    """Draw a digit as a grey image, cropped to the digit and `_INK` pixels high.

    A value of 0 is no ink, and 255 is full ink.
    """
    font = ImageFont.load_default(size=4 * _INK)
    canvas = Image.new("L", (6 * _INK, 6 * _INK))
    ImageDraw.Draw(canvas).text((_INK, _INK), digit, fill=255, font=font, stroke_width=10)
    cut = canvas.crop(canvas.getbbox())
    return cut.resize((round(cut.width * _INK / cut.height), _INK), Image.Resampling.BOX)


def _posed(stencil: Image.Image, height: float, angle: float, shift: np.ndarray) -> np.ndarray:
    """Return the coverage (32, 32), 0 to 1, of a digit scaled to a height and turned by an angle.

    The height is in pixels, the angle in radians. The two numbers of ``shift``, 0 to 1, place the
    digit horizontally and vertically, between the left or upper edge (0) and the right or lower
    edge (1). No digit is cut off.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    zoom = stencil.height / height  # stencil pixels per pixel of the image
    width = stencil.width / zoom
    half = np.array([width * cos + height * abs(sin), width * abs(sin) + height * cos]) / 2
    centre = SIDE / 2 + (2 * shift - 1) * np.maximum(SIDE / 2 - _MARGIN - half, 0)
    # Pillow needs the inverse map, from a pixel of the result to a pixel of the stencil.
    a, b = cos * zoom / _OVER, sin * zoom / _OVER
    x, y = centre * _OVER
    middle = stencil.width / 2, stencil.height / 2
    back = (a, b, middle[0] - a * x - b * y, -b, a, middle[1] + b * x - a * y)
    large = stencil.transform(
        (SIDE * _OVER, SIDE * _OVER), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR
    )
    return np.asarray(large.reduce(_OVER)) / 255.0
