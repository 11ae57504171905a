"""The sections of a configuration: the data, the codec and the noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import GetCoreSchemaHandler, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.fields import Field
from pydantic_core import CoreSchema, core_schema
from tyro.constructors import PrimitiveConstructorSpec

from mezzotint.data import Prepared, prepare
from mezzotint.data.augment import AUGMENTATIONS
from mezzotint.data.images import Mode
from mezzotint.data.sizes import Size, sides, written
from mezzotint.data.values import checked
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import PREDICTIONS, determinant
from mezzotint.diffusion.schedules import SCHEDULES, shifted, zero_terminal_snr
from mezzotint.errors import UserError
from mezzotint.strict import Choice, strict

PURE_NOISE = Level(0.0, 0.0, 1.0)


class _SizeSpec(PrimitiveConstructorSpec[Any]):
    """Tells tyro how to parse and print a flag that holds a size; see `sizes.sides`."""

    nargs = 1
    metavar = "{None}|SIDE|HEIGHTxWIDTH"

    def __init__(self) -> None:
        """Make the specification, without arguments, because its fields are constants."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(sides)

    def instance_from_str(self, words: list[str]) -> Size | None:
        return None if words[0] == "None" else sides(words[0])

    def is_instance(self, value: Any) -> bool:
        return value is None or isinstance(value, int | tuple)

    def str_from_instance(self, value: Size | None) -> list[str]:
        return [written(value)]


SizeField: TypeAlias = Annotated[Size | None, _SizeSpec()]


@strict
class ImagesConfig:
    """The images to train on."""

    data: str = "cifar10"
    """glyphs, cifar10, hub:OWNER/NAME, or a path: a folder of images or of class folders, a zip, a
    tar, parquet files ... `mezzotint data PATH` shows how the path is read."""
    size: SizeField = None
    """Scale and crop the images to a square of this side, or to HEIGHTxWIDTH, such as 48x80; None
    keeps the images' own size, which must then be the same for all."""
    mode: Mode | None = None
    """Channels: keep, or 8-bit rgb, grey or rgba. None keeps the channels if they are the same for
    all images, and converts to rgb if grey and RGB are mixed."""
    range: tuple[float, float] | None = None
    """The values of black and white, for arrays and 32-bit images; not needed for uint8 and
    uint16."""
    flip: bool = True
    """Mirror a random half of the images, chosen anew in each epoch."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""

    conditional: ClassVar[bool] = False
    condition: ClassVar[tuple[str, ...]] = ()
    labels_from: ClassVar[str] = ""
    image_condition: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("`data` is empty: give a name or a path")
        if self.range:
            checked(self.range)

    def prepared(self) -> Prepared:
        """Return the prepared images, from the cache if they are there; see `prepare`."""
        return prepare(
            self.data,
            size=self.size,
            skip_bad=self.skip_bad,
            conditional=self.conditional,
            mode=self.mode,
            range=self.range,
            condition=self.condition,
            labels_from=self.labels_from,
            image_condition=self.image_condition,
        )


@strict
class DataConfig(ImagesConfig):
    """The images that a diffusion model is trained on."""

    conditional: bool = True  # type: ignore[misc]
    """Condition the network on the class, and on the columns that the next three options name."""
    condition: tuple[str, ...] = ()  # type: ignore[misc]
    """Columns of numbers to condition the network on, such as age,weight. The columns are in
    metadata.csv or metadata.jsonl beside the images, or in parquet files."""
    labels_from: str = ""  # type: ignore[misc]
    """The column with the labels of the images, one or several for each image."""
    image_condition: str = ""  # type: ignore[misc]
    """The column with a second image for each image, as a condition. It holds file names, or in
    parquet files the images themselves."""
    non_leaking: float = Field(default=0.0, ge=0, le=1)
    """Probability of each of EDM's augmentations. The network is also conditioned on the
    augmentations."""


@strict
class AugmentedConfig(ImagesConfig):
    """The training images of an autoencoder, and their augmentations."""

    augment: tuple[Annotated[str, Choice(AUGMENTATIONS)], ...] = ()
    """Augmentations of the package kornia, in addition to mirroring."""


@strict
class CodecConfig:
    """The space in which the diffusion runs: pixels, or the latents of an autoencoder."""

    vae: str = ""
    """Train in the latents of this autoencoder: a run, its checkpoint, a diffusers folder or
    hub:OWNER/NAME. Empty trains on pixels."""
    posterior: Literal["mean", "sample"] = "mean"
    """mean: train on the mean latents of each image; sample: train on latents that are sampled anew
    each time."""
    scaling: Literal["measured", "own"] = "measured"
    """Scale latents to zero mean and unit variance. measured: with statistics of this data; own:
    with the numbers that the autoencoder's checkpoint or folder states."""


@strict
class NoiseConfig:
    """The noise schedule, and the prediction type of the network."""

    schedule: Annotated[str, Choice(SCHEDULES)] = "linear"
    """The noise schedule: how the noise grows with the timestep."""
    s: NonNegativeFloat | None = None
    """The offset of the cosine schedule; None means 0.008."""
    zero_terminal_snr: bool = False
    """Rescale the schedule so that x is pure noise at the last timestep."""
    shift: PositiveFloat = 1.0
    """Multiply sigma / alpha by this factor, which adapts the schedule to images whose resolution
    is higher by the same factor."""
    timesteps: PositiveInt = 1000
    """The length of the schedule, in timesteps."""
    prediction: Annotated[str, Choice(PREDICTIONS)] = "eps"
    """The prediction type: what the network predicts."""
    learn_variance: bool = False
    """The network also predicts the variance of DDPM's steps (Nichol and Dhariwal 2021)."""

    def __post_init__(self) -> None:
        takers = [name for name, make in SCHEDULES.items() if _takes_s(make)]
        if self.s is not None and self.schedule not in takers:
            raise ValueError(
                f"`s` is only for the schedule {' or '.join(takers)}: leave it out with "
                f"{self.schedule}"
            )
        if self.zero_terminal_snr and not determinant(self.prediction, PURE_NOISE):
            able = [name for name in PREDICTIONS if determinant(name, PURE_NOISE)]
            raise ValueError(
                f"{self.prediction} cannot be learned with `zero_terminal_snr`, because x is pure "
                "noise at the last timestep: choose the `prediction` "
                f"{', '.join(able[:-1])} or {able[-1]}"
            )
        if self.learn_variance and self.timesteps < 2:
            raise ValueError(
                "`learn_variance` needs at least 2 `timesteps`: choose more, or leave out "
                "`learn_variance`"
            )

    def build(self) -> Schedule:
        """Return the schedule. Raises UserError if the schedule's length is not ``timesteps``."""
        options = {} if self.s is None else {"s": self.s}
        schedule = SCHEDULES[self.schedule](self.timesteps, **options)
        if len(schedule) != self.timesteps:
            raise UserError(
                f"the schedule {self.schedule!r} has {len(schedule)} timesteps, but `timesteps` is "
                f"{self.timesteps}: make its function return a schedule of T timesteps"
            )
        if self.zero_terminal_snr:
            schedule = zero_terminal_snr(schedule)
        return schedule if self.shift == 1 else shifted(schedule, self.shift)


def _takes_s(make: Callable[..., Schedule]) -> bool:
    return "s" in inspect.signature(make).parameters
