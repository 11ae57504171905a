"""The tables and charts of a reproduction."""

from __future__ import annotations

from pathlib import Path

from mezzotint.paper.options import Options
from mezzotint.paper.plan import Row, plan
from mezzotint.paper.tables import Results, _efficiency
from mezzotint.paper.work import Work


def test_rows_are_compared_by_the_distance_they_share(tmp_path: Path) -> None:
    made = plan(Options(only=("A", "B", "C"), out=tmp_path, data="cifar10"))

    def facts(row: Row) -> dict:
        name = "fd-glyphs" if row.model == "latent" else "fd-cifar10"
        figure = {"name": name, "value": 1.0, "low": 0.5, "high": 2.0}
        return {"figures": [figure], "seconds": 1.0, "memory": None}

    results = Results(Work(made), {row: facts(row) for row in made.rows}, {})
    assert results.distances() == ["fd-cifar10", "fd-glyphs"]
    section, _ = _efficiency(results)
    assert section.tables[0].head[-1] == "fd-cifar10"
