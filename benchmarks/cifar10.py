"""Measure the CIFAR-10 model in the package, and write docs/results/cifar10.md.

    python benchmarks/cifar10.py cifar10 --data ~/cifar10 --run adamw muon \\
        --theirs runs/theirs --ours runs/ours --out docs/results/cifar10.md

Each row of the table is a call of `mezzotint evaluate`. Its figures are stored in --rows and not
measured again. Three kinds of rows are for comparison: the test set of the data, samples of a model
that diffusers trained (train_unconditional.py in this folder), and our recipe after the same number
of images. Once they are measured, the folders of these two trainings are no longer needed.

Samplers with many calls make fewer images. With few images the distance is too large. So every row
with 1,000 images or more also shows the distance of its first 1,000.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import mezzotint as mz
from mezzotint.drawing.curves import Panel, draw
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import files, jsonl

FEW = 1000
KEPT = "name", "value", "low", "high", "samples"
MAKING = Path("runs/cifar10-table")  # images of rows that are not finished
THEIRS, OURS = "diffusers' training", "our recipe"
PLAIN = "--interval None --rescale 0 --guidance-shape constant"
HEAD = (
    "| | guidance | samples | fd-cifar10 of 1,000 | fd-cifar10 of all | 95 % interval"
    " | class accuracy | precision | recall | near a training image |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)
NOTES = """The number after the name of a sampler is the number of steps. Each step calls the
denoiser once, and a guided denoiser calls the network twice. A sample counts as near a
training image if its nearest training image is nearer to it than to any other training image.
By chance, this holds for a third of the test images. No image was chosen by eye.

Diffusers' training is its `train_unconditional` example, with a network of 12.0 million
parameters and without classes (benchmarks/train_unconditional.py). Our recipe, in the rows
below it, has 12.3 million parameters. In both trainings, the learning rate falls to 0 at
the end."""
FIRST = """## The first weights

The model was first trained with AdamW on 1.75 million images. These first weights were in the
package until commit 07e0b7c. They were then trained further with Muon. With 10,000 samples by
DPM-Solver++ 2M in 10 steps and guidance 2.5, the fd-cifar10 of the first weights is 10.77 (10.44
to 11.10), their class accuracy 0.911, their precision 0.917 and their recall 0.535."""


@dataclass(frozen=True)
class Row:
    title: str
    guidance: float | None
    command: str  # the arguments of `mezzotint`; DATA stands for CIFAR-10
    digest: str  # the digest of the model, or the number of images

    @property
    def place(self) -> str:
        """The name of the file with its figures, which depends on the command and the model."""
        content = self.command + self.digest
        name = re.sub(r"[^a-z0-9.]+", "-", f"{self.title} {self.guidance or ''}".lower())
        return f"{name.strip('-')}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def row_of(pipe: Pipeline, name: str, sampler: str, steps: int, scale: float, count: str) -> Row:
    """Return the row of a sampler. Settings that the model has by default are left out."""
    title, own = f"{sampler} {steps}", pipe.defaults
    command = f"evaluate {name} --against DATA --samples {count} --precision auto"
    if (sampler, steps, scale) == (own.sampler, own.steps, own.guidance):
        return Row(f"{title}, the default", scale, command, pipe.digest)
    spacing = {"ddpm": "linspace", "ddim": "trailing"}.get(sampler, "karras")
    how = f"--sampler {sampler} --steps {steps} --spacing {spacing} --guidance {scale} {PLAIN}"
    return Row(title, scale, f"{command} {how} --batch 32", pipe.digest)


def rows_of(flags: argparse.Namespace) -> list[Row]:
    """Return the rows of the table: the references, then the model, from few calls to many."""
    rows = [Row("CIFAR-10's test set", None, "evaluate DATA --split test --against DATA", "")]
    if flags.theirs:
        images = seen(flags.theirs)
        for folder in sorted(flags.theirs.glob("dd?m-*")):
            title = f"{THEIRS}, {images:,} images, {folder.name.replace('-', ' ')}"
            count = str(len(list(folder.glob("*.png"))))
            command = f"evaluate {shlex.quote(str(folder))} --against DATA"
            rows.append(Row(title, None, command, count))
    else:
        rows += known(flags.rows, THEIRS)
    pipe = mz.load(flags.model)
    scales = 1.0, pipe.defaults.guidance
    if flags.ours:
        title, young = f"{OURS}, {seen(flags.ours):,} images", mz.load(flags.ours)
        name = shlex.quote(str(flags.ours))
        made = [row_of(young, name, "ddim", 50, scale, str(FEW)) for scale in scales]
        rows += [replace(row, title=f"{title}, {row.title}") for row in made]
    else:
        rows += known(flags.rows, OURS)
    kinds = [(pipe.defaults.sampler, steps, flags.samples) for steps in (5, 10, 20)]
    kinds += [("ddim", 10, flags.samples), ("ddim", 50, flags.samples)]
    kinds += [("ddim", 250, flags.slow), ("ddpm", 1000, flags.slow)]
    return rows + [
        row_of(pipe, flags.model, sampler, steps, scale, count)
        for sampler, steps, count in kinds
        for scale in scales
    ]


def seen(folder: Path) -> int:
    """Return how many images a training has seen."""
    return int(json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["images"])


def known(folder: Path, title: str) -> list[Row]:
    """Return the rows with stored figures whose titles begin with ``title``."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows = [Row(**{field.name: row[field.name] for field in fields(Row)}) for row in found]
    return [row for row in rows if row.title.startswith(title)]


