"""Trainings whose weights are divided among processes (FSDP)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.fsdp  # now, because every child would wait for it
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import mezzotint as mz
from mezzotint.config.experiment import Experiment
from mezzotint.networks import DiTConfig, UNet, UNetConfig
from mezzotint.run import run
from mezzotint.run.entry import distillation
from mezzotint.storage import checkpoint
from mezzotint.trainer.sharding import blocks
from together import together

from trainings import assert_same, curve, finish, losses


def by_two(log: Path, *trainings: Callable[[], object]) -> None:
    """Carry out trainings one after the other, each in two processes of its own, as users do.

    A training with FSDP that followed one with DDP in the same processes crashed in about one of
    twenty runs: glibc found a damaged heap while torch's gloo gathered a weight.
    """
    for training in trainings:

        def work(rank: int, training: Callable[[], object] = training) -> None:
            training()

        assert together(2, work, log) == [0, 0], log.read_text()


def leave(experiment: Experiment, folder: Path, images: int) -> None:
    """Leave a training after a number of images, so that it is saved."""
    for now in run(experiment, folder, save_when_left=True):
        if now.images >= images:
            break


def assert_close(a: Path, b: Path) -> None:
    """Check that two runs have the same files, with equal tensors up to rounding."""
    np.testing.assert_allclose(losses(a), losses(b), rtol=1e-4)
    one, two = (checkpoint.listed(folder / "checkpoints")[-1] for folder in (a, b))
    assert sorted(path.name for path in one.iterdir()) == sorted(p.name for p in two.iterdir())
    for path in one.glob("*.safetensors"):
        first, second = load_file(path), load_file(two / path.name)
        assert first.keys() == second.keys()
        for name, tensor in first.items():
            assert (tensor.dtype, tensor.shape) == (second[name].dtype, second[name].shape)
            # Adam turns a gradient that is all rounding into a whole step: not each by itself.
            apart = (tensor.float() - second[name].float()).norm()
            assert apart <= 1e-2 * tensor.float().norm() + 1e-5, f"{path.name}: {name}"


def test_divided_weights_learn_what_whole_ones_do(tiny: Experiment, tmp_path: Path) -> None:
    """The losses and files equal those of DDP, also with Muon. A resumed run equals to the bit."""
    short = replace(tiny, train=replace(tiny.train, images=32), save_every=16, log_every=8)
    short = replace(short, net=replace(tiny.net, channels=(8,), attention=(0,)))
    divided = replace(short, shard=True)
    whole, parts, resumed = (tmp_path / name for name in ("whole", "parts", "resumed"))
    muon = replace(short, train=replace(short.train, optimizer="muon"))
    muon_whole, muon_parts, muon_resumed = (tmp_path / f"muon-{n}" for n in ("a", "b", "c"))
    divided_muon = replace(muon, shard=True)
    by_two(
        tmp_path / "log",
        lambda: finish(short, whole),
        lambda: finish(divided, parts),
        lambda: leave(divided, resumed, 24),
        lambda: finish(divided, resumed, resume=True),
        lambda: finish(muon, muon_whole),
        lambda: finish(divided_muon, muon_parts),
        lambda: leave(divided_muon, muon_resumed, 24),
        lambda: finish(divided_muon, muon_resumed, resume=True),
    )
    assert_close(whole, parts)
    assert_same(parts, resumed)
    assert_close(muon_whole, muon_parts)
    assert_same(muon_parts, muon_resumed)
    grid = "samples/000000032.png"
    images = [np.asarray(Image.open(folder / grid), int) for folder in (whole, parts)]
    assert abs(images[0] - images[1]).max() <= 2
    assert mz.load(parts).sample(2, steps=2).shape == (2, 3, 32, 32)


@pytest.mark.slow
def test_divided_weights_are_measured_and_kept_as_whole_ones(tiny, tmp_path: Path) -> None:
    """With figures, snapshots, adaptive levels and divided batches, also after a resume."""
    train = replace(tiny.train, snapshots=48, accumulate=2)
    objective = replace(tiny.objective, levels="adaptive", weighting="learned")
    measured = replace(tiny, evaluate_every=48, evaluate_samples=20, sample_every=48)
    measured = replace(measured, train=train, objective=objective)
    divided = replace(measured, shard=True)
    whole, parts, resumed = (tmp_path / name for name in ("whole", "parts", "resumed"))
    by_two(
        tmp_path / "log",
        lambda: finish(measured, whole),
        lambda: finish(divided, parts),
        lambda: leave(divided, resumed, 56),
        lambda: finish(divided, resumed, resume=True),
    )
    assert_close(whole, parts)
    assert_same(parts, resumed)
    assert [row[2] for row in curve(parts)] == pytest.approx([r[2] for r in curve(whole)], rel=1e-2)
    assert curve(resumed) == curve(parts)
    assert len(checkpoint.listed(parts / "averages")) == 2
    assert mz.load(parts / "checkpoints" / "best").sample(2, steps=2).shape == (2, 3, 32, 32)


@pytest.mark.slow
def test_a_training_goes_on_with_and_without_division(tiny: Experiment, tmp_path: Path) -> None:
    """The note says that the result differs by rounding."""
    still = replace(tiny, net=replace(tiny.net, dropout=0.0))
    whole, there, back = (tmp_path / name for name in ("whole", "there", "back"))
    shorter = replace(still, train=replace(still.train, images=48, cooldown=0.0))
    longer = replace(shorter, train=replace(shorter.train, images=96))
    notes = tmp_path / "notes"

    def go_on(experiment: Experiment, folder: Path) -> None:
        first, *_ = run(experiment, folder, resume=True)
        with notes.open("a") as file:
            file.write(first.note + "\n")

    by_two(
        tmp_path / "log",
        lambda: finish(longer, whole),
        lambda: finish(shorter, there),
        lambda: go_on(replace(longer, shard=True), there),
        lambda: finish(replace(shorter, shard=True), back),
        lambda: go_on(longer, back),
    )
    assert_close(whole, there)
    assert_close(whole, back)
    said, why = notes.read_text(), "(the result will not be bit-identical: divided gradients"
    assert said.count(f"shard False -> True {why}") == 2
    assert said.count(f"shard True -> False {why}") == 2
    assert said.count("; its weights are divided among the processes") == 2


class Own(nn.Module):
    """A user's own network, which uses the weights of its layers without calling them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)])

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
        return x


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dit", "own", "wide", "frozen"])
def test_every_kind_of_network_is_divided(tiny: Experiment, tmp_path: Path, kind: str) -> None:
    fields: dict[str, object] = {"images": 32, "out": tmp_path / "whole", "progress": False}
    if kind == "dit":
        fields["net"] = DiTConfig(patch=8, width=32, depth=2, heads=2)
    if kind == "own":
        torch.manual_seed(0)
        fields["net"] = Own()
    if kind == "wide":  # channels-last, of which FSDP makes no slices
        fields["net"] = UNetConfig(channels=(128,), blocks=1, attention=(), groups=4, patch=8)
    if kind == "frozen":
        finish(tiny, tmp_path / "init")
        fields |= {"init": str(tmp_path / "init"), "freeze": ("down.*",)}
    by_two(
        tmp_path / "log",
        lambda: mz.train(tiny, **fields),
        lambda: mz.train(tiny, **{**fields, "out": tmp_path / "parts", "shard": True}),
    )
    assert_close(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    "method",
    [
        "progressive",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("trajectory", "multistep")),
    ],
)
def test_a_student_is_divided(finished: Path, few_glyphs, tmp_path: Path, method: str) -> None:
    """The losses and files equal those of DDP. A resumed run equals to the bit."""
    fields: dict[str, object] = {"images": 32, "batch": 8, "teacher_steps": 4, "lr": 1e-4}
    fields |= {"method": method, "precision": "float32", "log_every": 8}
    whole, parts, resumed = (tmp_path / name for name in ("whole", "parts", "resumed"))

    def begin() -> None:
        for now in distillation(finished, out=resumed, shard=True, **fields):
            if now.images >= 24:
                break

    by_two(
        tmp_path / "log",
        lambda: mz.distil(finished, out=whole, progress=False, **fields),
        lambda: mz.distil(finished, out=parts, shard=True, progress=False, **fields),
        begin,
        lambda: mz.distil(finished, out=resumed, resume=True, progress=False),
    )
    assert_close(whole, parts)
    assert_same(parts, resumed)


