"""Models of the Hugging Face Hub, and the choice of files to download."""

from __future__ import annotations

from pathlib import Path

from mezzotint.errors import UserError
from mezzotint.storage.hub import snapshot

HUB = "hub:"
CODEC = ("", "vae/")  # the places of an autoencoder in a repository
MODEL = (*CODEC, "vqvae/", "unet/", "transformer/", "scheduler/")
SETTINGS = ("model_index.json", "config.json", "scheduler_config.json")
STEM = "diffusion_pytorch_model"


def fetched(name: str, places: tuple[str, ...]) -> Path:
    """Return the folder in the hub's cache with the settings and weights of a model.

    Pickled weights are fetched only if there are no safetensors. Variants (fp16) are not fetched.

    Args:
        name: ``OWNER/NAME``.
        places: The folders of the repository to fetch: CODEC or MODEL.

    Raises:
        UserError: In the cases of `snapshot`.
    """
    settings = [place + file for place in places for file in SETTINGS]
    for suffix in ("safetensors", "bin"):
        whole = f"{STEM}.{suffix}"
        files = (whole, f"{STEM}-*.{suffix}", f"{whole}.index.json")
        weights = [place + file for place in places for file in files]
        try:
            folder = snapshot(name, "model", [*settings, *weights], needs=f"*.{suffix}")
        except UserError:
            if suffix == "bin":
                raise
            continue  # without a connection the cache may still hold pickled weights
        if any(folder.rglob(f"*.{suffix}")):
            break
    return folder
