"""What each choice of a CIFAR-10 recipe is worth, at equal images seen.

    python benchmarks/recipe.py --data ~/cifar10 --images 96000 --out docs/results/recipe.md

Trains the base and variants of it that differ in one thing each, under runs/recipe, and measures
each by the Frechet distance of the same pictures. What is done already is not done again, so that a
command that was stopped goes on. ``--only`` takes the variants whose names hold a word; the page
has all that were measured, by this call or before.
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

from mezzotint import evaluate as evaluation
from mezzotint import loading, recipes
from mezzotint.allocator import keep_freed_memory
from mezzotint.evaluate import Figure
from mezzotint.experiment import Experiment, SampleConfig
from mezzotint.machine import machine
from mezzotint.run import run
from mezzotint.training import checkpoint, track

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
    "base": lambda e: e,
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
    "longer average": train(ema_halflife=2),
    "shorter average": train(ema_halflife=0.5),
    "later cooldown": train(cooldown=0.5),
}


@dataclass(frozen=True)
class Result:
    figures: dict[str, Figure]
    gigaflops: float  # of a training step, an image
    machine: str  # that measured, with the commit


def base(source: str, images: int) -> Experiment:
    recipe = recipes.find("cifar10-ddpm-small")
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


def kept(path: Path) -> Result:
    row = json.loads(path.read_text())
    figures = {name: Figure(**figure) for name, figure in row.pop("figures").items()}
    return Result(figures, **row)


def result(experiment: Experiment, folder: Path, samples: int) -> Result:
    """Train, if that is not done, and measure."""
    done = checkpoint.newest(folder / "checkpoints", warnings.warn)
    if done is None or done.name != f"step-{experiment.train.steps}":
        for now in run(experiment, folder, resume=True):
            if now.note:
                print(f"{folder.name}: {now.images:,} images, loss {now.loss:.4f}", flush=True)
    pipe = loading.load(folder).in_precision("auto")
    network = evaluation.choose(pipe.classes)
    against = evaluation.training_set(folder, pipe)
    ((_, figures),) = evaluation.evaluate(
        *(pipe, [evaluation.measure(network, against, pipe.size, pipe.device)], HOW, [samples]),
        evaluation.kept(pipe, HOW, 0, 64),
        chosen=("fd", "accuracy"),
    )
    shape = 1, *pipe.shape
    with FlopCounterMode(display=False) as counter:
        fresh = experiment.network(pipe.shape[0], len(pipe.classes))
        fresh(torch.randn(shape), torch.zeros(1), torch.zeros(1).long()).sum().backward()
    found = {figure.name: figure for figure in figures}
    return Result(found, counter.get_total_flops() / 1e9, machine("torch"))


def page(results: dict[str, Result], images: int, samples: int, out: Path) -> str:
    """The table; what all rows were measured on stands above it, what not all in the rows."""
    command = [*("--images", f"{images}"), *("--samples", f"{samples}"), "--out", out.name]
    if len(results) < len(VARIANTS):
        command += ["--only", *results]
    name = next(iter(next(iter(results.values())).figures))
    parts = {variant: r.machine.split("; ") for variant, r in results.items()}
    shared = [p for p in next(iter(parts.values())) if all(p in other for other in parts.values())]
    own = {variant: "; ".join(p for p in of if p not in shared) for variant, of in parts.items()}
    head = [name, "95 % interval", "class accuracy", "GFLOP an image"]
    head += ["measured on"] if any(own.values()) else []
    rows = [["", *head], ["---"] * (len(head) + 1)]
    for variant, r in results.items():
        fd, right = r.figures[name], r.figures["accuracy"]
        cells = [f"{fd.value:.2f}", f"{fd.low:.2f} to {fd.high:.2f}", f"{right.value:.3f}"]
        rows.append([variant, *cells, f"{r.gigaflops:.2f}", own[variant]][: len(head) + 1])
    told = (
        f"{images:,} images each, seed 0; {samples:,} pictures by DPM-Solver++ 2M in 20 calls, "
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
    files = {
        name: flags.runs
        / f"{name.replace(' ', '-').replace(',', '')}-{flags.images}"
        / f"result-{flags.samples}.json"
        for name in VARIANTS
    }
    for name, file in files.items():
        if flags.only and not any(word in name for word in flags.only):
            continue
        if not file.exists():
            experiment = VARIANTS[name](base(flags.data, flags.images))
            found = result(experiment, file.parent, flags.samples)
            track.replace(file, json.dumps(asdict(found), indent=1))
            print(name, *found.figures.values(), sep="\n", flush=True)
        results = {known: kept(path) for known, path in files.items() if path.exists()}
        flags.out.write_text(page(results, flags.images, flags.samples, flags.out))


if __name__ == "__main__":
    main()
