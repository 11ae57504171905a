"""Compare the speed and memory of mezzotint and diffusers on the same weights.

    python benchmarks/against_diffusers.py                   # all; writes docs/results/speed.md
    python benchmarks/against_diffusers.py forward training  # prints these tables

All tables take 35 minutes. Run nothing else on the machine meanwhile.

Both programs take turns in one process, with the allocator settings of mezzotint's command line. A
ratio compares two turns of the same round; the tables show the median, least and greatest ratio.
Memory is the peak of a fresh process. There diffusers has the default allocator settings.

diffusers runs as its documentation shows (float32, eager, with its EMAModel and DDIMPipeline), and
tuned in four ways: bf16 autocast; bf16 autocast in channels-last; bf16 weights in channels-last;
and compiled.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor
from turns import DEVICE, Row, Turn, memory, peak_memory, table, take_turns

import mezzotint as mz
from mezzotint.config.recipes import RECIPES
from mezzotint.config.sampling import SampleConfig
from mezzotint.interop.unet import unet_weights
from mezzotint.networks import UNet, UNetConfig
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.networks.precision import compute_dtype
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage.machine import machine
from mezzotint.trainer.ema import averaged
from mezzotint.trainer.loop import Examples, TrainConfig, optimizer, train
from mezzotint.trainer.objective import Diffusion, ObjectiveConfig

LAST, BF16 = torch.channels_last, torch.bfloat16
LARGE = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}
SMALL = {
    "sample_size": 16,
    "in_channels": 12,  # mezzotint's network folds 2x2 pixels into channels itself
    "out_channels": 12,
    "block_out_channels": (64, 96, 128),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}
SHAPES = {"35.7M": (LARGE, UNetConfig()), "small": (SMALL, RECIPES["cifar10-ddpm-small"].net)}
OURS, DEFAULT, AUTOCAST = "mezzotint", "diffusers", "diffusers, autocast"
PLAIN = "mezzotint, not compiled, as for a training of fewer than 5,000 steps"
DIVIDED = "mezzotint, in two parts (accumulate 2)"
AUTOCAST_LAST, CAST = f"{AUTOCAST}, channels-last", "diffusers, bf16 weights, channels-last"
COMPILED = "diffusers, compiled"
METHODS = ["DDIM 250", "DDPM 1000"]


def peer(size: str, classes: int = 0) -> UNet2DModel:
    """Make diffusers' network: DDPM's (35.7 million parameters), or the small recipe's."""
    torch.manual_seed(0)
    likeness: dict[str, Any] = {
        "attention_head_dim": None,
        "norm_eps": 1e-6,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "num_class_embeds": classes + 1 if classes else None,
    }
    return UNet2DModel(layers_per_block=2, **SHAPES[size][0], **likeness).to(DEVICE)


def ours(size: str, classes: int = 0) -> UNet:
    """Make mezzotint's network with the weights of `peer`."""
    net = UNet(SHAPES[size][1], classes=classes)
    net.load_state_dict(unet_weights(peer(size, classes).state_dict(), False))
    return net.to(DEVICE)


def noise(net: UNet2DModel, batch: int) -> Tensor:
    c = net.config
    return torch.randn(batch, c.in_channels, c.sample_size, c.sample_size, device=DEVICE)


def forwards(size: str, batch: int, compiled: bool) -> dict[str, Turn]:
    """Return a turn for each contestant: one call of the network."""
    net, theirs = ours(size).for_inference(BF16), peer(size).eval()
    cast = copy.deepcopy(theirs).to(BF16).to(memory_format=LAST)
    x, z = torch.randn(batch, 3, 32, 32, device=DEVICE), noise(theirs, batch)
    t = torch.full((batch,), 500, device=DEVICE)

    @torch.inference_mode()
    def run() -> Tensor:
        return net(x, t)

    @torch.no_grad()
    def default() -> Tensor:
        return theirs(z, t).sample

    def autocast() -> Tensor:
        with torch.autocast(DEVICE.type, BF16):
            return default()

    def inference(net: Callable[..., Any]) -> Turn:
        @torch.inference_mode()
        def run() -> Tensor:
            return net(z.to(BF16, memory_format=LAST), t).sample.float()

        return run

    turns = {OURS: run, DEFAULT: default, AUTOCAST: autocast, CAST: inference(cast)}
    return turns | ({COMPILED: inference(torch.compile(cast))} if compiled else {})


