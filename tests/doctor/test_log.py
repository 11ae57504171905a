"""The doctor's findings about logs made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mezzotint.config.experiment import Experiment
from mezzotint.doctor import log
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
        ("loss not finite", "wrong", rows([*FALLING[:-1], math.nan])),
        ("loss not finite", "wrong", rows(FALLING, grad_norm=[0.5] * 19 + [math.inf])),
        ("unfinished training", "doubtful", rows(FALLING)[:12]),
        ("loss never fell", "wrong", rows(FLAT)),
        ("loss never fell", "wrong", rows([1.0] * 20)),
        ("plateau", "doubtful", rows(FALLING[:5] + [0.2, 0.21, 0.205] * 5)),
        ("gradient clipped", "doubtful", rows(FALLING, grad_norm=3.0)),
        ("gradient exploding", "wrong", rows(FALLING, grad_norm=[0.5] * 15 + [9.0] * 5)),
        (
            "training slowed down",
            "doubtful",
            rows(FALLING, images_per_second=[100.0] * 15 + [40.0] * 5),
        ),
        ("discriminator out of balance", "wrong", rows(FALLING, discriminator=0.01)),
        ("discriminator out of balance", "doubtful", rows(FALLING, discriminator=1.0)),
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
    """Two standard errors, one-sided, are 2.3 %; the noise comes from only ten rows."""
    draw = np.random.default_rng(1)
    logs = (rows(list(1 + 0.1 * draw.standard_normal(20))) for _ in range(400))
    assert sum(log.fell(each).severity == "well" for each in logs) / 400 < 0.06
