"""The study against closed forms: the best linear denoiser, and gradients of known moments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.data import prepare
from mezzotint.diffusion.noise import noise
from mezzotint.diffusion.prediction import target, to_eps
from mezzotint.diffusion.schedules import zero_terminal_snr
from mezzotint.paper.study import errors_by_level, gradient_noise, gradients, noise_scale
from mezzotint.run import run
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.run.saving import restore
from mezzotint.storage import checkpoint
from mezzotint.storage.log import read
from mezzotint.trainer.objective import ObjectiveConfig

# Errors by level


class Best(nn.Module):
    """The network of the best linear denoiser for data of mean 0 and variance ``square``.

    ``x0_hat = alpha square x / (alpha^2 square + sigma^2)`` has the mean squared error ``square
    sigma^2 / (alpha^2 square + sigma^2)`` for any distribution.
    """

    def __init__(self, schedule: mz.Schedule, prediction: str, square: float) -> None:
        super().__init__()
        self.schedule, self.prediction, self.square = schedule, prediction, square
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        level = self.schedule.levels(t.long() + 1)
        x0 = level.alpha * self.square * x / (level.alpha**2 * self.square + level.sigma**2)
        eps = (x - level.alpha * x0) / level.sigma
        return target(self.prediction, x0, eps, level)


SCHEDULES = {"linear": mz.linear(1000), "cosine": mz.cosine(1000), "short": mz.cosine(20)}


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_best_errors_are_one_curve_of_the_snr(name: str, prediction: str) -> None:
    """``1 / (1 + 1 / (square SNR))``, which is alpha^2 for unit variance."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (200, 1, 16, 16), dtype=np.uint8))
    square = float((images.float() / 127.5 - 1).square().mean())
    schedule = SCHEDULES[name]
    pipe = mz.Pipeline(Best(schedule, prediction, square), schedule, prediction, (1, 16, 16))
    found = errors_by_level(pipe, images)
    assert len(found) == 20
    assert found == sorted(found)
    assert found[0][0] == 2 * schedule.row(len(schedule)).lam
    assert found[-1][0] == 2 * schedule.row(1).lam
    for log_snr, error in found:
        wanted = 1 / (1 + math.exp(-log_snr) / square)
        assert error == pytest.approx(wanted, rel=0.04)  # 4.5 standard errors


@pytest.fixture
def pipe(tiny_net) -> mz.Pipeline:
    names = ("ant", "bee", "cow")
    return mz.Pipeline(tiny_net(classes=3), mz.cosine(1000), "v", (3, 16, 16), names)


