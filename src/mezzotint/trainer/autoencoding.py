"""The training objective of an autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from mezzotint.networks import Discriminator
from mezzotint.networks.discriminator import hinge
from mezzotint.networks.vae import kl_divergence
from mezzotint.strict import strict
from mezzotint.trainer.loop import Examples, Task

LAZY = 16  # steps from one R1 penalty to the next
Distance = Callable[[Tensor, Tensor], Tensor]


@strict
class ReconstructionConfig:
    """The objective of an autoencoder: the weights of its terms."""

    error: Literal["l1", "l2"] = "l1"
    """Error of the pixels, which are in [-1, 1]: mean absolute (l1) or mean squared (l2)."""
    kl: NonNegativeFloat = 1e-6
    """Weight of the KL divergence of the latents from N(0, I), in nats per element of the image."""
    perceptual: NonNegativeFloat = 0.0
    """Weight of the perceptual distance; 0 turns it off."""
    perceptual_network: Literal["cifar10", "glyphs", "imagenet", "lpips"] = "cifar10"
    """Network of the perceptual distance: cifar10 or glyphs from the package, imagenet from the pip
    extra imagenet, or lpips from the file $MEZZOTINT_LPIPS."""
    adversarial: NonNegativeFloat = 0.0
    """Weight of the loss from the patch discriminator, multiplied by an adaptive weight; 0 turns
    the discriminator off."""
    adversarial_bound: PositiveFloat = 1e4
    """Upper bound of the adaptive weight, which grows if the gradient of the discriminator
    vanishes."""
    adversarial_from: NonNegativeInt = 0
    """Number of images seen before the discriminator starts."""
    discriminator_width: PositiveInt = 64
    """Channels of the discriminator's first layer."""
    discriminator_layers: PositiveInt = 3
    """How many times the discriminator halves the height and width of the image."""
    discriminator_penalty: NonNegativeFloat = 0.0
    """Weight of the R1 penalty on the discriminator's gradient, so that the discriminator does not
    become too strong; 0 turns the penalty off."""
    tune: Literal["all", "decoder"] = "all"
    """The part to train. With "decoder", the encoder and the latents stay fixed."""


class Autoencoding(Task):
    """The loss ``|x - x'| + a KL + b d(x, x') - c w D(x')`` of an image x.

    x' is decode(z) for latents z ~ q(z | x), and KL is ``KL(q(z | x) || N(0, I))``. Every term is a
    mean over the elements of an image. ``|x - x'|`` is squared if ``error`` is l2. d is a
    perceptual distance. D is a patch discriminator, which is trained at the same time with the
    hinge loss (Esser et al. 2021, arXiv 2012.09841, eqs. 3 to 7; Rombach et al. 2022, arXiv
    2112.10752, appendix G). The adaptive weight w is ``|g1| / (|g2| + 1e-4)``, at most
    ``adversarial_bound``. g1 is the gradient of ``|x - x'| + b d(x, x')``, and g2 is the gradient
    of ``-D(x')``, both with respect to the decoder's last weight.

    The loss of D may have an R1 penalty ``r / 2 |grad D(x)|^2`` on real images x (Mescheder et al.
    2018, arXiv 1801.04406, eq. 9), where D(x) is the mean of an image's logits, and r is
    ``discriminator_penalty``. The penalty is computed in every 16th step only, and counts 16 times
    there (Karras et al. 2020, arXiv 1912.04958, section 3.1).

    Args:
        config: The weights a = kl, b = perceptual and c = adversarial, and other settings.
        latent: The shape of one image's latents (C, h, w).
        last: The last weight of the decoder.
        perceptual: The distance d, if there is one.
        image_channels: Channels of the images.
        dtype: The type in which the networks compute, by autocast.
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
        self.playing = self.penalised = False
        if config.adversarial:
            self.discriminator = Discriminator(
                image_channels, config.discriminator_width, config.discriminator_layers
            )

    def draw(self, batch: int, seen: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw the noise (B, *latent) from which the latents z are sampled."""
        self.playing = self.discriminator is not None and seen >= self.config.adversarial_from
        self.penalised = self.config.discriminator_penalty > 0 and seen // batch % LAZY == 0
        shared: dict[str, Any] = {"generator": generator, "device": generator.device}
        return (torch.randn(batch, *self.latent, **shared),)

    def forward(
        self, net: nn.Module, examples: Examples, *drawn: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a part of a batch, and named values for the log.

        ``drawn`` is the noise from `draw`.
        """
        x = examples.x0
        # In a compiled network, each gradient of the last layer costs a whole backward pass, and
        # torch does not allow a second backward pass.
        eager = torch.compiler.set_stance("force_eager") if self.playing else nullcontext()
        with eager, self.autocast(x.device):
            made, mean, log_variance = net(x, drawn[0])
        made, kl = made.float(), kl_divergence(mean.float(), log_variance.float()).mean()
        # Backpropagate through the losses once, down to the image.
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
                x = x.detach().requires_grad_(self.penalised)
                fake, real = self.discriminator(out).float(), self.discriminator(x).float()
            (push,) = torch.autograd.grad(-fake.mean(), out, retain_graph=True)
            beside = hinge(real, fake)
            w = self.balance(made, pull, push)
            pull = pull + self.config.adversarial * w * push
            figures |= {"discriminator": beside, "adversarial_weight": w}
            if self.penalised:
                beside = beside + LAZY * self.config.discriminator_penalty * r1(real, x)
        loss = (made * pull).sum() + self.config.kl * kl / x[0].numel() + beside
        return loss, {name: value.detach() for name, value in figures.items()}

    def balance(self, made: Tensor, pull: Tensor, push: Tensor) -> Tensor:
        """Return the adaptive weight w of the adversarial term, in the symbols of `Autoencoding`.

        ``made`` is the decoded image x'. ``pull`` is the gradient of ``|x - x'| + b d(x, x')`` with
        respect to x', and ``push`` is the gradient of ``-D(x')``. If a batch is split into parts or
        shared by processes, each part has its own w.
        """
        norms = [
            torch.autograd.grad(made, self.last, gradient, retain_graph=True)[0].norm()
            for gradient in (pull, push)
        ]
        w: Tensor = norms[0] / (norms[1] + 1e-4)
        return w.clamp(max=self.config.adversarial_bound)


def r1(logits: Tensor, x: Tensor) -> Tensor:
    """Return the R1 penalty ``mean(|grad D(x)|^2) / 2``, a mean over the images x (B, C, H, W).

    D(x) is the mean of an image's ``logits`` (B, 1, h, w).
    """
    total = logits.mean((1, 2, 3)).sum()
    (slope,) = torch.autograd.grad(total, x, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean() / 2
