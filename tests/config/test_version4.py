"""Read, sample and resume runs that an older version of mezzotint stored.

Their config.json has version 4. tests/stored/README.md describes the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import mezzotint as mz
from mezzotint.storage.arrays import nchw

STORED = Path(__file__).parents[1] / "stored"
FLAGS = (
    "--groups 4 --images 256 --batch 8 --warmup 32 --ema-halflife 64 --precision float32 "
    "--log-every 32 --sample-every 256 --save-every 128 --keep 1 --channels 4 8 --dropout 0.1 "
    "--flip --weighting learned --steps 8"
)
MODELS = {"pixels": "v4-pixels", "latents": "v4-latents"}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """The results of that version: images, and losses and weights of the resumed run v4-half."""
    with np.load(STORED / "expected.npz") as file:
        return dict(file)


def assert_alike(made: Tensor, wanted: np.ndarray) -> None:
    """Check that 99.9 % of the values differ by 1 or less; other machines round differently."""
    assert made.dtype == torch.uint8
    assert made.shape == wanted.shape
    apart = (made.int() - torch.from_numpy(wanted).int()).abs()
    assert (apart <= 1).float().mean() >= 0.999, f"up to {apart.max()} grey levels"


def weights(checkpoint: Path) -> Tensor:
    """Return all averaged weights as one flat tensor."""
    return torch.cat(
        [w.flatten() for _, w in sorted(load_file(checkpoint / "ema.safetensors").items())]
    )


@pytest.mark.filterwarnings("ignore:.*was measured on earlier weights")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_version_4_makes_the_images_that_it_made(name: str, expected) -> None:
    pipe = mz.load(STORED / MODELS[name], device="cpu")
    assert_alike(pipe.sample(4, seed=3), expected[name])


def test_the_shipped_model_makes_the_images_that_it_made() -> None:
    """They were made in float32 when these weights were shipped."""
    with np.load(STORED / "cifar10.npz") as file:
        assert_alike(mz.load("cifar10", device="cpu").sample(4, seed=3), file["images"])


def test_a_latent_model_of_version_4_needs_no_other_folder(tmp_path: Path, expected) -> None:
    """The checkpoint holds the autoencoder that config.json names."""
    copy = shutil.copytree(STORED / "v4-latents", tmp_path / "latents")
    assert_alike(mz.load(copy, device="cpu").sample(4, seed=3), expected["latents"])


def test_an_autoencoder_of_version_4_gives_back_what_it_gave(expected) -> None:
    codec = mz.load_codec(STORED / "v4-vae", device="cpu")
    with np.load(STORED / "pictures.npz") as file:
        images = nchw(file["images"][:8])
    with torch.inference_mode():
        latents = codec.encode(images)
        torch.testing.assert_close(
            latents, torch.from_numpy(expected["vae_latents"]), rtol=1e-4, atol=1e-4
        )
        assert_alike(codec.decode(latents), expected["vae_back"])
    with pytest.raises(mz.UserError, match="is an autoencoder"):
        mz.load(STORED / "v4-vae")


def test_half_a_training_of_version_4_goes_on_to_the_weights_of_the_whole(
    tmp_path: Path, expected
) -> None:
    run = shutil.copytree(STORED / "v4-half", tmp_path / "run")
    words = f"train glyphs-ddpm --data {STORED / 'pictures.npz'} {FLAGS} --out {run} --resume"
    done = subprocess.run(
        [sys.executable, "-m", "mezzotint", *words.split()],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"resumed from {run / 'checkpoints' / 'step-16'}" in done.stdout + done.stderr
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20, 24, 28, 32]
    assert [row["loss"] for row in rows] == pytest.approx(expected["losses"], rel=1e-4)
    half, whole = STORED / "v4-half/checkpoints/step-16", STORED / "v4-pixels/checkpoints/step-32"
    begun, wanted = weights(half), weights(whole)
    made = weights(run / "checkpoints" / "step-32")
    # Kernels of other machines give up to 0.006: Adam makes steps of biases whose gradient is
    # rounding alone. Anything left out of the resume gives 0.16 or more.
    assert (made - wanted).norm() <= 0.02 * (wanted - begun).norm()
    assert mz.load(run, device="cpu").sample(1).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("version", [3, 99])
def test_another_version_is_refused_in_words_that_name_it(tmp_path: Path, version: int) -> None:
    run = shutil.copytree(STORED / "v4-pixels", tmp_path / "run")
    checkpoint = run / "checkpoints" / "step-32"
    for path in (run / "config.json", checkpoint / "config.json"):
        config = {**json.loads(path.read_text()), "version": version}
        path.write_text(json.dumps(config, indent=1))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    digest = hashlib.sha256((checkpoint / "config.json").read_bytes()).hexdigest()
    manifest["sha256"]["config.json"] = digest
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    for path in (run, checkpoint):
        with pytest.raises(mz.UserError, match=rf"version {version}\b.*\b4\b") as refused:
            mz.load(path)
        assert "\n" not in str(refused.value)
