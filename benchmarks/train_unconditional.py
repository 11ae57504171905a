"""Train a model as diffusers' example does, for the comparison in docs/results/cifar10.md.

    python benchmarks/train_unconditional.py train --data cifar10 --images 600000 --out runs/theirs
    python benchmarks/train_unconditional.py sample runs/theirs --sampler ddim --steps 50
    mezzotint evaluate runs/theirs/ddim-50 --against cifar10

The training follows examples/unconditional_image_generation/train_unconditional.py of diffusers at
commit 00769f6, with its defaults and the settings that its README recommends: an eps-prediction,
the linear schedule of 1,000 steps, AdamW (0.95, 0.999) at 1e-4 with a decay of 1e-6, 500 steps of
warm-up and a cosine to 0, batch 16, flips, EMA with a warm-up of power 3/4, and bf16 autocast. Only
the network differs: it has four levels instead of six and is narrower, so it has about as many
parameters as the network of cifar10-cpu. A training that was stopped is resumed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel

from mezzotint.data import prepare
from mezzotint.data.order import rows
from mezzotint.networks.allocator import keep_freed_memory

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# 12.0 million parameters and 3.9 GFLOP per training image; cifar10-cpu has 12.3 and 3.4.
WIDTHS = (32, 64, 128, 224)
BATCH, EVERY = 16, 16_000
PIPELINES = {"ddpm": DDPMPipeline, "ddim": DDIMPipeline}


def network() -> UNet2DModel:
    """Make the network of the example, with four levels."""
    attention = len(WIDTHS) - 2  # in the last level but one, as in the example
    kinds = [("Attn" * (level == attention)) for level in range(len(WIDTHS))]
    return UNet2DModel(
        sample_size=32,
        layers_per_block=2,
        block_out_channels=WIDTHS,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
    )


def train(data: str, images: int, out: Path, seed: int) -> None:
    pictures, steps, state = prepare(data).images, images // BATCH, out / "state.pt"
    torch.manual_seed(seed)
    net = network().to(DEVICE)
    ema = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, power=3 / 4)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4, (0.95, 0.999), weight_decay=1e-6)
    rate = get_cosine_schedule_with_warmup(optimizer, 500, steps)
    noise_of = DDPMScheduler(num_train_timesteps=1000)
    parts = {"net": net, "ema": ema, "optimizer": optimizer, "rate": rate}
    step = 0
    if state.exists():
        kept = torch.load(state, weights_only=False, map_location=DEVICE)
        step = kept.pop("step")
        for name, part in parts.items():
            part.load_state_dict(kept[name])
    ema.to(DEVICE)
    out.mkdir(parents=True, exist_ok=True)
    begun, total, logged = time.perf_counter(), 0.0, step
    while step < steps:
        generator = torch.Generator().manual_seed(seed * steps + step)
        batch = torch.from_numpy(pictures[rows(seed, step * BATCH, BATCH, len(pictures))])
        x0 = (batch.to(DEVICE).permute(0, 3, 1, 2) / 127.5 - 1).contiguous()
        flipped = torch.rand(BATCH, generator=generator).to(DEVICE) < 0.5
        x0 = torch.where(flipped[:, None, None, None], x0.flip(3), x0)
        noise = torch.randn(x0.shape, generator=generator).to(DEVICE)
        t = torch.randint(1000, (BATCH,), generator=generator).to(DEVICE)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            told = net(noise_of.add_noise(x0, noise, t), t).sample
        loss = F.mse_loss(told.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        ema.step(net.parameters())
        step, total = step + 1, total + loss.item()
        if step * BATCH % EVERY == 0 or step == steps:
            held = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**held, "step": step}, state.with_suffix(".new"))
            state.with_suffix(".new").rename(state)
            done = step - logged
            speed = done * BATCH / (time.perf_counter() - begun)
            row = {"images": step * BATCH, "loss": total / done, "images_per_second": speed}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            begun, total, logged = time.perf_counter(), 0.0, step
    ema.copy_to(net.parameters())
    DDPMPipeline(net, noise_of).save_pretrained(out / "pipeline")


def sample(out: Path, sampler: str, steps: int, count: int, batch: int = 100) -> None:
    """Write the samples of one of diffusers' pipelines as PNG files."""
    pipe = PIPELINES[sampler].from_pretrained(out / "pipeline").to(DEVICE)
    pipe.set_progress_bar_config(disable=True)
    folder = out / f"{sampler}-{steps}"
    folder.mkdir(exist_ok=True)
    for first in range(0, count, batch):
        names = [folder / f"{i:06}.png" for i in range(first, min(first + batch, count))]
        if all(name.exists() for name in names):
            continue
        generator = torch.Generator().manual_seed(first)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            made = pipe(len(names), generator, num_inference_steps=steps).images
        for name, image in zip(names, made, strict=True):
            image.save(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(dest="task", required=True)
    trained = tasks.add_parser("train")
    trained.add_argument("--data", default="cifar10")
    trained.add_argument("--images", type=int, required=True)
    trained.add_argument("--out", type=Path, required=True)
    trained.add_argument("--seed", type=int, default=0)
    sampled = tasks.add_parser("sample")
    sampled.add_argument("out", type=Path)
    sampled.add_argument("--sampler", choices=PIPELINES, default="ddim")
    sampled.add_argument("--steps", type=int, default=50)
    sampled.add_argument("--count", type=int, default=1_000)
    flags = vars(parser.parse_args())
    keep_freed_memory()
    {"train": train, "sample": sample}[flags.pop("task")](**flags)


if __name__ == "__main__":
    main()
