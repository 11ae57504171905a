"""The extensions in docs/extending.md work as the page says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mezzotint as mz
from metrics.pixels import pictures, pixel_network
from mezzotint import api
from mezzotint.config.experiment import Experiment
from mezzotint.errors import Registry
from mezzotint.metrics import NETWORKS

from commands import CapSys, call
from examples import EXAMPLE, run_examples
from oracles import Gaussian, along

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
REGISTRIES = {n: r for n in api.__all__ if isinstance(r := getattr(api, n), Registry)}
DATA = Gaussian(mean=0.7, var=0.1)


@pytest.fixture
def page(own_cache: None) -> Iterator[dict[str, Any]]:
    """The names that the page's examples define. Their registry entries exist during the test."""
    before = {name: dict(registry) for name, registry in REGISTRIES.items()}
    try:
        yield run_examples(PAGE)
    finally:
        for name, registry in REGISTRIES.items():
            registry.clear()
            registry.update(before[name])


def test_every_registry_is_on_the_page_and_gets_an_entry(page: dict[str, Any]) -> None:
    text = PAGE.read_text()
    for name, registry in REGISTRIES.items():
        assert f"`mz.{name}` |" in text
        assert f"\nmz.{name}[" in text
        assert registry.noun in text.lower().replace("prediction type", "prediction")


def test_the_examples_are_short() -> None:
    for example in EXAMPLE.findall(PAGE.read_text()):
        lines = [line for line in example.splitlines() if line.strip()]
        assert len(lines) <= 20
        assert max(map(len, lines)) <= 100


# The operator and the posterior method.


def test_rows_that_are_seen_come_back(page: dict[str, Any]) -> None:
    pipe = mz.Pipeline(lambda x, t, labels: 0 * x, mz.cosine(50), "x0", (3, 8, 8))
    y = torch.linspace(-0.9, 0.9, 12).view(1, 3, 4, 1).expand(1, 3, 4, 8)
    made = pipe.restore(y, mz.OPERATORS["rows"](2), method="pulled", steps=5)
    seen = made.float()[:, :, ::2] / 127.5 - 1
    assert (seen - y).abs().max() < 0.01
    assert made[:, :, 1::2].float().mean().round() in (127, 128)  # nothing is known of the others


# The sampler.


def error(name: str, steps: int, **options: float) -> float:
    """Return a sampler's distance from the end of the flow, with equal steps in lambda."""
    grid = along(np.linspace(-2, 1.5, steps + 1).tolist())
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    (m_t, v_t), (m_s, v_s) = DATA.marginal(grid[0]), DATA.marginal(grid[-1])
    wanted = m_s + math.sqrt(v_s / v_t) * (x - m_t)
    return float((mz.SAMPLERS[name](DATA.denoise, x, grid, **options) - wanted).abs().max())


def test_the_sampler_converges_at_the_order_of_its_entry(page: dict[str, Any]) -> None:
    measured = math.log2(error("adams", 200) / error("adams", 400))
    assert measured == pytest.approx(mz.SAMPLERS["adams"].order, abs=0.1)
    assert error("adams", 200) < error("ddim", 200) / 20
    assert error("adams", 200, slope=0.0) == pytest.approx(error("ddim", 200), rel=1e-9)


@pytest.mark.parametrize("schedule", [mz.linear(1000), mz.zero_terminal_snr(mz.cosine(1000))])
def test_the_sampler_makes_the_data_of_noise(page: dict[str, Any], schedule: mz.Schedule) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(10_000, generator=draw, dtype=torch.float64)
    got = mz.SAMPLERS["adams"](DATA.denoise, x, schedule.grid(50))
    assert float(got.mean()) == pytest.approx(DATA.mean, abs=0.01)
    assert float(got.std()) == pytest.approx(math.sqrt(DATA.var), abs=0.01)


def test_below_its_fewest_steps_the_sampler_is_ddim_and_from_there_on_it_is_not(
    page: dict[str, Any],
) -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    least = mz.SAMPLERS["adams"].least
    for steps in range(1, least + 2):
        grid = mz.linear(1000).grid(steps)
        got, ddim = (mz.SAMPLERS[kind](DATA.denoise, x, grid) for kind in ("adams", "ddim"))
        assert torch.allclose(got, ddim) == (steps < least)


