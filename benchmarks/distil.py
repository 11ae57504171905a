"""Compare the methods of distillation at equal numbers of network evaluations.

    python benchmarks/distil.py --data ~/cifar10 --evaluations 600000 --out methods.md

The script distils the model with each method and each seed, in runs/distil, and measures the
students by the Frechet distance of their samples. An evaluation is one pass of one image through
the network; a backward pass counts as two. Intervals are from Student's t over the seeds.
Trainings and measurements that are finished are not repeated, so a stopped call can be continued.
The image beside the page shows samples of the teacher and of each method from the same noise.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch

import mezzotint as mz
from mezzotint.drawing import figures
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.run.entry import distillation
from mezzotint.storage import files
from mezzotint.storage.machine import machine

# Evaluations per training image: 3 of the student, 1 for its target, and 2 of the guided teacher.
COST = {
    "consistency": 6.0,
    "multistep": 6.0,
    "tuning": 6.0,
    "progressive": 5.7,  # 7 in the first of three stages, 5 in the other two
    "trajectory": 6.0,  # 3, and 24 for a trajectory, whose two parts are used four times each
}
T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Quantiles of Student's t for 95 % intervals, by the number of seeds."""
BATCH, SHOWN = 64, 10


@dataclass(frozen=True)
class Result:
    distance: str  # the name of the distance
    values: dict[str, float]  # the distance by the number of calls
    accuracy: dict[str, float]
    images: int
    machine: str


def distilled(flags: argparse.Namespace, method: str, seed: int) -> mz.Pipeline:
    """Return the student of a method and a seed; train it if necessary."""
    images = int(flags.evaluations / COST[method]) // BATCH * BATCH
    folder = flags.runs / f"{method}-{flags.evaluations}-seed{seed}"
    for now in distillation(
        flags.teacher,
        data=flags.data,
        out=folder,
        resume=True,
        method=method,
        calls=2,
        images=images,
        batch=BATCH,
        lr=flags.lr,
        warmup=10 * BATCH,
        ema_halflife=max(1.0, images / 6),
        seed=seed,
        evaluate_every=0,
        sample_every=images,
        save_every=max(BATCH, images // 10),
    ):
        if now.note:
            print(f"{folder.name}: {now.images:,} images, {now.note}", flush=True)
    return mz.load(folder)


def measured(flags: argparse.Namespace, pipe: mz.Pipeline, images: int) -> Result:
    values, accuracy, name = {}, {}, ""
    fixed = pipe.few_step.calls if pipe.few_step else None
    for calls in [fixed] if fixed else [1, 2, 4]:
        asked = {"samples": flags.samples, "steps": calls, "metrics": ("fd", "accuracy")}
        found = mz.evaluate(pipe, flags.data, **asked)
        name = next(each for each in found if each.startswith("fd"))
        values[str(calls)], accuracy[str(calls)] = found[name].value, found["accuracy"].value
    return Result(name, values, accuracy, images, machine("torch"))


def interval(values: list[float]) -> str:
    if len(values) not in T_95:
        return ", ".join(f"{value:.2f}" for value in values)
    half = T_95[len(values)] * stdev(values) / math.sqrt(len(values))
    return f"{fmean(values):.2f} +- {half:.2f}"


def page(flags: argparse.Namespace, results: dict[str, list[Result]], teacher: Result) -> str:
    ((steps, value),) = teacher.values.items()
    right = teacher.accuracy[steps]
    rows = [f"| the teacher, guided | {steps} | | {value:.2f} | {right:.3f} |"]
    for method, found in results.items():
        for calls in found[0].values:
            far = interval([result.values[calls] for result in found])
            right = fmean(result.accuracy[calls] for result in found)
            rows.append(f"| {method} | {calls} | {found[0].images:,} | {far} | {right:.3f} |")
    seeds = max(len(found) for found in results.values())
    return "\n".join(
        [
            "# Methods of distillation",
            "",
            f"Each student of `{flags.teacher}` was trained with {flags.evaluations:,} evaluations "
            f"of the network, in batches of {BATCH}, at a learning rate of {flags.lr:g}. The table "
            f"shows the mean over {seeds} seeds and its 95 % interval, with {flags.samples:,} "
            f"samples each. Measured on {teacher.machine}.",
            "",
            f"| method | calls | images seen | {teacher.distance} | class accuracy |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"![Samples from the same noise]({flags.out.stem}.png)",
            "",
        ]
    )


def remembered(file: Path, make: object) -> Result:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        files.replace(file, json.dumps(asdict(make()), indent=1) + "\n")  # type: ignore[operator]
    return Result(**json.loads(file.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="cifar10")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--evaluations", type=int, default=600_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--lr", type=float, default=2.5e-4)
    parser.add_argument("--only", nargs="*", default=list(COST))
    parser.add_argument("--runs", type=Path, default=Path("runs/distil"))
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()
    keep_freed_memory()
    kept, teacher = flags.out.with_suffix(""), mz.load(flags.teacher)
    steps = teacher.defaults.steps

    def of_teacher() -> Result:
        found = mz.evaluate(teacher, flags.data, samples=flags.samples, metrics=("fd", "accuracy"))
        name = next(each for each in found if each.startswith("fd"))
        value, right = {str(steps): found[name].value}, {str(steps): found["accuracy"].value}
        return Result(name, value, right, 0, machine("torch"))

    best = remembered(kept / f"teacher-{flags.samples}.json", of_teacher)
    labels = [i % len(teacher.classes) for i in range(SHOWN)]
    shown, results = [teacher.sample(SHOWN, labels)], dict[str, list[Result]]()
    for seed in range(flags.seeds):
        for method in flags.only:
            pipe = distilled(flags, method, seed)
            images = int(flags.evaluations / COST[method]) // BATCH * BATCH
            file = kept / f"{method}-{flags.evaluations}-{flags.samples}-seed{seed}.json"
            found = remembered(file, lambda p=pipe, n=images: measured(flags, p, n))
            results.setdefault(method, []).append(found)
            print(method, seed, found.values, found.accuracy, flush=True)
            if not seed:
                shown.append(pipe.sample(SHOWN, labels))
                names = ("teacher", *flags.only)
                rows = [i for i in range(len(shown)) for _ in range(SHOWN)]
                figures.grid(torch.cat(shown), rows, names).save(flags.out.with_suffix(".png"))
            flags.out.write_text(page(flags, results, best))


if __name__ == "__main__":
    main()
