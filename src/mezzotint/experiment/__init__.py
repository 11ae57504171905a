"""The configuration of a run, and what is built from it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import Field
from tyro.conf import Suppress

from mezzotint.data.augment import TOLD
from mezzotint.errors import UserError
from mezzotint.experiment.sections import (
    STRICT,
    UNGUIDED,
    AugmentedConfig,
    CodecConfig,
    DataConfig,
    NoiseConfig,
    SampleConfig,
)
from mezzotint.nets import DiT, DiTConfig, UNet, UNetConfig, VAEConfig
from mezzotint.training.autoencoding import ReconstructionConfig
from mezzotint.training.loop import TrainConfig
from mezzotint.training.objective import ObjectiveConfig

__all__ = [
    "UNGUIDED",
    "AugmentedConfig",
    "Autoencoder",
    "CodecConfig",
    "DataConfig",
    "Experiment",
    "NoiseConfig",
    "SampleConfig",
    "compute_dtype",
    "differences",
    "first_problem",
    "nearest",
    "read",
    "to_json",
]

KINDS = {"diffusion", "autoencoder", "unet", "dit"}  # which pydantic puts into a field's name
VERSION = 4  # of config.json; raised when an older reader could not make sense of a newer file


@dataclass(frozen=True, config=STRICT)
class Settings:
    """What every run has. Durations are in images seen."""

    recipe: Suppress[str]
    train: TrainConfig = TrainConfig()
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


@dataclass(frozen=True, config=STRICT)
class Experiment(Settings):
    """A diffusion model, in pixels or in latents."""

    data: DataConfig = DataConfig()
    codec: CodecConfig = CodecConfig()
    net: Annotated[UNetConfig | DiTConfig, Field(discriminator="kind")] = UNetConfig()
    noise: NoiseConfig = NoiseConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    sample: SampleConfig = SampleConfig()
    kind: Suppress[Literal["diffusion"]] = "diffusion"

    def __post_init__(self) -> None:
        if self.sample.steps > self.noise.timesteps:
            raise ValueError(
                f"steps is {self.sample.steps}: choose 1 to {self.noise.timesteps}, the timesteps"
            )
        if self.codec.vae and self.data.non_leaking:
            raise ValueError("non_leaking augments pixels: leave it out with latents")
        if self.codec.vae and self.sample.clipping != "none":
            raise ValueError("latents have no bounds: choose the clipping none")

    def network(self, channels: int, classes: int) -> UNet | DiT:
        """The network for pictures of so many channels: two outputs each with a learned variance.

        The first half of the outputs is the prediction, the second `predict.split_variance`'s.
        """
        outputs = 2 * channels if self.noise.learn_variance else None
        told = TOLD if self.data.non_leaking else 0
        if isinstance(self.net, DiTConfig):
            return DiT(self.net, channels, classes, outputs, told)
        return UNet(self.net, channels, classes, outputs, told)

    def sampling(self, classes: Sequence[str]) -> SampleConfig:
        """How pictures of a model with these classes are made: unguided where it has none."""
        return self.sample if classes else replace(self.sample, **UNGUIDED)


@dataclass(frozen=True, config=STRICT)
class Autoencoder(Settings):
    """An autoencoder, in whose latents a diffusion model can run."""

    data: AugmentedConfig = AugmentedConfig()
    net: VAEConfig = VAEConfig()
    init: str = ""
    """Begin with the weights, and the network, of this run, checkpoint or diffusers folder."""
    loss: ReconstructionConfig = ReconstructionConfig()
    kind: Suppress[Literal["autoencoder"]] = "autoencoder"

    def __post_init__(self) -> None:
        if self.loss.tune == "decoder" and not self.init:
            raise ValueError(
                "tune decoder leaves the encoder as it begins, which is at random: say with init "
                "what to begin from, or tune all"
            )


Configuration: TypeAlias = Experiment | Autoencoder
_ADAPTER: TypeAdapter[Configuration] = TypeAdapter(
    Annotated[Configuration, Field(discriminator="kind")]
)


def to_json(experiment: Configuration) -> dict[str, Any]:
    """The content of config.json."""
    return {"version": VERSION, **_ADAPTER.dump_python(experiment, mode="json")}


def read(path: Path) -> Configuration:
    """Read a config.json strictly: unknown or ill-typed fields and other versions are refused."""
    try:
        content = json.loads(path.read_text())
        version = content.pop("version")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
    field = ".".join(str(part) for part in first["loc"] if part not in KINDS)
    message, told = first["msg"], first["type"]
    given = "" if told == "missing" or told.startswith("union") else f", not {first['input']!r}"
    return f"{field or 'kind'}: {message[0].lower()}{message[1:]}{given}"


def differences(a: Configuration, b: Configuration) -> dict[str, tuple[Any, Any]]:
    """The fields in which two experiments differ, by their dotted names."""

    def flat(value: Any, name: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name.removeprefix("."): value}
        return {k: v for key in value for k, v in flat(value[key], f"{name}.{key}").items()}

    left, right = flat(to_json(a)), flat(to_json(b))
    both = {k: (left.get(k), right.get(k)) for k in left | right}  # of other kinds: other fields
    return {k: (was, now) for k, (was, now) in both.items() if was != now}


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
