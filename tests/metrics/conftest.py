from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint.data import Prepared, prepare
from mezzotint.data.sources import glyphs


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def few_halvings() -> None:
    """Use as many halvings as users have."""


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """The first images of glyphs' test split, (400, 32, 32, 3); image i has the label i mod 10."""
    return np.stack([glyphs.draw("test", i) for i in range(400)])


@pytest.fixture(scope="session")
def cifar10_test(cache: Path) -> Prepared:
    """CIFAR-10's test set. Tests are skipped if it is not beside the checkout."""
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no real data set at {folder}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_CACHE", str(cache))
        return prepare(str(folder), split="test")


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)
