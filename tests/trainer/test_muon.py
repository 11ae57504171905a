"""Muon against the singular value decomposition, torch's own Muon, and AdamW."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mezzotint.config.experiment import Experiment
from mezzotint.networks import UNet, UNetConfig
from mezzotint.run import run
from mezzotint.storage import checkpoint
from mezzotint.trainer.loop import TrainConfig, optimizer
from mezzotint.trainer.muon import Muon, matrices, polar

SHAPES = [(64, 576), (128, 32), (96, 96)]


def matrix(shape: tuple[int, int], smallest: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return a matrix with singular values from 1 to ``smallest``, its U and its V^T."""
    draw = torch.Generator().manual_seed(0)
    u, s, v = torch.linalg.svd(torch.randn(shape, generator=draw), full_matrices=False)
    return u * torch.logspace(0, torch.tensor(smallest).log10(), len(s)) @ v, u, v


@pytest.mark.parametrize("shape", SHAPES)
def test_polar_evens_the_singular_values_and_keeps_the_vectors(shape: tuple[int, int]) -> None:
    given, u, v = matrix(shape, smallest=0.05)  # 0.01 after division by the norm
    found = u.T @ polar(given) @ v.T
    assert found.diagonal().min() > 0.68
    assert found.diagonal().max() < 1.21
    assert (found - found.diagonal().diag()).abs().max() < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_polar_knows_no_scale_and_no_rotation(shape: tuple[int, int]) -> None:
    given, _, _ = matrix(shape, smallest=0.1)
    torch.testing.assert_close(polar(1e-6 * given), polar(given), rtol=1e-4, atol=1e-5)
    turn = torch.linalg.qr(torch.randn(shape[0], shape[0]))[0]
    torch.testing.assert_close(polar(turn @ given), turn @ polar(given), rtol=1e-3, atol=1e-4)
    assert (polar(torch.zeros(shape)) == 0).all()


@pytest.mark.parametrize("shape", [*SHAPES, (64, 32, 3, 3)])
def test_the_root_mean_square_of_an_update_is_a_fifth_of_the_rate(shape: tuple[int, ...]) -> None:
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape)
    Muon([{"params": [weight], "matrices": True}], lr=0.1).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(0.02, rel=0.25)


def test_steps_are_those_of_torchs_own_muon() -> None:
    """torch computes the steps in bfloat16."""
    one = nn.Parameter(torch.randn(32, 100))
    two, begun = nn.Parameter(one.detach().clone()), one.detach().clone()
    ours = Muon([{"params": [one], "matrices": True}], lr=1e-2, weight_decay=0.1)
    theirs = torch.optim.Muon([two], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        one.grad = two.grad = torch.randn(32, 100)
        ours.step()
        theirs.step()
    assert (one - two).norm() < 0.02 * (one - begun).norm()


def test_a_convolution_is_stepped_as_the_matrix_of_its_outputs() -> None:
    conv = nn.Parameter(torch.zeros(8, 4, 3, 3).to(memory_format=torch.channels_last))
    flat = nn.Parameter(torch.zeros(8, 36))
    conv.grad = torch.randn(8, 4, 3, 3)
    flat.grad = conv.grad.flatten(1)
    for weight in (conv, flat):
        Muon([{"params": [weight], "matrices": True}], lr=0.1).step()
    assert torch.equal(conv.flatten(1), flat)


def test_the_rest_is_stepped_by_adamw() -> None:
    ours, theirs = (nn.Parameter(torch.ones(7)) for _ in range(2))
    muon = Muon([{"params": [ours]}], lr=1e-2, weight_decay=0.1)
    adamw = torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.1, fused=True)
    for _ in range(3):
        ours.grad = theirs.grad = torch.randn(7)
        muon.step()
        adamw.step()
    assert torch.equal(ours, theirs)


def test_matrices_are_all_but_embeddings_norms_biases_and_the_ends() -> None:
    net = UNet(UNetConfig(channels=(8, 16), blocks=1, groups=4), classes=10)
    chosen = matrices(net)
    left = {name for name, p in net.named_parameters() if p not in chosen and p.ndim > 1}
    assert left == {"stem.weight", "out.weight", "label.weight"}
    assert all(p.ndim in (2, 4) for p in chosen)
    groups = optimizer(net, TrainConfig(optimizer="muon"), nn.Linear(2, 2)).param_groups
    sizes = [sum(p.numel() for p in group["params"]) for group in groups]
    assert sizes == [
        sum(p.numel() for p in chosen),
        sum(p.numel() for p in net.parameters()) - sizes[0],
        6,
    ]
    assert [group["matrices"] for group in groups] == [True, False, False]


def test_frozen_weights_are_left_out() -> None:
    net = UNet(UNetConfig(channels=(8, 16), blocks=1, groups=4))
    net.mid_in.requires_grad_(False)
    assert not matrices(net) & set(net.mid_in.parameters())


def test_a_resume_is_exact(tiny: Experiment, tmp_path: Path) -> None:
    muon = replace(tiny, train=replace(tiny.train, optimizer="muon", weight_decay=0.01))
    for _ in run(muon, tmp_path / "whole"):
        pass
    started = run(muon, tmp_path / "crashed")
    for _ in range(1 + 7):
        next(started)
    started.close()
    for _ in run(muon, tmp_path / "crashed", resume=True):
        pass
    one, two = (checkpoint.listed(tmp_path / n / "checkpoints")[-1] for n in ("whole", "crashed"))
    files = sorted(path.name for path in one.glob("*.safetensors"))
    assert "optimizer.safetensors" in files
    for name in files:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
