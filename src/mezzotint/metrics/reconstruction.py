"""The similarity of reconstructions to their originals, pixel by pixel: PSNR and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.errors import UserError

# Pixels: the side of SSIM's window, and the standard deviation of its Gaussian.
WINDOW, WIDTH = 11, 1.5
RANGE = 255
ROUNDING = 1 / 12  # squared grey levels: the variance of the rounding error
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair of images: (B,), float64, in dB.

    ``a`` and ``b`` are batches of images, uint8 (B, C, H, W). The ratio is

        10 log10(255^2 / max(MSE, 1/12))

    where the MSE is over all channels and pixels of an image. The minimum 1/12 is the variance of a
    rounding error. With this minimum, equal images have 58.92 dB instead of infinity, and means
    stay finite. Raises UserError for types other than uint8, different shapes and empty batches.
    """
    mse = (_checked(a, b).double() - b.double()).square().mean((1, 2, 3))
    return 10 * torch.log10(RANGE**2 / mse.clamp(min=ROUNDING))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity of each pair of images: (B,), float64; 1 if they are equal.

    ``a`` and ``b`` are batches of images, uint8 (B, C, H, W). The similarity at a position is

        (2 m_a m_b + C1) (2 s_ab + C2) / ((m_a^2 + m_b^2 + C1) (s_a^2 + s_b^2 + C2))

    with means m, variances s^2 and the covariance s_ab under an 11x11 Gaussian window of standard
    deviation 1.5, C1 = (0.01 * 255)^2 and C2 = (0.03 * 255)^2. The result is averaged over the
    channels, and over the positions where the whole window fits (Wang, Bovik, Sheikh and Simoncelli
    2004, doi:10.1109/TIP.2003.819861). Raises UserError for types other than uint8, different
    shapes, empty batches and sides below 11.
    """
    height, width = _checked(a, b).shape[2:]
    if min(height, width) < WINDOW:
        raise UserError(
            f"images of {height}x{width} are too small for SSIM: give at least {WINDOW} pixels a "
            "side"
        )
    down, across = window(height).to(a.device), window(width).to(a.device)
    a, b = a.double(), b.double()

    def local(x: Tensor) -> Tensor:
        return down @ x @ across.T

    m_a, m_b = local(a), local(b)
    variances = local(a * a + b * b) - m_a**2 - m_b**2
    covariance = local(a * b) - m_a * m_b
    luminance = (2 * m_a * m_b + C1) / (m_a**2 + m_b**2 + C1)
    return (luminance * (2 * covariance + C2) / (variances + C2)).mean((1, 2, 3))


def window(side: int) -> Tensor:
    """Return the matrix (side - 10, side), float64, that applies SSIM's window along one side.

    On one core, for images of 128x128, products with such matrices are 14 times as fast as a
    convolution.
    """
    offset = torch.arange(side) - torch.arange(side - WINDOW + 1)[:, None] - WINDOW // 2
    weights = torch.exp(-0.5 * (offset.double() / WIDTH) ** 2) * (offset.abs() <= WINDOW // 2)
    return weights / weights.sum(1, keepdim=True)


def _checked(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a``. Raises UserError unless ``a`` and ``b`` are uint8 (B, C, H, W) of one shape."""
    if a.dtype != torch.uint8 or b.dtype != torch.uint8:
        names = " and ".join(str(x.dtype).removeprefix("torch.") for x in (a, b))
        raise UserError(
            f"the images are {names}: give uint8 images, 0 to 255, rounded and not truncated"
        )
    if a.shape != b.shape or a.ndim != 4 or not a.numel():
        raise UserError(
            f"the images have the shapes {tuple(a.shape)} and {tuple(b.shape)}: give two batches "
            "(B, C, H, W) of the same shape"
        )
    return a
