"""The sections of a reproduction: its tables, charts and samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mezzotint import evaluation
from mezzotint.drawing.curves import Panel
from mezzotint.drawing.inline import chart, colours, strip
from mezzotint.drawing.page import Cell, Chart, Section, Table
from mezzotint.errors import as_flags
from mezzotint.paper.costs import BATCH
from mezzotint.paper.plan import Row, digest
from mezzotint.paper.published import EXPERIMENTS, SOURCES
from mezzotint.paper.rows import networks
from mezzotint.paper.work import Work
from mezzotint.storage.cache import cache_folder
from mezzotint.storage.log import duration
from mezzotint.storage.progress import in_words

SHOWN = 10  # samples of each row
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """The measured rows of a plan, and what was measured about its schedules, in their order."""

    work: Work
    rows: dict[Row, dict[str, Any]]
    study: dict[str, dict[str, Any]]

    def distances(self, *models: str) -> list[str]:
        """The names of the Frechet distances of these models' rows, or of all; FID is the last."""
        names = dict.fromkeys(
            f["name"]
            for row, facts in self.rows.items()
            for f in facts["figures"]
            if f["name"].startswith(("fd-", "fid")) and (not models or row.model in models)
        )
        return list(names)


def sections(results: Results) -> Iterator[tuple[Section, list[Panel]]]:
    """Each section, with the panels that its charts show."""
    yield _four(results), []
    yield _every(results), []
    if results.rows:
        yield _samples(results), []
    if shown := _efficiency(results):
        yield shown
    if shown := _schedules(results):
        yield shown
    yield _trainings(results), []


def _four(results: Results) -> Section:
    """A row for each experiment."""
    distances = results.distances()
    head = ["", "", "the paper's FID", "published FID", *(f"our {d}" for d in distances)]
    head += ["95 % interval", "samples", "images seen", "training", "configuration"]
    rows: list[list[Cell]] = []
    for row in results.work.plan.rows:
        if not row.headline:
            continue
        known = f"{row.letter}: {row.name}", EXPERIMENTS[row.letter], *map(_fid, _others(row))
        facts = results.rows.get(row)
        if facts is None:
            why = results.work.why_not(row.model)
            cells: list[Cell] = [*known, f"not done: {as_flags(why)}"]
            rows.append([*cells, *["–"] * (len(head) - len(cells))])
            continue
        found = {f["name"]: f for f in facts["figures"]}
        values: list[Cell] = [f"{found[d]['value']:.2f}" if d in found else "–" for d in distances]
        last = [found[d] for d in distances if d in found][-1]
        rows.append(
            [
                *(*known, *values),
                f"{last['low']:.2f} to {last['high']:.2f}",
                f"{last['samples']:,}",
                f"{facts['images']:,}",
                in_words(facts["training_seconds"]),
                facts["configuration"],
            ]
        )
    text = (
        "The paper's figures are FIDs on CIFAR-10 (A, B, D) and on ImageNet-100 (C); it gives none "
        f"for A and D. The published FIDs are those of the methods' own papers ({SOURCES}). Our "
        "figures are named after their feature network, and the table of trainings names the data: "
        f"only those that are FID, on the same data, can be compared. {networks('')[1]}"
    )
    return Section("The four experiments", text.strip(), tables=[Table(rows, head)])


def _others(row: Row) -> tuple[float | None, float | None]:
    return row.paper, row.published


