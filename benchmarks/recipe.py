"""Measure the effect of each choice in a CIFAR-10 recipe, at equal numbers of images seen.

    python benchmarks/recipe.py --data ~/cifar10 --images 51200 --seeds 0 1 2 --out comparison.md

The script trains a base and variants of it, in runs/recipe, once for each seed. A variant differs
from the base in one choice, and a variant whose name begins with another's differs from that one.
The script measures the Frechet distance and the class accuracy of their samples, for each scale of
``--guidance``. Averages of other lengths are rebuilt from snapshots. The page has means over seeds,
with intervals.

Each variant, seed and scale has a result file in a folder beside the page. If this file exists, the
training is not repeated. ``--only`` selects variants by name, ``--matching`` by a word in the name.
The page shows all variants that were measured by this call or earlier ones.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, interpolate
from torch.utils.flop_counter import FlopCounterMode

from mezzotint import evaluation
from mezzotint.config import recipes
from mezzotint.config.experiment import Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.metrics import efficientnet
from mezzotint.networks import UNetConfig
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.networks.walk import Walk
from mezzotint.pipeline import loading
from mezzotint.run import run
from mezzotint.run.averages import average
from mezzotint.storage import checkpoint, files
from mezzotint.storage import log as track
from mezzotint.storage.machine import machine
from mezzotint.trainer.loop import Examples, optimizer
from mezzotint.trainer.muon import Muon
from mezzotint.trainer.objective import Diffusion

Change = Callable[[Experiment], Experiment]
GUIDANCE = 2.0
HOW = SampleConfig("dpmpp_2m", steps=20, spacing="karras", guidance=GUIDANCE)


def noise(**fields: object) -> Change:
    return lambda e: replace(e, noise=replace(e.noise, **fields))


def objective(**fields: object) -> Change:
    return lambda e: replace(e, objective=replace(e.objective, **fields))


def net(**fields: object) -> Change:
    return lambda e: replace(e, net=replace(e.net, **fields))


def data(**fields: object) -> Change:
    return lambda e: replace(e, data=replace(e.data, **fields))


def train(**factors: float) -> Change:
    """Multiply fields of the training by factors."""

    def change(e: Experiment) -> Experiment:
        was = {name: getattr(e.train, name) for name in factors}
        scaled = {name: type(was[name])(was[name] * factor) for name, factor in factors.items()}
        return replace(e, train=replace(e.train, **scaled))

    return change


def snapshots(e: Experiment) -> Experiment:
    return replace(e, train=replace(e.train, snapshots=e.train.images // 50))


def muon(e: Experiment) -> Experiment:
    return replace(e, train=replace(e.train, optimizer="muon"))


VARIANTS: dict[str, Change] = {
    "base": lambda e: e,
    "muon": muon,
    "muon, batch 32": lambda e: train(batch=0.5)(muon(e)),
    "muon, twice the rate": lambda e: train(lr=2)(muon(e)),
    "muon, contrastive flow": lambda e: objective(contrast=0.05)(muon(e)),
    "muon, immiscible noise": muon,  # with the patch of `PATCHES`
    # Half as many images with half the sides, and 7/8 as many of full size: the same FLOPs.
    "muon, small images first": lambda e: train(images=11 / 8)(
        objective(small_first=4 / 11)(muon(e))
    ),
    # Twice as many batches of half the size; with the patch, up to four of them make a step.
    "muon, growing batch": lambda e: train(batch=0.5, clip=4)(muon(e)),
    "muon, aligned features": muon,  # with the patch of `PATCHES`
    "plain weighting": objective(weighting="simple"),
    "sigmoid weighting": objective(weighting="sigmoid"),
    "edm prediction": noise(prediction="edm"),
    "v prediction": noise(prediction="v"),
    "eps prediction": noise(prediction="eps"),
    "linear schedule": noise(schedule="linear"),
    "laplace schedule": noise(schedule="laplace"),
    "adaptive levels": objective(levels="adaptive"),
    "label dropout 0.2": objective(label_dropout=0.2),
    "non-leaking 0.12": data(non_leaking=0.12),
    "wider, one block": net(channels=(96, 128, 192), blocks=1),
    "larger, one block": net(channels=(96, 160, 256), blocks=1),
    "two wide levels": net(channels=(128, 256), blocks=1),
    "deeper, three blocks": net(channels=(64, 64, 96), blocks=3),
    "full resolution": net(channels=(32, 64, 128, 192), blocks=1, attention=(2,), patch=1),
    "attention at two levels": net(attention=(0, 1)),
    "dropout 0.1": net(dropout=0.1),
    "batch 32": train(batch=0.5),
    "batch 128": train(batch=2),
    "half the rate": train(lr=0.5),
    "twice the rate": train(lr=2),
    "no warm-up": train(warmup=0),
    "shorter cooldown": train(cooldown=0.5),
    "no cooldown": train(cooldown=0),
}


@contextmanager
def immiscible(e: Experiment) -> Iterator[None]:
    """Assign the noise of a batch to its images, with the least sum of squared distances.

    This is immiscible diffusion (Li et al. 2024, arXiv 2406.12303). It needs scipy.
    """
    from scipy.optimize import linear_sum_assignment

    forward = Diffusion.forward

    def assigned(self: Diffusion, net: nn.Module, examples: Examples, *drawn: Tensor) -> object:
        rows, eps, dropped = drawn
        apart = torch.cdist(examples.x0.flatten(1), eps.flatten(1)) ** 2
        order = torch.from_numpy(linear_sum_assignment(apart.numpy())[1])
        return forward(self, net, examples, rows, eps[order], dropped)

    Diffusion.forward = assigned
    try:
        yield
    finally:
        Diffusion.forward = forward


@contextmanager
def growing(e: Experiment) -> Iterator[None]:
    """Let the batch grow: in the three thirds of a training, a step takes 1, 2 and 4 batches."""
    step, zero_grad = Muon.step, Muon.zero_grad
    count, together = 0, 1

    def fewer(self: Muon, closure: None = None) -> None:
        nonlocal count, together
        count, together = count + 1, 2 ** min(2, 3 * count // e.train.steps)
        if count % together == 0:
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        weight.grad /= together
            step(self)

    def after_a_step(self: Muon, set_to_none: bool = True) -> None:
        if count % together == 0:
            zero_grad(self, set_to_none)

    Muon.step, Muon.zero_grad = fewer, after_a_step  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Muon.step, Muon.zero_grad = step, zero_grad  # type: ignore[method-assign]


@contextmanager
def aligned(e: Experiment) -> Iterator[None]:
    """Align the middle of the network with EfficientNet-Lite0, in the first third of a training.

    This is REPA (Yu et al. 2024, arXiv 2410.06940): half of the mean cosine similarity between the
    features of the clean image and a projection of the network's is subtracted from the loss. The
    clean images are enlarged four times, so that both have features at 4x4 positions.
    """
    teacher = nn.Sequential(*efficientnet.load().taps())
    init, draw, forward, gains = Diffusion.__init__, Diffusion.draw, Diffusion.forward, Walk.gains
    middle: list[Tensor] = []

    def with_projection(self: Diffusion, *args: Any, **fields: Any) -> None:
        init(self, *args, **fields)
        assert isinstance(e.net, UNetConfig)
        wide = nn.Conv2d(e.net.channels[-1], 512, 1)
        self.projection = nn.Sequential(wide, nn.SiLU(), nn.Conv2d(512, 320, 1))

    def draw_first(self: Diffusion, batch: int, seen: int, generator: torch.Generator) -> object:
        self.aligning = seen < e.train.images / 3
        return draw(self, batch, seen, generator)

    def both(self: Diffusion, net: nn.Module, examples: Examples, *drawn: Tensor) -> object:
        if not self.aligning:
            return forward(self, net, examples, *drawn)
        hook = net.mid_out.register_forward_hook(lambda _, inputs, out: middle.append(out))
        loss, figures = forward(self, net, examples, *drawn)
        hook.remove()
        ours = self.projection(middle.pop().float())
        with torch.no_grad(), self.autocast(ours.device):
            theirs = teacher(127.5 * (interpolate(examples.x0, scale_factor=4.0) + 1)).float()
        return loss - 0.5 * cosine_similarity(ours, theirs).mean(), figures

    changed = {"__init__": with_projection, "draw": draw_first, "forward": both}
    for name, method in changed.items():
        setattr(Diffusion, name, method)
    Walk.gains = False  # a compiled network would not call the hook
    try:
        yield
    finally:
        Diffusion.__init__, Diffusion.draw, Diffusion.forward = init, draw, forward
        Walk.gains = gains


PATCHES = {
    "muon, immiscible noise": immiscible,
    "muon, growing batch": growing,
    "muon, aligned features": aligned,
}
SNAPSHOTS = "base with snapshots"
LENGTHS = {f"average of length {length:g}": length for length in (0.05, 0.1, 0.15, 0.2)}


# 97.5 % quantiles of Student's t, by the number of values.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}


@dataclass(frozen=True)
class Result:
    """The result of one training. Its loss is the mean plain error over its last eighth."""

    distance: str  # the name of the distance
    value: float
    low: float
    high: float
    accuracy: float
    loss: float
    teraflops: float  # for the whole training
    machine: str  # the machine of the measurement, and the commit


@dataclass(frozen=True)
class Job:
    """A variant with one seed, measured at one guidance scale, and the file of its result."""

    variant: str
    seed: int
    guidance: float
    file: Path

    @property
    def row(self) -> str:
        return self.variant + _at(self.guidance)

    @property
    def origin(self) -> str:
        """The row from which this one differs in one choice."""
        first = self.variant.rpartition(", ")[0]
        return (first if first in VARIANTS else "base") + _at(self.guidance)

    def read(self) -> Result:
        return Result(**json.loads(self.file.read_text()))


def _at(guidance: float) -> str:
    return "" if guidance == GUIDANCE else f", guidance {guidance:g}"


def base(source: str, images: int, seed: int) -> Experiment:
    recipe = recipes.RECIPES["cifar10-ddpm-small"]
    assert isinstance(recipe, Experiment)
    times = images / recipe.train.images
    durations = replace(
        recipe.train,
        images=images,
        warmup=round(recipe.train.warmup * times),
        seed=seed,
        optimizer="adamw",
        ema_halflife=recipe.train.ema_halflife * times,
        cooldown=0.5,
    )
    learned = replace(recipe.objective, weighting="learned")
    return replace(
        recipe,
        data=replace(recipe.data, data=source),
        noise=replace(recipe.noise, prediction="flow"),
        objective=learned,
        train=durations,
        sample=HOW,
        log_every=images // 8,
        sample_every=images,
        save_every=images // 4,
        keep=1,
    )


def trained(experiment: Experiment, folder: Path) -> Path:
    """Train in a folder if necessary; return the folder."""
    done = checkpoint.newest(folder / "checkpoints", warnings.warn)
    if done is None or done.name != f"step-{experiment.train.steps}":
        for now in run(experiment, folder, resume=True):
            if now.note:
                print(f"{folder.name}: {now.images:,} images, loss {now.loss:.4f}", flush=True)
    return folder


def measured(
    experiment: Experiment, folder: Path, length: float | None, samples: int, guidance: float
) -> Result:
    """Measure a run with its own average of the weights, or an average of another length."""
    how = replace(HOW, guidance=guidance)
    weights = average(folder, length)[0].path if length else folder
    pipe = loading.load(weights).in_precision("auto")
    against = evaluation.training_set(folder, pipe)
    measure = evaluation.measure(against.network, against, pipe.size, pipe.device)
    ((_, figures),) = evaluation.measure_samples(
        *(pipe, [measure], how, [samples]),
        evaluation.kept(pipe, how, 0, 64),
        chosen=("fd", "accuracy"),
    )
    fd, *_, right = figures
    return Result(
        *(fd.name, fd.value, fd.low, fd.high, right.value),
        loss=track.read(folder / "log.jsonl")[-1]["loss"],
        teraflops=operations(experiment, pipe.shape, len(pipe.classes)) / 1e12,
        machine=machine("torch"),
    )


def operations(e: Experiment, shape: tuple[int, ...], classes: int) -> float:
    """Count the FLOP of matrix products and convolutions in a training and its optimizer.

    What a patch of `PATCHES` adds or saves, a few per cent, is not counted.
    """
    net = e.network(shape[0], classes)
    step = optimizer(net, e.train, torch.nn.Module()).step
    with FlopCounterMode(display=False) as image:
        net(torch.randn(1, *shape), torch.zeros(1), torch.zeros(1).long()).sum().backward()
    with FlopCounterMode(display=False) as update:
        step()
    images = e.train.images * (1 - 0.75 * e.objective.small_first)
    return images * image.get_total_flops() + e.train.steps * update.get_total_flops()


def slug(name: str, *counts: object) -> str:
    return "-".join([*name.replace(",", "").split(), *map(str, counts)])


def around(values: list[float], digits: int) -> str:
    """Return the mean, with its 95 % interval by Student's t if there are several values."""
    mean = statistics.mean(values)
    if len(values) not in STUDENT:
        return f"{mean:.{digits}f}"
    reach = STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.{digits}f} ± {reach:.{digits}f}"


