"""The cells of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.metrics import Figure
from mezzotint.tuning.cells import SweepCell, combinations


def test_cells_are_all_combinations_each_once(trained: Path) -> None:
    pipe = mz.load(trained)
    found = combinations(pipe, ["ddim", "heun"], [1.0, 2.0], [None, (0.2, 5.0)], nfe=[5, 6, 9])
    # ddim of 5, 6 and 9 calls, heun of 5 and 9 (6 buys no more than 5); at scale 1 one interval.
    assert len(found) == len(set(found)) == (3 + 2) * 3
    cost = [SAMPLERS[each.sampler].cost(each.steps) for each in found]
    assert cost == sorted(cost)
    assert set(cost) == {5, 6, 9}
    assert {(each.guidance, each.interval) for each in found} == {
        (1.0, None),
        (2.0, None),
        (2.0, (0.2, 5.0)),
    }
    assert all(each.spacing == "karras" for each in found)
    by_steps = combinations(pipe, ["heun"], [2.0], [None], steps=[4, 7])
    assert [(each.steps, each.guidance) for each in by_steps] == [(4, 2.0), (7, 2.0)]


def test_all_other_settings_are_the_runs_and_options_go_with_their_sampler(trained: Path) -> None:
    pipe = mz.load(trained)
    own = SampleConfig(sampler="ddim", eta=0.5, rescale=0.3, spacing="knots", knots=(9.0, 0.1))
    pipe = replace(pipe, defaults=own)
    ddim, dpm = combinations(pipe, ["ddim", "dpmpp_2m"], [1.5], [None], nfe=[4])
    assert ddim == replace(own, spacing="karras", knots=(), steps=4, guidance=1.5)
    assert dpm == replace(ddim, sampler="dpmpp_2m", eta=None)
    plus = replace(pipe, defaults=SampleConfig(guidance_shape="cfg++"))  # it guides at scale 1 too
    (one,) = combinations(plus, ["ddim"], [1.0], [(0.2, 5.0)], nfe=[4])
    assert one.interval == (0.2, 5.0)


def test_a_cell_is_a_flat_row_for_plots() -> None:
    settings = SampleConfig("heun", steps=4, guidance=2.0, interval=(0.2, 5.0))
    figure = Figure("fd-glyphs", 3.0, 2.5, 3.5, 100, "glyphs")
    assert SweepCell(settings, figure).row() == {
        "sampler": "heun",
        "steps": 4,
        "calls": 7,
        "guidance": 2.0,
        "interval": (0.2, 5.0),
        "metric": "fd-glyphs",
        "value": 3.0,
        "low": 2.5,
        "high": 3.5,
        "samples": 100,
        "accuracy": None,
    }
    assert (
        SweepCell(settings, figure, Figure("accuracy", 0.5, 0.4, 0.6, 100)).row()["accuracy"] == 0.5
    )
