"""Tests that need a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mezzotint as mz
from mezzotint import metrics
from mezzotint.config.experiment import Experiment
from mezzotint.networks import UNet, UNetConfig
from mezzotint.run import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_trains_resumes_and_samples_there(tiny: Experiment, tmp_path: Path, precision: str):
    there = replace(tiny, precision=precision)
    started = run(there, tmp_path / "run")
    for _ in range(1 + 6):
        next(started)
    started.close()
    for _ in run(there, tmp_path / "run", resume=True):
        pass
    pipe = mz.load(tmp_path / "run")
    assert pipe.device.type == "cuda"
    assert pipe.sample(3).device.type == "cpu"


def test_a_compiled_network_is_the_same_function() -> None:
    torch.manual_seed(0)
    net = UNet(UNetConfig(channels=(128, 128), blocks=1)).cuda().for_inference(torch.bfloat16)
    torch.nn.init.normal_(net.out.weight, std=0.1)
    x, t = torch.randn(4, 3, 32, 32, device="cuda"), torch.full((4,), 500.0, device="cuda")
    with torch.inference_mode():
        plain = net(x, t)
        net.compile_for(10**6)
        for _ in range(3):  # the third is of the recorded graph
            compiled = net(x, t).clone()
    assert (compiled - plain).norm() < 0.02 * plain.norm()


def test_pictures_are_the_cpus(tiny: Experiment, tmp_path: Path) -> None:
    for _ in run(tiny, tmp_path / "run"):
        pass
    here, there = (mz.load(tmp_path / "run", device=d).sample(4) for d in ("cpu", "cuda"))
    assert (here.int() - there.int()).abs().float().mean() < 1


def test_features_are_the_cpus() -> None:
    """Features are computed in float32: TF32 and other kernels change only the rounding."""
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    here, there = (metrics.network("cifar10", device)(images) for device in ("cpu", "cuda"))
    for a, b in zip(here, there, strict=True):
        assert b.device.type == "cpu"
        assert (a - b).abs().max() < 1e-4 * a.abs().max()