def page(jobs: list[Job], images: int, samples: int, out: Path) -> str:
    """Return the page. Differences compare the same seeds."""
    results: dict[str, dict[int, Result]] = {}
    for job in jobs:
        results.setdefault(job.row, {})[job.seed] = job.read()
    origins = {job.row: job.origin for job in jobs}
    first = next(iter(results.values()))
    name = next(iter(first.values())).distance
    head = ["", name, "difference", "class accuracy", "training loss", "TFLOP", "seeds"]
    rows = [head, ["---"] * len(head)]
    for row, of in results.items():
        origin = results.get(origins[row], {}) if row != origins[row] else {}
        apart = [r.value - origin[s].value for s, r in of.items() if s in origin]
        rows.append(
            [
                row,
                around([r.value for r in of.values()], 1),
                around(apart, 1) if apart else "",
                around([r.accuracy for r in of.values()], 3),
                around([r.loss for r in of.values()], 4),
                f"{statistics.mean(r.teraflops for r in of.values()):.0f}",
                ", ".join(f"{r.value:.1f}" for r in of.values()),
            ]
        )
    machines = sorted({r.machine for of in results.values() for r in of.values()})
    seeds = sorted({job.seed for job in jobs})
    told = (
        f"Each variant is trained on {images:,} images and measured with {samples:,} samples by "
        "DPM-Solver++ 2M in 20 steps, with Karras' spacing and guidance 2, unless the row has "
        "another guidance scale. The base is the recipe `cifar10-ddpm-small` with AdamW, flow "
        "prediction, learned weighting and a cool-down of half the training. The figures are "
        "means over seeds with 95 % t-intervals; the last column has the distance of each seed. "
        'The column "difference" is the distance of a row minus that of Muon alone (for '
        "a variant of Muon) or of the base (for all other rows), at the same guidance scale. With "
        "the same seed, the two trainings have the same initial weights, images and noise, apart "
        "from what the variant changes. "
        f"Measured on {' and '.join(machines)}."
    )
    command = ["--images", f"{images}", "--samples", f"{samples}"]
    command += ["--seeds", *map(str, seeds), "--out", out.name]
    command += ["--guidance", *(f"{w:g}" for w in dict.fromkeys(job.guidance for job in jobs))]
    command += ["--only", *dict.fromkeys(job.variant for job in jobs)]
    call = f"python benchmarks/recipe.py --data <CIFAR-10> {shlex.join(command)}"
    table = (f"| {' | '.join(row)} |" for row in rows)
    title = "# What a recipe's choices are worth"
    return "\n".join([title, "", told, "", "```", call, "```", "", *table, ""])


