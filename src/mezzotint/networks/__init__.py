"""The networks: U-Net, DiT, VAE and discriminator, one file each."""

from mezzotint.networks.discriminator import Discriminator
from mezzotint.networks.dit import DiT, DiTConfig
from mezzotint.networks.network import Network
from mezzotint.networks.unet import UNet, UNetConfig
from mezzotint.networks.unet2d import UNet2D, UNet2DConfig
from mezzotint.networks.vae import VAE, TinyVAE, TinyVAEConfig, VAEConfig

__all__ = [
    "VAE",
    "DiT",
    "DiTConfig",
    "Discriminator",
    "Network",
    "TinyVAE",
    "TinyVAEConfig",
    "UNet",
    "UNet2D",
    "UNet2DConfig",
    "UNetConfig",
    "VAEConfig",
]
