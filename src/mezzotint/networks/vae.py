"""The autoencoders. A diffusion model can be trained on their latents.

VAE is the KL autoencoder of latent diffusion (Rombach et al. 2022, arXiv 2112.10752, section 3.1
and appendix G): a variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114) of residual
convolutions. TinyVAE is TAESD, a small network that can replace a VAE.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from mezzotint.networks.blocks import Attention, Down, Pointwise, ResBlock, Up
from mezzotint.networks.network import Network
from mezzotint.networks.norm import GroupNorm
from mezzotint.networks.padding import cut, padded
from mezzotint.strict import strict

WIDE = 128  # the width from which channels-last tensors make training faster
LOG_VARIANCE = (-30.0, 20.0)  # bounds of the log variance, as in the authors' code


@strict
class VAEConfig:
    """The dimensions of a VAE."""

    channels: tuple[PositiveInt, ...] = (128, 256, 512)
    """Width of each level; each level halves the resolution of the level before."""
    blocks: PositiveInt = 2
    """Residual blocks per level of the encoder (the decoder has one more)."""
    latent: PositiveInt = 4
    """Channels of the latents."""
    groups: PositiveInt = 32
    """Groups of the group normalisation; must divide every width."""
    attention: bool = True
    """Whether the lowest resolution has self-attention, with one head."""
    quant: bool = True
    """Whether the encoder ends with a 1x1 convolution of the means and log variances."""
    post_quant: bool = True
    """Whether the decoder begins with a 1x1 convolution of the latents."""
    patch: PositiveInt = 1
    """Fold patch x patch pixels into channels first, which makes the widest layers smaller."""

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError("`channels` is empty: give the number of channels at each level")
        if bad := [c for c in self.channels if c % self.groups]:
            raise ValueError(
                f"`groups` is {self.groups}, which does not divide {bad[0]}: "
                "choose a divisor of every number in `channels`"
            )

    @property
    def factor(self) -> int:
        """The factor f by which the encoder shrinks the height and the width of an image."""
        return self.patch << (len(self.channels) - 1)


class VAE(Network):
    """A variational autoencoder with the encoder q(z | x) and the decoder x(z).

    q(z | x) is N(mean(x), diag(exp(log_variance(x)))). Images x are (B, C, H, W) in [-1, 1].
    Latents z are (B, config.latent, H / f, W / f) with f = ``config.factor``; they are not scaled
    to unit variance. Images are padded until f divides their sides, and `forward` removes the
    padding again.

    Args:
        config: The dimensions of the network.
        image_channels: C, the number of channels of the images.
    """

    def __init__(self, config: VAEConfig, image_channels: int = 3) -> None:
        super().__init__()
        z, groups = config.latent, config.groups
        self.config, self.image_channels = config, image_channels

        c = config.channels[0]
        pixels = image_channels * config.patch**2
        layers: list[nn.Module] = [nn.Conv2d(pixels, c, 3, padding=1)]
        for level, width in enumerate(config.channels):
            layers += [Down(c)] if level else []
            layers += _blocks(c, width, config.blocks, groups)
            c = width
        layers += _middle(config)
        layers += [GroupNorm(c, groups, silu=True), nn.Conv2d(c, 2 * z, 3, padding=1)]
        self.encoder = nn.Sequential(*layers)
        self.quant = Pointwise(2 * z, 2 * z) if config.quant else nn.Identity()

        self.post_quant = Pointwise(z, z) if config.post_quant else nn.Identity()
        layers = [nn.Conv2d(z, c, 3, padding=1), *_middle(config)]
        for level, width in enumerate(reversed(config.channels)):
            layers += [Up(c)] if level else []
            layers += _blocks(c, width, config.blocks + 1, groups)
            c = width
        layers += [GroupNorm(c, groups, silu=True), nn.Conv2d(c, pixels, 3, padding=1)]
        self.decoder = nn.Sequential(*layers)
        if config.channels[0] >= WIDE:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the decoded image x(z), and the mean and log variance of q(z | x), for training.

        z is sampled from q(z | x) with ``noise`` ~ N(0, I), which is shaped like the latents.
        """
        mean, log_variance = self.encode(x)
        made = self.decode(posterior_sample(mean, log_variance, noise))
        return cut(made, x), mean, log_variance

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and log variance of q(z | x); the log variance is in [-30, 20]."""
        folded = F.pixel_unshuffle(padded(x, self.config.factor), self.config.patch)
        moments = self.quant(self.encoder(folded.to(self.dtype))).to(x.dtype)
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents z to the image x(z), whose values may lie somewhat outside [-1, 1]."""
        out = self.decoder(self.post_quant(z.to(self.dtype)))
        return F.pixel_shuffle(out, self.config.patch).to(z.dtype)


