"""The configuration of a run, and the network that it describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, NonNegativeInt, PositiveInt, Tag
from pydantic.fields import Field
from tyro.conf import Suppress

from mezzotint.config.sampling import UNGUIDED, SampleConfig
from mezzotint.config.sections import AugmentedConfig, CodecConfig, DataConfig, NoiseConfig
from mezzotint.data.augment import AUGMENTATION_SIZE
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import coefficients
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.networks import UNetConfig, VAEConfig
from mezzotint.networks.conditions import Condition
from mezzotint.networks.kinds import NetConfig, build
from mezzotint.networks.network import Network
from mezzotint.networks.precision import Precision
from mezzotint.networks.record import CustomConfig
from mezzotint.strict import strict
from mezzotint.trainer.autoencoding import ReconstructionConfig
from mezzotint.trainer.distilling.config import DistillationConfig
from mezzotint.trainer.loop import TrainConfig
from mezzotint.trainer.objective import ObjectiveConfig


@strict
class Settings:
    """The fields of every run's configuration. Intervals are counted in training images."""

    recipe: Suppress[str]
    train: TrainConfig = TrainConfig()
    init: str = ""
    """Start from the network and the weights of this model: a run, a checkpoint, a diffusers folder
    or, for a diffusion model, a model of the package such as cifar10. Weights that fit are
    copied."""
    precision: Precision = "auto"
    """The precision of training; auto is bf16 autocast if the hardware supports it."""
    log_every: PositiveInt = 12_800
    """Training images between two rows of log.jsonl."""
    sample_every: PositiveInt = 640_000
    """Training images between two grids of samples in the folder samples."""
    evaluate_every: NonNegativeInt = 0
    """Training images between two measurements of the Frechet distance to the data; 0 measures
    nothing."""
    evaluate_samples: int = Field(default=1_000, ge=10)
    """Samples made for each measurement."""
    save_every: PositiveInt = 256_000
    """Training images between two checkpoints."""
    keep: PositiveInt = 2
    """How many checkpoints are kept."""


CLEAN = Level(-1.0, 1.0, 0.0)


def _objective(value: Any) -> str:
    """Return "distillation" for an objective with the field ``teacher``, else "denoising"."""
    distilled = "teacher" in value if isinstance(value, dict) else hasattr(value, "teacher")
    return "distillation" if distilled else "denoising"


Objective: TypeAlias = Annotated[
    Annotated[ObjectiveConfig, Tag("denoising")]
    | Annotated[DistillationConfig, Tag("distillation")],
    Discriminator(_objective),
]


