"""Models to export, and the images that other programs make of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

import mezzotint as mz

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()

CLASSES = ("cat", "dog", "ship")


def randomised(net: nn.Module) -> nn.Module:
    """Give a network random weights with which its outputs keep a normal size."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn(weight.shape) / max(1, weight[0].numel()) ** 0.5 * 0.8)
    return net.eval().requires_grad_(False)


def pipeline(net: nn.Module, shape: tuple[int, int, int], **fields: Any) -> mz.Pipeline:
    """Make a pipeline with random weights."""
    settings = {"schedule": mz.cosine(1000), "prediction": "v", "classes": CLASSES, **fields}
    return mz.Pipeline(net=randomised(net), shape=shape, **settings)


def noise(pipe: mz.Pipeline, count: int = 3) -> Tensor:
    return torch.randn(count, *pipe.shape, generator=torch.Generator().manual_seed(1))


def by_diffusers(folder: Path, x: Tensor, labels: Sequence[int] | None, steps: int) -> Tensor:
    """Return the images that diffusers makes from x with the exported model, at guidance 2."""
    theirs = diffusers.DiffusionPipeline.from_pretrained(
        folder, trust_remote_code=True, local_files_only=True
    )
    theirs.set_progress_bar_config(disable=True)
    if not isinstance(theirs, diffusers.DDIMPipeline):
        guided = {"class_labels": labels, "guidance_scale": 2.0}
        made = theirs(latents=x, num_inference_steps=steps, output_type="pt", **guided).images
        return (255 * made).round()
    theirs.scheduler.set_timesteps(steps)  # DDIMPipeline takes no noise
    with torch.no_grad():
        for t in theirs.scheduler.timesteps:
            output = theirs.unet(x, t).sample
            x = theirs.scheduler.step(output, t, x, use_clipped_model_output=True).prev_sample
    return (255 * (x / 2 + 0.5).clamp(0, 1)).round()


def by_us(pipe: mz.Pipeline, x: Tensor, labels: Sequence[int] | None, steps: int) -> Tensor:
    """Return the images that the pipeline itself makes from x."""
    how = {"sampler": "ddim", "steps": steps, "spacing": "trailing"}
    return pipe.sample(len(x), labels, noise=x, **how | ({"guidance": 2.0} if labels else {}))


def example(folder: Path) -> ModuleType:
    """Import the sample.py that was exported with a model."""
    spec = importlib.util.spec_from_file_location("sample", folder / "sample.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
