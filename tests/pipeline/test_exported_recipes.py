"""The network of every recipe can be exported as docs/export.md says, with equal images."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mezzotint as mz
from exports import CLASSES, by_diffusers, by_us, example, noise, randomised
from mezzotint.config.experiment import Autoencoder, Experiment
from mezzotint.config.recipes import RECIPES
from mezzotint.networks import VAE, DiTConfig, UNetConfig, VAEConfig
from mezzotint.pipeline.codec import Latents

MODELS = [name for name, each in RECIPES.items() if isinstance(each, Experiment)]
CODECS = [name for name, each in RECIPES.items() if isinstance(each, Autoencoder)]
ELSEWHERE = VAEConfig(channels=(8,) * 4, groups=4, latent=4)  # as an autoencoder of the hub: f8
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", PAGE, re.MULTILINE))


def shrunk(net: Any) -> Any:
    """Return the settings of a narrow and shallow network of the same kind."""
    if isinstance(net, DiTConfig):
        return replace(net, width=16, depth=2, heads=2)
    narrow = {"channels": (8,) * len(net.channels), "blocks": 1, "groups": 4}
    if isinstance(net, UNetConfig):
        narrow["head_width"] = net.head_width and 4
    return replace(net, **narrow)


def codec_of(config: Experiment) -> Latents:
    """Return the codec of a recipe, with random weights."""
    name = config.codec.vae.rpartition("/")[2]
    net = RECIPES[name].net if name in RECIPES else ELSEWHERE
    vae = VAE(shrunk(net), 3)
    randomised(vae)
    mean = torch.linspace(-0.2, 0.3, vae.config.latent)
    return Latents(vae, mean, 1 + mean)


def model(recipe: str) -> mz.Pipeline:
    """Return the model of a recipe, with random weights and few steps."""
    config = RECIPES[recipe]
    assert isinstance(config, Experiment)
    config = replace(config, net=shrunk(config.net), sample=replace(config.sample, steps=4))
    codec = codec_of(config) if config.codec.vae else None
    channels = codec.vae.config.latent if codec else 3
    classes = CLASSES if config.data.conditional else ()
    return mz.Pipeline(
        net=randomised(config.network(channels, len(classes))),
        schedule=config.noise.build(),
        prediction=config.noise.prediction,
        shape=(channels, 8, 8),
        classes=classes,
        defaults=config.sampling(classes),
        learned_variance=config.noise.learn_variance,
        **({"codec": codec} if codec else {}),
    )


def test_the_page_has_a_row_for_every_recipe() -> None:
    assert list(ROWS) == [*MODELS, *CODECS]


@pytest.mark.parametrize("recipe", MODELS)
def test_diffusers_makes_the_same_images_and_the_weights_come_back(
    recipe: str, tmp_path: Path
) -> None:
    pipe = model(recipe)
    folder, x = pipe.export(tmp_path / "model"), noise(pipe)
    labels = [0, 2, 1] if pipe.classes else None
    ours = by_us(pipe, x, labels, 4)
    assert ours.float().std() > 10
    assert (by_diffusers(folder, x, labels, 4) - ours.float()).abs().max() <= 1

    index = json.loads((folder / "model_index.json").read_text())
    names = [index[part][1] for part in ("unet", "transformer", "vae") if part in index]
    custom = index["_class_name"] != "DDIMPipeline"
    last = "`pipeline.py`" if custom else "`DDIMPipeline`"
    assert ROWS[recipe] == f"{', '.join(f'`{name}`' for name in names)} | {last} | yes | yes"

    back = mz.load(folder, precision="float32")
    kept = {k: v for k, v in pipe.net.state_dict().items() if not k.startswith("augmentation.")}
    found = back.net.state_dict()
    assert found.keys() == kept.keys()
    assert all(torch.equal(found[key], value) for key, value in kept.items())
    if isinstance(pipe.codec, Latents):
        assert isinstance(back.codec, Latents)
        vae, own = back.codec.vae.state_dict(), pipe.codec.vae.state_dict()
        assert all(torch.equal(vae[key], value) for key, value in own.items())
        with pytest.raises(mz.UserError, match="is an autoencoder, which makes no images"):
            mz.load(folder / "vae")


@pytest.mark.parametrize("recipe", MODELS)
def test_safetensors_make_the_same_images_to_the_bit(recipe: str, tmp_path: Path) -> None:
    pipe = model(recipe)
    back = mz.load(pipe.export(tmp_path / "model", "safetensors"), precision="float32")
    assert back.digest == pipe.digest
    assert torch.equal(back.sample(2, noise=noise(pipe, 2)), pipe.sample(2, noise=noise(pipe, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", MODELS)
def test_onnx_runtime_makes_the_same_images(recipe: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pipe = model(recipe)
    pipe = replace(pipe, defaults=replace(pipe.defaults, sampler="ddim", spacing="trailing"))
    folder, x = pipe.export(tmp_path / "model", "onnx"), noise(pipe)
    labels = [0, 2, 1] if pipe.classes else None
    made = example(folder).sample(3, labels, guidance=2.0, noise=x.numpy())
    ours = by_us(pipe, x, labels, 4).permute(0, 2, 3, 1).numpy()
    assert np.abs(made.astype(int) - ours).max() <= 1


@pytest.mark.parametrize("recipe", CODECS)
def test_an_autoencoder_leaves_with_the_models_in_its_latents(recipe: str) -> None:
    users = [each for each in MODELS if RECIPES[each].codec.vae == f"runs/{recipe}"]
    assert users
    named = ", ".join(f"`{each}`" for each in users)
    onnx = f"as the `decoder.onnx` of {named}"
    assert ROWS[recipe] == f"with {named} | | {onnx} | `mz.load_codec` reads the run"