def trainings(size: str, batch: int, compiled: bool, only: str = "") -> dict[str, Turn]:
    """Return a turn for each contestant: a training step with optimiser and average."""
    makers: dict[str, Callable[[], Turn]] = {
        OURS: lambda: our_step(size, batch),
        DEFAULT: lambda: their_step(size, batch),
        AUTOCAST: lambda: their_step(size, batch, tuned=True),
        AUTOCAST_LAST: lambda: their_step(size, batch, tuned=True, layout=LAST),
    }
    if batch == 128:
        makers[DIVIDED] = lambda: our_step(size, batch, accumulate=2)
    if size == "small":  # its training is compiled on a CPU too
        makers[PLAIN] = lambda: our_step(size, batch, calls=0)
    if compiled or size == "small":
        makers[COMPILED] = lambda: their_step(size, batch, tuned=True, compiled=True)
    return {name: make() for name, make in makers.items() if only in ("", name)}


def our_step(size: str, batch: int, calls: int = 10**6, accumulate: int = 1) -> Turn:
    """Return a step of mezzotint's loop at precision "auto", in a training of ``calls`` steps."""
    accelerator, net = Accelerator(cpu=DEVICE.type == "cpu"), ours(size)
    net.compile_for(calls)
    config = TrainConfig(images=10**9, batch=batch, accumulate=accumulate)
    schedule, dtype = mz.linear(1000).to(DEVICE), compute_dtype("auto", DEVICE)
    task = Diffusion(ObjectiveConfig(), schedule, "eps", (3, 32, 32), dtype=dtype)
    x0 = torch.rand(batch, 3, 32, 32, device=DEVICE) * 2 - 1
    steps = train(
        accelerator,
        accelerator.prepare(net),
        averaged(net, batch, config.ema_halflife),
        optimizer(net, config, task),
        task,
        lambda start, count, u: Examples(x0[:count]),
        config,
    )
    return lambda: next(steps)


def their_step(
    size: str,
    batch: int,
    tuned: bool = False,
    layout: torch.memory_format = torch.contiguous_format,
    compiled: bool = False,
) -> Turn:
    """Return a step of diffusers' unconditional example; tuned: bf16 autocast, fused AdamW."""
    net = peer(size).train().to(memory_format=layout)
    call = torch.compile(net) if compiled else net
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    adam = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=tuned)
    ema = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True)
    x0 = noise(net, batch).clamp(-1, 1).contiguous(memory_format=layout)

    def step() -> None:
        eps = torch.randn_like(x0)
        t = torch.randint(0, 1000, (batch,), device=DEVICE)
        with torch.autocast(DEVICE.type, BF16, enabled=tuned):
            output = call(scheduler.add_noise(x0, eps, t), t).sample
        F.mse_loss(output.float(), eps).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        ema.step(net.parameters())

    return step


def samplings(size: str, guided: bool, count: int = 64, steps: int = 50) -> dict[str, Turn]:
    """Return a turn for each contestant: DDIM from noise to uint8; guided: with ten classes."""
    classes = 10 if guided else 0
    names = tuple(str(i) for i in range(classes))
    theirs = peer(size, classes).eval()
    cast = copy.deepcopy(theirs).to(BF16).to(memory_format=LAST)
    scheduler = DDIMScheduler(num_train_timesteps=1000, clip_sample=True)
    how = SampleConfig(steps=steps, spacing="leading", guidance=2.0 if guided else 1.0)
    net = ours(size, classes).for_inference(BF16)
    pipe = Pipeline(net, mz.linear(1000), "eps", (3, 32, 32), names, how)

    def pipeline(net: UNet2DModel) -> Turn:
        ddim = DDIMPipeline(net, scheduler)
        ddim.set_progress_bar_config(disable=True)
        return lambda: ddim(count, num_inference_steps=steps, output_type="np")

    def loop(net: UNet2DModel) -> Turn:
        """Return a loop written by hand: diffusers' pipelines support neither guidance nor bf16."""
        labels = torch.arange(count, device=DEVICE) % 10
        pair = torch.cat([labels, torch.full_like(labels, 10)])

        @torch.inference_mode()
        def run() -> Tensor:
            x = noise(net, count)
            scheduler.set_timesteps(steps)
            for t in scheduler.timesteps:
                z = x.to(net.dtype, memory_format=LAST)
                if guided:
                    cond, uncond = net(torch.cat([z, z]), t, pair).sample.float().chunk(2)
                    eps = uncond + 2 * (cond - uncond)
                else:
                    eps = net(z, t).sample.float()
                x = scheduler.step(eps, t, x).prev_sample
            return (x.clamp(-1, 1) * 127.5 + 127.5).byte()

        return run

    def autocast() -> object:
        with torch.autocast(DEVICE.type, BF16):
            return loop(theirs)()

    turns = {
        OURS: lambda: pipe.sample(count, batch=count),
        DEFAULT: loop(theirs) if guided else pipeline(theirs),
        CAST: loop(cast),
    }
    return turns | ({AUTOCAST: autocast} if size == "small" else {})  # slower on the large network


