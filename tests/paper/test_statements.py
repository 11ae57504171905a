"""The verdicts on the paper's statements, and the figures that decide them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mezzotint.data.sources.cifar10 import CLASSES
from mezzotint.paper.options import Options, Scale
from mezzotint.paper.plan import Row, plan
from mezzotint.paper.statements import statements
from mezzotint.paper.tables import Results
from mezzotint.paper.work import Work

DDPM, HALF = "linear DDPM 1000", "linear DDIM 50"


def verdicts(
    tmp_path: Path,
    distance: dict[str, float],
    seconds: dict[str, float],
    memory: dict[str, float],
    fid: float | None = None,
    scale: Scale = "cifar10",
    elsewhere: tuple[str, ...] = (),
    only: tuple[str, ...] = ("A", "B"),
    data: str = "",
    prepared: Any = None,
) -> dict[str, tuple[str, str]]:
    """Return the figure and the verdict of each statement on B; rows not named are far off."""
    made = plan(Options(scale, only=only, out=tmp_path, data=data, samples=100))

    def facts(row: Row) -> dict:
        values = {"fd-glyphs": distance.get(row.name, 99.0)} | ({"fid": fid} if fid else {})
        figures = [
            {"name": name, "value": v, "low": v - 1, "high": v + 1, "samples": 100}
            for name, v in values.items()
        ]
        return {
            "figures": figures,
            "seconds": seconds.get(row.name, 9.0),
            "memory": memory.get(row.name, 1000.0),
            "processor": f"{1 + (row.name in elsewhere)} threads",
        }

    known = {"linear": prepared} if prepared else {}
    results = Results(Work(made, known), {row: facts(row) for row in made.rows}, {})
    section = statements(results)
    assert section
    return {str(row[1]): (str(row[2]), str(row[3])) for row in section.tables[0].rows}


FAST = "DDIM samples 4 times as fast as DDPM without loss of quality"
SMALL = "DDIM needs 30 % less memory"
GUIDED = "DDIM with classifier-free guidance gives better images"
FID = "the FID is 47.92"


def test_the_fastest_row_that_is_as_good_decides_on_the_speed(tmp_path: Path) -> None:
    good = {DDPM: 10.0, "linear DDIM 100": 11.5, HALF: 14.0}
    found = verdicts(tmp_path, good, {DDPM: 80.0, "linear DDIM 100": 8.0}, {})
    assert found[FAST] == (
        "100 steps of DDIM are 10.0 times as fast as 1000 of DDPM: fd-glyphs 11.5 (10.5 to 12.5), "
        "against fd-glyphs 10 (9 to 11)",
        "confirmed",
    )
    slow = verdicts(tmp_path, good, {DDPM: 30.0, "linear DDIM 100": 8.0}, {})
    assert slow[FAST][1] == "not confirmed"
    worse = verdicts(tmp_path, {DDPM: 10.0}, {}, {})
    assert worse[FAST] == (
        "no row of DDIM is as good as DDPM, which has fd-glyphs 10 (9 to 11)",
        "not confirmed",
    )


@pytest.mark.parametrize(
    ("used", "verdict"), [(700.0, "confirmed"), (820.0, "not confirmed"), (0.0, "not confirmed")]
)
def test_the_peaks_decide_on_the_memory(tmp_path: Path, used: float, verdict: str) -> None:
    memory = {DDPM: 1000.0} | ({HALF: used} if used else {})
    assert verdicts(tmp_path, {}, {}, memory)[SMALL][1] == verdict


def test_times_of_different_machines_are_not_compared(tmp_path: Path) -> None:
    good, far = {DDPM: 10.0, HALF: 10.0}, {"elsewhere": (HALF,)}
    found = verdicts(tmp_path, good, {DDPM: 80.0}, {DDPM: 1000.0, HALF: 500.0}, **far)
    assert found[FAST][1] == "not measurable here"
    assert found[SMALL][1] == "not confirmed"  # the other rows of DDIM have 1,000 MiB


def test_disjoint_intervals_decide_on_guidance(tmp_path: Path) -> None:
    def found(guided: float) -> str:
        distance = {HALF: 20.0, f"{HALF}, guidance 2": guided}
        return verdicts(tmp_path, distance, {}, {})[GUIDED][1]

    assert found(17.9) == "confirmed"
    assert found(18.1) == "not confirmed"
    assert found(30.0) == "not confirmed"
    alone = verdicts(tmp_path, {f"{HALF}, guidance 2": 10.0, HALF: 20.0}, {}, {}, only=("B",))
    assert alone[GUIDED][1] == "confirmed"


def test_only_an_fid_decides_on_an_fid(tmp_path: Path) -> None:
    assert verdicts(tmp_path, {}, {}, {})[FID] == ("no FID was measured", "not measurable here")
    assert verdicts(tmp_path, {}, {}, {}, 48.0)[FID] == ("fid 48 (47 to 49)", "confirmed")
    assert verdicts(tmp_path, {}, {}, {}, 60.0)[FID][1] == "not confirmed"
    assert verdicts(tmp_path, {}, {}, {}, 10.0)[FID][1] == "better"
    of_digits = verdicts(tmp_path, {}, {}, {}, 10.0, scale="glyphs")[FID]
    assert of_digits == ("fid 10 (9 to 11), on other data", "not measurable here")
    of_mine = verdicts(tmp_path, {}, {}, {}, 10.0, data=str(tmp_path))[FID]
    unknown = "fid 10 (9 to 11), on data that is not known to be CIFAR-10"
    assert of_mine == (unknown, "not measurable here")
    for count, verdict in {49_999: "not measurable here", 50_000: "better"}.items():
        images = np.broadcast_to(np.uint8(0), (count, 32, 32, 3))
        same = SimpleNamespace(images=images, classes=CLASSES)
        found = verdicts(tmp_path, {}, {}, {}, 10.0, data=str(tmp_path), prepared=same)
        assert found[FID][1] == verdict


def test_an_experiment_without_statements_has_no_section(tmp_path: Path) -> None:
    made = plan(Options(only=("D",), out=tmp_path, samples=100))
    assert statements(Results(Work(made), {}, {})) is None


def test_what_was_not_done_is_not_judged(tmp_path: Path) -> None:
    made = plan(Options(only=("A", "B", "C"), out=tmp_path, samples=100))
    section = statements(Results(Work(made), {}, {}))
    assert section
    assert {str(row[3]) for row in section.tables[0].rows} == {"not measurable here"}
