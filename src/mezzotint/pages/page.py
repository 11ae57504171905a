"""Runs as a page: what they were told, what they logged, what was measured, what they make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from mezzotint import config as configuration
from mezzotint.config.experiment import Autoencoder, Configuration
from mezzotint.drawing.curves import Panel
from mezzotint.drawing.inline import chart, colours, png
from mezzotint.drawing.page import Cell, Chart, Faint, Page, Picture, Section, Table
from mezzotint.errors import UserError
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Figure
from mezzotint.pages.shown import Asked, Run, made, reconstructed
from mezzotint.storage import jsonl
from mezzotint.storage.log import read as read_log
from mezzotint.storage.machine import machine

__all__ = ["Asked", "Follow", "curves", "page"]

GRIDS = 6  # through a training
STEEP = 20  # largest over smallest, from which on a curve's axis is logarithmic
AXES = {  # of the log's columns; those that it has besides keep their own names
    "loss": "loss",
    "grad_norm": "gradient norm",
    "images_per_second": "images a second",
    "lr": "learning rate",
}


def page(folders: Sequence[Path], asked: Asked, follow: Follow) -> Page:
    """The page of one run, or of several beside each other.

    ``follow(what, done, of)`` goes with the pictures that are made. Raises UserError for a folder
    that is no run, and for one that is given twice.
    """
    if twice := [str(f) for i, f in enumerate(folders) if f.resolve() in _resolved(folders[:i])]:
        raise UserError(f"{twice[0]} is given twice: give each run once")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = [_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    facts = [f"Written on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {machine('torch')}."]
    if len(runs) == 1:
        (run,) = runs
        sections = list(_own(run, asked, follow))
        if shown := _curves(runs):
            sections.insert(1, shown)
        return Page(f"{run.config.recipe}: a run of mezzotint", [_about(run), *facts], sections)
    compared = [_curves(runs), _differences(runs), _measured(runs)]
    each = [Section(r.name, _about(r), sections=list(_own(r, asked, follow))) for r in runs]
    title = f"{len(runs)} runs of mezzotint compared"
    return Page(title, facts, [*filter(None, compared), *each])


def curves(folders: Sequence[Path]) -> Section | None:
    """The logs of runs as charts against images seen; None where nothing is logged."""
    return _curves([_run(folder, folder.name) for folder in folders])


def _resolved(folders: Sequence[Path]) -> set[Path]:
    return {folder.resolve() for folder in folders}


def _run(folder: Path, name: str) -> Run:
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} is no run: give a folder that mezzotint train has made")
    config = configuration.read(folder / "config.json")
    return Run(folder, name, config, read_log(folder / "log.jsonl"))


def _about(run: Run) -> str:
    train, seen = run.config.train, run.log[-1]["images"] if run.log else 0
    return (
        f"{run.folder}: recipe {run.config.recipe}, of the data {run.config.data.data}; "
        f"{seen:,} of {train.images:,} images seen, in batches of {train.batch:,}, "
        f"seed {train.seed}."
    )


def _own(run: Run, asked: Asked, follow: Follow) -> Iterator[Section]:
    """A run's own sections."""
    yield _configuration(run.config)
    if table := _figures(run.folder):
        yield Section(
            "Figures", "The newest of each name, as evaluate has kept it.", tables=[table]
        )
    if grids := _grids(run.folder):
        text = "What the averaged weights made on the way, always of the same noise."
        if isinstance(run.config, Autoencoder):
            text = "On the way: each original above what the averaged weights gave back."
        yield Section("Through the training", text, pictures=grids)
    yield from (reconstructed if isinstance(run.config, Autoencoder) else made)(run, asked, follow)


def _settings(config: Configuration) -> dict[str, dict[str, tuple[Any, bool]]]:
    """Section -> field -> its value, and whether that is the default."""
    found: dict[str, dict[str, tuple[Any, bool]]] = {"run": {}}
    whole = type(config)(recipe=config.recipe)
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            kind: Any = type(value)
            default = kind()
            found[field.name] = {
                f.name: (own := getattr(value, f.name), own == getattr(default, f.name))
                for f in fields(value)
            }
        else:
            default = None if field.name == "recipe" else getattr(whole, field.name)
            found["run"][field.name] = value, value == default
    return found


def _configuration(config: Configuration) -> Section:
    def row(name: str, value: Any, default: bool) -> tuple[Cell, Cell]:
        cells = name.replace("_", " "), _said(value)
        return (Faint(cells[0]), Faint(cells[1])) if default else cells

    tables = [
        Table([row(name, *told) for name, told in settings.items()], caption=section)
        for section, settings in _settings(config).items()
    ]
    return Section("Configuration", "Defaults are faint.", tables=tables)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(_said(part) for part in value) or "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value or "–")