IMAGES = torch.randint(0, 256, (7, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()


def test_a_batch_is_no_matter_and_the_seed_and_labels_are(pipe: mz.Pipeline) -> None:
    labels = [0, 1, 2, 0, 1, 2, 0]
    whole = np.array(errors_by_level(pipe, IMAGES, labels, 3))
    assert np.allclose(errors_by_level(pipe, IMAGES, labels, 3, batch=2), whole, rtol=1e-5)
    for other in (
        errors_by_level(pipe, IMAGES, labels, 3, seed=1),
        errors_by_level(pipe, IMAGES, [*labels[1:], 1], 3),
        errors_by_level(pipe, IMAGES, None, 3),
    ):
        assert not np.allclose(np.array(other)[:, 1], whole[:, 1], rtol=1e-4)


def test_neither_guidance_nor_clipping_has_a_part_in_it(pipe: mz.Pipeline) -> None:
    defaults = replace(pipe.defaults, guidance=4.0, clipping="static")
    weaker = replace(pipe, net=deepcopy(pipe.net))
    for weights in weaker.net.parameters():
        weights.data.mul_(0.5)
    other = replace(pipe, defaults=defaults).guided_by(weaker)
    labels = [0] * 7
    assert errors_by_level(other, IMAGES, labels, 3) == errors_by_level(pipe, IMAGES, labels, 3)


def test_a_row_of_pure_noise_is_left_out(pipe: mz.Pipeline) -> None:
    schedule = zero_terminal_snr(mz.linear(1000))
    found = errors_by_level(replace(pipe, schedule=schedule), IMAGES, points=5)
    assert len(found) == 4
    assert all(math.isfinite(number) for point in found for number in point)


def test_what_cannot_be_measured_is_refused(pipe: mz.Pipeline) -> None:
    with pytest.raises(mz.UserError, match="6 `labels` for 7 images"):
        errors_by_level(pipe, IMAGES, [0] * 6)
    with pytest.raises(mz.UserError, match="choose 1 to 1000"):
        errors_by_level(pipe, IMAGES, points=1001)


def test_of_latents_it_is_the_latents_error(trained_ldm: Path) -> None:
    pipe = mz.load(trained_ldm, device="cpu")
    images = torch.from_numpy(prepare("glyphs").images[:5].copy()).permute(0, 3, 1, 2)
    labels = [3, 1, 4, 1, 5]
    _, (log_snr, error), _ = errors_by_level(pipe, images, labels, 3)
    level = pipe.schedule.row(501)
    z = pipe.codec.encode(images)
    eps = noise(0, range(1, 15, 3))(z)
    x = level.alpha * z + level.sigma * eps
    with torch.no_grad():
        output = pipe.net(x, torch.full((5,), 500.0), torch.tensor(labels))
    wanted = (to_eps("v", output, x, level) - eps).square().mean()
    assert log_snr == 2 * level.lam
    assert error == pytest.approx(float(wanted), rel=1e-4)


# The gradient's noise


def drawn(signal: Tensor, std: Tensor, batch: int, count: int, seed: int = 0) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield signal + std / batch**0.5 * torch.randn(signal.shape, generator=generator)


def test_the_scale_of_known_gradients() -> None:
    signal, std = torch.linspace(-1, 1, 5_000), torch.linspace(0, 6, 5_000)
    wanted = float(std.square().sum() / signal.square().sum())  # 36
    for batch in (4, 64):
        found = noise_scale(drawn(signal, std, batch, 50), batch)
        assert found.scale == pytest.approx(wanted, rel=0.05)
        assert found.norm == pytest.approx(float(signal.norm()), rel=0.03)


def test_both_estimates_are_unbiased_of_two_small_batches() -> None:
    """The square of the mean gradient is mostly noise: 1 + 8 / (2 * 2), of which 1 is signal."""
    signal, std = torch.full((400,), 0.05), torch.full((400,), 8**0.5 / 20)
    found = [noise_scale(drawn(signal, std, 2, 2, seed), 2) for seed in range(300)]
    squares = np.array([f.norm**2 for f in found])
    traces = np.array([f.scale * f.norm**2 for f in found])
    assert squares.mean() == pytest.approx(1, abs=0.06)  # 4 standard errors
    assert traces.mean() == pytest.approx(8, abs=0.15)


def test_the_scale_is_the_definitions() -> None:
    g = torch.randn(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    trace = 32 * float(g.var(0).sum())
    square = float(g.mean(0).square().sum()) - trace / (32 * 6)
    found = noise_scale(iter(g), 32)
    assert found.scale == pytest.approx(trace / square)
    assert found.norm == pytest.approx(square**0.5)


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan])
def test_noise_without_a_signal_is_infinite(value: float) -> None:
    g = torch.full((3,), value)
    found = noise_scale([g, -g], 8)
    assert (found.scale, found.norm) == (math.inf, 0)


def test_the_gradient_is_the_one_that_training_would_go_on_with(tiny, tmp_path) -> None:
    """It has the training's data, levels, dropout and parts, before clipping."""
    folder = tmp_path / "run"
    objective = ObjectiveConfig(levels="adaptive", weighting="learned")
    parts = replace(tiny.train, accumulate=2, clip=0.01)
    few = replace(tiny.noise, timesteps=3)  # levels that adapt in 12 steps
    begun = replace(tiny, objective=objective, train=parts, noise=few, log_every=8)
    for _ in run(begun, folder):
        pass
    newest = checkpoint.listed(folder / "checkpoints")[-1]
    accelerator = Accelerator(cpu=True)
    job = DiffusionJob(begun, accelerator.device, newest)
    restore(job.state, newest)
    before = [p.clone() for p in job.state.net.parameters()]
    first, second = (float(g.norm()) for g in gradients(job, accelerator, 2))
    after = job.state.net.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    longer = replace(begun, train=replace(parts, images=104))
    for _ in run(longer, folder, resume=True):
        pass
    row = read(folder / "log.jsonl")[-1]
    assert row["step"] == 13
    assert first == pytest.approx(row["grad_norm"], rel=1e-5)
    assert first != second


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_runs_noise_is_measured_and_its_folder_left_alone(trained: Path) -> None:
    before = contents(trained)
    found = gradient_noise(trained, 4)
    assert found.norm > 0
    assert 0 < found.scale < math.inf
    assert gradient_noise(trained, 4) == found
    assert contents(trained) == before


def test_what_has_no_gradient_is_refused(trained: Path, trained_vae: Path, tmp_path: Path) -> None:
    with pytest.raises(mz.UserError, match="is an autoencoder"):
        gradient_noise(trained_vae)
    with pytest.raises(mz.UserError, match="give 2 batches or more"):
        gradient_noise(trained, 1)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.json").write_bytes((trained / "config.json").read_bytes())
    with pytest.raises(mz.UserError, match="no checkpoint yet"):
        gradient_noise(tmp_path / "new")
