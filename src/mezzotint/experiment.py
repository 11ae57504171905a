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
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from pydantic.fields import Field
from tyro.conf import Suppress

from mezzotint.errors import UserError
from mezzotint.nets import UNet, UNetConfig
from mezzotint.noise import SCHEDULES, Schedule, shifted, zero_terminal_snr
from mezzotint.samplers import SAMPLERS
from mezzotint.training.loop import TrainConfig

VERSION = 3  # of config.json; raised when an older reader could not make sense of a newer file
OPTIONS = sorted({name for sampler in SAMPLERS.values() for name in sampler.options})
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

    schedule: Literal["linear", "scaled_linear", "cosine", "sigmoid", "exponential", "laplace"] = (
        "linear"
    )
    """How the noise grows."""
    s: NonNegativeFloat | None = None
    """The cosine schedule's offset; None is 0.008."""
    zero_terminal_snr: bool = False
    """Rescale the schedule so that its last row is pure noise."""
    shift: PositiveFloat = 1.0
    """Noise for a resolution so many times that for which the schedule was made."""
    timesteps: PositiveInt = 1000
    """T, the length of the schedule."""
    prediction: Literal["eps", "x0", "v", "flow", "edm"] = "eps"
    """What the network is trained to output."""
    learn_variance: bool = False
    """The network predicts the variance of DDPM's steps too (Nichol and Dhariwal 2021)."""

    def __post_init__(self) -> None:
        if self.s is not None and self.schedule != "cosine":
            raise ValueError(f"s is for cosine: leave it out with {self.schedule}")
        if self.zero_terminal_snr and self.prediction == "eps":
            raise ValueError(
                "eps cannot be learned with zero_terminal_snr, where the picture is nothing but "
                "eps: choose the prediction v, x0, flow or edm"
            )
        if self.learn_variance and self.timesteps < 2:
            raise ValueError("learn_variance needs two timesteps: of one there is nothing to learn")

    def build(self) -> Schedule:
        options = {} if self.s is None else {"s": self.s}
        schedule = SCHEDULES[self.schedule](self.timesteps, **options)
        if self.zero_terminal_snr:
            schedule = zero_terminal_snr(schedule)
        return schedule if self.shift == 1 else shifted(schedule, self.shift)


@dataclass(frozen=True, config=STRICT)
class SampleConfig:
    """How pictures are made, in the grids of a training and wherever nothing else is said."""

    sampler: str = "ddim"
    """Sampling method: ddpm, ddim, heun, edm, dpmpp_2m, unipc ...; an unknown one lists them."""
    steps: PositiveInt = 50
    """Denoising steps."""
    spacing: Literal[
        "leading", "trailing", "linspace", "quadratic", "logsnr", "karras", "knots", "optimised"
    ] = "trailing"
    """Which levels the steps visit; optimised measures the model once, and keeps what it found."""
    knots: tuple[PositiveFloat, ...] = ()
    """For the spacing knots: values of sigma / alpha, falling, to go through."""
    guidance: NonNegativeFloat = 1.0
    """Guidance scale: 1 is plain conditional, 0 unconditional."""
    guidance_shape: Literal["constant", "linear", "cosine", "cfg++"] = "constant"
    """How the scale goes along the grid; of cfg++ it is the paper's lambda, 0 to 1."""
    interval: tuple[NonNegativeFloat, PositiveFloat] | None = None
    """Guide only where sigma / alpha is between these two."""
    rescale: float = Field(default=0.0, ge=0, le=1)
    """How far guided pictures are brought back to the contrast of unguided ones."""
    clipping: Literal["none", "static", "dynamic"] = "static"
    """Clipping of the estimated picture, after guidance: to [-1, 1], or to quantiles (dynamic)."""
    eta: float | None = Field(default=None, ge=0, le=1)
    """DDIM's noise: 0 is deterministic, 1 as DDPM."""
    variance: Literal["small", "large", "learned"] | None = None
    """DDPM's variance."""
    order: int | None = Field(default=None, ge=1, le=3)
    """Order of unipc and deis."""
    corrector: Literal["bh1", "bh2"] | None = None
    """UniPC's."""
    churn: NonNegativeFloat | None = None
    """Noise that edm adds as it goes."""
    switch: float | None = Field(default=None, ge=0, le=1)
    """Share of hybrid's steps that are stochastic."""

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(
                f"unknown sampler {self.sampler!r}: choose one of {', '.join(SAMPLERS)}"
            )
        for name in self.options():
            takers = [s for s in SAMPLERS if name in SAMPLERS[s].options]
            if self.sampler not in takers:
                raise ValueError(
                    f"{name} is for {', '.join(takers)}: leave it out with {self.sampler}"
                )
        if bool(self.knots) != (self.spacing == "knots"):
            raise ValueError("the spacing knots needs --knots, and no other takes them")
        if self.guidance_shape == "cfg++" and self.guidance > 1:
            raise ValueError(f"guidance is {self.guidance:g}: with cfg++ choose 0 to 1")
        if self.guidance_shape == "cfg++" and self.spacing == "optimised":
            raise ValueError("cfg++ follows the grid: no grid can be optimised for it")
        if self.interval and not self.interval[0] < self.interval[1]:
            raise ValueError(f"interval is {self.interval}: give the lower end first")

    def options(self) -> dict[str, Any]:
        """What was chosen of what a sampler takes besides denoiser, x and grid."""
        chosen = {name: getattr(self, name, None) for name in OPTIONS}
        return {name: value for name, value in chosen.items() if value is not None}

    def guided(self) -> tuple[float, str, tuple[float, float] | None]:
        """The guidance scale, its shape along the grid, and the interval it is held to."""
        return self.guidance, self.guidance_shape, self.interval

    def within(self, calls: int | None) -> SampleConfig:
        """This with the most steps that a budget of denoiser calls allows; None leaves it be.

        Raises UserError for a budget below what the sampler needs.
        """
        return self if calls is None else replace(self, steps=SAMPLERS[self.sampler].steps(calls))


UNGUIDED: dict[str, Any] = {
    name: getattr(SampleConfig(), name)
    for name in ("guidance", "guidance_shape", "interval", "rescale")
}


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

    def network(self, channels: int, classes: int) -> UNet:
        """The network for pictures of so many channels: two outputs each with a learned variance.

        The first half of the outputs is the prediction, the second `predict.split_variance`'s.
        """
        outputs = 2 * channels if self.noise.learn_variance else None
        return UNet(self.net, channels, classes, outputs)

    def sampling(self, classes: Sequence[str]) -> SampleConfig:
        """How pictures of a model with these classes are made: unguided where it has none."""
        return self.sample if classes else replace(self.sample, **UNGUIDED)


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
