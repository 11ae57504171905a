"""Compare a few-step model with its teacher, by evaluations of the network.

    python benchmarks/few_steps.py cifar10-fast --teacher cifar10 --data ~/cifar10 \\
        --out docs/results/few-steps.md

The script measures the teacher, with its default guidance, at several numbers of steps, and the
student at several numbers of calls. It draws samples of each from the same noise. It replaces the
first table of the page and leaves the rest unchanged. Samples and figures are stored, so a second
call continues the first. Times are measured in turns, and only with ``--time``: run nothing else on
the machine then.

An evaluation is one pass of one image through the network. The ratio compares a distance with the
least distance of the teacher. With ``--lcm``, the table also has diffusers' LCMScheduler, which
samples in few steps from the exported teacher, as it is, without distillation.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

import torch

import mezzotint as mz
from mezzotint.drawing import figures
from mezzotint.errors import counted
from mezzotint.storage import files
from mezzotint.storage.machine import machine

BATCH, TURNS, SHOWN = 64, 5, 10
METRICS = ("fd", "accuracy", "prdc")


Rows: TypeAlias = dict[str, tuple[mz.Pipeline, dict[str, Any]]]


def rows_of(flags: argparse.Namespace) -> Rows:
    """Return each pipeline with its settings, by title."""
    teacher, student = (mz.load(name) for name in (flags.teacher, flags.student))
    rows = {f"teacher, {n} steps": (teacher, {"steps": n}) for n in flags.teacher_steps}
    return rows | {f"student, {n} calls": (student, {"steps": n}) for n in flags.student_calls}


def evaluations(pipe: mz.Pipeline, how: dict[str, Any]) -> int:
    """Return the number of network evaluations for a sample."""
    return int(how["steps"]) * (1 if pipe.few_step or pipe.defaults.guidance == 1 else 2)


def measured(flags: argparse.Namespace, title: str, pipe: mz.Pipeline, how: Any) -> dict[str, Any]:
    """Return the figures of a row; measure them if they are not stored."""
    name = f"{title.replace(',', '').replace(' ', '-')}-{flags.samples}-{pipe.identity[:8]}.json"
    file = flags.out.with_suffix("") / name
    if not file.exists():
        found = mz.evaluate(pipe, flags.data, samples=flags.samples, metrics=METRICS, **how)
        kept = {name: [f.value, f.low, f.high] for name, f in found.items()}
        facts = {"evaluations": evaluations(pipe, how), "figures": kept}
        file.parent.mkdir(parents=True, exist_ok=True)
        files.replace(file, json.dumps(facts | {"machine": machine("torch")}, indent=1) + "\n")
    facts = json.loads(file.read_text())
    print(title, {name: round(f[0], 3) for name, f in facts["figures"].items()}, flush=True)
    return dict(facts)


def of_lcm(flags: argparse.Namespace, steps: int) -> dict[str, Any]:
    """Return the figures of diffusers' LCMScheduler with the exported teacher."""
    file = flags.out.with_suffix("") / f"lcm-{steps}-steps-{flags.samples}.json"
    if not file.exists():
        teacher = mz.load(flags.teacher)
        labels = [i % len(teacher.classes) for i in range(flags.samples)]
        found = mz.compare(
            made_by_lcm(teacher, labels, steps),
            flags.data,
            labels=labels,
            classes=teacher.classes,
            metrics=METRICS,
        )
        kept = {name: [f.value, f.low, f.high] for name, f in found.items()}
        facts = {
            "evaluations": 2 * steps,
            "figures": kept,
            "machine": machine("torch", "diffusers"),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        files.replace(file, json.dumps(facts, indent=1) + "\n")
    return dict(json.loads(file.read_text()))


def made_by_lcm(teacher: mz.Pipeline, labels: list[int], steps: int) -> torch.Tensor:
    """Return a sample for each label, uint8 (N, 3, H, W), made in bf16 with diffusers."""
    from diffusers import DiffusionPipeline, LCMScheduler

    with tempfile.TemporaryDirectory() as place:
        folder = teacher.export(Path(place) / "teacher")
        theirs = DiffusionPipeline.from_pretrained(
            folder, trust_remote_code=True, local_files_only=True, torch_dtype=torch.bfloat16
        )
    theirs.scheduler = LCMScheduler.from_config(theirs.scheduler.config)
    theirs.set_progress_bar_config(disable=True)
    theirs.unet.to(memory_format=torch.channels_last)
    made = []
    for start in range(0, len(labels), BATCH):
        part = labels[start : start + BATCH]
        images = theirs(
            len(part),
            class_labels=part,
            guidance_scale=teacher.defaults.guidance,
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(start),
            output_type="pt",
        ).images
        made.append((255 * images.float()).round().to(torch.uint8))
    return torch.cat(made)


def timed(rows: Rows) -> dict[str, list[float]]:
    """Return the least, median and greatest seconds for a batch, measured in turns."""
    taken: dict[str, list[float]] = {title: [] for title in rows}
    for turn in range(TURNS + 1):
        for title, (pipe, how) in rows.items():
            start = time.perf_counter()
            pipe.sample(BATCH, **how)
            if turn:  # the first one warms up
                taken[title].append(time.perf_counter() - start)
    return {t: [min(s), statistics.median(s), max(s)] for t, s in taken.items()}


def line(title: str, row: dict[str, Any], seconds: list[float] | None, best: float) -> str:
    """Return a row of the table."""
    name = next(name for name in row["figures"] if name.startswith("fd"))
    value, low, high = row["figures"][name]
    rest = [f"{row['figures'][each][0]:.3f}" for each in ("accuracy", "precision", "recall")]
    took = f"{seconds[1]:.2f} ({seconds[0]:.2f} to {seconds[2]:.2f})" if seconds else "not measured"
    cells = [title, row["evaluations"], f"{value:.2f}"]
    cells += [f"{low:.2f} to {high:.2f}", f"{value / best:.2f}", *rest, took]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def draw(rows: Rows, path: Path) -> None:
    """Draw samples of each row from the same noise."""
    labels = [i % 10 for i in range(SHOWN)]
    shown = torch.cat([pipe.sample(SHOWN, labels, **how) for pipe, how in rows.values()])
    places = [i for i in range(len(rows)) for _ in range(SHOWN)]
    figures.grid(shown, places, list(rows)).save(path)


def placed(page: Path, table: str) -> str:
    """Return a page with its first table replaced, or a new page with the table alone."""
    text = page.read_text() if page.exists() else f"# Few steps\n\n{table}"
    return re.sub(r"(^\|.*\n)+", lambda _: table, text, count=1, flags=re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", help="a distilled run, or a shipped model")
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--data", required=True, help="the data to compare with")
    parser.add_argument("--teacher-steps", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--student-calls", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--lcm", type=int, nargs="*", default=[], help="steps of LCMScheduler")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--time", action="store_true", help="also measure the seconds, in turns")
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()
    torch.set_grad_enabled(False)
    rows = rows_of(flags)
    found = {title: measured(flags, title, *row) for title, row in rows.items()}
    for steps in flags.lcm:
        found[f"diffusers' LCM, the teacher, {counted(steps, 'step')}"] = of_lcm(flags, steps)
    seconds = timed(rows) if flags.time else {}
    draw(rows, flags.out.with_suffix(".png"))
    name = next(name for name in next(iter(found.values()))["figures"] if name.startswith("fd"))
    best = min(r["figures"][name][0] for t, r in found.items() if t.startswith("teacher"))
    head = ["", "evaluations", name, "interval", "ratio", "class accuracy"]
    head += ["precision", "recall", f"seconds for {BATCH}"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [line(title, row, seconds.get(title), best) for title, row in found.items()]
    files.replace(flags.out, placed(flags.out, "\n".join(lines) + "\n"))
    print("; ".join(sorted({row["machine"] for row in found.values()})))


if __name__ == "__main__":
    main()
