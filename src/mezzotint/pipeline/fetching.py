"""Download models from the Hugging Face Hub, with only the files that are needed."""

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
    """Download the settings and weights of a model, and return its folder in the hub's cache.

    Pickled weights are downloaded only if there are no safetensors files. Variants of the weights,
    such as fp16, are not downloaded.

    Args:
        name: ``OWNER/NAME``.
        places: The folders of the repository from which to download: ``CODEC`` or ``MODEL``.

    Raises:
        UserError: If there is no such repository, permission is missing, or the download fails.
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
