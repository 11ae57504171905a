"""diffusers' schedulers: their levels, their clipping, their variance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    DDIMInverseScheduler,
    DDIMParallelScheduler,
    DDIMScheduler,
    DDPMParallelScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepInverseScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    RePaintScheduler,
    SASolverScheduler,
    TCDScheduler,
    UnCLIPScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.guidance import CLIPPINGS
from mezzotint.interop.scheduler import KNOWN, Scheduler, read_scheduler, schedule


def read(config: dict[str, Any] | None, outputs: int = 3, latents: bool = False) -> Scheduler:
    return read_scheduler(config, 3, outputs, latents)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        {"beta_schedule": "linear"},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "scaled_linear"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"beta_schedule": "sigmoid"},
        {"beta_schedule": "linear", "num_train_timesteps": 50, "beta_end": 0.3},
        {"beta_schedule": "linear", "trained_betas": [0.1, 0.3, 0.2, 0.6]},
    ],
    ids=lambda config: " ".join(map(str, config.values())),
)
def test_a_schedulers_table_is_read(config: dict[str, Any], rescale: bool) -> None:
    config = config | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": rescale}
    scheduler = DDPMScheduler(**config)
    table, prediction = schedule(dict(scheduler.config))
    assert prediction == "v"
    assert (table.alpha[-1] == 0) == rescale
    wanted = scheduler.alphas_cumprod.double()
    torch.testing.assert_close(table.alpha[1:] ** 2, wanted, rtol=1e-3, atol=1e-7)


def test_no_scheduler_is_ddpms_and_is_said() -> None:
    found = read(None)
    assert found.prediction == "eps"
    assert found.clipping == "static"
    torch.testing.assert_close(found.schedule.alpha, mz.linear(1000).alpha)
    assert [note.split(":")[0] for note in found.notes] == [
        "there is no scheduler_config.json in the folder or above it"
    ]
    assert read({}).notes == ()


def test_a_schedule_without_a_counterpart_is_refused() -> None:
    with pytest.raises(
        mz.UserError, match=r"pure noise .* give a model that predicts v or the sample$"
    ):
        schedule({"rescale_betas_zero_snr": True, "prediction_type": "epsilon"})
    with pytest.raises(mz.UserError, match="one of linear, scaled_linear, squaredcos_cap_v2, sig"):
        schedule({"beta_schedule": "laplace"})
    with pytest.raises(mz.UserError, match="'flow_prediction'"):
        schedule({"prediction_type": "flow_prediction"})
    with pytest.raises(mz.UserError, match="HeunDiscreteScheduler lack beta_start or beta_end"):
        schedule({"_class_name": "HeunDiscreteScheduler", "beta_schedule": "scaled_linear"})
    continuous = EulerDiscreteScheduler(timestep_type="continuous", sigma_min=0.1, sigma_max=9.0)
    with pytest.raises(mz.UserError, match="timestep_type is 'continuous'"):
        schedule(dict(continuous.config) | {"_class_name": "EulerDiscreteScheduler"})


PLAIN = [
    *(DDIMInverseScheduler, DDIMParallelScheduler, DDIMScheduler, DDPMParallelScheduler),
    *(DDPMScheduler, DEISMultistepScheduler, DPMSolverMultistepInverseScheduler, PNDMScheduler),
    *(DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, EulerAncestralDiscreteScheduler),
    *(EulerDiscreteScheduler, HeunDiscreteScheduler, KDPM2AncestralDiscreteScheduler),
    *(KDPM2DiscreteScheduler, LMSDiscreteScheduler, RePaintScheduler, SASolverScheduler),
    *(UnCLIPScheduler, UniPCMultistepScheduler),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", PLAIN)
def test_every_scheduler_of_plain_diffusion_models_has_its_own_table(kind: Any) -> None:
    scheduler = kind()
    config = {"_class_name": kind.__name__, **dict(scheduler.config)}
    needs_torchsde = "DPMSolverSDEScheduler"
    assert {None, needs_torchsde, *(each.__name__ for each in PLAIN)} == KNOWN
    table, _ = schedule(config)
    wanted = scheduler.alphas_cumprod.double()
    torch.testing.assert_close(table.alpha[1:] ** 2, wanted, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kind", [LCMScheduler, TCDScheduler, CogVideoXDDIMScheduler])
def test_a_scheduler_of_other_models_is_refused(kind: Any) -> None:
    config = {"_class_name": kind.__name__, **dict(kind().config)}
    with pytest.raises(
        mz.UserError, match=f"the scheduler is {kind.__name__}: give a plain diffusion"
    ):
        schedule(config)


def test_a_scheduler_of_a_flow_is_refused() -> None:
    scheduler = UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0)
    config = {"_class_name": "UniPCMultistepScheduler", **dict(scheduler.config)}
    with pytest.raises(
        mz.UserError, match="UniPCMultistepScheduler with use_flow_sigmas: give a plain"
    ):
        schedule(config)


def clipped(scheduler: DDPMScheduler, x0: Tensor) -> Tensor:
    """Return the x0_hat that a scheduler has after clipping."""
    x, t = torch.zeros_like(x0), 999
    return scheduler.step(x0, t, x, torch.Generator().manual_seed(0)).pred_original_sample


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "static"),
        ({"clip_sample": False}, "none"),
        ({"thresholding": True}, "static"),
        ({"thresholding": True, "sample_max_value": 1e9}, "dynamic"),
    ],
)
def test_x0_is_clipped_as_the_scheduler_clips(settings: dict[str, Any], name: str) -> None:
    scheduler = DDPMScheduler(prediction_type="sample", **settings)
    found = read(dict(scheduler.config) | {"_class_name": "DDPMScheduler"})
    assert found.clipping == name
    x0 = 3 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    got = CLIPPINGS[name](lambda x, level: x0)(x0, mz.Level(999, 0.1, 0.9))
    torch.testing.assert_close(got, clipped(scheduler, x0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "name", "note"),
    [
        (
            {"clip_sample_range": 2.5},
            "none",
            r"clips x0_hat to \[-2.5, 2.5\], which mezzotint cannot do",
        ),
        (
            {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9},
            "dynamic",
            "at the quantile 0.9, at most 1.5: mezzotint uses the quantile 0.995",
        ),
    ],
)
def test_what_cannot_be_done_here_is_said(settings: dict, name: str, note: str) -> None:
    found = read(dict(DDPMScheduler(**settings).config))
    assert found.clipping == name
    with pytest.raises(AssertionError, match=note):
        raise AssertionError(found.notes)


def test_what_a_scheduler_leaves_out_is_its_own_default() -> None:
    assert read({"beta_schedule": "linear"}).clipping == "static"
    for kind, name in ((DDIMScheduler, "static"), (PNDMScheduler, "none")):
        config = {k: v for k, v in kind().config.items() if k != "clip_sample"}
        assert read(config | {"_class_name": kind.__name__}).clipping == name


def test_latents_are_not_clipped_and_that_is_said() -> None:
    found = read(dict(DDIMScheduler().config), latents=True)
    assert found.clipping == "none"
    assert found.notes == ("the scheduler clips x0_hat, but mezzotint does not clip latents",)
    assert read(dict(DDIMScheduler(clip_sample=False).config), latents=True).notes == ()


def test_a_learned_variance_is_read_or_named() -> None:
    def variance(kind: str | None, outputs: int) -> Scheduler:
        return read(dict(DDPMScheduler().config) | {"variance_type": kind}, outputs)

    assert variance("learned_range", 6).learned
    assert variance("learned_range", 6).notes == ()
    assert "taken as a learned variance" in variance(None, 6).notes[0]
    assert not variance("learned_range", 3).learned
    assert (
        "predicts no variance: DDPM's steps use the small variance"
        in variance("learned", 3).notes[0]
    )
    assert '`variance="large"`' in variance("fixed_large", 3).notes[0]
    for kind in ("learned", "fixed_small"):
        with pytest.raises(mz.UserError, match=f"variance_type is {kind}: give a model whose"):
            variance(kind, 6)
