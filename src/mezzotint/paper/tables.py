"""The sections of a reproduction: tables, charts and samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mezzotint import evaluation
from mezzotint.config.paths import named
from mezzotint.drawing.bars import time_in_words
from mezzotint.drawing.curves import Panel
from mezzotint.drawing.inline import chart, colours, strip
from mezzotint.drawing.page import Cell, Chart, Section, Table
from mezzotint.errors import as_flags
from mezzotint.paper.costs import BATCH
from mezzotint.paper.plan import Row, digest
from mezzotint.paper.published import EXPERIMENTS, papers, published
from mezzotint.paper.rows import by_count, networks
from mezzotint.paper.statements import statements
from mezzotint.paper.terms import CONFIGURATION, explained
from mezzotint.paper.work import Work
from mezzotint.storage.cache import cache_folder
from mezzotint.storage.log import duration

SHOWN = 10  # samples that the page shows for each row
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """A plan's measured rows, in order, and the row of study.jsonl for each pixel model."""

    work: Work
    rows: dict[Row, dict[str, Any]]
    study: dict[str, dict[str, Any]]

    def figures(self, row: Row, count: int = 0) -> dict[str, dict[str, Any]]:
        """Return the figures of a row that were measured on ``count`` samples, as {name: figure}.

        If ``count`` is 0, return the figures that were measured on all ``row.samples`` samples.
        """
        return by_count(self.rows[row]).get(count or row.samples, {}) if row in self.rows else {}

    def distances(self, *models: str) -> list[str]:
        """Return the names of the Frechet distances that all rows of the given models have.

        If no models are given, return the distances that at least one row has. Extrapolated
        distances are left out. If FID is in the list, it comes last. Rows are compared by the last
        distance.
        """
        rows = [facts for row, facts in self.rows.items() if not models or row.model in models]
        each = [dict.fromkeys(f["name"] for f in facts["figures"]) for facts in rows]
        names = [
            name
            for name in dict.fromkeys(name for found in each for name in found)
            if name.startswith(("fd-", "fid"))
            and not name.endswith("-inf")
            and (not models or all(name in f for f in each))
        ]
        return sorted(names, key=lambda name: name.startswith("fid"))


def sections(results: Results) -> Iterator[tuple[Section, list[Panel]]]:
    """Yield each section of the report, with the panels of its charts."""
    yield _headlines(results), []
    yield _every(results), []
    if judged := statements(results):
        yield judged, []
    if results.rows:
        yield _samples(results), []
    if shown := _efficiency(results):
        yield shown
    if shown := _schedules(results):
        yield shown
    yield _trainings(results), []


def heading(results: Results) -> str:
    """Return the heading for the experiments of a plan."""
    letters = sorted({row.letter for row in results.work.plan.rows})
    if len(letters) == 1:
        return f"Experiment {letters[0]}"
    return "The four experiments" if len(letters) == 4 else f"Experiments {', '.join(letters)}"


