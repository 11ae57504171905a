"""Counts of samples, and the file of figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from mezzotint import evaluation
from mezzotint.errors import UserError
from mezzotint.storage import jsonl


@pytest.mark.parametrize(
    ("samples", "tiers"),
    [
        ("1k", [1_000]),
        ("5k", [1_000, 5_000]),
        ("10k", [1_000, 5_000, 10_000]),
        ("50K", [1_000, 5_000, 10_000, 50_000]),
        ("2000", [1_000, 2_000]),
        ("64", [64]),
    ],
)
def test_figures_come_at_each_tier_on_the_way(samples: str, tiers: list[int]) -> None:
    assert evaluation.tiers(samples) == tiers


@pytest.mark.parametrize("samples", ["", "0", "k", "-5", "many", "1.5k", "0k"])
def test_a_count_that_is_none_is_refused(samples: str) -> None:
    with pytest.raises(UserError, match="give 1k, 5k, 10k, 50k or a number"):
        evaluation.tiers(samples)


def test_a_figure_after_a_line_that_was_cut_short_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    path.write_text('{"time": "2026')
    evaluation.record(path, [], {"model": "mine"})
    assert [row["model"] for row in jsonl.read(path)] == ["mine"]
