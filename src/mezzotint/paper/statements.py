"""The statements of the paper, each with a verdict and the figure that decides it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mezzotint.data.find import recognise
from mezzotint.data.sources import SOURCES
from mezzotint.data.sources.cifar10 import CLASSES
from mezzotint.drawing.page import Cell, Section, Table
from mezzotint.paper.plan import Row
from mezzotint.paper.published import PAPER

if TYPE_CHECKING:
    from mezzotint.paper.tables import Results

FASTER, LESS = 4, 0.3
"""In the paper, DDIM is FASTER times as fast as DDPM, and saves the share LESS of its memory."""
SAME_DATA = {"B": ("cifar10", "full"), "C": ("full",)}
"""The scales at which an experiment has the paper's data; FIDs on other data cannot be compared."""
CIFAR10 = SOURCES["cifar10"], SOURCES["cifar10-copy"]
SHAPE = (50_000, 32, 32, 3)  # of the training images of CIFAR-10
NEAR = 0.1  # how far the saved share of memory may be below the paper's
TEXT = (
    "Each statement of the paper is judged by the figure beside it. Distances that one cell "
    "compares come from the same number of samples. They count as different if their 95 % "
    "intervals do not overlap."
)
UNKNOWN = "not measurable here"
Verdict = tuple[str, str]  # the figure that decides, and the verdict


def statements(results: Results) -> Section | None:
    """Return a table of the paper's statements, each with our figure and a verdict.

    Only statements about the experiments of the plan are listed. Returns None if there are none.
    """
    letters = {row.letter for row in results.work.plan.rows}
    rows: list[list[Cell]] = []
    if "B" in letters:
        times = f"DDIM samples {FASTER} times as fast as DDPM without loss of quality"
        rows.append(["B", times, *_speed(results)])
        rows.append(["B", f"DDIM needs {_percent(LESS)} less memory", *_memory(results)])
        better = "DDIM with classifier-free guidance gives better images"
        rows.append(["B", better, *_guidance(results)])
    for letter in sorted({*PAPER} & letters):
        rows.append([letter, f"the FID is {PAPER[letter]:.2f}", *_fid(results, letter)])
    head = ["experiment", "the paper's statement", "our figure", "verdict"]
    return Section("The paper's statements", TEXT, tables=[Table(rows, head)]) if rows else None


def _speed(results: Results) -> Verdict:
    """Return the verdict on the speed of DDIM.

    A row of DDIM is as good as DDPM if the 95 % interval of its Frechet distance is not entirely
    above DDPM's interval. The verdict depends on the row with the fewest steps among the rows of
    DDIM that are as good as DDPM.
    """
    ddpm, ddim = _samplers(results)
    if not ddpm or not ddim:
        return "–", UNKNOWN
    limit = _distance(results, ddpm)
    good = [row for row in ddim if _distance(results, row)["low"] <= limit["high"]]
    if not good:
        return f"no row of DDIM is as good as DDPM, which has {_worded(limit)}", "not confirmed"
    best = min(good, key=lambda row: row.settings.calls)
    if best not in _alike(results, ddpm, ddim):
        said = "were timed on another machine, or with another number of threads"
        return f"{best.settings.steps} steps of DDIM {said}", UNKNOWN
    ratio = results.rows[ddpm]["seconds"] / results.rows[best]["seconds"]
    figure = (
        f"{best.settings.steps} steps of DDIM are {ratio:.1f} times as fast as "
        f"{ddpm.settings.steps} of DDPM: {_worded(_distance(results, best))}, against "
        f"{_worded(limit)}"
    )
    return figure, "confirmed" if ratio >= FASTER else "not confirmed"


def _memory(results: Results) -> Verdict:
    """Return the verdict on memory, from the least peak memory of DDIM's rows and from DDPM's."""
    ddpm, ddim = _samplers(results)
    alike = _alike(results, ddpm, ddim) if ddpm else []
    used = [found for row in alike if (found := results.rows[row]["memory"])]
    most = results.rows[ddpm]["memory"] if ddpm else None
    if not used or not most:
        return "–", UNKNOWN
    saved = 1 - min(used) / most
    figure = f"{min(used):,.0f} MiB, against {most:,.0f} MiB: {_percent(saved)} less"
    return figure, "confirmed" if saved >= LESS - NEAR else "not confirmed"


def _guidance(results: Results) -> Verdict:
    """Return the verdict on guidance, from the same DDIM sampling with and without guidance."""
    guided = [row for row in results.rows if row.model == "linear" and row.guided]
    plain = [
        row
        for row in results.rows
        if guided
        and row.model == "linear"
        and not row.guided
        and row.settings.steps == guided[0].settings.steps
    ]
    if not guided or not plain:
        return "–", UNKNOWN
    with_it, without = _distance(results, guided[0]), _distance(results, plain[0])
    figure = f"{_worded(with_it)} with guidance, {_worded(without)} without"
    return figure, "confirmed" if with_it["high"] < without["low"] else "not confirmed"


def _fid(results: Results, letter: str) -> Verdict:
    """Compare the paper's FID of an experiment with our FID, if we measured one."""
    rows = [row for row in results.work.plan.rows if row.letter == letter and row.headline]
    figures = {name: f for row in rows for name, f in results.figures(row).items()}
    fid = next((f for name, f in figures.items() if name.startswith("fid")), None)
    if fid is None:
        return "no FID was measured", UNKNOWN
    if results.work.plan.scale not in SAME_DATA[letter]:
        return f"{_worded(fid)}, on other data", UNKNOWN
    if letter == "B" and not _is_cifar10(results, rows[0].model):
        return f"{_worded(fid)}, on data that is not known to be CIFAR-10", UNKNOWN
    if fid["high"] < PAPER[letter]:
        return _worded(fid), "better"
    return _worded(fid), "confirmed" if fid["low"] <= PAPER[letter] else "not confirmed"


def _samplers(results: Results) -> tuple[Row | None, list[Row]]:
    """Return the row of DDPM, and the rows of DDIM with fewer steps, all without guidance."""
    linear = [row for row in results.rows if row.model == "linear" and not row.guided]
    ddpm = next((row for row in linear if row.letter == "A"), None)
    steps = ddpm.settings.steps if ddpm else 0
    return ddpm, [row for row in linear if row.letter == "B" and row.settings.steps < steps]


def _is_cifar10(results: Results, model: str) -> bool:
    """Return whether a model's data is CIFAR-10: its own files, or as many images of its classes.

    Other files, such as parquet, are known by the number, size and classes of their images.
    """
    if recognise(results.work.plan.models[model].data.data)[1] in CIFAR10:
        return True
    data = results.work.data.get(model)
    return data is not None and (data.images.shape, data.classes) == (SHAPE, CLASSES)


def _alike(results: Results, row: Row, others: Sequence[Row]) -> list[Row]:
    """Return the rows in ``others`` with the same processor and thread count as ``row``."""
    on = {r: results.rows[r].get("processor") for r in (row, *others)}
    return [other for other in others if on[other] == on[row]]


def _distance(results: Results, row: Row) -> dict[str, Any]:
    """Return a row's Frechet distance, measured on `Plan.fewest` samples."""
    figures = results.figures(row, results.work.plan.fewest(row))
    return figures[results.distances(row.model)[-1]]


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"  # an integer, which cannot be "-0"


def _worded(figure: dict[str, Any]) -> str:
    value, low, high = (f"{figure[key]:.4g}" for key in ("value", "low", "high"))
    return f"{figure['name']} {value} ({low} to {high})"
