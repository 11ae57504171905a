"""The measured table of the CIFAR-10 model that comes with the package: docs/results/cifar10.md.

    python benchmarks/cifar10.py cifar10 --data ~/cifar10 --theirs runs/theirs

Each row is a call of `mezzotint evaluate`, kept below --rows: what is there is not measured again.
Beside the model stand the data's own test set and, of diffusers' training (train_unconditional.py
of this folder), the pictures it made. Samplers of many calls make fewer pictures on a CPU; the
distance of the first 1,000 is told of every row, since of few pictures it is too large.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.machine import machine

FEW = 1000


@dataclass(frozen=True)
class Row:
    title: str
    calls: int | None
    guidance: float | None
    arguments: tuple[str, ...]

    @property
    def folder(self) -> str:
        words = f"{self.title} {self.guidance or ''}".lower().split()
        return "-".join("".join(c for c in word if c.isalnum() or c == ".") for word in words)


def ours(model: str, solver: str, scale: float, many: str, few: str) -> list[Row]:
    """The model by its samplers, without guidance and with."""
    rows = []
    for guidance in (1.0, scale):
        for name, sampler, calls, samples in (
            ("DDPM", ("ddpm", "--spacing", "linspace"), 1000, few),
            ("DDIM", ("ddim",), 10, many),
            ("DDIM", ("ddim",), 50, many),
            ("DDIM", ("ddim",), 250, few),
            (solver, (solver, "--spacing", "karras"), 5, many),
            (solver, (solver, "--spacing", "karras"), 10, many),
            (solver, (solver, "--spacing", "karras"), 20, many),
        ):
            how = "evaluate", model, "--sampler", *sampler, "--steps", str(calls)
            how = *how, "--guidance", str(guidance), "--samples", samples, "--precision", "auto"
            rows.append(Row(f"{name} {calls}", calls, guidance, how))
    return rows


def measured(row: Row, data: str, folder: Path) -> dict[int, dict[str, Any]]:
    """The figures of a row by how many pictures they are of, measured if that was not done yet."""
    kept = folder / row.folder / "figures.jsonl"
    if not kept.exists():
        command = *row.arguments, "--against", data, "--out", str(folder / row.folder / "new")
        subprocess.run([sys.executable, "-m", "mezzotint", *command], check=True)
        (folder / row.folder / "new" / kept.name).rename(kept)
    found = [json.loads(line)["figures"] for line in kept.read_text().splitlines()]
    return {figures[0]["samples"]: {f["name"]: f for f in figures} for figures in found}


def told(row: Row, figures: dict[int, dict[str, Any]]) -> str:
    """A line of the table."""
    count = max(figures)
    last = figures[count]
    fd, first = last["fd-cifar10"], figures.get(FEW, {}).get("fd-cifar10")
    right = last.get("accuracy") if row.guidance or row.calls is None else None
    shares = [right, *(last[name] for name in ("precision", "recall", "memorised"))]
    cells = [
        row.title,
        f"{row.guidance:g}" if row.guidance else "",
        f"{count:,}",
        f"{first['value']:.2f}" if first else "–",
        f"**{fd['value']:.2f}**",
        f"{fd['low']:.2f} to {fd['high']:.2f}",
        *(f"{share['value']:.3f}" if share else "–" for share in shares),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--theirs", type=Path, help="the folder of diffusers' training")
    parser.add_argument("--solver", default="unipc", help="the best for few calls, as a sweep says")
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--samples", default="10k")
    parser.add_argument("--slow", default="1k", help="samples of those with 250 calls and more")
    parser.add_argument("--rows", type=Path, default=Path("runs/cifar10-table"))
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()
    floor = "evaluate", flags.data, "--split", "test"
    rows = [Row("CIFAR-10's test set", None, None, floor)]
    rows += ours(flags.model, flags.solver, flags.guidance, flags.samples, flags.slow)
    if flags.theirs:
        made = sorted(path for path in flags.theirs.glob("dd?m-*") if path.is_dir())
        rows += [Row(f"diffusers, {p.name}", 0, None, ("evaluate", str(p))) for p in made]
    lines = [
        "| | guidance | pictures | fd-cifar10 of 1,000 | fd-cifar10 of all | 95 % interval |"
        " class accuracy | precision | recall | near a training picture |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(told(row, measured(row, flags.data, flags.rows)))
        flags.out.write_text("\n".join([f"{machine('torch')}.", "", *lines, ""]))
        print(lines[-1], flush=True)


if __name__ == "__main__":
    main()
