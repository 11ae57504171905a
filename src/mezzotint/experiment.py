"""The configuration of a run, and what is built from it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import (
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from pydantic.fields import Field
from tyro.conf import Suppress

from mezzotint.errors import UserError
from mezzotint.nets import UNetConfig
from mezzotint.noise import SCHEDULES, Schedule
from mezzotint.training.loop import TrainConfig

VERSION = 2  # of config.json; raised when an older reader could not make sense of a newer file
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """What is learned."""

    data: str = "cifar10"
    """glyphs, cifar10, or a path: a folder of (class folders of) pictures, a zip, parquet files."""
    size: PositiveInt | None = None
    """Scale and crop pictures to size x size; None takes them as they are, all of one size."""
    flip: bool = True
    """Mirror half of the pictures, anew each time they are seen."""
    skip_bad: bool = False
    """Leave out pictures that cannot be read, instead of stopping."""
    conditional: bool = True
    """Tell the network the class."""


@dataclass(frozen=True, config=STRICT)
class NoiseConfig:
    """The noise axis, and what the network predicts on it."""

    schedule: Literal["linear", "cosine"] = "linear"
    """How the noise grows."""
    timesteps: PositiveInt = 1000
    """T, the length of the schedule."""
    prediction: Literal["eps", "x0", "v", "flow"] = "eps"
    """What the network is trained to output."""

    def build(self) -> Schedule:
        return SCHEDULES[self.schedule](self.timesteps)


@dataclass(frozen=True, config=STRICT)
class SampleConfig:
    """How pictures are made, in the grids of a training and wherever nothing else is said."""

    sampler: Literal["ddpm", "ddim"] = "ddim"
    """Sampling method."""
    steps: PositiveInt = 50
    """Denoising steps."""
    spacing: Literal["leading", "trailing", "linspace", "quadratic"] = "trailing"
    """Which of the schedule's levels the steps visit."""
    guidance: NonNegativeFloat = 1.0
    """Guidance scale: 1 is plain conditional, 0 unconditional."""
    eta: float = Field(default=0.0, ge=0, le=1)
    """DDIM's noise: 0 is deterministic, 1 as DDPM."""
    variance: Literal["small", "large"] = "small"
    """DDPM's variance."""

    def __post_init__(self) -> None:
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta {self.eta:g} is for ddim: leave it out with {self.sampler}")
        if self.variance != "small" and self.sampler != "ddpm":
            raise ValueError(f"variance is for ddpm: leave it out with {self.sampler}")

    def options(self) -> dict[str, Any]:
        """What the sampler takes besides denoiser, x and grid."""
        return {"eta": self.eta} if self.sampler == "ddim" else {"variance": self.variance}


@dataclass(frozen=True, config=STRICT)
class Experiment:
    """A whole run. Durations are in images seen."""

    recipe: Suppress[str]
    data: DataConfig = DataConfig()
    net: UNetConfig = UNetConfig()
    noise: NoiseConfig = NoiseConfig()
    train: TrainConfig = TrainConfig()
    sample: SampleConfig = SampleConfig()
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """auto: bf16 autocast where the hardware has it."""
    log_every: PositiveInt = 12_800
    """Images between rows of log.jsonl."""
    sample_every: PositiveInt = 640_000
    """Images between grids in samples/."""
    evaluate_every: NonNegativeInt = 0
    """Images between measurements of the distance to the data; 0 for none."""
    evaluate_samples: int = Field(default=1_000, ge=10)
    """Pictures made for each."""
    save_every: PositiveInt = 256_000
    """Images between checkpoints."""
    keep: PositiveInt = 2
    """Checkpoints kept."""

    def __post_init__(self) -> None:
        if self.sample.steps > self.noise.timesteps:
            raise ValueError(
                f"steps is {self.sample.steps}: choose 1 to {self.noise.timesteps}, the timesteps"
            )

    def sampling(self, classes: Sequence[str]) -> SampleConfig:
        """How pictures of a model with these classes are made: unguided where it has none."""
        return self.sample if classes else replace(self.sample, guidance=1.0)


_ADAPTER = TypeAdapter(Experiment)


def to_json(experiment: Experiment) -> dict[str, Any]:
    """The content of config.json."""
    return {"version": VERSION, **_ADAPTER.dump_python(experiment, mode="json")}


def read(path: Path) -> Experiment:
    """Read a config.json strictly: unknown or ill-typed fields and other versions are refused."""
    try:
        content = json.loads(path.read_text())
        version = content.pop("version")
    except (OSError, ValueError, KeyError, AttributeError):
        raise UserError(f"{path} is not a configuration that mezzotint wrote") from None
    if version != VERSION:
        raise UserError(
            f"{path} is of version {version}, this mezzotint reads version {VERSION}: "
            "use the mezzotint that wrote it, or a newer one"
        )
    try:
        return _ADAPTER.validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first complaint of a validation as one line."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # ours, from a __post_init__
        return first["msg"].removeprefix("Value error, ")
    field, message = ".".join(str(part) for part in first["loc"]), first["msg"]
    given = "" if first["type"] == "missing" else f", not {first['input']!r}"
    return f"{field}: {message[0].lower()}{message[1:]}{given}"


def differences(a: Experiment, b: Experiment) -> dict[str, tuple[Any, Any]]:
    """The fields in which two experiments differ, by their dotted names."""

    def flat(value: Any, name: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name.removeprefix("."): value}
        return {k: v for key in value for k, v in flat(value[key], f"{name}.{key}").items()}

    left, right = flat(to_json(a)), flat(to_json(b))
    return {k: (left[k], right[k]) for k in left if left[k] != right[k]}


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """float32 or bfloat16: what networks compute in on this device.

    Raises UserError unless ``precision`` is auto, bf16 or float32.
    """
    if precision not in ("auto", "bf16", "float32"):
        raise UserError(f"unknown precision {precision!r}: choose auto, bf16 or float32")
    if precision == "auto":
        native = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        )
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def nearest(name: str, names: list[str]) -> str:
    """``"; did you mean a or b?"``, or nothing where no name is near."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
