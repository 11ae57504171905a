"""Networks: what the paper draws, one file each."""

from mezzotint.nets.unet import UNet, UNetConfig

__all__ = ["UNet", "UNetConfig"]