def measured(row: Row, data: str, folder: Path) -> dict[int, dict[str, Any]]:
    """Return the figures of a row by the number of images; measure them if necessary."""
    kept, making = folder / f"{row.place}.json", MAKING / row.place
    if not kept.exists():
        command = [data if word == "DATA" else word for word in shlex.split(row.command)]
        command = [sys.executable, "-m", "mezzotint", *command, "--out", str(making)]
        subprocess.run(command, check=True)
        found = []
        for facts in map(json.loads, (making / "figures.jsonl").read_text().splitlines()):
            by = "{machine}; torch {torch}; mezzotint {mezzotint}".format(**facts)
            found += [{**{key: f[key] for key in KEPT}, "by": by} for f in facts["figures"]]
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(kept, json.dumps({**asdict(row), "figures": found}, indent=1) + "\n")
    figures: dict[int, dict[str, Any]] = {}
    for figure in json.loads(kept.read_text())["figures"]:
        figures.setdefault(figure["samples"], {})[figure["name"]] = figure
    return figures


def line(row: Row, figures: dict[int, dict[str, Any]]) -> str:
    """Return a row of the table."""
    count = max(figures)
    last, first = figures[count], figures.get(FEW, {}).get("fd-cifar10")
    fd, right = last["fd-cifar10"], last.get("accuracy")
    shares = right, *(last[name] for name in ("precision", "recall", "memorised"))
    cells = [
        row.title,
        f"{row.guidance:g}" if row.guidance else "",
        f"{count:,}",
        f"{first['value']:.2f}" if first else "–",
        f"{fd['value']:.2f}",
        f"{fd['low']:.2f} to {fd['high']:.2f}",
        *(f"{share['value']:.3f}" if share else "–" for share in shares),
    ]
    return f"| {' | '.join(cells)} |"


def left(rows: list[Row]) -> list[str]:
    """Return a line that lists the rows that are not measured yet."""
    titles = [f"{row.title} at guidance {row.guidance:g}" for row in rows if row.guidance]
    return [f"Not measured yet: {', '.join(titles)}."] if titles else []


def curve(runs: list[Path], path: Path) -> str:
    """Draw the distance against images seen, and return it as a line of text.

    Each run was trained further from the run before, so its images are counted from there. Its line
    has the name of its folder.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    seen, samples = 0, 0
    for run in runs:
        rows = jsonl.read(run / "log.jsonl")  # some figures of `adamw` have no interval
        found = [(seen + row["images"], row["figure"]) for row in rows if "figure" in row]
        if not found:
            sys.exit(f"cifar10.py: {run} was not measured in training: give a run that was")
        series[run.name] = [(images / 1e6, figure["value"]) for images, figure in found]
        samples, seen = found[-1][1]["samples"], seen + rows[-1]["images"]
    draw([Panel(series, "million images seen", "fd-cifar10", log_y=True)], path)
    values = "; ".join(
        f"{name}: {', '.join(f'{value:.1f} at {images:.3g}' for images, value in points)}"
        for name, points in series.items()
    )
    return f"The fd-cifar10 of {samples:,} samples, by millions of images seen. {values}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="the path of CIFAR-10")
    parser.add_argument(
        "--run",
        type=Path,
        nargs="+",
        required=True,
        help="the runs of the model, each trained further from the one before",
    )
    parser.add_argument("--theirs", type=Path, help="the folder of diffusers' training")
    parser.add_argument("--ours", type=Path, help="a run of our recipe with as many images")
    parser.add_argument("--samples", default="10k")
    parser.add_argument("--slow", default="1k", help="samples for 250 calls and more")
    parser.add_argument("--rows", type=Path, default=Path("docs/results/cifar10/rows"))
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()

    picture = flags.out.with_name(f"{flags.out.stem}-curve.png")
    said = curve(flags.run, picture)
    lines: list[str] = []
    machines: list[list[str]] = []
    rows = rows_of(flags)
    for i, row in enumerate(rows, 1):
        figures = measured(row, flags.data, flags.rows)
        machines += [figure["by"].split("; ") for figure in figures[max(figures)].values()]
        processors, *rest = (list(dict.fromkeys(part)) for part in zip(*machines, strict=True))
        by = "; ".join(
            [", or on ".join(with_threads(processors)), *(" or ".join(part) for part in rest)]
        )
        by = by.replace(" or mezzotint at commit", ",").replace(
            "at commit", "at one of the commits"
        )
        by += ' ("-dirty" marks files that were changed after the commit)' * ("-dirty" in by)
        lines.append(line(row, figures))
        print(lines[-1], flush=True)
        page = [
            "# The CIFAR-10 model, measured",
            "The samples are compared with the 50,000 images of the training set, with seed 0. "
            f"Each row was measured on {by}.",
            "<!-- table: The model -->\n" + "\n".join([HEAD, *lines]),
            *left(rows[i:]),
            NOTES,
            "## Distance against images seen",
            f"![fd-cifar10 against images seen]({picture.name})",
            said,
            FIRST,
        ]
        flags.out.write_text("\n\n".join(page) + "\n")


def with_threads(processors: list[str]) -> list[str]:
    """Name each processor once, with all its numbers of threads."""
    threads: dict[str, list[str]] = {}
    for processor in processors:
        name, _, count = processor.rpartition(", ")
        threads.setdefault(name, []).append(count)
    return [f"{name}, with {' or '.join(counts)}" for name, counts in threads.items()]


if __name__ == "__main__":
    main()
