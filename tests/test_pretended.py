"""Code for a GPU on a pretended one: devices do not mix, and no loop waits for the GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mezzotint as mz
from conftest import TINY, TINY_VAE, Once
from mezzotint import metrics
from mezzotint.config.experiment import Configuration, Experiment
from mezzotint.config.sections import NoiseConfig
from mezzotint.diffusion.noise import noise
from mezzotint.networks import DiTConfig, UNetConfig
from mezzotint.run import run
from mezzotint.trainer.autoencoding import ReconstructionConfig
from mezzotint.trainer.distilling import DISTILLATIONS
from mezzotint.trainer.distilling.config import DistillationConfig
from mezzotint.trainer.objective import ObjectiveConfig
from pretended import GPU, Mixed, pretended

from trainings import assert_same, cut_and_resume, finish, losses

FINITE = "a copy from the GPU, in diffusion/finite.py"


# The pretended GPU itself: these are what the other tests would not pass with.

WAITS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "bool": lambda x: bool((x > 0).all()),
    "cpu": lambda x: x.cpu(),
    "tolist": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "a masked write": lambda x: x.index_put_((x > 0,), torch.zeros((), device=x.device)),
    "from ordinary memory": lambda x: torch.ones(3).to(x.device),
    "and another type": lambda x: torch.ones(3).double().to(x),
}


@pytest.mark.parametrize("what", WAITS)
@pytest.mark.parametrize("inference", [False, True])
def test_the_pretended_gpu_notes_what_waits_for_it(what: str, inference: bool) -> None:
    with pretended() as gpu, torch.inference_mode(inference):
        x = torch.randn(2, 3, device=GPU)
        (x.exp() @ torch.ones(3, 2, device=GPU) + 1).softmax(1)[torch.arange(2, device=GPU)]
        assert gpu.waits == []
        WAITS[what](x)
        assert len(gpu.waits) == 1


@pytest.mark.parametrize("inference", [False, True])
def test_on_the_pretended_gpu_nothing_mixes(inference: bool) -> None:
    with pretended(), torch.inference_mode(inference):
        x = torch.randn(2, 3, device=GPU)
        assert (x * torch.tensor(2.0)).device == GPU  # numbers may be anywhere
        for mixed in (
            lambda: x + torch.ones(3),
            lambda: torch.cat([x, torch.ones(2, 3)]),
            lambda: torch.nn.Linear(3, 3)(x),
            lambda: x[torch.arange(2)],
        ):
            with pytest.raises(Mixed):
                mixed()
        with pytest.raises(RuntimeError):
            x.numpy()


# Training.


def waits(experiment: Configuration, folder: Path) -> list[list[str]]:
    """Return what waits for the GPU in each of three training steps, after the beginning."""
    short = replace(experiment.train, images=12, batch=4, warmup=0)
    experiment = replace(experiment, train=short, log_every=8, save_every=10_000)
    with pretended() as gpu:
        steps = run(experiment, folder)
        next(steps)
        gpu.waits.clear()
        found = []
        for _ in steps:
            found.append([*gpu.waits])
            gpu.waits.clear()
    return found


def assert_reads_to_log_only(found: list[list[str]]) -> None:
    """Check the waits of three steps: the second and the last are logged, the last is saved."""
    assert found[0] == []
    assert len(found[1]) == 1
    assert "trainer/state.py" in found[1][0]


def of_numbers(tiny: Experiment) -> Experiment:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    given = {
        "pose": draw.random((16, 2)),
        "tags": draw.integers(0, 2, (16, 3)),
        "small": draw.integers(0, 256, (16, 16, 16, 3), dtype=np.uint8),
    }
    data = mz.prepare(images, np.arange(16) % 2, condition=given)
    return replace(tiny, data=replace(tiny.data, data=data.source))


KINDS: dict[str, Callable[[Experiment], Experiment]] = {
    "in parts, muon, averages, augmented": lambda tiny: replace(
        tiny,
        train=replace(tiny.train, accumulate=2, optimizer="muon", snapshots=10_000),
        data=replace(tiny.data, non_leaking=0.5),
    ),
    "learned variance, weights and levels": lambda tiny: replace(
        tiny,
        noise=replace(NoiseConfig(), learn_variance=True),
        objective=ObjectiveConfig(weighting="learned", levels="adaptive"),
    ),
    "conditions, dit": lambda tiny: replace(
        of_numbers(tiny), net=DiTConfig(patch=8, width=16, depth=1, heads=2)
    ),
}


NET = UNetConfig(channels=(8,), blocks=1, attention=(0,), groups=4, patch=4)
"""A network whose operations are few: each costs more on the pretended GPU than on the CPU."""


@pytest.fixture
def tiny(few_glyphs: None) -> Experiment:
    return replace(TINY, net=NET, train=replace(TINY.train, images=16, batch=4))


@pytest.fixture
def trained(once: Once, tiny: Experiment) -> Path:
    return once("finished-for-gpu", lambda folder: finish(tiny, folder))


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_of_a_training_waits(tiny: Experiment, tmp_path: Path, kind: str) -> None:
    assert_reads_to_log_only(waits(KINDS[kind](tiny), tmp_path / "there"))


def test_no_step_in_latents_waits(tiny_ldm: Experiment, tmp_path: Path) -> None:
    sampled = replace(tiny_ldm, codec=replace(tiny_ldm.codec, posterior="sample"))
    assert_reads_to_log_only(waits(sampled, tmp_path / "there"))


def test_no_step_of_an_autoencoder_waits(few_glyphs: None, tmp_path: Path) -> None:
    loss = ReconstructionConfig(
        perceptual=0.1, adversarial=0.1, discriminator_width=8, discriminator_layers=1
    )
    net = replace(TINY_VAE.net, channels=(8,), patch=4)
    assert_reads_to_log_only(waits(replace(TINY_VAE, net=net, loss=loss), tmp_path / "there"))


@pytest.mark.parametrize("method", DISTILLATIONS)
def test_no_step_of_a_distillation_waits(
    tiny: Experiment, trained: Path, tmp_path: Path, method: str
) -> None:
    objective = DistillationConfig(teacher=str(trained), method=method, scale=2.0, teacher_steps=4)
    sample = mz.SampleConfig(sampler="consistency", steps=2, spacing="angle")
    student = replace(tiny, objective=objective, sample=sample)
    assert_reads_to_log_only(waits(student, tmp_path / "there"))


def test_a_training_is_that_of_the_cpu_and_resumes(tiny: Experiment, tmp_path: Path) -> None:
    """It is equal up to rounding, because some layers have other forms on a CPU."""
    tiny = replace(tiny, log_every=4, save_every=8)
    with pretended():
        finish(tiny, tmp_path / "there")
        cut_and_resume(tiny, tmp_path / "cut", 3)
    assert_same(tmp_path / "there", tmp_path / "cut")
    finish(tiny, tmp_path / "here")
    np.testing.assert_allclose(losses(tmp_path / "there"), losses(tmp_path / "here"), rtol=1e-3)


# Sampling.


@pytest.mark.parametrize("name", mz.SAMPLERS)
def test_a_sampler_waits_once_to_know_that_all_was_finite(trained: Path, name: str) -> None:
    with pretended() as gpu:
        pipe = mz.load(trained)
        grid = pipe.schedule.grid(5)
        gpu.waits.clear()
        denoise = pipe.denoiser([0, 1], guidance=2.0)
        x = noise(0, range(2))(torch.empty(2, *pipe.shape, device=GPU))
        made = mz.SAMPLERS[name](denoise, x, grid, randn=noise(1, range(2)))
        assert [each.split(",")[0] + "," + each.split(",")[1] for each in gpu.waits] == [FINITE]
        assert made.device == GPU


def test_where_it_was_not_finite_is_said_after_the_last_step() -> None:
    grid = mz.linear(1000).grid(4)
    with pretended() as gpu:
        x = torch.zeros(1, 3, device=GPU)
        with pytest.raises(mz.UserError, match=f"t = {grid[2].t:g} "):
            mz.SAMPLERS["ddim"](lambda x, level: x / 0 if level.t <= grid[2].t else x, x, grid)
    assert len(gpu.waits) == 1


HOWS: dict[str, dict[str, Any]] = {
    "plain": {"guidance": 1.0},
    "guided": {"guidance": 0.6, "guidance_shape": "cfg++", "sampler": "ddim"},
    "rescaled, clipped": {"guidance": 3.0, "rescale": 0.7, "clipping": "dynamic"},
    "unconditional": {"guidance": 0.0},
    "in bf16": {"sampler": "dpmpp_2m"},
}


@pytest.mark.parametrize("how", HOWS)
def test_a_batch_of_samples_waits_twice(trained: Path, how: str) -> None:
    """Once to check that all numbers are finite, and once to fetch the images."""
    here = mz.load(trained).sample(4, batch=2, steps=3, **HOWS[how])
    with pretended() as gpu:
        pipe = mz.load(trained)
        gpu.waits.clear()
        there = pipe.sample(4, batch=2, steps=3, **HOWS[how])
        assert len(gpu.waits) == 4
        assert type(there) is Tensor
    assert (here.int() - there.int()).abs().max() <= 1


def test_an_estimate_is_shown_without_mixing(trained: Path) -> None:
    with pretended():
        pipe = mz.load(trained)
        seen = []
        pipe.sample(2, steps=2, on_estimate=lambda i, level, x, x0: seen.append(x0.device))
    assert seen == [GPU, GPU]


def test_latents_and_a_weaker_model_mix_nothing(trained_ldm: Path, trained: Path) -> None:
    with pretended() as gpu:
        pipe, pixels = mz.load(trained_ldm), mz.load(trained)
        gpu.waits.clear()
        made = pipe.tiled(8).sample(2, steps=2)
        assert len(gpu.waits) == 2
        assert pipe.codec.encode(made.to(GPU)).device == GPU
        pixels.guided_by(mz.load(trained)).sample(2, steps=2, guidance=2.0)


# Editing. What solves a system by iteration asks in each iteration whether to go on.

MASK = torch.zeros(32, 32)
MASK[8:20] = 1
ONCE = {"vary", "repaint", "dps"}
EDITS: dict[str, Callable[[mz.Pipeline, Tensor], Tensor]] = {
    "vary": lambda pipe, x: pipe.vary(x, steps=4),
    "invert": lambda pipe, x: pipe.invert(x, steps=2, corrections=2),
    "interpolate": lambda pipe, x: pipe.interpolate(*x, 3, steps=2, corrections=1),
    "enlarge": lambda pipe, x: pipe.enlarge(x[..., ::2, ::2], 2, steps=2),
    "outpaint": lambda pipe, x: pipe.outpaint(x[..., 8:, 8:], steps=2),
    **{
        f"restore {name}": lambda pipe, x, name=name, how=how: pipe.restore(
            how(x.float() / 127.5 - 1), mz.OPERATORS[name](*ARGUMENTS[name]), steps=2
        )
        for name, how in {
            "mask": lambda x: x * MASK,
            "blur": mz.OPERATORS["blur"](1.0),
            "grey": lambda x: x[:, :1],
            "bicubic": lambda x: x[..., ::2, ::2],
        }.items()
    },
    **{
        method: lambda pipe, x, method=method: pipe.inpaint(x, MASK, method=method, steps=2)
        for method in ("repaint", "ddnm", "pigdm", "dps", "mmps")
    },
}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "mask": (MASK,),
    "blur": (1.0,),
    "grey": (),
    "bicubic": (2,),
}


def test_images_and_noise_on_the_gpu_are_edited_too(trained: Path) -> None:
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with pretended():
        pipe = mz.load(trained)
        there = x.to(GPU)
        for work in ("vary", "enlarge", "outpaint", "repaint", "restore bicubic"):
            assert type(EDITS[work](pipe, there)) is Tensor
        noise = torch.randn(2, *pipe.shape).to(GPU)
        assert type(pipe.interpolate(*noise[:, None], 3, steps=2)) is Tensor


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_waits_only_to_know_whether_to_iterate(trained: Path, what: str) -> None:
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with pretended() as gpu:
        pipe = mz.load(trained)
        gpu.waits.clear()
        made = EDITS[what](pipe, x)
    assert type(made) is Tensor
    asked = [each for each in gpu.waits if "conjugate.py" in each or "inversion.py" in each]
    once = [each for each in gpu.waits if "operators.py" in each]  # a constant, before the loop
    assert len(once) <= 1
    whole = 3 if what == "interpolate" else 1  # two inversions and the sampling of all
    assert len(gpu.waits) - len(asked) - len(once) <= 2 * whole
    if what in ONCE:
        assert asked == []


# Evaluating.


def test_features_wait_to_be_fetched() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    here = metrics.network("glyphs")(images)
    with pretended() as gpu:
        network = metrics.network("glyphs", GPU)
        gpu.waits.clear()
        there = network(images)
        assert len(gpu.waits) == len(there)
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")
def test_a_model_is_evaluated_there(trained: Path) -> None:
    with pretended():
        found = mz.evaluate(trained, samples=10, batch=10, steps=1, metrics="fd", seed=5)
    assert found["fd-glyphs"].value > 0


# A GPU without float64, such as Apple's.


@pytest.mark.parametrize("name", ["ddpm", "edm", "deis"])
def test_sampling_makes_no_float64(trained: Path, name: str) -> None:
    with pretended(float64=False):
        pipe = mz.load(trained)
        pipe.sample(2, sampler=name, steps=5, clipping="dynamic", guidance=2.0)


@pytest.mark.parametrize("what", ["interpolate", "enlarge", "repaint"])
def test_editing_makes_no_float64(trained: Path, what: str) -> None:
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with pretended(float64=False):
        EDITS[what](mz.load(trained), x)


def test_features_and_latents_make_no_float64(trained_ldm: Path) -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with pretended(float64=False):
        metrics.network("glyphs", GPU)(images)
        mz.load(trained_ldm).sample(2, steps=2)


def test_a_training_needs_float64(tiny: Experiment, tmp_path: Path) -> None:
    with pretended(float64=False), pytest.raises(Mixed, match="float64"):
        finish(tiny, tmp_path / "run")
