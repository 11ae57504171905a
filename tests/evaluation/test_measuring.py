"""Measure a model: work that several calls share, and work that is continued."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mezzotint as mz
from mezzotint import evaluation
from mezzotint.evaluation.measuring import Measure
from mezzotint.processes import Share

# Said of every evaluation here.
pytestmark = pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")


@pytest.fixture
def pipe(trained: Path) -> mz.Pipeline:
    return mz.load(trained)


@pytest.fixture
def measure(trained: Path, pipe: mz.Pipeline) -> Measure:
    against = evaluation.training_set(trained, pipe)
    return evaluation.measure("glyphs", against, pipe.shape[1:], torch.device("cpu"))


def figures(pipe, measure, folder: Path, tiers=(40,), **more):
    """Return a dictionary for each tier: name -> (value, low, high, samples)."""
    seen = evaluation.measure_samples(
        pipe, [measure], pipe.defaults, tiers, folder, batch=16, **more
    )
    return [{f.name: (f.value, f.low, f.high, f.count) for f in found} for _, found in seen]


def test_the_figures_do_not_depend_on_the_number_of_processes(pipe, measure, tmp_path) -> None:
    alone = figures(pipe, measure, tmp_path / "alone")
    for number in (2, 1):
        assert figures(pipe, measure, tmp_path / "three", share=Share(number, 3)) == []
    assert figures(pipe, measure, tmp_path / "three", share=Share(0, 3)) == alone
    assert alone[0]["fd-glyphs"][3] == 40


def test_an_evaluation_goes_on_where_it_stood(pipe, measure, tmp_path, monkeypatch) -> None:
    whole = figures(pipe, measure, tmp_path)
    (tmp_path / "000001.npy").unlink()
    made = []
    sample = mz.Pipeline.sample

    def counted(self, n, **more):
        made.append(more["first"])
        return sample(self, n, **more)

    monkeypatch.setattr(mz.Pipeline, "sample", counted)
    assert figures(pipe, measure, tmp_path) == whole
    assert made == [16]


def test_the_network_is_compiled_for_what_is_missing(pipe, measure, tmp_path, monkeypatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        mz.Pipeline, "sample", lambda self, n, **_: torch.zeros(n, 3, 32, 32).byte()
    )
    monkeypatch.setattr(
        type(pipe.net), "compile_for", lambda self, calls: bool(asked.append(calls))
    )
    for count in (24, 40):
        figures(pipe, measure, tmp_path, (count,))
    assert asked == [2 * pipe.defaults.steps, pipe.defaults.steps]


def test_more_samples_begin_with_the_fewer_ones(pipe, measure, tmp_path) -> None:
    (fewer,) = figures(pipe, measure, tmp_path / "a", (24,))
    first, second = figures(pipe, measure, tmp_path / "b", (24, 40))
    assert first == fewer
    assert second == figures(pipe, measure, tmp_path / "c", (40,))[0]