def _fid(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _every(results: Results) -> Section:
    """All rows with all figures."""
    names = dict.fromkeys(f["name"] for facts in results.rows.values() for f in facts["figures"])
    rows: list[list[Cell]] = []
    for row, facts in results.rows.items():
        found = {f["name"]: f for f in facts["figures"]}
        values = [_spread(found[name]) if name in found else "–" for name in names]
        rows.append([f"{row.letter}: {row.name}", _fid(row.published), *values])
    text = (
        "All figures with their 95 % intervals. Distances are too high because the samples are "
        "few, by the same amount in all rows."
    )
    return Section("All rows", text, tables=[Table(rows, ["", "published FID", *names])])


def _spread(figure: Facts) -> str:
    return f"{figure['value']:.4g} ({figure['low']:.4g} to {figure['high']:.4g})"


def stored(results: Results, row: Row) -> Tensor:
    """The first samples of a row."""
    facts, plan = results.rows[row], results.work.plan
    folder = cache_folder("samples") / facts["pictures"]
    return next(evaluation.stored(folder, 0, min(SHOWN, plan.samples), BATCH))


def _samples(results: Results) -> Section:
    rows: list[list[Cell]] = []
    for row in results.rows:
        images = stored(results, row)
        alt = f"{len(images)} samples: {row.name}"
        rows.append([f"{row.letter}: {row.name}", strip(images, alt, len(images))])
    text = "The first samples of each row. Models of the same shape start from the same noise."
    return Section("Samples", text, tables=[Table(rows)])


def _efficiency(results: Results) -> tuple[Section, list[Panel]] | None:
    """Quality, time and memory against denoiser calls, with the weights of A and B."""
    rows = {row: facts for row, facts in results.rows.items() if row.model == "linear"}
    if len(rows) < 2:
        return None
    name = results.distances("linear")[-1]
    slowest = max(facts["seconds"] for facts in rows.values())
    cells: list[list[Cell]] = []
    points: dict[str, list[tuple[float, float]]] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    for row, facts in rows.items():
        calls = row.settings.calls
        figure = next(f for f in facts["figures"] if f["name"] == name)
        sampler = row.settings.sampler.upper()
        points.setdefault(sampler, []).append((calls, figure["value"]))
        times.setdefault(sampler, []).append((calls, facts["seconds"] / BATCH))
        cells.append(
            [
                f"{sampler} {row.settings.steps}",
                f"{calls:,}",
                f"{facts['seconds']:.2f}",
                f"{slowest / facts['seconds']:.1f}",
                f"{facts['memory']:,.0f}" if facts["memory"] else "–",
                _spread(figure),
            ]
        )
    head = ["", "calls", f"seconds for {BATCH}", "times as fast", "peak MiB", name]
    panels = [
        Panel(_sorted(points), "denoiser calls", name, log_x=True, log_y=True),
        Panel(_sorted(times), "denoiser calls", "seconds per sample", log_x=True, log_y=True),
    ]
    text = (
        "Samples of one model, from the same noise. The time is the median over batches of "
        f"{BATCH}; the memory is that of the whole process."
    )
    charts, legend = _charts(panels)
    section = Section("What fewer steps cost", text, legend, charts, [Table(cells, head)])
    return section, panels


def _schedules(results: Results) -> tuple[Section, list[Panel]] | None:
    """Linear, cosine, and cosine with adaptive levels, compared at equal images seen."""
    if not results.study:
        return None
    name = ["", *results.distances(*results.study)][-1]
    cells: list[list[Cell]] = []
    for model, facts in results.study.items():
        at = [r for r in results.rows if r.model == model and r.settings.steps == 50]
        found = results.rows[at[0]]["figures"] if at else []
        figure = next((f for f in found if f["name"] == name), None)
        mean = sum(error for _, error in facts["errors"]) / len(facts["errors"])
        cells.append(
            [
                model,
                f"{results.work.plan.models[model].train.images:,}",
                _spread(figure) if figure else "–",
                f"{mean:.4f}",
                f"{facts['noise_scale']:,.0f}" if facts["noise_scale"] else "–",
                f"{facts['gradient']:.3g}",
            ]
        )
    head = ["", "images seen", f"{name}, DDIM 50", "error", "noise scale", "gradient"]
    errors = {
        model: [(snr, error) for snr, error in facts["errors"]]
        for model, facts in results.study.items()
    }
    panels = [Panel(errors, "log SNR", "error of eps", log_y=True)]
    text = (
        "The same network was trained on the same images in the same order. adaptive is the cosine "
        "schedule, trained at the levels where its loss is large. error is the mean square of "
        "eps_hat - eps over the schedule's own levels, on images that were not trained on. The "
        "chart shows it by SNR, where schedules can be compared. noise scale is the batch size at "
        "which half of the gradient is noise (McCandlish et al. 2018), and gradient the norm of "
        "the gradient without noise, both at the end of the training."
    )
    charts, legend = _charts(panels)
    return Section("Schedules", text, legend, charts, [Table(cells, head)]), panels


def _charts(panels: Sequence[Panel]) -> tuple[list[Chart], list[tuple[str, str]]]:
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    colour = colours(names)
    charts = []
    for panel in panels:
        said = [
            f"{name} from {points[0][1]:.3g} at {points[0][0]:.4g} to {points[-1][1]:.3g} at "
            f"{points[-1][0]:.4g}"
            for name, points in panel.series.items()
        ]
        alt = f"{panel.y} against {panel.x}: {'; '.join(said)}"
        charts.append(Chart(chart(panel, colour), alt))
    return charts, list(colour.items()) if len(names) > 1 else []


def _sorted(series: dict[str, list[tuple[float, float]]]) -> dict[str, list[tuple[float, float]]]:
    return {name: sorted(points) for name, points in series.items()}


def _trainings(results: Results) -> Section:
    work, rows = results.work, []
    for name, config in work.plan.models.items():
        why = work.why_not(name)
        spent = "–" if why else in_words(duration(work.folder(name) / "log.jsonl"))
        cells: list[Cell] = [name, config.recipe, config.data.data, f"{config.train.images:,}"]
        rows.append([*cells, f"{config.train.batch}", spent, as_flags(why) or digest(config)])
    head = ["", "recipe", "data", "images", "batch", "steps took", "configuration"]
    text = (
        "Each training has a run folder beside this page, with its config.json, which the last "
        "column identifies."
    )
    return Section("Trainings", text, tables=[Table(rows, head)])
