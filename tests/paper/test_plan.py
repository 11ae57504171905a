"""The plan of the experiments: what is trained, and which samples are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mezzotint.config.experiment import Experiment
from mezzotint.config.recipes import RECIPES
from mezzotint.errors import UserError
from mezzotint.paper.options import Options
from mezzotint.paper.plan import Plan, plan


def planned(scale: Any, only: list[str], out: Path, **more: Any) -> Plan:
    return plan(Options(scale=scale, only=tuple(only), out=out, **more))


def test_the_plan_is_the_papers_table(tmp_path: Path) -> None:
    made = planned("full", ["A", "B", "C", "D"], tmp_path)
    a, *_ = [row for row in made.rows if row.letter == "A"]
    assert (a.settings.sampler, a.settings.steps) == ("ddpm", 1000)
    linear, cosine, adaptive = (made.models[m] for m in ("linear", "cosine", "adaptive"))
    assert isinstance(linear, Experiment)
    assert isinstance(cosine, Experiment)
    assert (linear.noise.schedule, linear.noise.prediction) == ("linear", "eps")
    assert linear.train.images == 61_000 * 128
    assert cosine.noise.schedule == "cosine"
    assert linear.train == cosine.train == adaptive.train  # at equal images seen
    assert {row.settings.steps for row in made.rows if row.letter == "B"} >= {10, 50, 250, 1000}
    assert all(row.model == "linear" for row in made.rows if row.letter in "AB")  # one's weights
    assert [row.letter for row in made.rows if row.headline] == [*"ABCD"]
    by_steps = {row.settings.steps: row.published for row in made.rows if row.letter == "B"}
    assert by_steps[10] == 13.36
    assert [row.paper for row in made.rows if row.headline] == [None, 47.92, 323.51, None]


def test_the_optimizer_is_the_papers_whatever_the_recipes(tmp_path: Path) -> None:
    assert RECIPES["cifar10-ddpm-small"].train.optimizer == "muon"
    for model in planned("cifar10", ["A", "B", "C", "D"], tmp_path).models.values():
        assert model.train.optimizer == "adamw"


def test_only_the_chosen_experiments_are_trained(tmp_path: Path) -> None:
    assert list(planned("glyphs", ["B"], tmp_path).models) == ["linear"]
    assert list(planned("glyphs", ["a,b"], tmp_path).models) == ["linear"]
    assert list(planned("glyphs", ["C"], tmp_path).models) == ["vae", "latent"]
    assert list(planned("glyphs", ["C"], tmp_path, vae="mine").models) == ["latent"]
    assert list(planned("glyphs", ["D"], tmp_path).models) == ["cosine", "adaptive"]
    with pytest.raises(UserError, match="unknown experiment 'E' in `only`: choose from A, B, C, D"):
        planned("glyphs", ["E"], tmp_path)
    with pytest.raises(UserError, match="`only` is empty: choose from A, B, C, D"):
        planned("glyphs", [], tmp_path)


def test_a_budget_keeps_the_shape_of_a_training(tmp_path: Path) -> None:
    whole = RECIPES["cifar10-ddpm-small"].train
    half = planned("cifar10", ["B"], tmp_path, images=whole.images // 2).models["linear"].train
    assert half.images == whole.images // 2
    assert half.warmup == whole.warmup // 2
    assert half.ema_halflife == whole.ema_halflife / 2
    assert half.lr == whole.lr


def test_the_flags_are_those_that_differ_from_the_scales_own(tmp_path: Path) -> None:
    every: dict[str, Any] = {"scale": "cifar10", "only": ["D", "A,B,C"], "out": tmp_path}
    assert planned(**every, samples=2_000).flags == {"scale": "cifar10"}
    asked = {"data": "/mine/cifar10", "imagenet": "hub:owner/name", "vae": "runs/tiny-vae/"}
    made = planned(
        **every, **asked, hours=2.5, images=32_000, samples=128, seed=1, precision="float32"
    )
    own = {"data": "cifar10", "imagenet": "hub:owner/name", "vae": "tiny-vae"}
    rest = {
        "images": "32000",
        "samples": "128",
        "seed": "1",
        "precision": "float32",
        "hours": "2.5",
    }
    assert made.flags == {"scale": "cifar10"} | own | rest
    assert planned("glyphs", ["d", "A"], tmp_path).flags == {"scale": "glyphs", "only": "A,D"}
