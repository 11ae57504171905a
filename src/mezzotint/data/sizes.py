"""The size to which images are scaled: the side of a square, or height and width."""

from __future__ import annotations

import math
import operator
import re
from typing import Any, TypeAlias

from mezzotint.data.reading import PIXELS
from mezzotint.errors import UserError

LARGEST = math.isqrt(PIXELS)

Size: TypeAlias = int | tuple[int, int]
"""The side of a square, or (height, width), in pixels."""


def sides(size: Any) -> Size | None:
    """Parse a size: 64, (48, 80), "64" or "48x80" (height x width).

    None stands for the images' own size, and is returned unchanged. Raises UserError for anything
    else.
    """
    if size is None:
        return None
    given = size
    if isinstance(size, str):
        match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", size.strip())
        given = [int(side) for side in match.groups() if side] if match else ()
    given = list(given) if isinstance(given, list | tuple) else [given]
    if len(given) not in (1, 2) or not all(map(_is_side, given)):
        raise UserError(
            f"`size` is {size!r}: give a side of at least 1 pixel, or height and width, such as 64 "
            'or "48x80"'
        )
    numbers = [operator.index(side) for side in given]
    if max(numbers) > LARGEST:
        raise UserError(f"`size` is {written(size)}: give a side of at most {LARGEST:,} pixels")
    return numbers[0] if numbers[0] == numbers[-1] else (numbers[0], numbers[1])


def written(size: Size | None) -> str:
    """Format a size as `sides` reads it: "64" or "48x80"."""
    return "x".join(map(str, size)) if isinstance(size, tuple) else f"{size}"


def height_and_width(size: Size) -> tuple[int, int]:
    """Return (height, width) for a size, which may be the side of a square."""
    return size if isinstance(size, tuple) else (size, size)


def _is_side(side: Any) -> bool:
    return not isinstance(side, bool) and hasattr(side, "__index__") and side >= 1
