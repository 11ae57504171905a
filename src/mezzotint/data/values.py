"""The type of the values of images, and the two values that mean black and white."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mezzotint.errors import UserError

if TYPE_CHECKING:  # processes that only decode images do not import torch
    import torch
    from torch import Tensor

Array: TypeAlias = npt.NDArray[Any]
Bounds: TypeAlias = tuple[float, float]

DTYPES = "uint8", "uint16", "float32"
OF_16_BITS = (0.0, 65535.0)
DARK = 100  # beside this value of white, a value of 1 is black


@dataclass(frozen=True)
class Values:
    """The type of the images' values, and the range that networks see as [-1, 1].

    Attributes:
        dtype: uint8, uint16 or float32.
        low: The value that becomes -1.
        high: The value that becomes 1.
        alpha: Whether the last channel is the opacity of the other channels.
    """

    dtype: str = "uint8"
    low: float = 0.0
    high: float = 255.0
    alpha: bool = False

    @property
    def eight_bit(self) -> bool:
        """Whether the values are uint8 from 0 to 255."""
        return (self.dtype, self.low, self.high) == ("uint8", 0, 255)

    @property
    def middle(self) -> float:
        """The value half-way between black and white, rounded if the values are integers."""
        half = (self.low + self.high) / 2
        return half if self.dtype == "float32" else round(half)

    @property
    def tensor_dtype(self) -> torch.dtype:
        """The type of tensors of the images."""
        import torch

        found: torch.dtype = getattr(torch, self.dtype)
        return found

    def __str__(self) -> str:
        return f"{self.dtype} from {self.low:g} to {self.high:g}"

    def as_json(self) -> dict[str, Any]:
        """Return this object for JSON: {} if it equals `EIGHT_BIT`, else {"values": {...}}."""
        return {} if self == EIGHT_BIT else {"values": asdict(self)}

    def encode(self, images: Tensor) -> Tensor:
        """Return ``2 (images - low) / (high - low) - 1``, float32, (B, C, H, W).

        Raises UserError for images whose type is not `tensor_dtype`.
        """
        if images.dtype != self.tensor_dtype:
            wanted = "uint8, 0 to 255" if self.eight_bit else str(self)
            raise UserError(f"the images are {images.dtype}: convert them to {wanted}")
        if self.eight_bit:
            return images.float() / 127.5 - 1
        return (images.float() - self.low) * (2 / (self.high - self.low)) - 1

    def decode(self, x: Tensor) -> Tensor:
        """Invert `encode`, round if the type is an integer, and clamp to ``low`` and ``high``."""
        x = x.float()
        if self.eight_bit:
            return (127.5 * (x + 1)).round().clamp(0, 255).to(self.tensor_dtype)
        values = (x + 1) * ((self.high - self.low) / 2) + self.low
        values = values if self.dtype == "float32" else values.round()
        return values.clamp(self.low, self.high).to(self.tensor_dtype)

    def in_eight_bits(self, images: Tensor) -> Tensor:
        """Return images as uint8 with ``low`` as 0 and ``high`` as 255."""
        return images if self.eight_bit else EIGHT_BIT.decode(self.encode(images))

    def fits_png(self, channels: int) -> bool:
        """Return whether PNG can store images of this many channels without conversion."""
        if self.alpha:
            return self.dtype == "uint8"
        return (self.dtype, channels) in (("uint8", 1), ("uint8", 3), ("uint16", 1))

    def visible(self, images: Tensor) -> Tensor:
        """Convert images (N, C, H, W) to uint8 (N, 1 or 3, H, W) for people to look at.

        `shown_as` describes the conversion.
        """
        seen = self.in_eight_bits(images)
        channels = seen.shape[1]
        if self.alpha:
            opacity = seen[:, -1:].float() / 255
            colours = seen[:, :-1].float() * opacity + 255 * (1 - opacity)
            return colours.round().byte()
        if channels == 2:
            seen = seen[:, [0, 1, 1]]
            seen[:, 2] = 0
            return seen
        return seen[:, :3] if channels > 3 else seen

    def shown_as(self, channels: int) -> str:
        """Return in words how `visible` converts images of this many channels; "" for no change."""
        scale = "" if self.eight_bit else f"the values from {self.low:g} to {self.high:g} as 0..255"
        which = {1: "", 2: "channels 1 and 2 of 2 as red and green", 3: ""}.get(
            channels, f"channels 1, 2 and 3 of {channels} as red, green and blue"
        )
        which = "the colours on white, by their opacity" if self.alpha else which
        return ", ".join(filter(None, [which, scale]))

    def rgb(self, images: Tensor) -> Tensor:
        """Convert images (N, C, H, W) to uint8 RGB, for a feature network.

        A grey channel is used three times, and values that are not 8-bit are scaled; `as_rgb`
        describes this. Raises UserError unless images have 1 or 3 channels.
        """
        channels = images.shape[1]
        self.as_rgb(channels)
        return self.in_eight_bits(images).expand(-1, 3, -1, -1)

    def as_rgb(self, channels: int) -> str:
        """Describe how `rgb` converts images of ``channels`` channels; "" if they are RGB.

        Raises UserError for images that cannot be converted to RGB.
        """
        if self.alpha or channels not in (1, 3):
            what = "transparent images" if self.alpha else f"images of {channels} channels"
            raise UserError(
                f"{what} cannot be measured, because the networks of the metrics need RGB: prepare "
                'these images with `mode="rgb"`, or pass the means and covariances of your own '
                "features to mz.frechet_distance"
            )
        grey = "grey images are measured as RGB with three equal channels" * (channels == 1)
        scale = "" if self.eight_bit else f"their values, {self}, are scaled to 0..255"
        return ", ".join(filter(None, [grey, scale]))


EIGHT_BIT = Values()


def from_json(state: dict[str, Any]) -> Values:
    """Return the `Values` in the JSON of a checkpoint or data set, written by `as_json`."""
    return Values(**state["values"]) if state.get("values") else EIGHT_BIT


def stated(
    what: str, dtype: np.dtype[Any], span: Callable[[], tuple[Any, Any]], bounds: Bounds | None
) -> tuple[Values, tuple[str, ...]]:
    """Return the type and range of an array's values, and notes about conversions.

    Args:
        what: The array's name.
        dtype: The array's type.
        span: A function that returns the array's least and greatest value.
        bounds: The values of black and white, if the caller states them.

    Raises:
        UserError: If the type is neither integer nor float; the range is neither stated nor clear;
            ``bounds`` is not a valid range; values lie outside ``bounds``; or floats lie from 0 to
            1 but white is stated as `DARK` or more, so that all images would be black.
    """
    if dtype.kind not in "iuf":
        raise UserError(f"{what} is {dtype}: give uint8, uint16 or float")
    low, high = span()
    found = f"{what} is {dtype} with values from {low} to {high}"
    if bounds is None and dtype == np.uint8:
        if high == 1:
            raise UserError(f"{found}: give `range=(0, 1)` or `range=(0, 255)`")
        return EIGHT_BIT, ()
    if bounds is None and dtype.kind == "u" and dtype.itemsize == 2:
        if high < 256:
            raise UserError(f"{found}: give `range=(0, 255)` or `range=(0, 65535)`")
        return Values("uint16", *OF_16_BITS), ()
    if bounds is None:
        choices = "`range=(0, 1)` or `range=(-1, 1)`" if dtype.kind == "f" else "`range=(0, 255)`"
        raise UserError(f"{found}: give the values of black and white, such as {choices}")
    black, white = checked(bounds)
    if low < black or high > white:
        raise UserError(
            f"{found}, outside `range=({black:g}, {white:g})`: clip them or give another range"
        )
    if dtype.kind == "f" and 0 <= low < high <= 1 and white >= DARK:
        raise UserError(
            f"{found}, so all images would be black with `range=({black:g}, {white:g})`: give "
            "`range=(0, 1)`, or scale the values"
        )
    kind = _smallest(dtype, black, white)
    note = () if dtype == kind else (f"{dtype} values are kept as {kind}",)
    return Values(kind, black, white), note


def _smallest(dtype: np.dtype[Any], black: float, white: float) -> str:
    """Return the type in which values are stored.

    Integers are stored as uint8 or uint16 if their range fits; uint16 stays uint16. All other
    values are stored as float32.
    """
    whole = dtype.kind in "iu" and black >= 0 and black == int(black) and white == int(white)
    if not whole or white > OF_16_BITS[1]:
        return "float32"
    return "uint16" if dtype == np.uint16 or white > 255 else "uint8"


def checked(bounds: Any) -> Bounds:
    """Return a range as two floats. Raises UserError unless both are finite and in rising order."""
    try:
        black, white = map(float, bounds)
        if not -np.inf < black < white < np.inf:
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(
            f"`range` is {bounds!r}: give the values of black and white, such as (0, 1)"
        ) from None
    return black, white
