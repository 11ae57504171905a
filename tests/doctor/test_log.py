"""What the doctor says of logs and configurations made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mezzotint.config.experiment import Experiment
from mezzotint.config.recipes import RECIPES
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.schedules import cosine, linear, scaled_linear
from mezzotint.doctor import log, settings
from mezzotint.trainer.loop import TrainConfig
from spoil import accused, rows

TRAIN = TrainConfig(images=2000, batch=10, warmup=100, lr=1e-3, ema_halflife=50)
STEADY = Experiment(recipe="steady", train=TRAIN)
noise = np.random.default_rng(0).standard_normal(20)
FALLING = list(0.1 + 0.5 / np.arange(1, 21) + 0.002 * noise)
FLAT = list(1 + 0.01 * noise)


def test_a_healthy_log_is_accused_of_nothing() -> None:
    found = list(log.look(rows(FALLING), STEADY))
    assert accused(found) == {}
    assert all(f.measured and not f.cause and not f.fix for f in found)


@pytest.mark.parametrize(
    ("title", "severity", "spoilt"),
    [
        ("loss of NaN", "wrong", rows([*FALLING[:-1], math.nan])),
        ("loss of NaN", "wrong", rows(FALLING, grad_norm=[0.5] * 19 + [math.inf])),
        ("unfinished training", "doubtful", rows(FALLING)[:12]),
        ("loss that never fell", "wrong", rows(FLAT)),
        ("loss that never fell", "wrong", rows([1.0] * 20)),
        ("plateau", "doubtful", rows(FALLING[:5] + [0.2, 0.21, 0.205] * 5)),
        ("gradient clipped", "doubtful", rows(FALLING, grad_norm=3.0)),
        ("gradient exploding", "wrong", rows(FALLING, grad_norm=[0.5] * 15 + [9.0] * 5)),
        (
            "training slowed down",
            "doubtful",
            rows(FALLING, images_per_second=[100.0] * 15 + [40.0] * 5),
        ),
        ("discriminator out of play", "wrong", rows(FALLING, discriminator=0.01)),
        ("discriminator out of play", "doubtful", rows(FALLING, discriminator=1.0)),
        ("adversarial weight at its bound", "wrong", rows(FALLING, adversarial_weight=9e3)),
    ],
)
def test_a_spoilt_log_is_seen_through(title: str, severity: str, spoilt: list) -> None:
    assert accused(log.look(spoilt, STEADY))[title] == severity


def test_a_plateau_while_the_rate_falls_is_none_and_nor_is_a_healthy_discriminator() -> None:
    late = rows(FALLING[:5] + FLAT[:15], lr=list(np.linspace(1e-3, 1e-5, 20)))
    assert "plateau" not in accused(log.look(late, STEADY))
    playing = rows(FALLING, discriminator=list(0.8 + 0.05 * noise), adversarial_weight=0.7)
    assert accused(log.look(playing, STEADY)) == {}


def test_of_a_flat_log_one_in_forty_passes_for_fallen() -> None:
    """Two standard errors, one-sided: 2.3 %, the noise being estimated of ten rows only."""
    draw = np.random.default_rng(1)
    logs = (rows(list(1 + 0.1 * draw.standard_normal(20))) for _ in range(400))
    assert sum(log.fell(each).severity == "well" for each in logs) / 400 < 0.06


@pytest.mark.parametrize("recipe", [r for r in RECIPES.values() if isinstance(r, Experiment)])
def test_no_recipe_is_accused(recipe: Experiment) -> None:
    shape = (4, 32, 32) if recipe.codec.vae else (3, 32, 32)
    classes = 10 * recipe.data.conditional
    assert accused(settings.look(recipe, shape, classes, recipe.train.images)) == {}


def test_a_schedule_that_leaks_is_named_after_how_far_it_shows() -> None:
    small, large = (3, 32, 32), (4, 64, 64)
    assert settings.schedule_ends(linear(1000), small).severity == "well"
    assert settings.schedule_ends(cosine(1000), large).severity == "well"
    assert settings.schedule_ends(scaled_linear(1000), large).severity == "wrong"  # as in the paper
    assert settings.schedule_ends(linear(100), small).severity == "wrong"
    shown = settings.signal(scaled_linear(1000).row(1000), large)
    assert shown == pytest.approx(0.0682 * 64 / math.sqrt(1 - 0.0682**2), rel=1e-2)


@pytest.mark.parametrize(
    ("title", "severity", "section", "fields"),
    [
        ("schedule ends before noise", "wrong", "noise", {"schedule": "linear", "timesteps": 100}),
        ("sampling begins below noise", "wrong", "sample", {"steps": 10, "spacing": "leading"}),
        ("guidance without label dropout", "wrong", "objective", {"label_dropout": 0.0}),
        ("EMA half-life out of reach", "doubtful", "train", {"ema_halflife": 1e6}),
    ],
)
def test_a_spoilt_configuration_is_seen_through(
    title: str, severity: str, section: str, fields: dict
) -> None:
    healthy = RECIPES["glyphs-ddpm"]
    spoilt = replace(healthy, **{section: replace(getattr(healthy, section), **fields)})
    assert accused(settings.look(spoilt, (3, 32, 32), 10, 80_000)) == {title: severity}


def test_eps_of_pure_noise_is_doubtful_unless_it_is_clipped() -> None:
    grid = cosine(1000).grid(50, "trailing")
    bare, clipped = SampleConfig(clipping="none"), SampleConfig()
    assert settings.eps_of_noise(grid, "eps", bare).severity == "doubtful"
    assert settings.eps_of_noise(grid, "eps", clipped).severity == "well"
    assert settings.eps_of_noise(grid, "v", bare).severity == "well"
    even = linear(1000).grid(50, "trailing")
    assert settings.eps_of_noise(even, "eps", bare).severity == "well"
