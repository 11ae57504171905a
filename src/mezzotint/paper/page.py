"""The results of a plan as an HTML page, and as Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from PIL import Image

from mezzotint.config.experiment import Autoencoder
from mezzotint.drawing import figures
from mezzotint.drawing.curves import draw
from mezzotint.drawing.inline import png
from mezzotint.drawing.page import Cell, InlineImage, Page, Section, Table, render
from mezzotint.pages.history import curves
from mezzotint.pages.runs import read
from mezzotint.paper.plan import Plan
from mezzotint.paper.tables import Results, heading, sections, stored
from mezzotint.paper.work import Work
from mezzotint.storage.files import beside, write_text
from mezzotint.storage.machine import machine


def write(results: Results) -> Path:
    """Write report.html, and reproduce.md with its images; return the path of report.html."""
    folder = results.work.plan.folder
    page = folder / "report.html"
    write_text(page, render(_page(results)))
    lines = [f"# {_title(results)}", "", *(line for fact in _facts(results) for line in (fact, ""))]
    for section, panels in sections(results):
        lines += [f"## {section.title}", "", *([section.text, ""] if section.text else [])]
        if panels:
            name = f"{section.title.lower().replace(' ', '-')}.png"
            with beside(folder / name) as partial:
                draw(panels, partial)
            lines += [f"![{section.charts[0].alt}]({name})", ""]
        if any(table.across for table in section.tables):
            with beside(folder / "pictures.png") as partial:
                _strips(results).save(partial)
            lines += ["![The first samples of each row, from the same noise](pictures.png)", ""]
            continue
        for part in section.sections or [section]:
            lines += [f"### {part.title}", ""] if part is not section else []
            for table in part.tables:
                lines += [f"<!-- table: {part.title} -->", *_markdown(table), ""]
    write_text(folder / "reproduce.md", "\n".join(lines).rstrip() + "\n")
    return page


def _title(results: Results) -> str:
    name, scale = heading(results), results.work.plan.scale
    if name.startswith("Experiment "):
        return f"{name} of the paper (scale {scale})"
    return f"The paper's experiments (scale {scale})"


def _facts(results: Results) -> list[str]:
    """Return sentences on how, when and where the results were measured."""
    plan = results.work.plan
    runs = sorted({(facts["processor"], facts["commit"]) for facts in results.rows.values()})
    letters = sorted({row.letter for row in plan.rows})
    which = f"Experiment{'s' * (len(letters) > 1)} {', '.join(letters)}"
    facts = [
        f"{which} of arXiv 2412.14422, by {_command(plan)}: {_counts(plan)} "
        f"samples for each row, seed {plan.seed}, {plan.precision} precision. Written on "
        f"{datetime.now(UTC):%Y-%m-%d} on {machine('torch')}."
    ]
    if len(runs) > 1:
        each = "; ".join(f"{processor}, mezzotint {commit}" for processor, commit in runs)
        facts.append(f"The rows were measured on: {each}.")
    return facts


def _counts(plan: Plan) -> str:
    """Return the numbers of samples in the rows of a plan, in words."""
    counts = [f"{count:,}" for count in sorted({row.samples for row in plan.rows})]
    return " or ".join(filter(None, [", ".join(counts[:-1]), counts[-1]]))


def _command(plan: Plan) -> str:
    """Return the command that makes this page again, with only the last component of each path."""
    words = ["mezzotint", "reproduce"]
    for flag, value in plan.flags.items():
        words += [f"--{flag}", *(plan.networks if flag == "network" else [value])]
    return shlex.join(words)


def _page(results: Results) -> Page:
    parts = [section for section, _ in sections(results)]
    work = results.work
    if found := curves([read(work.folder(name), name) for name in work.models]):
        parts.append(found)
    parts += [grid for name in work.models if (grid := _grid(work, name))]
    return Page(_title(results), _facts(results), parts)


def _strips(results: Results) -> Image.Image:
    """Arrange the first samples of all rows in one image."""
    sheets: list[Image.Image] = []
    for size in dict.fromkeys(stored(results, row).shape[1:] for row in results.rows):
        rows = [row for row in results.rows if stored(results, row).shape[1:] == size]
        images = [stored(results, row) for row in rows]
        labels = [k for k, part in enumerate(images) for _ in part]
        names = [f"{row.letter}: {row.name}" for row in rows]
        sheets.append(figures.grid(torch.cat(images), labels, names))
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole


def _grid(work: Work, name: str) -> Section | None:
    """Return the last image grid of a training."""
    found = sorted(p for p in (work.folder(name) / "samples").glob("*.png") if p.stem.isdecimal())
    if not found:
        return None
    what = (
        "originals above reconstructions"
        if isinstance(work.plan.models[name], Autoencoder)
        else "samples of the averaged weights"
    )
    with Image.open(found[-1], formats=["PNG"]) as image:
        shown = InlineImage(png(image), f"{name}: {what}", f"{int(found[-1].stem):,} images seen")
    return Section(f"The last images of {name}", f"{what[0].upper()}{what[1:]}.", images=[shown])


def _markdown(table: Table) -> list[str]:
    def line(cells: Sequence[Cell]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    width = max(len(row) for row in table.rows) if table.rows else len(table.head)
    head = [*table.head, *[""] * (width - len(table.head))]
    return [line(head), "|" + "---|" * width, *(line(row) for row in table.rows)]
