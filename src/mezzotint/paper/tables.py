"""The sections of a reproduction: its tables, charts and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mezzotint import evaluation
from mezzotint.drawing.curves import Panel
from mezzotint.drawing.inline import chart, colours, strip
from mezzotint.drawing.page import Cell, Chart, Section, Table
from mezzotint.paper.estimate import BATCH
from mezzotint.paper.plan import EXPERIMENTS, SOURCES, Row, digest
from mezzotint.paper.work import Work, networks
from mezzotint.storage.cache import cache_folder
from mezzotint.storage.log import duration
from mezzotint.storage.progress import told

SHOWN = 10  # pictures of each row
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """A plan's rows and what was measured of its schedules, in the order of the plan."""

    work: Work
    rows: dict[Row, dict[str, Any]]
    study: dict[str, dict[str, Any]]

    def distances(self, *models: str) -> list[str]:
        """The names of the Frechet distances of these models' rows, or of all: FID is the last."""
        names = dict.fromkeys(
            f["name"]
            for row, facts in self.rows.items()
            for f in facts["figures"]
            if f["name"].startswith(("fd-", "fid")) and (not models or row.model in models)
        )
        return list(names)


def sections(results: Results) -> Iterator[tuple[Section, list[Panel]]]:
    """Each with the panels that its charts are of."""
    yield _four(results), []
    yield _every(results), []
    if results.rows:
        yield _pictures(results), []
    if shown := _efficiency(results):
        yield shown
    if shown := _schedules(results):
        yield shown
    yield _trainings(results), []


def _four(results: Results) -> Section:
    """The experiments, a row each."""
    distances = results.distances()
    head = ["", "", "report's FID", "papers' FID", *(f"our {d}" for d in distances)]
    head += ["95 % interval", "pictures", "images seen", "training", "configuration"]
    rows: list[list[Cell]] = []
    for row in results.work.plan.rows:
        if not row.headline:
            continue
        what = f"{row.letter}: {row.name}", EXPERIMENTS[row.letter]
        facts = results.rows.get(row)
        if facts is None:
            why = results.work.needs(row.model)
            cells: list[Cell] = [*what, row.report, row.papers, f"not done: {why}"]
            rows.append([*cells, *["–"] * (len(head) - len(cells))])
            continue
        found = {f["name"]: f for f in facts["figures"]}
        values: list[Cell] = [f"{found[d]['value']:.2f}" if d in found else "–" for d in distances]
        last = [found[d] for d in distances if d in found][-1]
        rows.append(
            [
                *(*what, row.report, row.papers, *values),
                f"{last['low']:.2f} to {last['high']:.2f}",
                f"{last['samples']:,}",
                f"{facts['images']:,}",
                told(facts["training_seconds"]),
                facts["configuration"],
            ]
        )
    text = (
        "The report's figures are FID in Inception's features of CIFAR-10 (A, B, D) and of "
        "ImageNet-100 (C), where one is known here; so are the papers' "
        f"({SOURCES}). Ours are of the data and "
        "the feature network named beside them, and compare with theirs only as FID. "
        f"{networks(())[1]}"
    )
    return Section("The four experiments", text.strip(), tables=[Table(rows, head)])


def _every(results: Results) -> Section:
    """All rows with all their figures."""
    names = dict.fromkeys(f["name"] for facts in results.rows.values() for f in facts["figures"])
    rows: list[list[Cell]] = []
    for row, facts in results.rows.items():
        found = {f["name"]: f for f in facts["figures"]}
        told_of = [_spread(found[name]) if name in found else "–" for name in names]
        rows.append([f"{row.letter}: {row.name}", row.papers, *told_of])
    text = "With 95 % intervals. The distance of few pictures is too high, by as much for all rows."
    return Section("All rows", text, tables=[Table(rows, ["", "papers", *names])])


def _spread(figure: Facts) -> str:
    return f"{figure['value']:.4g} ({figure['low']:.4g} to {figure['high']:.4g})"


def stored(results: Results, row: Row) -> Tensor:
    facts, plan = results.rows[row], results.work.plan
    folder = cache_folder("samples") / facts["pictures"]
    return next(evaluation.stored(folder, 0, min(SHOWN, plan.samples), BATCH))


def _pictures(results: Results) -> Section:
    rows: list[list[Cell]] = []
    for row in results.rows:
        images = stored(results, row)
        alt = f"{len(images)} pictures: {row.name}"
        rows.append([f"{row.letter}: {row.name}", strip(images, alt, len(images))])
    text = "The first of each row; those of models of one shape begin with the same noise."
    return Section("Pictures", text, tables=[Table(rows)])


def _efficiency(results: Results) -> tuple[Section, list[Panel]] | None:
    """Quality, time and memory against denoiser calls, of the weights of A and B."""
    rows = {row: facts for row, facts in results.rows.items() if row.model == "linear"}
    if len(rows) < 2:
        return None
    name = results.distances("linear")[-1]
    slowest = max(facts["seconds"] for facts in rows.values())
    cells: list[list[Cell]] = []
    points: dict[str, list[tuple[float, float]]] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    for row, facts in rows.items():
        calls = row.how.calls
        figure = next(f for f in facts["figures"] if f["name"] == name)
        sampler = row.how.sampler.upper()
        points.setdefault(sampler, []).append((calls, figure["value"]))
        times.setdefault(sampler, []).append((calls, facts["seconds"] / BATCH))
        cells.append(
            [
                f"{sampler} {row.how.steps}",
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
        Panel(_sorted(times), "denoiser calls", "seconds a picture", log_x=True, log_y=True),
    ]
    text = (
        "One model's pictures, from the same noise. Time is the median of batches of "
        f"{BATCH}; memory that of the whole process."
    )
    charts, legend = _charts(panels)
    section = Section("What fewer steps cost", text, legend, charts, [Table(cells, head)])
    return section, panels


def _schedules(results: Results) -> tuple[Section, list[Panel]] | None:
    """Linear against cosine, and cosine with adaptive levels, at equal images seen."""
    if not results.study:
        return None
    name = ["", *results.distances(*results.study)][-1]
    cells: list[list[Cell]] = []
    for model, facts in results.study.items():
        at = [r for r in results.rows if r.model == model and r.how.steps == 50]
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
        "The same network and images in the same order; adaptive is cosine, trained at the levels "
        "where its loss is large. Error: the mean square of eps_hat - eps over the schedule's own "
        "levels, of pictures that were not trained on; at one SNR (the chart) it compares between "
        "schedules. Noise scale: the batch at which the gradient is half noise (McCandlish et al. "
        "2018), and the norm of the gradient without its noise, at the end of the training."
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
        why = work.needs(name)
        spent = "–" if why else told(duration(work.folder(name) / "log.jsonl"))
        cells: list[Cell] = [name, config.recipe, config.data.data, f"{config.train.images:,}"]
        rows.append([*cells, f"{config.train.batch}", spent, why or digest(config)])
    head = ["", "recipe", "data", "images", "batch", "steps took", "configuration"]
    text = "Each is a run folder beside this page, with its config.json; the last column names it."
    return Section("Trainings", text, tables=[Table(rows, head)])
