"""Read the settings of a diffusers scheduler: schedule, prediction type and clipping of x0_hat.

If a setting has no counterpart in mezzotint, an error names the setting, or a note says how
sampling differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.schedules import (
    cosine,
    from_betas,
    linear,
    scaled_linear,
    zero_terminal_snr,
)
from mezzotint.errors import UserError

PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
# Schedulers that clip by default; without any scheduler, DDPM's is assumed.
CLIPPING = {
    *(None, "DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler"),
    *("DDIMInverseScheduler", "RePaintScheduler", "UnCLIPScheduler"),
}
# Schedulers whose betas run from 1e-4 to 0.02 by default.
DDPM_BETAS = CLIPPING | {"PNDMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"}
# Schedulers of plain diffusion models, whose betas define the levels.
KNOWN = DDPM_BETAS | {
    *("DEISMultistepScheduler", "SASolverScheduler", "LMSDiscreteScheduler"),
    *("DPMSolverMultistepInverseScheduler", "DPMSolverSinglestepScheduler"),
    *("DPMSolverSDEScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
    *("HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
}
ASSUMED = (
    "there is no scheduler_config.json in the folder or above it: the defaults of DDPM are "
    "assumed, a linear schedule of 1,000 levels and a network that predicts eps"
)


@dataclass(frozen=True, eq=False)
class Scheduler:
    """The settings of a diffusers scheduler that affect a pipeline.

    Attributes:
        schedule, prediction: The schedule and prediction type of the network's training.
        clipping: A name in CLIPPINGS.
        learned: Whether the network also predicts the variance of DDPM's steps.
        notes: A line for each assumption, and for each way in which mezzotint samples differently
            from the scheduler.
    """

    schedule: Schedule
    prediction: str
    clipping: str
    learned: bool
    notes: tuple[str, ...]


def read_scheduler(
    config: dict[str, Any] | None, channels: int, outputs: int, latents: bool = False
) -> Scheduler:
    """Read a ``scheduler_config.json``; without this file, DDPM's defaults are used.

    Args:
        config: The content of the file; None if there is none.
        channels: The channels of the images or latents.
        outputs: The channels of the network's output.
        latents: Whether the model works in latents, which are not clipped.

    Raises:
        UserError: If `schedule` refuses the settings, or if ``outputs`` differs from ``channels``
            and the config has a variance_type other than learned_range.
    """
    notes = [] if config is not None else [ASSUMED]
    config = config or {}
    table, prediction = schedule(config)
    clipping, said = _clipping(config, latents)
    learned, variance = _variance(config, channels, outputs)
    return Scheduler(table, prediction, clipping, learned, (*notes, *said, *variance))


def schedule(config: dict[str, Any]) -> tuple[Schedule, str]:
    """Return the Schedule and the prediction type that a scheduler's settings describe.

    Raises UserError for a scheduler that has no betas or belongs to a consistency or flow model;
    for an unknown kind of schedule or prediction; for a network whose input is the noise level
    instead of the timestep; and for pure noise at the last timestep (rescale_betas_zero_snr) if the
    network predicts eps.
    """
    name = config.get("_class_name")
    if name and "beta_schedule" not in config:
        raise UserError(
            f"the scheduler is {name}, which has no beta_schedule: give a model whose scheduler "
            "has a beta_schedule, such as DDPMScheduler"
        )
    if name not in KNOWN or config.get("use_flow_sigmas"):
        flow = " with use_flow_sigmas" if config.get("use_flow_sigmas") else ""
        raise UserError(
            f"the scheduler is {name}{flow}: give a plain diffusion model, whose scheduler is for "
            "example DDPMScheduler"
        )
    if config.get("timestep_type", "discrete") != "discrete":
        raise UserError(
            f"the scheduler's timestep_type is {config['timestep_type']!r}: give a model with the "
            "type 'discrete'"
        )
    prediction = PREDICTIONS.get(config.get("prediction_type", "epsilon"))
    if prediction is None:
        raise UserError(
            f"the scheduler's prediction_type is {config['prediction_type']!r}: give a model with "
            f"one of {', '.join(PREDICTIONS)}"
        )
    table = _table(config)
    if config.get("rescale_betas_zero_snr"):
        if prediction == "eps":
            raise UserError(
                "the scheduler ends in pure noise (rescale_betas_zero_snr), where a prediction of "
                "epsilon does not determine the image: give a model that predicts v or the sample"
            )
        table = zero_terminal_snr(table)
    return table, prediction


def _table(config: dict[str, Any]) -> Schedule:
    """Return the schedule that a scheduler's betas define."""
    if (given := config.get("trained_betas")) is not None:
        return from_betas(torch.tensor(given, dtype=torch.float64))
    kind, T = config.get("beta_schedule", "linear"), config.get("num_train_timesteps", 1000)
    if kind == "squaredcos_cap_v2":
        return cosine(T)
    name = config.get("_class_name")
    if name not in DDPM_BETAS and not {"beta_start", "beta_end"} <= config.keys():
        raise UserError(f"the settings of {name} lack beta_start or beta_end: add both")
    lo, hi = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    if kind == "linear":
        return linear(T, lo, hi)
    if kind == "scaled_linear":
        return scaled_linear(T, lo, hi)
    if kind == "sigmoid":  # Xu et al. 2022, arXiv 2203.02923
        rise = torch.sigmoid(torch.linspace(-6, 6, T, dtype=torch.float64))
        return from_betas(lo + rise * (hi - lo))
    known = "linear, scaled_linear, squaredcos_cap_v2, sigmoid"
    raise UserError(f"the scheduler's beta_schedule is {kind!r}: give a model with one of {known}")


