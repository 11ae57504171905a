"""Compare latent diffusion with diffusion in pixels: training, memory and sampling.

    python benchmarks/latents.py --vae runs/tiny-imagenet100-vae --data ~/tiny-imagenet-100

The script times three trainings of the recipe tiny-imagenet100-ldm. They differ only in the input
of the network: latents; pixels at their own resolution; and pixels folded 4x4 into channels, which
have the height and width of the latents. The trainings take turns in one process. Each peak of
memory is measured in a fresh process.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator
from turns import DEVICE, Row, Turn, memory, peak_memory, table, take_turns

from mezzotint.config.experiment import Experiment
from mezzotint.config.recipes import RECIPES
from mezzotint.config.sections import CodecConfig
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.storage.machine import machine
from mezzotint.trainer.loop import train

LATENTS, FOLDED, PIXELS = "latents, f4", "pixels, folded 4x4", "pixels"
COUNT, BATCH = 64, 64


def experiments(vae: str, data: str) -> dict[str, Experiment]:
    recipe = RECIPES["tiny-imagenet100-ldm"]
    assert isinstance(recipe, Experiment)
    images = replace(recipe.train, images=10**9, batch=BATCH)
    base = replace(recipe, data=replace(recipe.data, data=data), train=images)
    latents = replace(base, codec=CodecConfig(vae=vae))
    clipped = replace(base.sample, clipping="static")
    pixels = replace(base, codec=CodecConfig(), sample=clipped)
    folded = replace(pixels, net=replace(base.net, patch=4))
    return {LATENTS: latents, FOLDED: folded, PIXELS: pixels}


def training(job: DiffusionJob) -> Turn:
    accelerator, state = Accelerator(cpu=DEVICE.type == "cpu"), job.state
    net = accelerator.prepare(state.net)
    parts = net, state.ema, state.optimizer, state.task, job.batch
    steps = train(accelerator, *parts, job.experiment.train)
    return lambda: next(steps)


def sampling(job: DiffusionJob) -> Turn:
    pipe = job.pipe.in_precision("auto")
    return lambda: pipe.sample(COUNT, batch=COUNT)


def page(vae: str, data: str, pairs: int) -> str:
    jobs = {name: DiffusionJob(e, DEVICE, None) for name, e in experiments(vae, data).items()}
    size = sum(weight.numel() for weight in jobs[LATENTS].state.net.parameters())
    trainings = {name: training(job) for name, job in jobs.items()}
    samplings = {name: sampling(job) for name, job in jobs.items()}
    steps = list(take_turns(trainings, pairs, {PIXELS: min(3, pairs)}))
    made: list[Row] = list(take_turns(samplings, pairs, {PIXELS: 1}))
    where = "--vae", vae, "--data", data
    peaks = memory(__file__, "Peak memory of training steps", [*jobs], *where)
    return "\n".join(
        [
            "# Latents against pixels\n",
            f"{machine('torch')}. `python benchmarks/latents.py`, images of 64x64, a network of "
            f"{size / 1e6:.1f} million parameters; all weights except the autoencoder's are "
            "random. A ratio is the median over the rounds, with the least and the greatest in "
            "brackets.",
            table(f"A training step, batch {BATCH}", BATCH, steps),
            table(f"{COUNT} images by DDIM 50, guided, decoded", COUNT, made),
            peaks,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vae", default="runs/tiny-imagenet100-vae")
    parser.add_argument("--data", default="tiny-imagenet-100")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--out", type=Path, help="the page to write; by default it is only printed")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    keep_freed_memory()
    if given.peak:
        experiment = experiments(given.vae, given.data)[given.peak]
        turn = training(DiffusionJob(experiment, DEVICE, None))
        for _ in range(3):
            turn()
        print(peak_memory())
        return
    text = page(given.vae, given.data, given.pairs)
    if given.out:
        given.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
