"""Write a schedule and a prediction type as the settings of diffusers' DDIMScheduler."""

from __future__ import annotations

from typing import Any

import torch

from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.schedules import cosine, linear
from mezzotint.interop.scheduler import PREDICTIONS

NAMES = {ours: theirs for theirs, ours in PREDICTIONS.items()}


def scheduler_config(schedule: Schedule, prediction: str, clip: bool) -> dict[str, Any]:
    """Return the ``scheduler_config.json`` that describes a schedule.

    Args:
        schedule: The schedule of the model; the scheduler gets the same timesteps.
        prediction: The type of the predictions that the scheduler receives: "eps", "x0" or "v".
        clip: Whether the scheduler clips the estimate of x0 to [-1, 1].
    """
    alpha = schedule.alpha
    betas = 1 - (alpha[1:] / alpha[:-1]) ** 2
    config: dict[str, Any] = {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": len(schedule),
        "prediction_type": NAMES[prediction],
        "timestep_spacing": "trailing",
        "steps_offset": 0,
        "set_alpha_to_one": True,
        "clip_sample": clip,
        "clip_sample_range": 1.0,
        "thresholding": False,
        "rescale_betas_zero_snr": False,
    }
    if torch.equal(alpha, linear(len(schedule)).alpha):
        return config | {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    if torch.equal(alpha, cosine(len(schedule)).alpha):
        return config | {"beta_schedule": "squaredcos_cap_v2"}
    return config | {"beta_schedule": "linear", "trained_betas": betas.tolist()}
