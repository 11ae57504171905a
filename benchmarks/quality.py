"""Measure the samples of a model by sampler, number of denoiser calls and guidance.

    python benchmarks/quality.py calls RUN --out calls.md         # all samplers against calls
    python benchmarks/quality.py guidance RUN --out guidance.md   # kinds of guidance against scale
    python benchmarks/quality.py spacings RUN --out spacings.md   # grids at ten calls

Each command writes a page of tables. The first two also draw a chart beside the page. Images are
stored in the cache, so a command that was stopped can be continued.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from mezzotint import evaluation
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.drawing.curves import Panel, Points, draw
from mezzotint.evaluation.measuring import Measure
from mezzotint.metrics.networks import figure_name
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.pipeline import loading
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage.machine import machine

CALLS = (5, 10, 20, 50, 250, 1000)
SCALES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
TITLES = {
    "calls": "Quality against denoiser calls",
    "guidance": "Quality against the guidance scale",
    "spacings": "Distance to the end of the flow, for each grid",
}
SAME = 64  # images that are compared one by one with the reference
DISTANCE = (
    "FD is the Frechet distance of the samples from the training set, in the features of the "
    "network {network}."
)
FLOW = (
    "The samples are also compared with the end of the flow, which 500 steps of UniPC of order 3 "
    "from the same noise approximate. The distance is the root mean square difference of the pixel "
    f"values in [-1, 1], over {SAME} images."
)
COLUMNS = (
    "If the first cell of a heading has several numbers of images, as in "
    '"FD, 512 / 64 images", they belong to the other columns, from left to right.'
)
TERMS = {
    "calls": f"{DISTANCE} {COLUMNS} {FLOW}",
    "guidance": f"{DISTANCE} Intervals are 95 %.",
    "spacings": FLOW,
}
WRAPPERS: dict[str, dict[str, object]] = {
    "plain": {},
    "interval 0.2 to 5": {"interval": (0.2, 5.0)},
    "rescaled 0.7": {"rescale": 0.7},
    "dynamic thresholding": {"clipping": "dynamic"},
    "linear along the grid": {"guidance_shape": "linear"},
}

Interval: TypeAlias = tuple[float, float, float]  # a figure, and its 95 % interval


class Bench:
    """A model, its sampling settings, and the measurement of its images."""

    def __init__(self, run: Path, seed: int) -> None:
        self.pipe: Pipeline = loading.load(run).in_precision("auto")
        self.seed = seed
        against = evaluation.training_set(run, self.pipe)
        name = against.network
        self.measure_name = figure_name("fd", name)
        device = self.pipe.device
        self.measure: Measure = evaluation.measure(name, against, self.pipe.size, device)
        self.base = replace(self.pipe.defaults, guidance=1.0, spacing="karras")

    def figures(self, how: SampleConfig, *counts: int) -> list[dict[str, Interval]]:
        """Return distance and class accuracy with intervals, for each number of images."""
        kept = evaluation.kept(self.pipe, how, self.seed, SAME)
        tiers = evaluation.measure_samples(
            self.pipe,
            [self.measure],
            how,
            sorted(set(counts)),
            kept,
            seed=self.seed,
            batch=SAME,
            chosen=("fd", "accuracy"),
        )
        names = {self.measure_name: "fd", "accuracy": "accuracy"}
        return [
            {names[f.name]: (f.value, f.low, f.high) for f in found if f.name in names}
            for _, found in tiers
        ]

    def pictures(self, how: SampleConfig) -> Tensor:
        """Return the first SAME images, in [-1, 1]."""
        kept = evaluation.kept(self.pipe, how, self.seed, SAME)
        self.figures(how, SAME)
        return next(evaluation.stored(kept, 0, SAME, SAME)) / 127.5 - 1

    def reference(self) -> Tensor:
        """Return the end of the flow from the same noise: UniPC of order 3 in 500 steps."""
        return self.pictures(replace(self.base, sampler="unipc", order=3, steps=500))


def rms(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt())


def distinct() -> list[str]:
    """Return the samplers, except dpmpp_1, which equals ddim."""
    return [name for name, s in SAMPLERS.items() if name != "dpmpp_1" and not s.few_step]


def calls(bench: Bench, out: Path, counts: dict[int, int]) -> list[str]:
    """Measure quality against denoiser calls; draw a chart and return tables."""
    reference, few = bench.reference(), min(counts.values())
    found: dict[str, dict[tuple[str, int], float]] = {"same": {}, "all": {}, "right": {}, "far": {}}
    for budget, pictures in counts.items():
        for name in distinct():
            how, cell = replace(bench.base, sampler=name).within(budget), (name, budget)
            # Twice, because there is only one entry if the two counts are equal.
            first, *_, last = bench.figures(how, few, pictures) * 2
            found["same"][cell], found["all"][cell] = first["fd"][0], last["fd"][0]
            found["right"][cell] = last["accuracy"][0]
            if not SAMPLERS[name].stochastic:
                found["far"][cell] = rms(bench.pictures(how), reference)
            print(*cell, *(f"{key} {v[cell]:.4g}" for key, v in found.items() if cell in v))

    def panel(key: str, y: str) -> Panel:
        values = found[key]
        names = [name for name in distinct() if (name, min(counts)) in values]
        series = {name: [(n, values[name, n]) for n in counts] for name in names}
        dashed = [name for name in names if SAMPLERS[name].stochastic]
        return Panel(series, "denoiser calls", y, True, True, dashed)

    fd = panel("same", f"Frechet distance (the same {few} images)")
    far = panel("far", "RMS distance to the end of the flow")
    draw([fd, far], out.with_suffix(".png"), "Dashed: stochastic")
    sizes = " / ".join(f"{pictures:,}" for pictures in counts.values())
    return [
        *pivot(f"FD, {few} images", found["same"], counts, "{:.3g}"),
        *pivot(f"FD, {sizes} images", found["all"], counts, "{:.3g}"),
        *pivot("class accuracy, the same images", found["right"], counts, "{:.3f}"),
        *pivot(f"distance to the end of the flow, {SAME} images", found["far"], counts, "{:.4f}"),
    ]


def pivot(
    what: str, values: dict[tuple[str, int], float], counts: Collection[int], form: str
) -> list[str]:
    """Return a table of samplers against calls."""
    rows = [
        f"| {what} | {' | '.join(f'{n:,}' for n in counts)} |",
        "|---" * (len(counts) + 1) + "|",
    ]
    for name in dict.fromkeys(name for name, _ in values):
        rows.append(f"| `{name}` | {' | '.join(form.format(values[name, n]) for n in counts)} |")
    return [*rows, ""]


def guidance(bench: Bench, out: Path, pictures: int, scales: Iterable[float]) -> list[str]:
    """Measure quality and class accuracy against the scale; draw a chart, return a table."""
    fd: dict[str, Points] = {}
    right: dict[str, Points] = {}
    lines = ["| guidance | scale | FD | class accuracy |", "|---" * 4 + "|"]
    for name, settings in WRAPPERS.items():
        if "clipping" in settings and isinstance(bench.pipe.codec, Latents):
            continue  # latents have no bounds to clip to
        for scale in scales:
            how = replace(bench.base, sampler="dpmpp_2m", steps=20, guidance=scale, **settings)
            found = bench.figures(how, pictures)[0]
            fd[name] = [*fd.get(name, []), (scale, found["fd"][0])]
            right[name] = [*right.get(name, []), (scale, found["accuracy"][0])]
            cells = f"{spread(found['fd'])} | {spread(found['accuracy'])}"
            lines.append(f"| {name} | {scale:g} | {cells} |")
            print(lines[-1])
    panels = [
        Panel(fd, "guidance scale", f"Frechet distance ({pictures} images)"),
        Panel(right, "guidance scale", "class accuracy"),
    ]
    draw(panels, out.with_suffix(".png"))
    return lines


def spacings(bench: Bench, out: Path, budget: int = 10) -> list[str]:
    """Measure the distance of deterministic samplers from the end of the flow, for each grid."""
    reference = bench.reference()
    names = ["trailing", "linspace", "logsnr", "karras", "optimised"]
    lines = [f"| sampler, {budget} calls | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for sampler in distinct():
        if not SAMPLERS[sampler].stochastic:
            hows = [replace(bench.base, sampler=sampler, spacing=s).within(budget) for s in names]
            cells = [f"{rms(bench.pictures(how), reference):.4f}" for how in hows]
            lines.append(f"| {sampler} | {' | '.join(cells)} |")
            print(lines[-1])
    return lines


def spread(figure: Interval) -> str:
    value, low, high = figure
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("calls", "guidance", "spacings"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the page to write, NAME.md")
    parser.add_argument(
        "--pictures", type=int, default=512, help="number of images for 50 calls and fewer"
    )
    parser.add_argument(
        "--most", type=int, default=1000, help="the largest number of calls in the table"
    )
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES, help="guidance scales")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    keep_freed_memory()
    sys.stdout.reconfigure(line_buffering=True)
    bench = Bench(flags.run, flags.seed)
    few = {250: flags.pictures // 4, 1000: flags.pictures // 8}
    counts = {n: max(SAME, few.get(n, flags.pictures)) for n in CALLS if n <= flags.most}
    if flags.what == "calls":
        lines = calls(bench, flags.out, counts)
    elif flags.what == "guidance":
        lines = guidance(bench, flags.out, flags.pictures, flags.scales)
    else:
        lines = spacings(bench, flags.out)
    command = f"python benchmarks/quality.py {flags.what} {flags.run} --pictures {flags.pictures}"
    for name in ("most", "seed"):
        if (asked := getattr(flags, name)) != parser.get_default(name):
            command += f" --{name} {asked}"
    if flags.what == "guidance" and tuple(flags.scales) != SCALES:
        command += f" --scales {' '.join(f'{scale:g}' for scale in flags.scales)}"
    command += f" --out {flags.out.name}"
    grids = "The grids are Karras's, unless a row names another grid"
    where = f"{grids}; seed {flags.seed}; {machine('torch')}."
    terms = TERMS[flags.what].format(network=bench.measure.network.name)
    figure = flags.out.with_suffix(".png")
    shown = [f"![{TITLES[flags.what]}]({figure.name})", ""] if flags.what != "spacings" else []
    title = f"# {TITLES[flags.what]}: {bench.measure.reference.origin.name.split()[0]}"
    page = [title, "", terms, "", *shown, *lines, "", f"`{command}`", "", where, ""]
    flags.out.write_text("\n".join(page))


if __name__ == "__main__":
    main()
