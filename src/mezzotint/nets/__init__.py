"""Networks: what the paper draws, one file each."""

from mezzotint.nets.discriminator import Discriminator
from mezzotint.nets.dit import DiT, DiTConfig
from mezzotint.nets.network import Network
from mezzotint.nets.unet import UNet, UNetConfig
from mezzotint.nets.vae import VAE, TinyVAE, TinyVAEConfig, VAEConfig

__all__ = [
    "VAE",
    "DiT",
    "DiTConfig",
    "Discriminator",
    "Network",
    "TinyVAE",
    "TinyVAEConfig",
    "UNet",
    "UNetConfig",
    "VAEConfig",
]
