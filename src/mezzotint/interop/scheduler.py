"""A scheduler's settings, as a schedule, a prediction type and how x0_hat is clipped.

A setting that has no counterpart here is refused, or a note says what it means.
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
# The schedulers that clip unless a setting turns it off; without a scheduler DDPM's is assumed.
CLIPPING = {
    *(None, "DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler"),
    *("DDIMInverseScheduler", "RePaintScheduler", "UnCLIPScheduler"),
}
# Those whose betas run from 1e-4 to 0.02 where the settings leave them out.
DDPM_BETAS = CLIPPING | {"PNDMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"}
# Those that sample a plain diffusion model, whose levels the betas are.
KNOWN = DDPM_BETAS | {
    *("DEISMultistepScheduler", "SASolverScheduler", "LMSDiscreteScheduler"),
    *("DPMSolverMultistepInverseScheduler", "DPMSolverSinglestepScheduler"),
    *("DPMSolverSDEScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
    *("HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
}
ASSUMED = (
    "no scheduler_config.json is in the folder or above it: DDPM's defaults are assumed, a linear "
    "schedule of 1,000 levels for a network that predicts eps"
)


@dataclass(frozen=True, eq=False)
class Scheduler:
    """The settings of a scheduler that a pipeline needs.

    Attributes:
        schedule, prediction: as the network was trained.
        clipping: a name in CLIPPINGS.
        learned: the network predicts the variance of DDPM's steps besides.
        notes: what the scheduler would do otherwise, a line each.
    """

    schedule: Schedule
    prediction: str
    clipping: str
    learned: bool
    notes: tuple[str, ...]


def read_scheduler(
    config: dict[str, Any] | None, channels: int, outputs: int, latents: bool = False
) -> Scheduler:
    """Read a ``scheduler_config.json``; without one, DDPM's defaults are used.

    Args:
        config: its content.
        channels: of the images or latents.
        outputs: of the network.
        latents: whether it is latents that are diffused, which are not clipped.

    Raises:
        UserError: the levels or the prediction have no counterpart here, or the variance does not
            go with the network's outputs.
    """
    notes = [] if config is not None else [ASSUMED]
    config = config or {}
    table, prediction = schedule(config)
    clipping, said = _clipping(config, latents)
    learned, variance = _variance(config, channels, outputs)
    return Scheduler(table, prediction, clipping, learned, (*notes, *said, *variance))


def schedule(config: dict[str, Any]) -> tuple[Schedule, str]:
    """A scheduler's settings as our Schedule and its prediction type.

    Raises UserError for a scheduler that has no betas or samples something else than a plain
    diffusion model (a consistency model, a flow), for a kind of schedule without a counterpart, for
    a network that takes the noise instead of the step, and for a last row of pure noise
    (rescale_betas_zero_snr) under a network that predicts eps.
    """
    name = config.get("_class_name")
    if name and "beta_schedule" not in config:
        raise UserError(
            f"the scheduler is {name}, without a beta_schedule: give a model of one that has it, "
            "such as DDPMScheduler"
        )
    if name not in KNOWN or config.get("use_flow_sigmas"):
        flow = " of a flow" if config.get("use_flow_sigmas") else ""
        raise UserError(
            f"the scheduler is {name}{flow}: only those of plain diffusion models can be read, "
            "such as DDPMScheduler"
        )
    if config.get("timestep_type", "discrete") != "discrete":
        raise UserError(
            f"the scheduler's timestep_type is {config['timestep_type']!r}: mezzotint reads "
            "only networks that take the number of the step"
        )
    prediction = PREDICTIONS.get(config.get("prediction_type", "epsilon"))
    if prediction is None:
        raise UserError(
            f"the scheduler's prediction_type is {config['prediction_type']!r}: mezzotint reads "
            f"{', '.join(PREDICTIONS)}"
        )
    table = _table(config)
    if config.get("rescale_betas_zero_snr"):
        if prediction == "eps":
            raise UserError(
                "the scheduler ends in pure noise (rescale_betas_zero_snr), where a network that "
                "predicts epsilon says nothing of the image: it must predict v or the sample"
            )
        table = zero_terminal_snr(table)
    return table, prediction


def _table(config: dict[str, Any]) -> Schedule:
    if (given := config.get("trained_betas")) is not None:
        return from_betas(torch.tensor(given, dtype=torch.float64))
    kind, T = config.get("beta_schedule", "linear"), config.get("num_train_timesteps", 1000)
    if kind == "squaredcos_cap_v2":
        return cosine(T)
    name = config.get("_class_name")
    if name not in DDPM_BETAS and not {"beta_start", "beta_end"} <= config.keys():
        raise UserError(f"the settings of {name} have no beta_start or no beta_end: add them")
    lo, hi = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    if kind == "linear":
        return linear(T, lo, hi)
    if kind == "scaled_linear":
        return scaled_linear(T, lo, hi)
    if kind == "sigmoid":  # Xu et al. 2022, arXiv 2203.02923
        rise = torch.sigmoid(torch.linspace(-6, 6, T, dtype=torch.float64))
        return from_betas(lo + rise * (hi - lo))
    known = "linear, scaled_linear, squaredcos_cap_v2, sigmoid"
    raise UserError(f"the scheduler's beta_schedule is {kind!r}: mezzotint reads {known}")


def _clipping(config: dict[str, Any], latents: bool) -> tuple[str, list[str]]:
    """Return how x0_hat is clipped, and notes about it."""
    clips = config.get("clip_sample", config.get("_class_name") in CLIPPING)
    reach, top = config.get("clip_sample_range", 1.0), config.get("sample_max_value", 1.0)
    if latents:
        note = "the scheduler clips x0_hat: latents are not clipped here"
        return "none", [note] if clips or config.get("thresholding") else []
    if config.get("thresholding"):
        if top <= 1:  # a quantile that is cut at 1 is plain clipping
            return "static", []
        share = config.get("dynamic_thresholding_ratio", 0.995)
        note = (
            f"the scheduler thresholds x0_hat at the quantile {share:g}, cut at {top:g}: here "
            "clipping is dynamic, at the quantile 0.995, and is not cut"
        )
        return "dynamic", [note]
    if clips and reach != 1:
        note = (
            f"the scheduler clips x0_hat to [-{reach:g}, {reach:g}], which cannot be done here: "
            'nothing is clipped; `clipping="static"` clips to [-1, 1]'
        )
        return "none", [note]
    return ("static" if clips else "none"), []


def _variance(config: dict[str, Any], channels: int, outputs: int) -> tuple[bool, list[str]]:
    """Return whether the variance is learned, and notes about it."""
    kind = config.get("variance_type")
    if outputs != channels:
        if kind in (None, "learned_range"):
            note = (
                f"the network has {outputs} outputs for {channels} channels, and the scheduler "
                "says nothing of them: the second half is taken as a learned variance "
                "(learned_range)"
            )
            return True, [] if kind else [note]
        raise UserError(
            f"the network has {outputs} outputs for {channels} channels, and the scheduler's "
            f"variance_type is {kind}: only learned_range can be read"
        )
    if kind in ("learned", "learned_range"):
        return False, [
            f"the scheduler's variance_type is {kind}, and the network predicts none: DDPM's steps "
            "have the small variance"
        ]
    if kind in ("fixed_large", "fixed_large_log"):
        return False, [
            f'the scheduler\'s variance_type is {kind}: with `sampler="ddpm"` give '
            '`variance="large"`'
        ]
    return False, []