def work(job: Job, flags: argparse.Namespace) -> None:
    """Train and measure one variant with one seed."""
    variant = SNAPSHOTS if job.variant in LENGTHS else job.variant
    change = snapshots if job.variant in LENGTHS else VARIANTS[variant]
    experiment = change(base(flags.data, flags.images, job.seed))
    place = flags.runs / slug(variant, flags.images, f"seed{job.seed}")
    with PATCHES.get(variant, nullcontext)(experiment):
        folder = trained(experiment, place)
    length = LENGTHS.get(job.variant)
    found = measured(experiment, folder, length, flags.samples, job.guidance)
    job.file.parent.mkdir(parents=True, exist_ok=True)
    files.replace(job.file, json.dumps(asdict(found), indent=1) + "\n")
    print(job.row, job.seed, found, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--images", type=int, default=51_200)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--guidance", type=float, nargs="*", default=[GUIDANCE])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--matching", nargs="*", default=[])
    parser.add_argument("--runs", type=Path, default=Path("runs/recipe"))
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()
    if unknown := set(flags.only) - set(VARIANTS | LENGTHS):
        parser.error(
            f"--only {unknown.pop()!r} is not a variant: choose from {[*VARIANTS, *LENGTHS]}"
        )
    keep_freed_memory()
    folder, counts = flags.out.with_suffix(""), (flags.images, flags.samples)
    jobs = [
        Job(name, seed, scale, folder / f"{slug(name + _at(scale), *counts, f'seed{seed}')}.json")
        for name in VARIANTS | LENGTHS
        for scale in flags.guidance
        for seed in flags.seeds
    ]
    for job in jobs:
        chosen = job.variant in flags.only or any(w in job.variant for w in flags.matching)
        if not job.file.exists() and (chosen or not (flags.only or flags.matching)):
            work(job, flags)
        if done := [j for j in jobs if j.file.exists()]:
            flags.out.write_text(page(done, flags.images, flags.samples, flags.out))


if __name__ == "__main__":
    main()
