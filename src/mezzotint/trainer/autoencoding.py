"""What the training of an autoencoder minimises."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mezzotint.networks import Discriminator
from mezzotint.networks.discriminator import hinge
from mezzotint.networks.vae import kl_divergence
from mezzotint.strict import strict
from mezzotint.trainer.loop import Examples, Task

Distance = Callable[[Tensor, Tensor], Tensor]


@strict
class ReconstructionConfig:
    """What an autoencoder is trained for."""

    error: Literal["l1", "l2"] = "l1"
    """Of the pixels, in [-1, 1]: the mean absolute or the mean squared one."""
    kl: NonNegativeFloat = 1e-6
    """Weight of the latents' divergence from N(0, I), in nats a number of the image."""
    perceptual: NonNegativeFloat = 0.0
    """Weight of the distance in the features of a network."""
    perceptual_network: Literal["cifar10", "glyphs", "imagenet", "lpips"] = "cifar10"
    """Which: one in the package, or LPIPS, whose weights $MEZZOTINT_LPIPS names."""
    adversarial: NonNegativeFloat = 0.0
    """Weight of a patch discriminator, times the adaptive one."""
    adversarial_from: NonNegativeInt = 0
    """Images after which it begins."""
    discriminator_width: PositiveInt = 64
    """Channels of its first layer."""
    discriminator_layers: PositiveInt = 3
    """How often it halves the image."""
    tune: Literal["all", "decoder"] = "all"
    """What is trained; of a fixed encoder the latents stay as they are."""


class Autoencoding(Task):
    """``|x - x'| + a KL + b d(x, x') - c w D(x')``, x' = decode(z), z ~ q(z | x).

    The terms are means over the numbers of an image. d is a perceptual distance, D a patch
    discriminator, which learns the hinge loss beside (Esser et al. 2021, arXiv 2012.09841, eqs. 3
    to 7; Rombach et al. 2022, arXiv 2112.10752, appendix G). ``last`` is the decoder's last weight,
    of whose gradients ``w = |of the first and third| / (|of the fourth| + 1e-4)``, up to 1e4.
    ``latent`` is the latents' shape of one image.
    """

    def __init__(
        self,
        config: ReconstructionConfig,
        latent: tuple[int, ...],
        last: Tensor,
        perceptual: Distance | None = None,
        image_channels: int = 3,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.config, self.latent, self.dtype = config, latent, dtype
        self.error: Distance = F.l1_loss if config.error == "l1" else F.mse_loss
        self.perceptual = perceptual
        self.last = (last,)  # not a parameter of this module
        self.discriminator: nn.Module | None = None
        self.playing = False
        if config.adversarial:
            self.discriminator = Discriminator(
                image_channels, config.discriminator_width, config.discriminator_layers
            )

    def draw(self, batch: int, seen: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The noise of z (B, *latent)."""
        self.playing = self.discriminator is not None and seen >= self.config.adversarial_from
        shared: dict[str, Any] = {"generator": generator, "device": generator.device}
        return (torch.randn(batch, *self.latent, **shared),)

    def forward(
        self, net: nn.Module, examples: Examples, *drawn: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x = examples.x0
        # Of a compiled network the last layer's gradients cost a whole backward pass each, and
        # torch refuses a second one.
        eager = torch.compiler.set_stance("force_eager") if self.playing else nullcontext()
        with eager, self.autocast(x.device):
            made, mean, log_variance = net(x, drawn[0])
        made, kl = made.float(), kl_divergence(mean.float(), log_variance.float()).mean()
        # What is beside the network is walked back through as far as the image, once.
        out = made.detach().requires_grad_()
        error = self.error(out, x)
        figures = {"loss": error, "kl": kl}
        if self.perceptual:
            with self.autocast(x.device):
                figures["perceptual"] = self.perceptual(out, x).mean()
            error = error + self.config.perceptual * figures["perceptual"]
        (pull,) = torch.autograd.grad(error, out)
        beside = torch.zeros((), device=x.device)
        if self.playing:
            assert self.discriminator
            with self.autocast(x.device):
                fake, real = self.discriminator(out).float(), self.discriminator(x).float()
            (push,) = torch.autograd.grad(-fake.mean(), out, retain_graph=True)
            beside = hinge(real, fake)
            w = self.balance(made, pull, push)
            pull = pull + self.config.adversarial * w * push
            figures |= {"discriminator": beside, "adversarial_weight": w}
        loss = (made * pull).sum() + self.config.kl * kl / x[0].numel() + beside
        return loss, {name: value.detach() for name, value in figures.items()}

    def balance(self, made: Tensor, pull: Tensor, push: Tensor) -> Tensor:
        """w, of the gradients with respect to the image.

        Where a batch is worked through in parts, or shared by processes, each part has its own w,
        of its own gradients.
        """
        norms = [
            torch.autograd.grad(made, self.last, gradient, retain_graph=True)[0].norm()
            for gradient in (pull, push)
        ]
        w: Tensor = norms[0] / (norms[1] + 1e-4)
        return w.clamp(max=1e4)