def _clipping(config: dict[str, Any], latents: bool) -> tuple[str, list[str]]:
    """Return a name in CLIPPINGS, for the way x0_hat is clipped, and notes for the user."""
    clips = config.get("clip_sample", config.get("_class_name") in CLIPPING)
    reach, top = config.get("clip_sample_range", 1.0), config.get("sample_max_value", 1.0)
    if latents:
        note = "the scheduler clips x0_hat, but mezzotint does not clip latents"
        return "none", [note] if clips or config.get("thresholding") else []
    if config.get("thresholding"):
        if top <= 1:  # thresholding with a maximum of 1 is plain clipping
            return "static", []
        share = config.get("dynamic_thresholding_ratio", 0.995)
        note = (
            f"the scheduler thresholds x0_hat at the quantile {share:g}, at most {top:g}: "
            "mezzotint uses the quantile 0.995, without a maximum"
        )
        return "dynamic", [note]
    if clips and reach != 1:
        note = (
            f"the scheduler clips x0_hat to [-{reach:g}, {reach:g}], which mezzotint cannot do: "
            'x0_hat is not clipped; `clipping="static"` clips to [-1, 1]'
        )
        return "none", [note]
    return ("static" if clips else "none"), []


def _variance(config: dict[str, Any], channels: int, outputs: int) -> tuple[bool, list[str]]:
    """Return whether the network predicts the variance of a step, and notes for the user."""
    kind = config.get("variance_type")
    if outputs != channels:
        if kind in (None, "learned_range"):
            note = (
                f"the network has {outputs} outputs for {channels} channels, but the scheduler "
                "has no variance_type: the second half is taken as a learned variance "
                "(learned_range)"
            )
            return True, [] if kind else [note]
        raise UserError(
            f"the network has {outputs} outputs for {channels} channels, and the scheduler's "
            f"variance_type is {kind}: give a model whose variance_type is learned_range"
        )
    if kind in ("learned", "learned_range"):
        return False, [
            f"the scheduler's variance_type is {kind}, but the network predicts no variance: "
            "DDPM's steps use the small variance"
        ]
    if kind in ("fixed_large", "fixed_large_log"):
        return False, [
            f'the scheduler\'s variance_type is {kind}: with `sampler="ddpm"`, set '
            '`variance="large"`'
        ]
    return False, []
