"""Measure checkpoints of one or more trainings, and draw the distance against the images seen.

    python benchmarks/checkpoints.py --run adamw STEP STEP --run muon STEP STEP \\
        --network imagenet --data tiny-imagenet-100 --guidance 4 --out curve.md

Each --run has a name and the folders of its checkpoints. Each run continues the run before it, so
its images are counted from the end of that run. All checkpoints are sampled with the same settings
and from the same noise. The page has a chart, which is drawn beside it, and a table. With --after
PAGE, the trainings continue those of an earlier page, whose rows are kept.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import mezzotint as mz
from mezzotint.drawing.curves import Panel, draw
from mezzotint.storage.machine import machine


def seen(checkpoint: Path) -> int:
    """Return the number of images that the training of a checkpoint has seen."""
    step = json.loads((checkpoint / "state.json").read_text())["step"]
    train = json.loads((checkpoint / "config.json").read_text())["train"]
    return int(step) * int(train["batch"])


def earlier(page: Path, how: str) -> tuple[list[str], str]:
    """Return the rows of an earlier page, and the machine and commit that measured them.

    ``how`` says how the samples are made; rows of other samples cannot be compared.
    """
    text = page.read_text()
    if how not in text:
        raise SystemExit(f"the samples of {page} were not made like this: {how}")
    (where,) = re.findall(r"^`python benchmarks/checkpoints.py`, on (.*), seed 0\.", text, re.M)
    return re.findall(r"^\| [^|\n]+ \| [0-9].*\|$", text, re.M), where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", nargs="+", action="append", required=True, metavar="NAME STEP")
    parser.add_argument("--network", default="cifar10")
    parser.add_argument("--data", help="the data to compare with; by default the training set")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--sampler", default="dpmpp_2m")
    parser.add_argument("--spacing", default="karras")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--after", type=Path, help="the page of the trainings before these")
    parser.add_argument("--out", type=Path, required=True, help="the page to write")
    given = parser.parse_args()
    settings = {name: getattr(given, name) for name in ("sampler", "spacing", "steps", "guidance")}
    name = f"fd-{given.network}"
    how = (
        f"Each checkpoint's averaged weights made {given.samples:,} samples by {given.sampler} in "
        f"{given.steps} steps, with the spacing {given.spacing} and guidance {given.guidance:g}."
    )
    table = [f"| | images seen | {name} | 95 % interval | accuracy |", "|---|---|---|---|---|"]
    before, lines = 0, dict[str, list[tuple[float, float]]]()
    said = ""
    if given.after:
        rows, where = earlier(given.after, how)
        for row in rows:
            run, seen_then, value, *_ = (cell.strip() for cell in row.strip("|").split("|"))
            before = int(seen_then.replace(",", ""))
            lines.setdefault(run, []).append((before / 1e6, float(value)))
        table += rows
        said = f" The first {len(rows)} rows were measured before, on {where}."
    for run, *folders in given.run:
        images = 0
        for folder in map(Path, folders):
            figures = mz.evaluate(
                folder,
                given.data,
                samples=given.samples,
                network=given.network,
                metrics=["fd", "accuracy"],
                **settings,
            )
            figure, images = figures[name], seen(folder)
            right = f"{figures['accuracy'].value:.3f}" if "accuracy" in figures else ""
            interval = f"{figure.low:.1f} to {figure.high:.1f}"
            total = before + images
            table.append(f"| {run} | {total:,} | {figure.value:.1f} | {interval} | {right} |")
            print(table[-1], flush=True)
            lines.setdefault(run, []).append((total / 1e6, figure.value))
        before += images
    chart = given.out.with_suffix(".png")
    draw([Panel(lines, "images seen, in millions", name, log_y=True)], chart)
    page = [
        f"# {name} against images seen",
        f"`python benchmarks/checkpoints.py`, on {machine('torch')}, seed 0. {how}{said}",
        f"![{name} against images seen]({chart.name})",
        "\n".join(table),
    ]
    given.out.write_text("\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
