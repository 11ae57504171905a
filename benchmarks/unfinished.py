"""The state of an unfinished training in one small file, and back.

    python benchmarks/unfinished.py pack RUN unfinished.npz
    python benchmarks/unfinished.py unpack unfinished.npz RUN

What goes on from it is not bit for bit what was left, but as good: the weights are kept in 65,535
levels a row, their average as its difference from them in 255, Adam's second moment as the mean of
each row (Zhang et al. 2024, arXiv 2406.16793), and its first is gathered anew in ten steps. The two
short averages begin anew from the kept one, and their snapshots stay behind.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.training import checkpoint

Arrays: TypeAlias = dict[str, Any]
Tensors: TypeAlias = dict[str, Tensor]
TEXTS = ("config.json", "state.json", "log.jsonl")
EXTRAS = ("/scale", "/shape")


def pack(run: Path, out: Path) -> int:
    """Write the newest checkpoint of a run and its log; returns the size in bytes.

    Raises UserError where there is none.
    """
    found = checkpoint.newest(run / "checkpoints", warnings.warn)
    if found is None:
        raise UserError(f"{run} has no checkpoint: train first")
    texts = [(run if name == "log.jsonl" else found) / name for name in TEXTS]
    arrays: Arrays = {path.name: np.frombuffer(path.read_bytes(), np.uint8) for path in texts}
    files = {path.stem: load_file(path) for path in found.glob("*.safetensors")}
    averages = [name for name in files if name.startswith("average-")]
    arrays["averages"] = np.array(averages, dtype=str)
    for file, tensors in files.items():
        for name, tensor in tensors.items() if file not in averages else ():
            key = f"{file}/{name}"
            if file == "net":
                arrays[f"{key}/scale"], arrays[key] = rounded(tensor, 16)
            elif file == "ema":
                arrays[f"{key}/scale"], arrays[key] = rounded(tensor - files["net"][name], 8)
            elif name.endswith(".exp_avg_sq"):
                arrays[f"{key}/shape"] = np.array(tensor.shape)
                arrays[key] = (
                    tensor.mean(within(tensor), keepdim=True) if within(tensor) else tensor
                )
            elif not name.endswith(".exp_avg"):
                arrays[key] = tensor
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    return out.stat().st_size


def unpack(file: Path, run: Path) -> Path:
    """Make of such a file a run that can be resumed; returns its checkpoint.

    Raises UserError where something is in the way.
    """
    if run.exists():
        raise UserError(f"{run} exists: delete it first, or choose another folder")
    with np.load(file) as kept:
        arrays: Arrays = dict(kept)
    texts = {name: bytes(arrays.pop(name)) for name in TEXTS}
    facts = {Path(name).stem: json.loads(texts[name]) for name in TEXTS[:2]}
    files: dict[str, Tensors] = {}
    averages = [str(name) for name in arrays.pop("averages")]
    # The average is a difference from the weights, which therefore come first.
    for key in sorted(arrays, key=lambda key: not key.startswith("net/")):
        if key.endswith(EXTRAS):
            continue
        file_, name = key.split("/")
        value = torch.from_numpy(arrays[key])
        if f"{key}/scale" in arrays:
            value = value * torch.from_numpy(arrays[f"{key}/scale"])
        if file_ == "ema":
            value = value + files["net"][name]
        tensors = files.setdefault(file_, {})
        if f"{key}/shape" in arrays:
            value = value.broadcast_to(tuple(arrays[f"{key}/shape"])).clone()
            tensors[name.removesuffix("_sq")] = torch.zeros_like(value)
        tensors[name] = value
    files |= dict.fromkeys(averages, files["ema"])
    final = run / "checkpoints" / f"step-{facts['state']['step']}"
    run.mkdir(parents=True)
    (run / "config.json").write_bytes(texts["config.json"])
    (run / "log.jsonl").write_bytes(texts["log.jsonl"])
    return checkpoint.write(final, files, facts)


def within(tensor: Tensor) -> tuple[int, ...]:
    """The dimensions of a row."""
    return tuple(range(1, tensor.ndim))


def rounded(tensor: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The step of each row, and how many of it each value is: at most ``2^(bits - 1) - 1``."""
    most = 2 ** (bits - 1) - 1
    largest = tensor.abs().amax(within(tensor) or None, keepdim=True)
    step = (largest / most).clamp(min=1e-30)
    return step, (tensor / step).round().to(torch.int16 if bits > 8 else torch.int8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    flags = parser.parse_args()
    try:
        if flags.what == "pack":
            print(f"{flags.out}: {pack(flags.source, flags.out) / 1e6:.1f} MB")
        else:
            print(unpack(flags.source, flags.out))
    except (UserError, OSError) as error:
        sys.exit(f"unfinished.py: {error}")


if __name__ == "__main__":
    main()