@pytest.mark.slow
def test_where_one_dies_the_newest_checkpoint_remains(tiny: Experiment, tmp_path: Path) -> None:
    divided, log = replace(tiny, shard=True), tmp_path / "log"

    def work(rank: int) -> None:
        for now in run(divided, tmp_path / "run"):
            if now.images == 56 and rank == 1:
                raise SystemExit(9)

    assert together(2, work, log) == [2, 9]
    assert log.read_text() == (
        "0: another of the processes has died, and its part of the weights is lost: continue with "
        "`resume=True`\n"
    )
    assert [path.name for path in checkpoint.listed(tmp_path / "run/checkpoints")] == ["step-4"]


def test_what_cannot_be_divided_is_refused(
    tiny: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = "^`shard` divides the network among processes, but there is only one process: start"
    with pytest.raises(mz.UserError, match=alone):
        mz.train(tiny, out=tmp_path / "run", shard=True)
    assert not (tmp_path / "run").exists()
    monkeypatch.setitem(mz.OPTIMIZERS, "own-sgd", mz.OPTIMIZERS["adamw"])
    whole = "among the processes, but the optimizer own-sgd may need whole weights: choose"
    with pytest.raises(mz.UserError, match=whole):
        mz.train(tiny, out=tmp_path / "run", shard=True, optimizer="own-sgd")


def test_the_blocks_are_the_layers_that_compute(tiny_net: Callable[..., UNet]) -> None:
    """They are all layers but the stages, and hold most of the weights."""
    net = tiny_net(blocks=2)
    found = blocks(net)
    assert {type(block).__name__ for block in found} == {"ResBlock", "Attention"}
    inside = {p for block in found for p in block.parameters()}
    assert sum(p.numel() for p in inside) > 0.5 * sum(p.numel() for p in net.parameters())
