"""Compare the speed of sampling with ONNX Runtime and OpenVINO on the exported model.

    python benchmarks/runtimes.py                       # the 35.7M network with random weights
    python benchmarks/runtimes.py cifar10 --batch 64    # a model

The script prints a table; docs/results/speed.md has one. Run nothing else on the machine meanwhile.

All contestants make the same number of images by DDIM from the same noise, without guidance.
mezzotint uses bf16 weights in channels-last, with --compiled also compiled. ONNX Runtime and
OpenVINO run the exported network in the loop of the exported example; OpenVINO in float32 and, if
the processor supports it, in bf16. They take turns in one process. The table shows the median,
least and greatest of the rounds. OpenVINO is left out if it is not installed; to install it, run
``pip install openvino``.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from turns import Turn, table, take_turns

import mezzotint as mz
from mezzotint.config.sampling import UNGUIDED
from mezzotint.networks import UNet, UNetConfig
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.storage.machine import machine

ONNX, FLOAT32, BF16 = "ONNX Runtime, float32", "OpenVINO, float32", "OpenVINO, bf16"
MISSING = "OpenVINO is left out: it is not installed (pip install openvino)"


class OpenVino:
    """An ONNX file in OpenVINO, with the interface of ONNX Runtime's InferenceSession."""

    def __init__(self, path: str, precision: str) -> None:
        import openvino

        hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads()}
        self.net = openvino.Core().compile_model(path, "CPU", hints)

    def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [self.net(inputs)[0]]


def session(path: str) -> Any:
    """Return a session of ONNX Runtime with torch's number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    return onnxruntime.InferenceSession(path, options)


def threads() -> int:
    return torch.get_num_threads()


@cache
def sessions() -> dict[str, Callable[[str], Any]]:
    """Return a function that opens an ONNX file, for each program that is installed."""
    found: dict[str, Callable[[str], Any]] = {ONNX: session}
    if importlib.util.find_spec("openvino") is None:
        print(MISSING)
        return found
    import openvino

    found[FLOAT32] = partial(OpenVino, precision="f32")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        found[BF16] = partial(OpenVino, precision="bf16")
    return found


def sampler(folder: Path, opened: Callable[[str], Any]) -> Callable[..., np.ndarray]:
    """Return the function `sample` of an exported folder, whose files are opened once."""
    spec = importlib.util.spec_from_file_location("sample", folder / "sample.py")
    assert spec
    assert spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = {str(path): opened(str(path)) for path in folder.glob("*.onnx")}
    module.onnxruntime = SimpleNamespace(InferenceSession=files.__getitem__)
    made: Callable[..., np.ndarray] = module.sample
    return made


def model(name: str) -> mz.Pipeline:
    """Load a model by its path or name; "35.7M" is DDPM's network with random weights."""
    if name != "35.7M":
        return mz.load(name, device="cpu", precision="float32")
    torch.manual_seed(0)
    net = UNet(UNetConfig()).eval().requires_grad_(False)
    return mz.Pipeline(net, mz.linear(1000), "eps", (3, 32, 32))


def turns(pipe: mz.Pipeline, folder: Path, count: int, compiled: bool) -> dict[str, Turn]:
    """Return turns that make ``count`` images, by contestant; mezzotint is the first."""
    x = torch.randn(count, *pipe.shape, generator=torch.Generator().manual_seed(0))
    labels = [i % len(pipe.classes) for i in range(count)] if pipe.classes else None
    low = pipe.in_precision("bf16")
    found: dict[str, Turn] = {"mezzotint, bf16": lambda: low.sample(count, labels, noise=x)}
    if compiled:
        fast = replace(low, net=copy.deepcopy(low.net))
        fast.net.compile(dynamic=False)
        found["mezzotint, bf16, compiled"] = lambda: fast.sample(count, labels, noise=x)
    for name, opened in sessions().items():
        made = sampler(folder, opened)
        found[name] = partial(made, count, labels, guidance=1.0, noise=x.numpy())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="35.7M")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="also compile mezzotint's network, which takes minutes",
    )
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    keep_freed_memory()
    pipe = model(given.model)
    how = {"sampler": "ddim", "steps": given.steps, "spacing": "trailing"}
    pipe = replace(pipe, defaults=replace(pipe.defaults, **UNGUIDED, **how))
    with tempfile.TemporaryDirectory() as place:
        folder = pipe.export(Path(place) / "model", "onnx")
        contestants = turns(pipe, folder, given.batch, given.compiled)
        rows = list(take_turns(contestants, given.rounds, {}))
    packages = ["torch", "onnxruntime", *(["openvino"] if FLOAT32 in contestants else [])]
    print(f"\n{machine(*packages)}.")
    print(table(f"{given.batch} images by DDIM {given.steps}, {given.model}", given.batch, rows))


if __name__ == "__main__":
    main()
