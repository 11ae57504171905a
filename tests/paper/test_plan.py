"""The plan of the experiments: its trainings and its samples."""

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


def test_diffusion_models_have_the_papers_optimizer_whatever_the_recipes(tmp_path: Path) -> None:
    assert RECIPES["cifar10-ddpm-small"].train.optimizer == "muon"
    models = planned("cifar10", ["A", "B", "C", "D"], tmp_path).models
    diffusion = [model for model in models.values() if isinstance(model, Experiment)]
    assert len(diffusion) == len(models) - 1  # all but the autoencoder
    assert all(model.train.optimizer == "adamw" for model in diffusion)


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


def test_slow_rows_have_fewer_samples_unless_a_number_is_given(tmp_path: Path) -> None:
    def counts(made: Plan) -> dict[str, set[int]]:
        return {
            letter: {row.samples for row in made.rows if row.letter == letter} for letter in "ABCD"
        }

    every: dict[str, Any] = {"only": ["A,B,C,D"], "out": tmp_path}
    made = planned("cifar10", **every)
    assert counts(made) == {"A": {2_000}, "B": {2_000, 10_000}, "C": {5_000}, "D": {10_000}}
    assert {made.fewest(row) for row in made.rows if row.letter != "C"} == {2_000}
    assert {made.fewest(row) for row in made.rows if row.letter == "C"} == {5_000}
    made = planned("cifar10", **every, samples=64)
    assert counts(made) == {letter: {64} for letter in "ABCD"}


def test_models_with_classes_have_guided_rows_beside_unguided_ones(tmp_path: Path) -> None:
    made = planned("cifar10", ["B", "D"], tmp_path)
    assert [row.name for row in made.rows if row.guided] == [
        "linear DDIM 50, guidance 2",
        "cosine DDIM 50, guidance 2",
    ]
    assert not any(row.headline or row.published for row in made.rows if row.guided)
    # The recipe of the scale full has no classes, as in the paper.
    assert not any(row.guided for row in planned("full", ["B", "D"], tmp_path).rows)


def test_the_models_of_pixels_predict_eps_whatever_the_recipes(tmp_path: Path) -> None:
    assert RECIPES["cifar10-ddpm-small"].noise.prediction == "v"
    for name, model in planned("cifar10", ["A", "B", "D"], tmp_path).models.items():
        assert isinstance(model, Experiment), name
        assert model.noise.prediction == "eps", name
    for model in planned("glyphs", ["A", "B", "D"], tmp_path).models.values():
        assert isinstance(model, Experiment)
        assert model.noise.prediction == "v"


def test_the_flags_are_those_that_differ_from_the_scales_own(tmp_path: Path) -> None:
    every: dict[str, Any] = {"scale": "cifar10", "only": ["D", "A,B,C"], "out": tmp_path}
    assert planned(**every).flags == {"scale": "cifar10"}
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
