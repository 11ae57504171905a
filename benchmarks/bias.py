"""Measure how far each editing method is from the posterior, on data whose posterior is known.

    python benchmarks/bias.py --out docs/results/editing-bias.md

The data are images of 4x4 pixels with a Gaussian distribution, or a mixture of two Gaussians. The
denoiser is exact, so all errors come from the method. Each method gets one observation and makes
4,000 images by DDIM in 100 steps; RePaint uses 100 of its own steps. The page has the errors of
their mean and covariance. For the mixture, it also has the share of images in the first mode.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.editing import repaint
from mezzotint.diffusion.editing.operators import Operator, average, blur, mask
from mezzotint.diffusion.editing.posterior import Observation, ddnm, dps, mmps, pigdm
from mezzotint.diffusion.level import Level
from mezzotint.storage import files
from mezzotint.storage.machine import machine

SHAPE, D = (1, 4, 4), 16
COUNT, STEPS = 4_000, 100


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians with equal covariance: shares (K,), means (K, D), cov (D, D)."""

    shares: Tensor
    means: Tensor
    cov: Tensor

    def denoise(self, x: Tensor, level: Level) -> Tensor:
        """Return ``E[x0 | x_t]``: the components' means, weighted by their densities at x_t."""
        spread = level.alpha**2 * self.cov + level.sigma**2 * torch.eye(D).to(self.cov)
        found = _given(self, level.alpha * torch.eye(D).to(self.cov), x.flatten(1), spread)
        return (found.shares[..., None] * found.means).sum(1).view_as(x)

    def posterior(self, a: Tensor, y: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the shares (K,), mean (D,) and covariance (D, D) given ``y = A x0 + noise``."""
        spread = a @ self.cov @ a.T + noise**2 * torch.eye(len(a)).to(self.cov)
        found = _given(self, a, y[None], spread)
        shares, means = found.shares[0], found.means[0]
        mean = shares @ means
        apart = means - mean
        return shares, mean, found.cov + (shares[:, None] * apart).T @ apart


def _given(data: Mixture, a: Tensor, y: Tensor, spread: Tensor) -> Mixture:
    """Return the mixture given observations y (B, m) with covariance ``spread``."""
    gain = data.cov @ a.T @ torch.linalg.inv(spread)
    apart = y[:, None] - data.means @ a.T
    logits = -0.5 * (apart @ torch.linalg.inv(spread) * apart).sum(-1) + data.shares.log()
    means = data.means + apart @ gain.T
    return Mixture(logits.softmax(1), means, data.cov - gain @ a @ data.cov)


def smooth() -> Tensor:
    """Return a covariance that falls with the distance between two pixels."""
    place = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    return 0.25 * torch.exp(-torch.cdist(place, place) / 2)


GAUSSIAN = Mixture(torch.ones(1), torch.linspace(-0.3, 0.3, D)[None], smooth())
STRIPES = torch.tensor([1.0, -1.0, 1.0, -1.0]).expand(4, 4).flatten()
TWO = Mixture(torch.tensor([0.6, 0.4]), 0.3 * torch.stack([STRIPES, -STRIPES]), 0.2 * smooth())
DATA = {"Gaussian": GAUSSIAN, "mixture of two": TWO}

LEFT = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 4, 4)
CASES: dict[str, tuple[Operator, float]] = {
    "half, exact": (mask(LEFT), 0.0),
    "half, noise 1": (mask(LEFT), 1.0),
    "2x2 means, noise 0.2": (average(2), 0.2),
    "blurred, noise 0.2": (blur(0.7), 0.2),
}
METHODS = {"ddnm": ddnm, "pigdm": pigdm, "dps": dps, "mmps": partial(mmps, iterations=D)}


@dataclass(frozen=True)
class Bias:
    """The errors of a method, relative to the posterior's standard deviation and covariance."""

    mean: float
    cov: float
    share: float
    true_share: float


def matrix(operator: Operator) -> Tensor:
    return operator(torch.eye(D).view(D, *SHAPE)).flatten(1).T


def judged(x: Tensor, data: Mixture, truth: tuple[Tensor, Tensor, Tensor]) -> Bias:
    shares, mean, cov = truth
    off = (x.mean(0) - mean).norm() / cov.diagonal().sum().sqrt()
    nearest = torch.cdist(x, data.means).argmin(1)
    return Bias(
        float(off),
        float((x.T.cov() - cov).norm() / cov.norm()),
        float((nearest == 0).double().mean()),
        float(shares[0]),
    )


def measured(data: Mixture, operator: Operator, noise: float) -> dict[str, Bias]:
    """Return the bias of each method that supports the observation."""
    a, draw = matrix(operator), torch.Generator().manual_seed(0)

    def randn(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=draw)

    true = data.means[0] + 0.4 * torch.linalg.cholesky(data.cov) @ torch.linspace(1, -1, D)
    flat = a @ true + noise * torch.randn(len(a), generator=draw)
    truth = data.posterior(a, flat, max(noise, 1e-3))
    shape = operator(torch.zeros(1, *SHAPE)).shape[1:]
    y = flat.view(1, *shape).expand(COUNT, *shape)
    grid = mz.cosine(1000).grid(STEPS, "logsnr")
    found = {}
    for name, method in METHODS.items():
        if name == "ddnm" and noise:
            continue
        estimate: Callable[[Tensor, Level], Tensor]
        estimate = method(data.denoise, Observation(y, operator, noise), grid)
        x = mz.SAMPLERS["ddim"](estimate, randn(torch.empty(COUNT, *SHAPE)), grid)
        found[name] = judged(x.flatten(1), data, truth)
    if not noise and y.shape[1:] == SHAPE:
        x = repaint(data.denoise, randn(y), grid, y, LEFT, randn=randn)
        found["repaint"] = judged(x.flatten(1), data, truth)
    return found


def rows() -> list[str]:
    lines = [
        "| data | observation | method | error of the mean | error of the covariance | "
        "share in the first mode | true share |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, data in DATA.items():
        for case, (operator, noise) in CASES.items():
            for method, bias in measured(data, operator, noise).items():
                modes = ("", "")
                if len(data.shares) > 1:
                    modes = (f"{100 * bias.share:.1f} %", f"{100 * bias.true_share:.1f} %")
                lines.append(
                    f"| {name} | {case} | {method} | {bias.mean:.3f} | {bias.cov:.3f} | "
                    f"{modes[0]} | {modes[1]} |"
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the page to write")
    flags = parser.parse_args()
    page = [
        "# How far the editing methods are from the posterior",
        "",
        f"Each method makes {COUNT:,} images from one observation, and their mean and covariance "
        "are compared with those of the posterior, which is known. The error of the mean is given "
        "in standard deviations of the posterior, and the error of the covariance is divided by "
        f"the norm of the true covariance. Even {COUNT:,} exact samples would err by about "
        f"{COUNT**-0.5:.3f} in the mean and {(D / COUNT) ** 0.5:.3f} in the covariance. "
        '`benchmarks/bias.py` describes the experiment. The observation "half" is the left half of '
        "an image. For Gaussian data, MMPS has no bias. For a "
        "mixture, nearly the right share of its images lies in each mode, but the images spread "
        f"too far where the modes overlap. Measured on {machine('torch')}.",
        "",
        *rows(),
    ]
    with files.beside(flags.out) as partial_file:
        partial_file.write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    main()
