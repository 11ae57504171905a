"""The whole purpose: the recipe of the demo draws the digits that are requested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.config.recipes import RECIPES
from mezzotint.data import prepare
from mezzotint.run import run


def shapes(images: Tensor) -> Tensor:
    """Return the ink alone, (N, 1024): grey, centred on its mass, with zero mean and unit norm."""
    grey = images.float().mean(1)
    low, high = grey.amin((1, 2), keepdim=True), grey.amax((1, 2), keepdim=True)
    ink = ((grey - low) / (high - low) - 0.4).clamp(min=0)
    axis = torch.arange(32.0)
    mass = ink.sum((1, 2))
    rows, columns = ((ink.sum(d) * axis).sum(1) / mass for d in (2, 1))
    centred = torch.stack(
        [
            torch.roll(one, (16 - round(float(r)), 16 - round(float(c))), (0, 1))
            for one, r, c in zip(ink, rows, columns, strict=True)
        ]
    ).flatten(1)
    centred -= centred.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True)


def agreement(images: Tensor, labels: list[int]) -> float:
    """Return the share of images whose nearest drawn digit, among 5,000, is of their class."""
    data = prepare("glyphs", split="train")
    drawn = torch.from_numpy(data.images[:5000].copy()).permute(0, 3, 1, 2)
    nearest = (shapes(images) @ shapes(drawn).T).argmax(1)
    return float(np.mean(data.labels[:5000][nearest.numpy()] == np.array(labels)))


@pytest.mark.slow
def test_the_demos_recipe_draws_the_digits_it_is_asked_for(tmp_path: Path) -> None:
    test = prepare("glyphs", split="test")
    held_out = torch.from_numpy(test.images[:500].copy()).permute(0, 3, 1, 2)
    assert agreement(held_out, test.labels[:500].tolist()) > 0.97  # the judge can read

    for _ in run(RECIPES["glyphs-ddpm"], tmp_path / "run"):
        pass
    pipe = mz.load(tmp_path / "run")
    images = pipe.sample(200, seed=1)
    assert agreement(images, pipe.labels(200)) > 0.9
