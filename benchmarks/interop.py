"""Compare the samples of exported models in other programs, from the same noise.

    python benchmarks/interop.py                     # all models; writes docs/results/interop.md
    python benchmarks/interop.py runs/mine cifar10   # prints these; images in runs/interop

Each model makes 16 images by DDIM in 20 steps, with guidance 2 if it has classes. The programs are
mezzotint; diffusers, with the exported folder; and ONNX Runtime and OpenVINO, with the exported
ONNX files and example. The differences are in grey levels (0 to 255), for one value of one pixel.
Besides the shipped model, the script uses short trainings on `glyphs`, whose images need not be
good. These are trained once, in runs/interop, in a few minutes. OpenVINO is left out if it is not
installed; to install it, run ``pip install openvino``.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from runtimes import sampler, sessions
from torch import Tensor

import mezzotint as mz
from mezzotint.drawing import figures
from mezzotint.networks import DiTConfig
from mezzotint.storage.machine import machine

OURS, COUNT, STEPS, SHOWN = "mezzotint, float32", 16, 20, 4
OUT = Path("runs/interop")
PAGE = Path(__file__).parents[1] / "docs" / "results" / "interop.md"
PLAIN = {"conditional": False, "schedule": "linear", "prediction": "eps", "patch": 1}
SHORT: dict[str, tuple[str, dict[str, Any]]] = {  # the recipe and the fields of each training
    "glyphs-ddpm": ("glyphs-ddpm", {"images": 24_000}),
    "glyphs-unconditional": ("glyphs-ddpm", {"images": 6_400, **PLAIN}),
    "glyphs-dit": (
        "glyphs-ddpm",
        {"images": 24_000, "net": DiTConfig(patch=4, width=128, depth=4, heads=4)},
    ),
    "glyphs-vae": ("glyphs-vae", {"images": 9_600}),
    "glyphs-ldm": ("glyphs-ldm", {"images": 24_000, "vae": str(OUT / "glyphs-vae")}),
}
WHAT = {
    "cifar10": "the shipped model: U-Net, folded pixels, flow",
    "glyphs-ddpm": "U-Net, folded pixels, v",
    "glyphs-unconditional": "U-Net, eps, no classes: diffusers' own `DDIMPipeline`",
    "glyphs-dit": "DiT, v",
    "glyphs-ldm": "U-Net in the latents of an autoencoder, v",
}


def trained(name: str) -> Path:
    """Return the run of a short training; train it if it does not exist."""
    recipe, fields = SHORT[name]
    if name == "glyphs-ldm":
        trained("glyphs-vae")
    if not (OUT / name / "checkpoints").exists():
        mz.train(recipe, out=OUT / name, **fields)
    return OUT / name


def loaded(path: str | Path) -> mz.Pipeline:
    return mz.load(path, device="cpu", precision="float32")


def by_diffusers(folder: Path, x: Tensor, labels: list[int] | None) -> Tensor:
    """Return the images that diffusers' pipeline makes from x."""
    theirs = diffusers.DiffusionPipeline.from_pretrained(
        folder, trust_remote_code=True, local_files_only=True
    )
    theirs.set_progress_bar_config(disable=True)
    how = {"num_inference_steps": STEPS, "output_type": "np"}
    if isinstance(theirs, diffusers.DDIMPipeline):  # this pipeline draws x itself, from the seed
        how |= {"generator": noise(0), "use_clipped_model_output": True}
        made = theirs(len(x), **how).images
    else:
        made = theirs(latents=x, class_labels=labels, guidance_scale=2.0, **how).images
    return torch.from_numpy(255 * made).round().to(torch.uint8).permute(0, 3, 1, 2)


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def everywhere(pipe: mz.Pipeline) -> Iterator[tuple[str, Tensor]]:
    """Yield the images of each program; mezzotint is the first."""
    x = torch.randn(COUNT, *pipe.shape, generator=noise(0))
    labels = [i % len(pipe.classes) for i in range(COUNT)] if pipe.classes else None
    how = {"sampler": "ddim", "steps": STEPS, "spacing": "trailing"}
    how |= {"guidance": 2.0} if labels else {}
    pipe = replace(pipe, defaults=replace(pipe.defaults, **how))
    yield OURS, pipe.sample(COUNT, labels, noise=x)
    yield "mezzotint, bf16", pipe.in_precision("bf16").sample(COUNT, labels, noise=x)
    with tempfile.TemporaryDirectory() as place:
        folder = pipe.export(Path(place) / "diffusers")
        yield "diffusers", by_diffusers(folder, x, labels)
        folder = pipe.export(Path(place) / "onnx", "onnx")
        for name, opened in sessions().items():
            made = sampler(folder, opened)(COUNT, labels, noise=x.numpy())
            yield name, torch.from_numpy(made).permute(0, 3, 1, 2)


def compared(pipe: mz.Pipeline, path: Path) -> dict[str, tuple[int, float]]:
    """Return the largest and mean difference from mezzotint by program; draw the images."""
    made = dict(everywhere(pipe))
    shown = torch.cat([images[:SHOWN] for images in made.values()])
    rows = [k for k in range(len(made)) for _ in range(SHOWN)]
    figures.grid(shown, rows, list(made)).save(path, optimize=True)
    ours = made.pop(OURS).int()
    apart = {program: (images.int() - ours).abs() for program, images in made.items()}
    return {program: (int(d.max()), float(d.float().mean())) for program, d in apart.items()}


def table(found: dict[str, dict[str, tuple[int, float]]]) -> str:
    """Return a table of the largest and, in brackets, the mean differences."""
    programs = list(dict.fromkeys(p for each in found.values() for p in each))
    lines = [f"| model | | {' | '.join(programs)} |", "|---" * (2 + len(programs)) + "|"]
    for name, each in found.items():
        cells = [f"{each[p][0]} ({each[p][1]:.3f})" for p in programs]
        lines.append(f"| `{name}` | {WHAT.get(name, '')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(found: dict[str, dict[str, tuple[int, float]]]) -> str:
    packages = ["torch", "diffusers", "onnxruntime", *(["openvino"] if len(sessions()) > 1 else [])]
    shown = "\n\n".join(f"`{name}`:\n\n![{name}](interop/{name}.png)" for name in found)
    return f"""# The same images in other programs

{machine(*packages)}. `python benchmarks/interop.py` makes this page.

Each model makes {COUNT} images by DDIM in {STEPS} steps from the same noise, with guidance 2 if it
has classes. A cell holds the largest difference of any pixel value from mezzotint's image in
float32 and, in brackets, the mean difference, both in grey levels (0 to 255). The models of
`glyphs` had short trainings, so their images are not good.

{table(found)}

OpenVINO chooses bf16 on a processor that supports it. With `INFERENCE_PRECISION_HINT` set to
`f32`, its images are those of the column for float32. In bf16, mezzotint keeps the noisy image and
the norms in float32.

{shown}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", nargs="*", help="paths or names of models; the default is the models of the page"
    )
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    folder = OUT if given.models else PAGE.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in given.models or WHAT:
        pipe = loaded(trained(name) if name in SHORT else name)
        found[name] = compared(pipe, folder / f"{Path(name).name}.png")
        print(table({name: found[name]}), flush=True)
    if not given.models:
        PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