def methods() -> dict[str, Turn]:
    """Return turns that make 16 images by the paper's two methods, with the small network."""
    how = SampleConfig(sampler="ddpm", steps=1000)
    net = ours("small").for_inference(BF16)
    pipe = Pipeline(net, mz.linear(1000), "eps", (3, 32, 32), (), how)
    ddim = replace(pipe, defaults=SampleConfig(steps=250))
    return dict(zip(METHODS, (lambda: ddim.sample(16), lambda: pipe.sample(16)), strict=True))


def peak(name: str) -> float:
    """Return the peak MiB of this process: three training steps of 128, or 16 images."""
    if name in (OURS, DIVIDED):
        keep_freed_memory()
    if name in METHODS:
        methods()[name]()
    else:
        turn = trainings("35.7M", 128, "compiled" in name, only=name)[name]
        for _ in range(3):
            turn()
    return peak_memory()


def tables(which: list[str], pairs: int, compiled: bool) -> Iterator[str]:
    def rows(turns: dict[str, Turn], rare: int) -> list[Row]:
        return list(take_turns(turns, pairs, {DEFAULT: rare}))

    for name in which:
        if name == "forward":
            for batch in (1, 4, 16, 64):
                title = f"One call of the 35.7M network, bf16, batch {batch}"
                yield table(title, batch, rows(forwards("35.7M", batch, compiled), pairs))
        elif name in ("training", "wide", "small"):
            size = "small" if name == "small" else "35.7M"
            for batch in {"training": (16, 64), "wide": (128,), "small": (64,)}[name]:
                title = f"A training step of the {size} network, batch {batch}"
                turns = trainings(size, batch, compiled)
                yield table(title, batch, rows(turns, 2 if batch == 128 else pairs))
        elif name == "memory":
            names = [OURS, DIVIDED, DEFAULT, AUTOCAST, AUTOCAST_LAST, COMPILED]
            title = "Peak memory of a training step of the 35.7M network at batch 128"
            yield memory(__file__, title, names)
            yield memory(__file__, "Peak memory of 16 images of the small network", METHODS)
        elif name == "sampling":
            for size, guided in (("small", False), ("small", True), ("35.7M", False)):
                title = f"64 images by DDIM 50, {size} network, {'' if guided else 'un'}guided"
                yield table(title, 64, rows(samplings(size, guided), 1 if size == "35.7M" else 3))
        elif name == "methods":
            title = "16 images of the small network by the paper's two methods"
            yield table(title, 16, rows(methods(), pairs))


def main() -> None:
    every = ["forward", "training", "wide", "small", "memory", "sampling", "methods"]
    parser = argparse.ArgumentParser(description="Speed and memory against diffusers.")
    parser.add_argument("tables", nargs="*", default=every, help=", ".join(every))
    parser.add_argument("--pairs", type=int, default=7, help="rounds of turns")
    parser.add_argument(
        "--compiled", action="store_true", help="compile diffusers too, which takes minutes"
    )
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    if given.peak:
        print(peak(given.peak))
        return
    keep_freed_memory()
    page = Path(__file__).parents[1] / "docs" / "results" / "speed.md"
    parts = [f"# Speed against diffusers\n\n{machine('torch', 'diffusers')}."]
    for part in tables(given.tables, given.pairs, given.compiled):
        print(part, flush=True)
        parts.append(part)
    if given.tables == every:
        page.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