def posterior_sample(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Compute ``z = mean + exp(log_variance / 2) * noise`` for noise ~ N(0, I) of the same shape.

    This is the reparameterisation that gives z a gradient (Kingma and Welling 2014, section 2.4).
    """
    return mean + torch.exp(log_variance / 2) * noise


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return ``KL(q(z | x) || N(0, I)) = sum(mean^2 + exp(log_variance) - 1 - log_variance) / 2``.

    Takes (B, C, H, W) and returns (B,), in nats per image (Kingma and Welling 2014, appendix B).
    """
    return (mean**2 + log_variance.exp() - 1 - log_variance).flatten(1).sum(1) / 2


@strict
class TinyVAEConfig:
    """The dimensions of a TinyVAE.

    ``encoder`` and ``decoder`` list the levels in the order in which the network computes them.
    """

    width: PositiveInt = 64
    """Channels of every hidden layer."""
    latent: PositiveInt = 4
    """Channels of the latents."""
    encoder: tuple[NonNegativeInt, ...] = Field(default=(1, 3, 3, 3), min_length=1)
    """Residual blocks per level, from the full resolution down."""
    decoder: tuple[NonNegativeInt, ...] = Field(default=(3, 3, 3, 1), min_length=1)
    """Residual blocks per level, from the latents' resolution up."""

    def __post_init__(self) -> None:
        if len(self.encoder) != len(self.decoder):
            raise ValueError(
                f"the encoder has {len(self.encoder)} levels and the decoder {len(self.decoder)}: "
                "give both the same number"
            )

    @property
    def factor(self) -> int:
        """The factor f by which the encoder shrinks the height and the width of an image."""
        return 1 << (len(self.encoder) - 1)


class TinyVAE(Network):
    """TAESD: a distilled replacement of a VAE, with deterministic latents that are already scaled.

    It comes from https://github.com/madebyollin/taesd (MIT). The original takes images in [0, 1];
    here images are (B, C, H, W) in [-1, 1]. Latents are (B, config.latent, H / f, W / f) with f =
    ``config.factor``. They have about unit variance, because they correspond to the latents of the
    VAE after scaling.
    """

    def __init__(self, config: TinyVAEConfig, image_channels: int = 3) -> None:
        super().__init__()
        c, z = config.width, config.latent
        self.config, self.image_channels = config, image_channels
        layers: list[nn.Module] = [nn.Conv2d(image_channels, c, 3, padding=1)]
        for level, blocks in enumerate(config.encoder):
            layers += [nn.Conv2d(c, c, 3, stride=2, padding=1, bias=False)] if level else []
            layers += [TinyBlock(c) for _ in range(blocks)]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(c, z, 3, padding=1))

        layers = [nn.Conv2d(z, c, 3, padding=1), nn.ReLU()]
        for level, blocks in enumerate(config.decoder):
            if level:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(c, c, 3, padding=1, bias=False)]
            layers += [TinyBlock(c) for _ in range(blocks)]
        self.decoder = nn.Sequential(*layers, nn.Conv2d(c, image_channels, 3, padding=1))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents of images x, and their log variance.

        The latents are deterministic, so the log variance is -30, the lowest that is allowed.
        """
        whole = padded(x, self.config.factor)
        mean = self.encoder(((whole + 1) / 2).to(self.dtype)).to(x.dtype)
        return mean, torch.full_like(mean, LOG_VARIANCE[0])

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents z to images, whose values may lie somewhat outside [-1, 1].

        The network decodes ``3 tanh(z / 3)``, whose magnitude is below 3.
        """
        out: Tensor = self.decoder((3 * torch.tanh(z / 3)).to(self.dtype))
        return 2 * out.to(z.dtype) - 1


class TinyBlock(nn.Module):
    """A residual block: ``relu(x + conv(relu(conv(relu(conv(x))))))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to x (B, C, H, W)."""
        return F.relu(x + self.conv(x))


def _blocks(cin: int, cout: int, count: int, groups: int) -> list[nn.Module]:
    """Make ``count`` residual blocks; the first changes the channels from ``cin`` to ``cout``."""
    return [ResBlock(cout if i else cin, cout, groups, 0.0) for i in range(count)]


def _middle(config: VAEConfig) -> list[nn.Module]:
    """Make the layers of the lowest resolution: two residual blocks, and attention between them."""
    c, groups = config.channels[-1], config.groups
    attention = [Attention(c, groups, None)] if config.attention else []
    return [ResBlock(c, c, groups, 0.0), *attention, ResBlock(c, c, groups, 0.0)]