def test_a_configuration_takes_the_sampler_and_its_option(page: dict[str, Any]) -> None:
    how = mz.SampleConfig("adams", sampler_options=("slope=0.5",))
    assert how.keywords() == {"slope": 0.5}
    assert how.within(20).steps == 20
    with pytest.raises(mz.UserError, match="`eta` is for ddim, hybrid, consistency: leave"):
        mz.SampleConfig("adams", eta=0.5)
    with pytest.raises(mz.UserError, match="`slope` is 'steep': give a value like its default"):
        mz.SampleConfig("adams", sampler_options=("slope=steep",))
    with pytest.raises(mz.UserError, match="`slope` is for adams: leave it out with ddim"):
        mz.SampleConfig("ddim", sampler_options=("slope=0.5",))


def test_a_pipeline_and_the_command_line_take_it(
    page: dict[str, Any], trained: Path, capsys: CapSys
) -> None:
    pipe = mz.load(trained)
    made = pipe.sample(2, sampler="adams", steps=5, slope=0.5)
    assert not torch.equal(made, pipe.sample(2, sampler="adams", steps=5))
    asked = ["--sampler", "adams", "--sampler-options", "slope=0.5", "--steps", "5"]
    code, _, err = call(capsys, "sample", str(trained), "-n", "2", *asked)
    assert code == 0, err
    for i, image in enumerate(made):
        with Image.open(trained / "images" / f"{i:06d}.png") as png:
            assert np.array_equal(np.asarray(png), image.permute(1, 2, 0).numpy())
    with pytest.raises(mz.UserError, match="unknown setting 'slop'; did you mean slope"):
        pipe.sample(2, sampler="adams", slop=0.5)
    with pytest.raises(mz.UserError, match="unknown setting 'slope'"):
        pipe.sample(2, sampler="ddim", slope=0.5)


# The metric.


def test_the_metric_measures_a_translation(page: dict[str, Any], monkeypatch) -> None:
    monkeypatch.setitem(NETWORKS, "pixels", lambda device: pixel_network(device=device))
    x = np.clip(np.random.default_rng(0).standard_normal((400, 4)), -3, 3)
    a, b = (mz.prepare(pictures(y), layout="NHWC") for y in (x + 0.5, x))
    figure = mz.compare(a, b, metrics="shift", network="pixels")["shift-pixels"]
    assert figure.value == pytest.approx(1, rel=1e-4)  # half of a unit along each of four axes
    assert figure.low < 1 < figure.high


# The others.


def test_a_model_is_trained_and_sampled_with_all_of_them(
    page: dict[str, Any], tiny: Experiment, tmp_path: Path, capsys: CapSys
) -> None:
    mz.RECIPES["tiny"] = tiny
    out = tmp_path / "run"
    words = "--schedule geometric --prediction score --spacing signal --guidance-shape late"
    words += f" --clipping soft --sampler adams --weighting root --optimizer nadam --out {out}"
    code, _, err = call(capsys, "train", "tiny", *words.split())
    assert code == 0, err
    written = json.loads((out / "config.json").read_text())
    assert (written["noise"]["schedule"], written["sample"]["clipping"]) == ("geometric", "soft")
    pipe = mz.load(out)
    assert float(pipe.schedule.alpha[-1]) == pytest.approx(0.01)
    assert pipe.sample(2).float().std() > 0
    del mz.SCHEDULES["geometric"]
    with pytest.raises(mz.UserError, match="unknown schedule 'geometric': choose one of linear"):
        mz.load(out)


@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("--sampler", "SAMPLERS"),
        ("--schedule", "SCHEDULES"),
        ("--prediction", "PREDICTIONS"),
        ("--spacing", "SPACINGS"),
        ("--guidance-shape", "GUIDANCE_SHAPES"),
        ("--clipping", "CLIPPINGS"),
        ("--weighting", "WEIGHTINGS"),
        ("--optimizer", "OPTIMIZERS"),
    ],
)
def test_the_help_lists_them(page: dict[str, Any], flag: str, names: str, capsys: CapSys) -> None:
    code, out, _ = call(capsys, "train", "glyphs-flow", "--help-all")
    assert code == 0
    assert f"{flag}{{{','.join(REGISTRIES[names])}" in re.sub(r"[\s|│]", "", out)  # unwrapped


def test_the_recipe_is_one_of_the_recipes(page: dict[str, Any], capsys: CapSys) -> None:
    assert "glyphs-flow" in call(capsys, "train", "--help")[1]
    assert call(capsys, "train", "glyphs-flw")[2].count("; did you mean glyphs-flow or")
    assert mz.RECIPES["glyphs-flow"].noise.prediction == "flow"


def test_without_its_entry_there_is_no_such_name() -> None:
    with pytest.raises(mz.UserError, match="unknown sampler 'adams': choose one of ddpm, ddim"):
        mz.SampleConfig("adams")
    with pytest.raises(mz.UserError, match="unknown sampler 'adams'"):
        mz.SAMPLERS["adams"]