def _differences(runs: Sequence[Run]) -> Section:
    flat = [
        {
            f"{section}.{name}".removeprefix("run."): _said(value)
            for section, settings in _settings(run.config).items()
            for name, (value, _) in settings.items()
        }
        for run in runs
    ]
    names = dict.fromkeys(name for settings in flat for name in settings)
    rows = [(name, *(settings.get(name, "–") for settings in flat)) for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        return Section("Differences", "The configurations are the same.")
    head = ["", *(run.name for run in runs)]
    return Section("Differences", "Of their configurations.", tables=[Table(rows, head)])


def _curves(runs: Sequence[Run]) -> Section | None:
    """Each column of the logs against images seen."""
    columns: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in AXES}
    for run in runs:
        for row in run.log:
            values = {k: v for k, v in row.items() if k not in ("step", "images")}
            if figure := values.pop("figure", None):
                values[figure["name"]] = figure["value"]
            for name, value in values.items():
                if isinstance(value, int | float):
                    points = columns.setdefault(name, {}).setdefault(run.name, [])
                    points.append((row["images"], value))
    colour = colours([run.name for run in runs])
    charts = [
        _chart(AXES.get(name, name.replace("_", " ")), s, colour)
        for name, s in columns.items()
        if s
    ]
    legend = list(colour.items()) if len(runs) > 1 else ()
    return Section("Curves", "Against images seen.", legend, charts) if charts else None


def _chart(name: str, series: dict[str, list[tuple[float, float]]], colour: Any) -> Chart:
    values = [value for points in series.values() for _, value in points]
    log = name != AXES["lr"] and 0 < min(values) < max(values) / STEEP
    told = [
        f"{run} from {points[0][1]:.4g} to {points[-1][1]:.4g} at {points[-1][0]:,} images"
        for run, points in series.items()
    ]
    svg = chart(Panel(series, "images seen", name, log_y=log), colour)
    return Chart(svg, f"{name} against images seen: {'; '.join(told)}")


def _newest(folder: Path) -> dict[str, tuple[Figure, dict[str, Any]]]:
    """The newest figure of each name that was kept, with the row it stood in."""
    found: dict[str, tuple[Figure, dict[str, Any]]] = {}
    for row in jsonl.read(folder / "evaluation" / "figures.jsonl"):
        with contextlib.suppress(KeyError, TypeError):  # of another program's rows
            figures = [Figure.read(figure) for figure in row["figures"]]
            found |= {figure.name: (figure, row) for figure in figures}
    return found


def _figures(folder: Path) -> Table | None:
    rows = []
    for name, (figure, row) in _newest(folder).items():
        how = ", ".join(
            said
            for field, said in {
                "sampler": f"{row.get('sampler')}",
                "steps": f"{row.get('steps')} steps",
                "guidance": f"guidance {row.get('guidance'):g}" if row.get("guidance") else "",
            }.items()
            if row.get(field)
        )
        interval = f"{figure.low:.4g} to {figure.high:.4g}"
        value, day = f"{figure.value:.4g}", str(row.get("time", "–"))[:10]
        cells = (value, interval, f"{figure.count:,}", figure.against or "–", how or "–", day)
        rows.append((name, *cells))
    head = ("figure", "value", "95 % interval", "pictures", "against", "made by", "on")
    return Table(rows, head) if rows else None


def _measured(runs: Sequence[Run]) -> Section | None:
    """The newest figures of the runs beside each other."""
    found = [_newest(run.folder) for run in runs]
    names = dict.fromkeys(name for figures in found for name in figures)

    def cell(figures: dict[str, tuple[Figure, Any]], name: str) -> str:
        if name not in figures:
            return "–"
        f = figures[name][0]
        return f"{f.value:.4g} ({f.low:.4g} to {f.high:.4g}; N = {f.count:,})"

    rows = [(name, *(cell(figures, name) for figures in found)) for name in names]
    head = ["", *(run.name for run in runs)]
    text = "The newest of each name with its 95 % interval; how each was made stands with its run."
    return Section("Figures", text, tables=[Table(rows, head)]) if rows else None


def _grids(folder: Path) -> list[Picture]:
    """Up to six of the grids of a training, evenly spaced, the last among them."""
    paths = sorted(p for p in (folder / "samples").glob("*.png") if p.stem.isdecimal())
    count = min(GRIDS, len(paths))
    chosen = [paths[round((i + 1) * len(paths) / count) - 1] for i in range(count)]
    pictures = []
    for path in chosen:
        after = f"{int(path.stem):,} images"
        with Image.open(path) as image:
            pictures.append(Picture(png(image), f"Grid of pictures after {after}", after))
    return pictures
