"""What each choice of a CIFAR-10 recipe is worth, at equal images seen.

    python benchmarks/recipe.py --data ~/cifar10 --images 96000 --out docs/results/recipe.md

Trains the base and variants of it that differ in one thing each, under runs/recipe, and measures
each by the Frechet distance of the same images; averages of other lengths are rebuilt of the
base's snapshots. Results are kept in a folder beside the page: what is there is not done again.
``--only`` takes the variants whose names hold a word; the page has all that were measured, by this
call or before.
"""

from __future__ import annotations

import argparse
import json
import shlex
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from mezzotint import evaluation
from mezzotint.config import recipes
from mezzotint.config.experiment import Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.pipeline import loading
from mezzotint.run import run
from mezzotint.run.averages import average
from mezzotint.storage import checkpoint
from mezzotint.storage import log as track
from mezzotint.storage.machine import machine

Change = Callable[[Experiment], Experiment]
HOW = SampleConfig("dpmpp_2m", steps=20, spacing="karras", guidance=2.0)


def noise(**fields: object) -> Change:
    return lambda e: replace(e, noise=replace(e.noise, **fields))


def objective(**fields: object) -> Change:
    return lambda e: replace(e, objective=replace(e.objective, **fields))


def net(**fields: object) -> Change:
    return lambda e: replace(e, net=replace(e.net, **fields))


def data(**fields: object) -> Change:
    return lambda e: replace(e, data=replace(e.data, **fields))


def train(**factors: float) -> Change:
    """Fields of the training times a factor."""

    def change(e: Experiment) -> Experiment:
        was = {name: getattr(e.train, name) for name in factors}
        scaled = {name: type(was[name])(was[name] * factor) for name, factor in factors.items()}
        return replace(e, train=replace(e.train, **scaled))

    return change


VARIANTS: dict[str, Change] = {
    "base": lambda e: replace(e, train=replace(e.train, snapshots=e.train.images // 50)),
    "plain weighting": objective(weighting="simple"),
    "sigmoid weighting": objective(weighting="sigmoid"),
    "edm prediction": noise(prediction="edm"),
    "flow prediction": noise(prediction="flow"),
    "eps prediction": noise(prediction="eps"),
    "linear schedule": noise(schedule="linear"),
    "laplace schedule": noise(schedule="laplace"),
    "laplace schedule and flow": noise(schedule="laplace", prediction="flow"),
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
LENGTHS = {f"average of length {length:g}": length for length in (0.05, 0.1, 0.15, 0.2)}


@dataclass(frozen=True)
class Result:
    distance: str  # its name
    value: float
    low: float
    high: float
    accuracy: float
    gigaflops: float  # of a training step, an image
    machine: str  # that measured, with the commit


def base(source: str, images: int) -> Experiment:
    recipe = recipes.RECIPES["cifar10-ddpm-small"]
    assert isinstance(recipe, Experiment)
    times = images / recipe.train.images
    durations = replace(
        recipe.train,
        images=images,
        warmup=round(recipe.train.warmup * times),
        ema_halflife=recipe.train.ema_halflife * times,
        cooldown=0.5,
    )
    learned = replace(recipe.objective, weighting="learned")
    return replace(
        recipe,
        data=replace(recipe.data, data=source),
        objective=learned,
        train=durations,
        sample_every=images,
        save_every=images // 4,
        keep=1,
    )


def trained(experiment: Experiment, folder: Path) -> Path:
    """The folder, trained in if that is not done."""
    done = checkpoint.newest(folder / "checkpoints", warnings.warn)
    if done is None or done.name != f"step-{experiment.train.steps}":
        for now in run(experiment, folder, resume=True):
            if now.note:
                print(f"{folder.name}: {now.images:,} images, loss {now.loss:.4f}", flush=True)
    return folder


def measured(experiment: Experiment, folder: Path, length: float | None, samples: int) -> Result:
    """The result of a run's own average of the weights, or of one of another length."""
    weights = average(folder, length)[0].path if length else folder
    pipe = loading.load(weights).in_precision("auto")
    network = evaluation.choose(pipe.classes)
    against = evaluation.training_set(folder, pipe)
    ((_, figures),) = evaluation.measure_samples(
        *(pipe, [evaluation.measure(network, against, pipe.size, pipe.device)], HOW, [samples]),
        evaluation.kept(pipe, HOW, 0, 64),
        chosen=("fd", "accuracy"),
    )
    shape = 1, *pipe.shape
    with FlopCounterMode(display=False) as counter:
        fresh = experiment.network(pipe.shape[0], len(pipe.classes))
        fresh(torch.randn(shape), torch.zeros(1), torch.zeros(1).long()).sum().backward()
    fd, *_, right = figures
    scores = fd.name, fd.value, fd.low, fd.high, right.value
    return Result(*scores, counter.get_total_flops() / 1e9, machine("torch"))


def slug(name: str, *counts: int) -> str:
    return "-".join([*name.replace(",", "").split(), *map(str, counts)])


def page(results: dict[str, Result], images: int, samples: int, out: Path) -> str:
    """The table; what all rows were measured on stands above it, what not all in the rows."""
    command = [*("--images", f"{images}"), *("--samples", f"{samples}"), "--out", out.name]
    if len(results) < len(VARIANTS | LENGTHS):
        command += ["--only", *results]
    name = next(iter(results.values())).distance
    parts = {variant: r.machine.split("; ") for variant, r in results.items()}
    shared = [p for p in next(iter(parts.values())) if all(p in other for other in parts.values())]
    own = {variant: "; ".join(p for p in of if p not in shared) for variant, of in parts.items()}
    head = [name, "95 % interval", "class accuracy", "GFLOP an image"]
    head += ["measured on"] if any(own.values()) else []
    rows = [["", *head], ["---"] * (len(head) + 1)]
    for variant, r in results.items():
        cells = [f"{r.value:.2f}", f"{r.low:.2f} to {r.high:.2f}", f"{r.accuracy:.3f}"]
        rows.append([variant, *cells, f"{r.gigaflops:.2f}", own[variant]][: len(head) + 1])
    told = (
        f"{images:,} images each, seed 0; {samples:,} images by DPM-Solver++ 2M in 20 calls, "
        f"Karras' spacing, guidance 2; {'; '.join(shared)}."
    )
    call = f"python benchmarks/recipe.py --data <CIFAR-10> {shlex.join(command)}"
    table = (f"| {' | '.join(row)} |" for row in rows)
    title = "# What a recipe's choices are worth"
    return "\n".join([title, "", told, "", "```", call, "```", "", *table, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--images", type=int, default=96_000)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--runs", type=Path, default=Path("runs/recipe"))
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()
    keep_freed_memory()
    folder = flags.out.with_suffix("")
    files = {n: folder / f"{slug(n, flags.images, flags.samples)}.json" for n in VARIANTS | LENGTHS}
    for name, file in files.items():
        if flags.only and not any(word in name for word in flags.only):
            continue
        if not file.exists():
            variant = "base" if name in LENGTHS else name
            experiment = VARIANTS[variant](base(flags.data, flags.images))
            place = trained(experiment, flags.runs / slug(variant, flags.images))
            found = measured(experiment, place, LENGTHS.get(name), flags.samples)
            folder.mkdir(parents=True, exist_ok=True)
            track.replace(file, json.dumps(asdict(found), indent=1) + "\n")
            print(name, found, flush=True)
        rows = {n: Result(**json.loads(f.read_text())) for n, f in files.items() if f.exists()}
        flags.out.write_text(page(rows, flags.images, flags.samples, flags.out))


if __name__ == "__main__":
    main()