@strict
class Experiment(Settings):
    """The configuration of a diffusion model, in pixels or in latents."""

    data: DataConfig = DataConfig()
    codec: CodecConfig = CodecConfig()
    net: NetConfig = UNetConfig()
    noise: NoiseConfig = NoiseConfig()
    objective: Objective = ObjectiveConfig()
    sample: SampleConfig = SampleConfig()
    freeze: tuple[str, ...] = ()
    """Patterns of the names of weights that keep their initial values, such as "down.*"."""
    shard: bool = False
    """Divide the weights, their averages and the optimizer's moments among the processes of
    torchrun (FSDP), for a network that does not fit into one GPU."""
    kind: Suppress[Literal["diffusion"]] = "diffusion"

    def __post_init__(self) -> None:
        if self.sample.steps > self.noise.timesteps:
            raise ValueError(
                f"`steps` is {self.sample.steps}: choose 1 to {self.noise.timesteps}, "
                "the number of `timesteps`"
            )
        if self.codec.vae and self.data.non_leaking:
            raise ValueError(
                "`non_leaking` augments pixels, but the model is trained on latents: leave out "
                "`non_leaking`"
            )
        if isinstance(self.net, CustomConfig) and self.data.non_leaking:
            raise ValueError(
                "`non_leaking` needs a network with an input for the augmentation, which your own "
                "network lacks: leave out `non_leaking`"
            )
        small = isinstance(self.objective, ObjectiveConfig) and self.objective.small_first
        fits = isinstance(self.net, UNetConfig) and not self.noise.learn_variance
        if small and (self.codec.vae or not fits):
            raise ValueError(
                "`small_first` needs a U-Net, pixels instead of latents, and no `learn_variance`: "
                "leave out `small_first`"
            )
        data = self.data
        if not data.conditional and (data.condition or data.labels_from or data.image_condition):
            raise ValueError(
                "`conditional=False` turns off every condition: leave it out, or leave out "
                "`condition`, `labels_from` and `image_condition`"
            )
        student = isinstance(self.objective, DistillationConfig)  # it has its teacher's weights
        if self.freeze and not (self.init or student or isinstance(self.net, CustomConfig)):
            raise ValueError(
                "`freeze` without `init` keeps random weights: give `init`, the model to start from"
            )
        if self.codec.vae and self.sample.clipping != "none":
            raise ValueError('latents have no bounds: choose `clipping="none"`')
        if self.shard and self.train.optimizer not in ("adamw", "muon"):
            raise ValueError(
                "`shard` divides every weight among the processes, but the optimizer "
                f'{self.train.optimizer} may need whole weights: choose "adamw" or "muon"'
            )
        self._check_distillation()

    def _check_distillation(self) -> None:
        objective, sampler = self.objective, self.sample.sampler
        if not isinstance(objective, DistillationConfig):
            if SAMPLERS[sampler].few_step:
                raise ValueError(
                    f"the sampler {sampler} is for few-step models: choose another `sampler`, or "
                    "distil a model"
                )
            return
        if not objective.teacher:
            raise ValueError("there is no `teacher`: give the model to distil")
        if objective.scale != 1 and not self.data.conditional:
            raise ValueError(
                f"`scale` is {objective.scale:g}, but a teacher without classes cannot be guided: "
                "leave out `scale`"
            )
        if not SAMPLERS[sampler].few_step:
            raise ValueError(
                f'the sampler {sampler} is not for few-step models: choose `sampler="consistency"`'
            )
        if self.sample.guidance != 1:
            raise ValueError(
                f"`guidance` is {self.sample.guidance:g}, but a few-step model is sampled without "
                "guidance: set the guidance of the teacher with `scale` instead"
            )
        if not coefficients(self.noise.prediction, CLEAN)[1]:
            raise ValueError(
                f"a teacher that predicts {self.noise.prediction} cannot be distilled, because at "
                "sigma 0 its output may differ from x: train it with another `prediction`"
            )

    def network(self, channels: int, classes: int, conditions: Sequence[Condition] = ()) -> Network:
        """Make the network.

        Args:
            channels: The number of channels of the network's input, C.
            classes: The number of classes, K; 0 for a network without classes.
            conditions: The conditions of the network besides the class.

        Returns:
            A network with C output channels. With a learned variance it has 2C output channels, of
            which the first C are the prediction (`prediction.split_variance`).

        Raises:
            UserError: If ``net`` is the record of a user's own network, and the user has not passed
                this network to mezzotint in this process.
        """
        outputs = 2 * channels if self.noise.learn_variance else None
        augmentation = AUGMENTATION_SIZE if self.data.non_leaking else 0
        return build(self.net, channels, classes, outputs, augmentation, conditions)

    def sampling(self, conditions: Sequence[Any]) -> SampleConfig:
        """Return the sampling settings; if ``conditions`` is empty, guidance is turned off."""
        return self.sample if conditions else replace(self.sample, **UNGUIDED)


@strict
class Autoencoder(Settings):
    """The configuration of an autoencoder; diffusion models can be trained on its latents."""

    data: AugmentedConfig = AugmentedConfig()
    net: VAEConfig = VAEConfig()
    loss: ReconstructionConfig = ReconstructionConfig()
    kind: Suppress[Literal["autoencoder"]] = "autoencoder"

    def __post_init__(self) -> None:
        if self.loss.tune == "decoder" and not self.init:
            raise ValueError(
                '`tune="decoder"` leaves the encoder at its random weights: give `init`, the '
                'autoencoder to start from, or choose `tune="all"`'
            )


Configuration: TypeAlias = Experiment | Autoencoder
