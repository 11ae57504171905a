"""Write a model as ONNX files. The files are checked and run before they are kept.

```
net.onnx        x (B, C, H, W), t (B,) float32 and, with classes, labels (B,) int64 -> output
decoder.onnx    z (B, c, h, w) -> images in [-1, 1], for a latent model
model.json      shape, classes, guidance, clip, prediction; levels, each with t, alpha, sigma, p, q
sample.py       an example with numpy, onnxruntime and pillow: `interop.onnx_sample`
```

At a level, the output of the network is an estimate of p * x0 + q * eps.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import coefficients
from mezzotint.errors import UserError

OPSET = 20
TOLERANCE = 1e-4  # absolute; relative to the largest output if that is above 1
EXAMPLE = Path(__file__).with_name("onnx_sample.py")


@dataclass(frozen=True, eq=False)
class Model:
    """The model to write.

    Attributes:
        net: The network, float32.
        shape: The shape (C, H, W) of x.
        classes: The names of the classes.
        prediction: A name in PREDICTIONS.
        grid: The noise levels of sampling with the model's default settings.
        guidance: The default guidance scale.
        clip: Whether the estimate of x0 is clipped to [-1, 1].
        decoder: For a latent model, the function from z to images in [-1, 1].
    """

    net: Any
    shape: tuple[int, int, int]
    classes: Sequence[str]
    prediction: str
    grid: Sequence[Level]
    guidance: float
    clip: bool
    decoder: Callable[[Tensor], Tensor] | None


class _Called(nn.Module):
    """A module that calls a function, for export; ``modules`` become its submodules."""

    def __init__(self, call: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.call, self.held = call, nn.ModuleList(modules)

    def forward(self, x: Tensor, t: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        return self.call(*(given for given in (x, t, labels) if given is not None))


def write(folder: Path, model: Model) -> None:
    """Write a new folder with the networks in ONNX, a model.json, and a script that samples.

    Raises UserError if the extra `onnx` is missing, if the network cannot be exported, or if the
    output of ONNX Runtime differs from the network's.
    """
    _packages()
    folder.mkdir(parents=True)
    net, k = model.net.for_inference(torch.float32), len(model.classes)
    draw = torch.Generator().manual_seed(0)
    x, t = torch.randn(2, *model.shape, generator=draw), torch.tensor([3.0, 7.0])
    inputs = {"x": x, "t": t}
    if k:
        inputs["labels"] = torch.tensor([0, k])
    _exported(folder / "net.onnx", _Called(net, net), inputs)
    if model.decoder:
        _exported(folder / "decoder.onnx", _Called(model.decoder), {"z": x})
    levels = []
    for level in model.grid:
        p, q = coefficients(model.prediction, level)
        row = {"t": level.t, "alpha": level.alpha, "sigma": level.sigma, "p": p, "q": q}
        levels.append({name: float(value) for name, value in row.items()})
    facts = {
        "shape": model.shape,
        "classes": model.classes,
        "guidance": model.guidance,
        "clip": model.clip,
        "prediction": model.prediction,
        "levels": levels,
    }
    (folder / "model.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(EXAMPLE, folder / "sample.py")


def _packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(name)
        except ImportError:
            raise UserError(
                f"the package {name} is missing: run pip install 'mezzotint[onnx]'"
            ) from None


def _exported(path: Path, module: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Export a module for any batch size; check the file and run it with two batch sizes."""
    import onnx
    import onnxruntime

    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                path,
                input_names=list(inputs),
                output_names=["output"],
                dynamic_shapes=dict(
                    zip(("x", "t", "labels"), [{0: batch}] * len(inputs), strict=False)
                ),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"this network cannot be exported to ONNX ({reason}): choose another format"
        ) from None
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path))
    more = {name: torch.cat([value, value[:1]]) for name, value in inputs.items()}
    for given in (inputs, more):
        with torch.no_grad():
            expected = module(*given.values())
        feed = {name: value.numpy() for name, value in given.items()}
        try:
            found = torch.from_numpy(session.run(None, feed)[0])
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"ONNX Runtime cannot run {path.name} on a batch of {len(expected)} ({reason}), so "
                "nothing was written: choose another format"
            ) from None
        apart = float((found - expected).abs().max() / expected.abs().max().clamp(min=1))
        if not apart <= TOLERANCE:
            raise UserError(
                f"ONNX Runtime's output differs from the network's by {apart:.2g}, so nothing was "
                "written: choose another format"
            )
