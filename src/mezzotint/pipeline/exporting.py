"""Export a pipeline for other programs: diffusers, ONNX Runtime, or readers of safetensors."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mezzotint.config.sampling import UNGUIDED
from mezzotint.diffusion import prediction
from mezzotint.diffusion.guidance import CLIPPINGS, DYNAMIC
from mezzotint.errors import Registry, UserError, warn
from mezzotint.interop import diffusers_out, onnx_out
from mezzotint.interop.dit import dit_config, dit_state
from mezzotint.interop.scheduler import PREDICTIONS
from mezzotint.interop.scheduler_out import scheduler_config
from mezzotint.interop.unet_out import unet_config, unet_state
from mezzotint.networks import VAE, DiT, UNet, UNet2D
from mezzotint.pipeline import saved
from mezzotint.pipeline.card import card
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.exported import Exported, as_json

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline


def export(
    pipe: Pipeline, folder: str | Path, format: str = "diffusers", *, license: str = ""
) -> Path:
    """Write the model for other programs.

    ```python
    mz.load("cifar10").export("cifar10-diffusers")
    ```

    - "diffusers": a folder that ``DiffusionPipeline.from_pretrained`` can load. The loaded pipeline
      makes the same images as ``pipe`` in float32 if both use DDIM, ``spacing="trailing"``, the
      same noise, and a number of steps that divides the number of levels. If ``pipe`` clips x0_hat,
      diffusers' own DDIMPipeline also needs ``use_clipped_model_output=True``. If DDIMPipeline
      cannot sample the model, for example because the model has classes, works on latents or is a
      DiT, the folder contains the code of a pipeline, and diffusers needs
      ``trust_remote_code=True``. `load` reads the folder back, with the same weights.
    - "onnx": the network, and the decoder of a latent model, as ONNX files for any batch size;
      model.json with the default guidance scale and the levels of the default sampling grid; and
      sample.py, which samples by DDIM along these levels and needs only numpy, onnxruntime and
      pillow. The files are tested before they are kept.
    - "safetensors": the folder that `save` writes.

    Each exported folder has a model card, README.md, in the format of the Hugging Face Hub. The
    card states the default settings, the limits of the model, and the figures, the training and the
    data that are recorded for these weights in the model's own folder. The card of a shipped model
    quotes the hand-written card of the model instead, and states the default settings.

    Args:
        pipe: The model, which is exported in float32.
        folder: The folder to write, which must be empty or not exist.
        format: "diffusers", "onnx" or "safetensors".
        license: The Hub's identifier for the license of the weights, such as "mit"; "" states none.

    Returns:
        The folder.

    Raises:
        UserError: If the format is unknown, the folder is not empty, the format cannot store the
            model, a package is missing, or the output of an ONNX file differs from the network's.
    """
    write, place = FORMATS[format], saved.named(Path(folder))
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(f"{place} is not empty: choose another folder")
    pipe = pipe.in_precision("float32")
    if pipe.few_step and format != "safetensors":
        raise UserError(
            "a few-step model cannot be exported for diffusers or ONNX: export it with "
            '`format="safetensors"`'
        )
    if not pipe.values.eight_bit and format != "safetensors":
        raise UserError(
            f"the model's images are {pipe.values}, but other programs make 8-bit images: export "
            'it with `format="safetensors"`'
        )
    if pipe.conditions and format != "safetensors":
        raise UserError(
            "the model has conditions besides the class, which other programs do not support: "
            'export it with `format="safetensors"`'
        )
    if pipe.prediction in prediction.PREDICTIONS.own and format == "diffusers":
        raise UserError(
            f"diffusers does not know your own prediction type {pipe.prediction!r}: export the "
            'model with `format="onnx"`'
        )
    if pipe.defaults.clipping in CLIPPINGS.own and format != "safetensors":
        warn(
            f"other programs do not know your own clipping {pipe.defaults.clipping!r}: they do not "
            "clip, so their images differ from those of mezzotint"
        )
    if pipe.weaker:
        raise UserError("the model is guided by a weaker model: export the two models separately")
    beside = place.with_name(f".{place.name}.partial-{uuid.uuid4().hex}")
    try:
        write(pipe, beside)
        about = card(pipe, format, place.name, license)
        (beside / "README.md").write_text(about, encoding="utf-8")
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rmdir()
        beside.rename(place)
    except OSError as error:
        raise UserError(
            f"{place} cannot be written ({error.strerror}): choose another folder"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _diffusers(pipe: Pipeline, folder: Path) -> None:
    """Write a pipeline in the format "diffusers"; see `export`."""
    config, weights, patch = _network(pipe)
    codec = pipe.codec if isinstance(pipe.codec, Latents) else None
    clipping = pipe.defaults.clipping
    _warn_of_lost(pipe, "pipeline", [])
    # The pipeline in the folder converts predictions that diffusers has no name for.
    own = pipe.prediction not in PREDICTIONS.values() or clipping == "dynamic"
    parts = diffusers_out.Parts(
        network=config,
        weights=weights,
        scheduler=scheduler_config(
            pipe.schedule, "x0" if own else pipe.prediction, clipping == "static"
        ),
        codec=_codec(codec) if codec else None,
        prediction=pipe.prediction if own else "",
        dynamic=DYNAMIC if clipping == "dynamic" else 0,
        patch=patch,
        facts=as_json(
            Exported(
                prediction=pipe.prediction,
                patch=patch,
                vae_patch=getattr(codec.vae.config, "patch", 1) if codec else 1,
                classes=pipe.classes,
                learned_variance=pipe.learned_variance,
                defaults=pipe.settled(pipe.defaults),
                alpha=pipe.values.alpha,
            )
        ),
    )
    diffusers_out.write(folder, parts)


def _warn_of_lost(pipe: Pipeline, where: str, lost: list[str]) -> None:
    """Warn if the export ignores a default setting of the model.

    This function finds the settings of guidance that the export ignores. ``lost`` names any other
    settings that the export ignores. ``where`` names the exported pipeline or script in the
    warning.
    """
    how = pipe.defaults
    guided = pipe.classes and (how.guidance != 1 or how.guidance_shape == "cfg++")
    plain = {**UNGUIDED, "guidance": how.guidance} if guided else {}
    lost = [name for name, off in plain.items() if getattr(how, name) != off] + lost
    if lost:
        warn(
            f"the model's defaults have `{lost[0]}`, which the exported {where} ignores, so "
            "its images differ from those of mezzotint"
        )


def _network(pipe: Pipeline) -> tuple[dict[str, Any], dict[str, Tensor], int]:
    """Return diffusers' config.json and state dict for the network, and the network's patch.

    The patch is the side of the squares of pixels that are folded into channels before a U-Net; it
    is 1 for a DiT. Raises UserError for a network or a size that diffusers does not support, and
    for a network that has more conditions than the pipeline.
    """
    saved.check_conditions(pipe)
    net, (channels, height, width) = pipe.net, pipe.shape
    if not isinstance(net, UNet | UNet2D | DiT):
        raise UserError(
            f"diffusers does not support a network of class {type(net).__name__}: export it with "
            '`format="onnx"`'
        )
    if height % net.config.factor or width % net.config.factor:
        raise UserError(
            f"the network pads images of {height}x{width}, which diffusers cannot do: export it "
            'with `format="onnx"`'
        )
    fields, classes = asdict(net.config), len(pipe.classes)
    outputs = (2 if pipe.learned_variance else 1) * channels
    if isinstance(net, DiT):
        if height != width:
            raise UserError(
                f"the model's x is {height}x{width}, but the DiT of diffusers needs a square: "
                'export it with `format="onnx"`'
            )
        config = dit_config(fields, channels, outputs, classes, height)
        return config, dit_state(net.state_dict(), net.config.patch), 1
    patch = net.patch
    size, pixels = (height // patch, width // patch), patch**2
    config = unet_config(fields["kind"], fields, channels * pixels, outputs * pixels, classes, size)
    return config, unet_state(net.state_dict(), net.widths), patch


def _codec(codec: Latents) -> diffusers_out.Codec:
    """Return a codec in the form that an export to diffusers writes.

    Raises UserError for an autoencoder that diffusers cannot load, or that pads the images.
    """
    vae = codec.vae
    if not isinstance(vae, VAE):
        raise UserError(
            f"an autoencoder of class {type(vae).__name__} cannot be written for diffusers: export "
            'the model with `format="onnx"`'
        )
    if codec.size:
        height, width = codec.size
        raise UserError(
            f"the autoencoder pads images of {height}x{width}, which diffusers cannot do: export "
            'the model with `format="onnx"`'
        )
    scale, shift = (1 / codec.std.double()).tolist(), codec.mean.double().tolist()
    return diffusers_out.Codec(
        asdict(vae.config), vae.image_channels, vae.state_dict(), scale, shift
    )


def _onnx(pipe: Pipeline, folder: Path) -> None:
    """Write a pipeline in the format "onnx"; see `export`."""
    how = pipe.settled(pipe.defaults)
    _warn_of_lost(pipe, "sample.py", ["clipping"] * (how.clipping == "dynamic"))
    decoder = pipe.codec.pixels if isinstance(pipe.codec, Latents) else None
    model = onnx_out.Model(
        net=pipe.net,
        shape=pipe.shape,
        classes=pipe.classes,
        prediction=pipe.prediction,
        grid=pipe.grid(how),
        guidance=how.guidance if pipe.classes else 1.0,
        clip=how.clipping == "static",
        decoder=decoder,
    )
    onnx_out.write(folder, model)


FORMATS: Registry[Callable[[Pipeline, Path], object]] = Registry(
    "format", {"diffusers": _diffusers, "onnx": _onnx, "safetensors": saved.save}
)
