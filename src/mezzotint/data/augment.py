"""Augmentation of batches of images, on the device where the batch is."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.devices import forked
from mezzotint.errors import Registry, UserError

AUGMENTATION_SIZE = 9
"""The number of values in the condition that `non_leaking` returns for each image."""


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Swap left and right in the images (B, C, H, W) whose bool mask (B,) is True."""
    return torch.where(mask[:, None, None, None], images.flip(-1), images)


def non_leaking(images: Tensor, u: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Augment images by EDM's random operations, and return them with a condition.

    The operations are applied in the order of the table. The condition holds the random numbers of
    the operations. A network that is trained with this condition makes images without augmentation
    if the condition is zero.

    | operation     | effect                                     | condition              |
    |---------------|--------------------------------------------|------------------------|
    | x-flip        | mirrors left and right; a0 ~ U{0, 1}       | a0                     |
    | y-flip        | mirrors up and down; a1 ~ U{0, 1}          | a1                     |
    | scaling       | enlarges 2^(0.2 a2) times; a2 ~ N(0, 1)    | a2                     |
    | rotation      | anticlockwise by a3 ~ U(-pi, pi)           | cos a3 - 1, sin a3     |
    | anisotropy    | stretches 2^(0.2 a5) times along the       | a5 cos a4, a5 sin a4   |
    |               | direction a4 and shrinks as much across    |                        |
    |               | it; a4 ~ U(-pi, pi), a5 ~ N(0, 1)          |                        |
    | translation   | right by W a6 / 8, down by H a7 / 8;       | a6, a7                 |
    |               | a6, a7 ~ N(0, 1)                           |                        |

    The x-flip has probability 1/2; each other operation is applied with `probability`, which is
    0.12 for CIFAR-10. The direction a4 is 0 to the right and pi/2 downwards. The flips only move
    pixels. The other operations are done in one bicubic resampling without a low-pass filter. The
    resampling continues an image by reflection, and clamps the result to [-1, 1]. An image without
    these other operations is not resampled.

    Args:
        images: (B, C, H, W), floating, in [-1, 1].
        u: (B, 16), uniform in [0, 1): the source of all randomness. This function does not use
            columns 0, 14 and 15. The caller can use such a column for the function `flip`, which
            adds no condition, unlike the x-flip of the table.
        probability: in [0, 1].

    Returns:
        The augmented images, and the condition (B, 9): the last column of the table from top to
        bottom, with 0 for an operation that was not applied.

    Source: Karras et al., arXiv 2206.00364, appendix F.2.
    """
    # Columns of u: 1 x-flip; 2, 3 y-flip; 4, 5 scaling; 6, 7 rotation; 8-10 anisotropy; 11-13
    # translation. For each operation but the x-flip, the first column decides whether it is
    # applied, and the other columns give its random numbers.
    coin, angle = (u < 0.5).to(u.dtype), math.pi * (2 * u - 1)
    # Without the clamp, u = 0 and u = 1 would give infinite values.
    normal = torch.special.ndtri(u.clamp(2**-25, 1 - 2**-24))
    applied = u < probability

    def gated(gate: int, value: Tensor) -> Tensor:
        return torch.where(applied[:, gate], value, 0)

    a0, a1 = coin[:, 1], gated(2, coin[:, 3])
    a2, a3 = gated(4, normal[:, 5]), gated(6, angle[:, 7])
    a4, a5 = angle[:, 9], gated(8, normal[:, 10])
    a6, a7 = gated(11, normal[:, 12]), gated(11, normal[:, 13])
    numbers = (a0, a1, a2, a3.cos() - 1, a3.sin(), a5 * a4.cos(), a5 * a4.sin(), a6, a7)
    condition = torch.stack(numbers, 1)

    images = flip(images, a0 > 0)
    images = torch.where((a1 > 0)[:, None, None, None], images.flip(-2), images)

    # The place that each pixel of the result comes from, in pixels from the centre: the last four
    # operations of the table are undone in reverse order. F.affine_grid is not used, because its
    # matrix product may have low precision on a GPU.
    a2, a3, a4, a5, a6, a7 = (a[:, None, None] for a in (a2, a3, a4, a5, a6, a7))
    height, width = images.shape[-2:]
    x = torch.arange(width, device=u.device) - (width - 1) / 2 - width / 8 * a6
    y = torch.arange(height, device=u.device)[:, None] - (height - 1) / 2 - height / 8 * a7
    along, across = _turned(x, y, -a4)
    # exp instead of a power, whose last bit may depend on an element's place in the batch
    stretch, enlarge = (0.2 * math.log(2) * a5).exp(), (0.2 * math.log(2) * a2).exp()
    x, y = _turned(along / stretch, across * stretch, a4 + a3)
    places = torch.stack([x * 2 / width, y * 2 / height], -1) / enlarge[..., None]
    warped = F.grid_sample(
        images.float(), places.float(), "bicubic", "reflection", align_corners=False
    )
    resampled = (condition[:, 2:] != 0).any(1)[:, None, None, None]
    return torch.where(resampled, warped.clamp(-1, 1).to(images.dtype), images), condition


def _turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate the point (x to the right, y down) clockwise about the origin by an angle."""
    return angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y


AUGMENTATIONS: Registry[Callable[[Any, tuple[int, int]], Any]] = Registry(
    "augmentation",
    {
        # cropping_mode="resample" crops the whole batch at once
        "crop": lambda k, size: k.RandomResizedCrop(size, scale=(0.5, 1), cropping_mode="resample"),
        "colour": lambda k, _: k.ColorJitter(0.2, 0.2, 0.2, 0.05),
        "randaugment": lambda k, _: k.auto.RandAugment(n=2, m=10),
        "cutmix": lambda k, _: k.RandomCutMixV2(use_correct_lambda=True),
    },
)
"""The augmentations by name.

Each is a function that takes the module `kornia.augmentation` and the images' (H, W), and returns
one of that module's augmentations.
"""
OF_COLOURS = ("colour", "randaugment")
"""The augmentations that need RGB images."""


def kornia_augmentation(
    names: tuple[str, ...], size: tuple[int, int]
) -> Callable[[Tensor, int], Tensor]:
    """Return a function that applies augmentations of the package kornia, one after another.

    The augmentations are for autoencoders. The network of a diffusion model is conditioned on the
    augmentations of `non_leaking`, but not on those of kornia, so its samples would look augmented.
    `crop` cuts out a part with half to all of the image's area, and scales it to ``size``. `colour`
    changes brightness, contrast and saturation by up to 0.2 and the hue by up to 0.05.
    `randaugment` applies 2 random operations, the same for the whole batch, at magnitude 10 of 30
    (arXiv 1909.13719). `cutmix` puts a rectangle of another image of the batch into each image
    (arXiv 1905.04899).

    Args:
        names: The names of the augmentations, in order.
        size: (H, W) of the images.

    Returns:
        A function of images (B, C, H, W), floating, in [-1, 1], and a seed. It returns images of
        the same type and range. Its randomness depends on the seed alone, and torch's own
        generators are unchanged.

    Raises:
        UserError: If a name in ``names`` is unknown, or kornia is missing.
    """
    for name in names:
        AUGMENTATIONS.check(name)
    try:
        import kornia.augmentation
    except ImportError:
        raise UserError(
            "augmentation needs the package kornia: run pip install 'mezzotint[augment]'"
        ) from None
    steps = [AUGMENTATIONS[name](kornia.augmentation, size) for name in names]

    def augment(images: Tensor, seed: int) -> Tensor:
        x = images.float() / 2 + 0.5
        with forked(images.device):
            torch.manual_seed(seed)
            for step in steps:
                x = step(x)
        return (x.clamp(0, 1) * 2 - 1).to(images.dtype)

    return augment
