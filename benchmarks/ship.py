"""Turn a run into a shipped model: its averaged weights in bf16, and its model card.

    python benchmarks/ship.py RUN --out src/mezzotint/pretrained/NAME --card CARD.md

RUN is a checkpoint, or a run, whose newest checkpoint is used. The default sampling settings of the
model are the best settings that a sweep of the run found, or without a sweep the run's settings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mezzotint import config as configuration
from mezzotint.config.experiment import Experiment
from mezzotint.errors import UserError
from mezzotint.pipeline import loading, shipped, tuned
from mezzotint.storage import checkpoint

LARGEST = 25_000_000  # bytes of a model in the package, which everyone who installs it downloads
KEPT = ("step", "shape", "classes", "data", "colour", "codec")  # entries of state.json


def ship(run: Path, folder: Path, card: str) -> int:
    """Write the folder of a model that will come with mezzotint; return its size in bytes.

    The settings that a sweep found are kept, although it measured the weights before rounding. The
    paths of the data, the autoencoder and the initial model are shortened to their last part.
    Raises UserError if the run is not a diffusion model, the model is too large for the package,
    the sweep measured earlier weights, or the folder exists.
    """
    if folder.exists():
        raise UserError(f"{folder} exists: delete it first, or choose another --out")
    pipe = loading.load(run, "cpu", recommended=False)
    found = run
    if not (run / checkpoint.MANIFEST).exists():
        found = checkpoint.newest(run / "checkpoints", warnings.warn) or run
    config = configuration.read(found / "config.json")
    assert isinstance(config, Experiment)
    data = replace(config.data, data=_public(config.data.data))
    codec = replace(config.codec, vae=_public(config.codec.vae))
    config = replace(config, data=data, codec=codec, init=_public(config.init))
    state = json.loads((found / "state.json").read_text())
    names = ["ema", "codec"] if state["codec"] else ["ema"]
    tensors = {name: _rounded(load_file(found / f"{name}.safetensors")) for name in names}
    size = sum(tensor.nbytes for part in tensors.values() for tensor in part.values())
    if size > LARGEST and folder.resolve().parent == shipped.MODELS.resolve():
        raise UserError(
            f"the weights take {size:,} bytes in bf16, more than the {LARGEST:,} of a model in the "
            "package: write it to models/"
        )
    best = tuned.read(run)
    if best and best.digest != pipe.identity:
        raise UserError(f"{run / tuned.NAME} belongs to earlier weights: sweep again, or delete it")

    facts = {"config": configuration.to_json(config), "state": {k: state[k] for k in KEPT}}
    checkpoint.write(folder, tensors, facts)
    if best:
        digest = loading.load(folder, "cpu").identity
        tuned.write(folder, replace(best, digest=digest))
    (folder / "README.md").write_text(card)
    files = sorted(path for path in folder.iterdir() if path.name != checkpoint.MANIFEST)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    manifest = {"format": shipped.FORMAT, "sha256": sums}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return sum(path.stat().st_size for path in folder.iterdir())


def _public(name: str) -> str:
    """Return the name of data or a model, without its folder."""
    return name if name.startswith("hub:") else Path(name).name


def _rounded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cast tensors to bf16, except the mean and standard deviation of a codec."""
    return {
        name: tensor if name in ("mean", "std") else tensor.to(torch.bfloat16)
        for name, tensor in tensors.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run, or a checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the model")
    parser.add_argument(
        "--card", type=Path, required=True, help="the file that becomes its README.md"
    )
    flags = parser.parse_args()
    try:
        size = ship(flags.run, flags.out, flags.card.read_text())
    except (UserError, OSError) as error:
        sys.exit(f"ship.py: {error}")
    print(f"{flags.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
