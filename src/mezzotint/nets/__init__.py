"""Networks: what the paper draws, one file each."""

from mezzotint.nets.unet import UNet, UNetConfig
from mezzotint.nets.vae import VAE, TinyVAE, TinyVAEConfig, VAEConfig

__all__ = ["VAE", "TinyVAE", "TinyVAEConfig", "UNet", "UNetConfig", "VAEConfig"]