def _by_data(results: Results, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group a plan's rows by data set; figures for different data sets are not comparable."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        data = named(results.work.plan.models[row.model].data.data)
        found.setdefault(data, []).append(row)
    return found


def _parted(title: str, text: str, tables: Mapping[str, Table]) -> Section:
    """Make a section with a table for each data set, with headings if there are several."""
    if len(tables) == 1:
        return Section(title, text, tables=list(tables.values()))
    parts = [Section(f"{title}: {data}", tables=[table]) for data, table in tables.items()]
    return Section(title, text, sections=parts)


def _names(results: Results, rows: Sequence[Row]) -> list[str]:
    """Return the names of the figures of ``rows`` that were measured on all samples of a row."""
    return list(dict.fromkeys(name for row in rows for name in results.figures(row)))


def _headlines(results: Results) -> Section:
    """Make the summary table, which has a row for each experiment."""
    tables, every = {}, list[str]()
    parts = _by_data(results, [row for row in results.work.plan.rows if row.headline])
    for data, rows in parts.items():
        distances = [n for n in results.distances() if n in _names(results, rows)]
        every += distances
        tables[data] = _headline_table(results, data, rows, distances)
    text = (
        'The column "the paper\'s FID" has the figures of arXiv 2412.14422: FIDs on CIFAR-10 (A, '
        'B, D) and on ImageNet-100 (C). The column "published FID" has figures from the papers '
        "that introduced the methods. Only FIDs on the same data can be compared with each other. "
        f"{explained(every)} {CONFIGURATION} "
        f"{as_flags(networks('', results.work.plan.networks)[1])}"
    )
    return _parted(heading(results), text.strip(), tables)


def _headline_table(
    results: Results, data: str, rows: Sequence[Row], distances: Sequence[str]
) -> Table:
    """Make the summary table of the experiments on one data set."""
    head = ["", "", "data", "the paper's FID", "published FID"]
    head += [f"our {d} (95 % interval)" for d in distances] or ["our figure"]
    head += ["samples", "images seen", "training", "configuration"]
    cells: list[list[Cell]] = []
    for row in rows:
        known: list[Cell] = [f"{row.letter}: {row.name}", EXPERIMENTS[row.letter], data]
        known += [papers(row.letter), published(row.letter, row.published)]
        facts = results.rows.get(row)
        if facts is None:
            known.append(f"not done: {as_flags(results.work.why_not(row.model))}")
            cells.append([*known, *["–"] * (len(head) - len(known))])
            continue
        count = results.work.plan.fewest(row)
        found = results.figures(row, count)
        values = [_spread(found[d]) if d in found else "–" for d in distances]
        samples = f"{count:,}"
        spent = time_in_words(facts["training_seconds"])
        cells.append(
            [*known, *values, samples, f"{facts['images']:,}", spent, facts["configuration"]]
        )
    return Table(cells, head)


def _every(results: Results) -> Section:
    """Make the table of all rows with all figures."""
    tables = {}
    for data, rows in _by_data(results, list(results.rows)).items():
        names = _names(results, rows)
        counts = sorted({results.work.plan.fewest(rows[0]), *(row.samples for row in rows)})
        for count in counts:
            cells: list[list[Cell]] = []
            for row in rows:
                if not (found := results.figures(row, count)):
                    continue
                values = [_spread(found[name]) if name in found else "–" for name in names]
                fid = published(row.letter, row.published)
                cells.append([f"{row.letter}: {row.name}", data, fid, *values])
            what = f"{data}, {count:,} samples" if len(counts) > 1 else data
            tables[what] = Table(cells, ["", "data", "published FID", *names])
    text = (
        "The tables have all figures with their 95 % intervals. Because there are few samples, all "
        "distances are too high, by about the same amount in all rows of one table. So compare "
        f"rows only within a table. {explained(_names(results, list(results.rows)))}"
    )
    return _parted("All rows", text.strip(), tables or {"": Table([], ["", "data"])})


def _spread(figure: Facts) -> str:
    return f"{figure['value']:.4g} ({figure['low']:.4g} to {figure['high']:.4g})"


def stored(results: Results, row: Row) -> Tensor:
    """Return the first samples of a row from the cache, (n, C, H, W)."""
    folder = cache_folder("samples") / results.rows[row]["pictures"]
    return next(evaluation.stored(folder, 0, min(SHOWN, row.samples), BATCH))


def _samples(results: Results) -> Section:
    rows: list[list[Cell]] = []
    for row in results.rows:
        images = stored(results, row)
        alt = f"{len(images)} samples: {row.name}"
        rows.append([f"{row.letter}: {row.name}", strip(images, alt, len(images))])
    text = (
        "These are the first samples of each row. Models with inputs of the same shape start from "
        "the same noise."
    )
    return Section("Samples", text, tables=[Table(rows)])


def _efficiency(results: Results) -> tuple[Section, list[Panel]] | None:
    """Compare the quality, time and memory of the unguided samples of experiments A and B."""
    every = results.rows.items()
    rows = {row: facts for row, facts in every if row.model == "linear" and not row.guided}
    if len(rows) < 2:
        return None
    name = results.distances("linear")[-1]
    slowest = max(facts["seconds"] for facts in rows.values())
    cells: list[list[Cell]] = []
    points: dict[str, list[tuple[float, float]]] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    for row, facts in rows.items():
        calls = row.settings.calls
        figure = results.figures(row, results.work.plan.fewest(row))[name]
        sampler = row.settings.sampler.upper()
        points.setdefault(sampler, []).append((calls, figure["value"]))
        times.setdefault(sampler, []).append((calls, facts["seconds"] / BATCH))
        cells.append(
            [
                f"{sampler} {row.settings.steps}",
                f"{calls:,}",
                f"{facts['seconds']:.2f}",
                f"{facts.get('batches', '–')}",
                f"{slowest / facts['seconds']:.1f}",
                f"{facts['memory']:,.0f}" if facts["memory"] else "–",
                _spread(figure),
            ]
        )
    head = ["", "calls", f"seconds for {BATCH}", "batches timed", "times as fast", "peak MiB", name]
    panels = [
        Panel(_sorted(points), "denoiser calls", name, log_x=True, log_y=True),
        Panel(_sorted(times), "denoiser calls", "seconds per sample", log_x=True, log_y=True),
    ]
    turns = [f"{row.name} and {', '.join(f['turns'])}" for row, f in rows.items() if f.get("turns")]
    text = (
        'All rows are samples of one model, from the same noise. The columns: "calls" is the '
        f'number of network calls for a sample. "seconds for {BATCH}" is the time from the noise '
        f'to one batch of {BATCH} samples on the disk, the median over the "batches timed". '
        + (f"{turns[0]} were timed in turn, batch by batch. " if turns else "")
        + '"times as fast" is the speed relative to the slowest row. "peak MiB" is the peak memory '
        f"of the whole process. {explained([name])}"
    )
    if len({facts.get("processor") for facts in rows.values()}) > 1:
        text += (
            " The rows were timed on different machines or by different numbers of threads, so "
            "their times and their memory cannot be compared."
        )
    charts, legend = _charts(panels)
    section = Section("What fewer steps cost", text, legend, charts, [Table(cells, head)])
    return section, panels


def _schedules(results: Results) -> tuple[Section, list[Panel]] | None:
    """Return a section that compares the pixel models, which differ in schedule and objective.

    All were trained on the same number of images.
    """
    if not results.study:
        return None
    name = ["", *results.distances(*results.study)][-1]
    cells: list[list[Cell]] = []
    for model, facts in results.study.items():
        at = [r for r in results.rows if r.model == model and r.settings.steps == 50]
        figure = results.figures(at[0]).get(name) if at else None
        mean = sum(error for _, error in facts["errors"]) / len(facts["errors"])
        cells.append(
            [
                model,
                f"{results.work.plan.models[model].train.images:,}",
                _spread(figure) if figure else "–",
                f"{mean:.4f}",
                f"{facts['noise_scale']:,.0f}" if facts["noise_scale"] else "–",
                f"{facts['gradient']:.3g}" if facts["gradient"] else "–",
            ]
        )
    head = ["", "images seen", f"{name}, DDIM 50", "error", "noise scale", "gradient"]
    held_out = all(facts.get("held_out", True) for facts in results.study.values())
    images = "images that the model was not trained on" if held_out else "training images"
    errors = {
        model: [(snr, error) for snr, error in facts["errors"]]
        for model, facts in results.study.items()
    }
    panels = [Panel(errors, "log SNR", "error of eps", log_y=True)]
    text = (
        'The same network was trained on the same images in the same order. The row "adaptive" '
        "has the cosine schedule, but was trained mostly at the levels where its loss is large. "
        'The column "error" is the mean of (eps_hat - eps)^2 over the levels of the schedule, on '
        f"{images}. The chart shows this error against the SNR, so that schedules can be "
        'compared. The column "noise scale" is the batch size at which half '
        'of the gradient is noise (McCandlish et al. 2018), and "gradient" is the norm of the '
        "gradient without noise, both at the end of the training. A dash means that the noise "
        f"hides the gradient. {explained([name])}"
    )
    charts, legend = _charts(panels)
    return Section("Schedules", text, legend, charts, [Table(cells, head)]), panels


def _charts(panels: Sequence[Panel]) -> tuple[list[Chart], list[tuple[str, str]]]:
    """Return the panels drawn as charts, and the legend that all charts share."""
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
    """Make the table of the trainings."""
    work, rows = results.work, []
    for name, config in work.plan.models.items():
        why = work.why_not(name)
        spent = "–" if why else time_in_words(duration(work.folder(name) / "log.jsonl"))
        cells: list[Cell] = [
            name,
            config.recipe,
            named(config.data.data),
            f"{config.train.images:,}",
        ]
        rows.append([*cells, f"{config.train.batch}", spent, as_flags(why) or digest(config)])
    head = ["", "recipe", "data", "images", "batch", "steps took", "configuration"]
    text = (
        'Each training has a run folder beside this page. The column "images" is the number of '
        'images that the training saw, "batch" is the batch size, and "steps took" is the time '
        f"for all its steps. {CONFIGURATION}"
    )
    return Section("Trainings", text, tables=[Table(rows, head)])
