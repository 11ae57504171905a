"""Make of a run a model that comes with the package: its averaged weights in bf16, and its card.

    python benchmarks/ship.py RUN --out src/mezzotint/pretrained/NAME --card CARD.md

RUN is a run, of which the newest checkpoint is taken, or a checkpoint. What `sample` then does by
default is what a sweep of the run found best, or else what the run was configured to do.
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

LARGEST = 25_000_000  # bytes: everyone who installs the package downloads them
KEPT = ("step", "shape", "classes", "data", "colour", "codec")  # of state.json


def ship(run: Path, folder: Path, card: str) -> int:
    """Write the folder of a model that will come with the package; return its size in bytes.

    A recommendation counts as measured on the rounded weights, although it was measured on the
    run's own. The folders of the run's data and autoencoder are removed from the configuration.
    Raises UserError if the run is not a diffusion model, the model is too large, the recommendation
    is of earlier weights, or the folder exists.
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
    config = replace(config, data=data, codec=replace(config.codec, vae=_public(config.codec.vae)))
    state = json.loads((found / "state.json").read_text())
    names = ["ema", "codec"] if state["codec"] else ["ema"]
    tensors = {name: _rounded(load_file(found / f"{name}.safetensors")) for name in names}
    size = sum(tensor.nbytes for part in tensors.values() for tensor in part.values())
    if size > LARGEST:
        raise UserError(f"the weights take {size:,} bytes in bf16: ship at most {LARGEST:,}")
    best = tuned.read(run)
    if best and best.digest != pipe.digest:
        raise UserError(f"{run / tuned.NAME} is of earlier weights: sweep again, or delete it")

    facts = {"config": configuration.to_json(config), "state": {k: state[k] for k in KEPT}}
    checkpoint.write(folder, tensors, facts)
    if best:
        digest = loading.load(folder, "cpu").digest
        tuned.write(folder, replace(best, digest=digest))
    (folder / "README.md").write_text(card)
    files = sorted(path for path in folder.iterdir() if path.name != checkpoint.MANIFEST)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    manifest = {"format": shipped.FORMAT, "sha256": sums}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return sum(path.stat().st_size for path in folder.iterdir())


def _public(name: str) -> str:
    """What data or an autoencoder is called, without where they lay."""
    return name if name.startswith("hub:") else Path(name).name


def _rounded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same in bf16, but for a codec's mean and standard deviation, which are few."""
    return {
        name: tensor if name in ("mean", "std") else tensor.to(torch.bfloat16)
        for name, tensor in tensors.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run, or a checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    parser.add_argument("--card", type=Path, required=True, help="what its README.md is to say")
    flags = parser.parse_args()
    try:
        size = ship(flags.run, flags.out, flags.card.read_text())
    except (UserError, OSError) as error:
        sys.exit(f"ship.py: {error}")
    print(f"{flags.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
