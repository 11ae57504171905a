"""Write a model as a folder that diffusers can load.

```
model_index.json         names the parts
unet/ or transformer/    a UNet2DModel or a DiTTransformer2DModel
scheduler/               a DDIMScheduler
vae/                     an AutoencoderKL, for a latent model
pipeline.py              `interop.diffusers_pipeline`, unless DDIMPipeline can sample the model
mezzotint.json           classes, prediction and settings, for mezzotint
```
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from mezzotint.interop.folder import WEIGHTS
from mezzotint.interop.networks import READERS
from mezzotint.interop.vae import write_vae

OWN = "mezzotint.json"
PIPELINE = Path(__file__).with_name("diffusers_pipeline.py")


@dataclass(frozen=True)
class Codec:
    """An autoencoder to write: its fields of VAEConfig, its weights, and the scaling of latents.

    `interop.vae.Foreign` documents the attributes.
    """

    fields: dict[str, Any]
    channels: int
    weights: dict[str, Tensor]
    scale: list[float]
    shift: list[float]


@dataclass(frozen=True)
class Parts:
    """The parts to write.

    Attributes:
        network: The network's config.json.
        weights: The network's state dict, under diffusers' keys.
        scheduler: scheduler_config.json.
        codec: The autoencoder of a latent model; None for any other model.
        prediction: The prediction type that the pipeline converts to an estimate of x0; "" if the
            scheduler converts it.
        dynamic: The quantile of the pipeline's dynamic clipping; 0 without dynamic clipping.
        patch: The pipeline folds squares of patch x patch pixels into channels, and passes the
            folded images to the network; 1 folds nothing.
        facts: The content of mezzotint.json.
    """

    network: dict[str, Any]
    weights: dict[str, Tensor]
    scheduler: dict[str, Any]
    codec: Codec | None
    prediction: str
    dynamic: float
    patch: int
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """The network's name in the pipeline, which is also the name of its folder."""
        return READERS[self.network["_class_name"]].part

    @property
    def plain(self) -> bool:
        """Whether diffusers' own DDIMPipeline can sample this model, without pipeline.py."""
        special = self.prediction or self.codec or self.patch > 1 or self.name != "unet"
        conditional = self.network.get("num_class_embeds") is not None
        learned = self.network["in_channels"] != self.network["out_channels"]
        return not (special or conditional or learned)


def write(folder: Path, parts: Parts) -> None:
    """Write the parts of an exported model into an empty folder, in the layout of diffusers."""
    patch = parts.codec.fields.get("patch", 1) if parts.codec else 1
    settings = {"prediction": parts.prediction, "dynamic": parts.dynamic}
    settings |= {"patch": parts.patch, "vae_patch": patch}
    kind = {"_class_name": "DDIMPipeline"} if parts.plain else _custom(parts, settings)
    index = {
        **kind,
        parts.name: ["diffusers", parts.network["_class_name"]],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    for name in (parts.name, "scheduler"):
        (folder / name).mkdir(parents=True)
    _json(folder / "model_index.json", index)
    _json(folder / parts.name / "config.json", parts.network)
    _json(folder / "scheduler" / "scheduler_config.json", parts.scheduler)
    _json(folder / OWN, parts.facts)
    save_file(parts.weights, folder / parts.name / WEIGHTS, metadata={"format": "pt"})
    if parts.codec:
        c = parts.codec
        unfolded = c.fields | {"patch": 1}
        write_vae(folder / "vae", unfolded, c.channels * patch**2, c.weights, c.scale, c.shift)
    if not parts.plain:
        shutil.copyfile(PIPELINE, folder / "pipeline.py")


def _custom(parts: Parts, settings: dict[str, Any]) -> dict[str, Any]:
    vae = {"vae": ["diffusers", "AutoencoderKL"]} if parts.codec else {}
    return {"_class_name": ["pipeline", "MezzotintPipeline"], **vae, **settings}


def _json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
