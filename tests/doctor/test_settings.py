"""The doctor's findings about configurations made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mezzotint.config.experiment import Experiment
from mezzotint.config.recipes import RECIPES
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.level import signal
from mezzotint.diffusion.schedules import cosine, linear, scaled_linear
from mezzotint.doctor import settings
from spoil import accused


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
    shown = signal(scaled_linear(1000).row(1000), large)
    assert shown == pytest.approx(0.0682 * 64 / math.sqrt(1 - 0.0682**2), rel=1e-2)


@pytest.mark.parametrize(
    ("title", "severity", "section", "fields"),
    [
        (
            "schedule does not end in noise",
            "wrong",
            "noise",
            {"schedule": "linear", "timesteps": 100},
        ),
        (
            "sampling does not start from noise",
            "wrong",
            "sample",
            {"steps": 10, "spacing": "leading"},
        ),
        ("guidance without label dropout", "wrong", "objective", {"label_dropout": 0.0}),
        ("EMA half-life longer than training", "doubtful", "train", {"ema_halflife": 1e6}),
    ],
)
def test_a_spoilt_configuration_is_seen_through(
    title: str, severity: str, section: str, fields: dict
) -> None:
    healthy = RECIPES["glyphs-ddpm"]
    spoilt = replace(healthy, **{section: replace(getattr(healthy, section), **fields)})
    assert accused(settings.look(spoilt, (3, 32, 32), 10, 80_000)) == {title: severity}


def test_cfg_plus_plus_needs_label_dropout_even_at_scale_1() -> None:
    plus = SampleConfig(guidance_shape="cfg++")
    assert settings.label_dropout(0.1, plus).severity == "well"
    assert settings.label_dropout(0.0, SampleConfig()).severity == "well"
    assert settings.label_dropout(0.0, plus).severity == "wrong"
    assert '`guidance_shape="constant"`' in settings.label_dropout(0.0, plus).fix


def test_eps_of_pure_noise_is_doubtful_even_if_it_is_clipped() -> None:
    grid = cosine(1000).grid(50, "trailing")
    bare, clipped = SampleConfig(clipping="none"), SampleConfig()
    assert settings.eps_of_noise(grid, "eps", bare).severity == "doubtful"
    assert "`clipping=" in settings.eps_of_noise(grid, "eps", bare).fix
    assert settings.eps_of_noise(grid, "eps", clipped).severity == "doubtful"
    assert "`clipping=" not in settings.eps_of_noise(grid, "eps", clipped).fix
    assert settings.eps_of_noise(grid, "v", bare).severity == "well"
    even = linear(1000).grid(50, "trailing")
    assert settings.eps_of_noise(even, "eps", bare).severity == "well"
