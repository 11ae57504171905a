"""Load parts of other libraries that compute metrics.

As a whole they would import torchvision, which cannot be installed here. A package is put into
`sys.modules` without running its own `__init__`, so that its submodules can be imported one by one.
A module of which nothing is called is replaced by an empty one.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from mezzotint.metrics.inception import Inception

TAPS = ("64", "192", "768", "2048", "logits_unbiased", "logits")


def random_weights(seed: int) -> dict[str, Tensor]:
    """Return random weights for Inception that keep the size of its activations."""
    draw = torch.Generator().manual_seed(seed)
    weights = Inception().state_dict()
    for name, w in weights.items():
        if w.ndim > 1:
            w.normal_(0, (2 / w[0].numel()) ** 0.5, generator=draw)
        elif name.endswith(("running_var", "bn.weight")):
            w.uniform_(0.5, 1.5, generator=draw)
        elif w.is_floating_point():
            w.normal_(0, 0.2, generator=draw)
    return weights


def fidelity(submodule: str) -> ModuleType:
    """Import `torch_fidelity.<submodule>`; skip the test if the package is not installed."""
    _bare("torch_fidelity")
    _stand_in("torch_fidelity.utils")
    return importlib.import_module(f"torch_fidelity.{submodule}")


def fidelity_inception(weights: Path) -> nn.Module:
    """Load torch-fidelity's network: uint8 (N, 3, H, W) -> a tuple of `TAPS`."""
    module = fidelity("feature_extractor_inceptionv3")
    return module.FeatureExtractorInceptionV3("inception", list(TAPS), str(weights))


def pytorch_fid_inception(weights: Path) -> nn.Module:
    """Load pytorch-fid's network: float (N, 3, H, W) in [0, 1] -> the first four `TAPS`, as maps.

    It replaces blocks in torchvision's network. Here it gets torch-fidelity's network instead. Its
    other blocks (the first convolutions, 6a and 7a) equal those of torchvision.
    """
    blocks = fidelity("feature_extractor_inceptionv3")
    whole = fidelity_inception(weights)
    inception = SimpleNamespace(
        InceptionA=blocks.InceptionA, InceptionC=blocks.InceptionC, InceptionE=blocks.InceptionE_1
    )
    _bare("pytorch_fid")
    torchvision = ModuleType("torchvision")
    torchvision.__dict__.update(
        __version__="0.29",
        models=SimpleNamespace(inception=inception, inception_v3=lambda **_: whole),
    )
    with patch.dict(sys.modules, {"torchvision": torchvision}):
        module = importlib.import_module("pytorch_fid.inception")
    with patch.object(module, "load_state_dict_from_url", lambda *_, **__: torch.load(weights)):
        return module.InceptionV3(range(4)).eval()


def _bare(package: str) -> None:
    if package not in sys.modules:
        spec = find_spec(package)
        if spec is None:
            pytest.skip(f"{package} is not installed: see the Makefile")
        sys.modules[package] = module_from_spec(spec)


def _stand_in(name: str) -> None:
    """Make a module that has every name, for code that is imported but not called."""
    if name not in sys.modules:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__getattr__ = lambda _: None
