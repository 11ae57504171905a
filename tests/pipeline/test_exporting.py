"""Exported models make equal images in diffusers and ONNX Runtime; unsupported ones are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mezzotint as mz
from exports import CLASSES, by_diffusers, by_us, example, noise, pipeline
from mezzotint.data.values import Values
from mezzotint.networks import VAE, DiT, DiTConfig, UNet, UNetConfig, VAEConfig
from mezzotint.networks.blocks import Up
from mezzotint.networks.unet2d import UNet2D, UNet2DConfig
from mezzotint.pipeline.codec import Latents, Pixels
from mezzotint.pipeline.exporting import FORMATS
from mezzotint.pipeline.few_step import FewStep

SIDE = 16
TRANSFORMER = DiTConfig(width=32, depth=2, heads=2)
SMALL = UNetConfig(channels=(32, 64), blocks=1, attention=(1,), head_width=32)


def of_pixels(config: UNetConfig = SMALL, classes: int = 3, **fields: Any) -> mz.Pipeline:
    net = UNet(config, 3, classes)
    return pipeline(net, (3, SIDE, SIDE), classes=CLASSES[:classes], **fields)


def of_dit(classes: int, **fields: Any) -> mz.Pipeline:
    net = DiT(TRANSFORMER, 3, classes)
    return pipeline(net, (3, SIDE, SIDE), classes=CLASSES[:classes], **fields)


def in_latents(patch: int) -> mz.Pipeline:
    vae = VAE(VAEConfig(channels=(32, 32), blocks=1, latent=2, attention=False, patch=patch), 3)
    codec = Latents(vae.eval(), torch.tensor([0.1, -0.2]), torch.tensor([1.5, 0.7]))
    net = UNet(SMALL, 2, 3)
    how = mz.SampleConfig(clipping="none")
    return pipeline(net, (2, SIDE, SIDE), codec=codec, defaults=how)


MODELS = {
    "unconditional eps": lambda: of_pixels(classes=0, prediction="eps", schedule=mz.linear(1000)),
    "with classes": of_pixels,
    "folded, flow": lambda: of_pixels(replace(SMALL, patch=2), prediction="flow"),
    "edm, dynamic clipping": lambda: of_pixels(
        prediction="edm", defaults=mz.SampleConfig(clipping="dynamic")
    ),
    "x0, shifted": lambda: of_pixels(prediction="x0", schedule=mz.shifted(mz.cosine(1000), 0.5)),
    "adm": lambda: pipeline(
        UNet2D(
            UNet2DConfig(
                channels=(32, 64),
                blocks=1,
                attention_down=(1,),
                attention_up=(1,),
                block_down=(0,),
                block_up=(1,),
                scaled=True,
            ),
            3,
            3,
        ),
        (3, SIDE, SIDE),
    ),
    "dit": lambda: of_dit(3),
    "dit, unconditional": lambda: of_dit(0, prediction="eps", schedule=mz.linear(1000)),
    "latents": lambda: in_latents(1),
    "latents, folded": lambda: in_latents(2),
}


@pytest.fixture(params=MODELS, ids=list(MODELS))
def pipe(request: pytest.FixtureRequest) -> mz.Pipeline:
    made: mz.Pipeline = MODELS[request.param]()
    return made


def test_diffusers_makes_the_same_images(pipe: mz.Pipeline, tmp_path: Path) -> None:
    folder, x = pipe.export(tmp_path / "model"), noise(pipe)
    labels = [0, 2, 1] if pipe.classes else None
    made, ours = by_diffusers(folder, x, labels, 10), by_us(pipe, x, labels, 10)
    assert ours.float().std() > 10
    assert (made - ours.float()).abs().max() <= 1


def test_what_was_exported_is_read_back_to_the_bit(pipe: mz.Pipeline, tmp_path: Path) -> None:
    back = mz.load(pipe.export(tmp_path / "model"))
    for name, weight in pipe.net.state_dict().items():
        assert torch.equal(back.net.state_dict()[name], weight), name
    assert torch.allclose(back.schedule.alpha, pipe.schedule.alpha, rtol=1e-12)
    for name in ("prediction", "shape", "classes", "learned_variance", "defaults"):
        assert getattr(back, name) == getattr(pipe, name)
    apart = back.sample(2, noise=noise(pipe, 2), steps=3).int()
    assert (apart - pipe.sample(2, noise=noise(pipe, 2), steps=3).int()).abs().max() <= 1


def test_another_scheduler_of_diffusers_makes_the_same_images(tmp_path: Path) -> None:
    """A step of Euler's is a step of DDIM, in other units."""
    pipe = of_pixels(schedule=mz.linear(1000))
    folder, x = pipe.export(tmp_path / "model"), noise(pipe)
    theirs = diffusers.DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    given = {"latents": x, "class_labels": [0, 2, 1], "num_inference_steps": 10}
    theirs.scheduler.register_to_config(clip_sample=False)
    ddim = theirs(**given, output_type="pt").images
    theirs.scheduler = diffusers.EulerDiscreteScheduler.from_config(theirs.scheduler.config)
    assert (theirs(**given, output_type="pt").images - ddim).abs().max() < 1e-2
    assert ddim.std() > 0.05


def test_diffusers_decodes_latents_in_half_precision(tmp_path: Path) -> None:
    pipe = in_latents(1)
    theirs = diffusers.DiffusionPipeline.from_pretrained(
        pipe.export(tmp_path / "model"), trust_remote_code=True, torch_dtype=torch.bfloat16
    )
    made = theirs(latents=noise(pipe, 1), num_inference_steps=2, output_type="pt").images
    assert made.shape == (1, 3, *pipe.size)
    assert made.dtype == torch.float32


class Own(nn.Module):
    """A user's own network, with a layer of mezzotint that an export to ONNX could miss."""

    def __init__(self) -> None:
        super().__init__()
        self.label, self.up = nn.Embedding(4, 3), Up(3)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        given = torch.full((len(x),), 3) if labels is None else labels
        level = (t / 1000)[:, None, None, None]
        h = F.avg_pool2d(self.up(x * (1 - level)), 2)
        return h + self.label(given)[:, :, None, None]


@pytest.mark.parametrize(
    "name",
    ["own", *(pytest.param(name, marks=pytest.mark.slow) for name in ("folded, flow", "latents"))],
)
def test_the_example_without_torch_makes_the_same_images(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pipe = pipeline(Own(), (3, SIDE, SIDE)) if name == "own" else MODELS[name]()
    how = replace(pipe.defaults, steps=6, guidance=2.0)
    pipe = replace(pipe, defaults=how)
    folder = pipe.export(tmp_path / "model", "onnx")
    assert json.loads((folder / "model.json").read_text())["classes"] == list(CLASSES)
    assert "torch" not in (folder / "sample.py").read_text()
    x = noise(pipe)
    made = example(folder).sample(3, [0, 2, 1], noise=x.numpy())
    ours = pipe.sample(3, [0, 2, 1], noise=x).permute(0, 2, 3, 1).numpy()
    assert np.abs(made.astype(int) - ours).max() <= 1
    for labels in ([3], [-1]):
        with pytest.raises(ValueError, match=f"{labels[0]}]: choose 0 to 2"):
            example(folder).sample(1, labels)
    for labels in ([], [0, 1], [0, 1, 2, 0]):
        with pytest.raises(ValueError, match=f"there are {len(labels)} labels for 3 images"):
            example(folder).sample(3, labels)
    facts = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**facts, "classes": []}))
    with pytest.raises(ValueError, match="no classes: leave out labels and guidance"):
        example(folder).sample(1, [0])


class OfTwo(nn.Module):
    """A network that an exporter could specialise to batches of two."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        return x + x.new_zeros(len(t), 1, 1, 1)


def test_a_network_of_one_batch_size_is_refused_by_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with pytest.raises(mz.UserError, match=r"ONNX Runtime cannot run net\.onnx on a batch of 3"):
        pipeline(OfTwo(), (3, SIDE, SIDE), classes=()).export(tmp_path / "model", "onnx")
    assert not any(tmp_path.iterdir())


def test_safetensors_are_what_save_writes(tmp_path: Path) -> None:
    pipe = of_pixels()
    back = mz.load(pipe.export(tmp_path / "model", "safetensors", license="mit"))
    assert back.digest == pipe.digest
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\nlibrary_name: mezzotint\n")
    assert "| 2 | ship |" in card


def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mz.PREDICTIONS, "mine", lambda level: (0.0, 2.0))
    oblong = pipeline(DiT(TRANSFORMER, 3, 3), (3, 16, 8))
    odd, latents = replace(of_pixels(), shape=(3, 15, 16)), in_latents(1)
    assert isinstance(latents.codec, Latents)
    bare = pipeline(UNet(SMALL, 3, 3), (3, SIDE, SIDE), classes=())
    with pytest.raises(mz.UserError, match="leaves out"):
        bare.save(tmp_path / "model")
    cases = [
        (pipeline(Own(), (3, SIDE, SIDE)), "does not support a network of class Custom"),
        (oblong, "x is 16x8, but the DiT of diffusers needs a square: export it with"),
        (odd, "pads images of 15x16, which diffusers cannot do"),
        (bare, "the network has conditions that the pipeline leaves out: give"),
        (replace(latents, codec=latents.codec.of_size(31, 32)), "autoencoder pads .* 31x32"),
        (replace(of_pixels().in_precision("bf16"), original=None), "is in memory"),
        (replace(of_pixels(), prediction="mine"), "does not know your own prediction type 'mine'"),
    ]
    for pipe, message in cases:
        with pytest.raises(mz.UserError, match=message):
            pipe.export(tmp_path / "model")
    with pytest.raises(mz.UserError, match="unknown format 'tflite': choose one of diffusers"):
        of_pixels().export(tmp_path / "model", "tflite")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(mz.UserError, match="mine is not empty: choose another folder"):
        of_pixels().export(tmp_path / "mine")
    for write in (of_pixels().export, of_pixels().save):
        with pytest.raises(mz.UserError, match=r"the folder \. cannot be replaced: give the name"):
            write(".")
    assert [*FORMATS] == ["diffusers", "onnx", "safetensors"]


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(mz.UserError, match=r"onnxscript is missing: .*mezzotint\[onnx\]"):
        of_pixels().export(tmp_path / "model", "onnx")
    assert not (tmp_path / "model").exists()


def test_settings_that_other_programs_ignore_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.interop.onnx_out.write", lambda folder, model: folder.mkdir())
    monkeypatch.setitem(mz.CLIPPINGS, "mine", lambda denoise: denoise)
    pipe, guided = of_pixels(), {"guidance": 2.0, "steps": 4}
    onnx, diffusers = ("onnx", r"sample\.py"), ("diffusers", "pipeline")
    for format, where, name, value in (
        (*onnx, "interval", (0.1, 5.0)),
        (*onnx, "clipping", "dynamic"),
        (*diffusers, "interval", (0.1, 5.0)),
    ):
        how = replace(pipe.defaults, **guided, **{name: value})
        with pytest.warns(UserWarning, match=f"defaults have `{name}`, which the exported {where}"):
            replace(pipe, defaults=how).export(tmp_path / f"{format}-{name}", format)
    own = replace(pipe, defaults=replace(pipe.defaults, clipping="mine"))
    with pytest.warns(UserWarning, match="do not know your own clipping 'mine'"):
        own.export(tmp_path / "own", "onnx")


def test_a_model_of_other_values_leaves_as_safetensors_alone(tmp_path: Path) -> None:
    pipe = replace(of_pixels(), codec=Pixels(Values("float32", -2.0, 2.0)))
    with pytest.raises(mz.UserError, match="make 8-bit images: export it with"):
        pipe.export(tmp_path / "model")
    assert mz.load(pipe.export(tmp_path / "model", "safetensors")).values == pipe.values


def test_the_opacity_is_read_back_from_diffusers(tmp_path: Path) -> None:
    pipe = pipeline(UNet(SMALL, 4, 3), (4, SIDE, SIDE), codec=Pixels(Values(alpha=True)))
    assert mz.load(pipe.export(tmp_path / "model")).values == pipe.values


def test_a_few_step_model_leaves_as_safetensors_alone(tmp_path: Path) -> None:
    pipe = replace(of_pixels(), few_step=FewStep(2.0))
    for format in ("diffusers", "onnx"):
        with pytest.raises(mz.UserError, match="a few-step model cannot be exported for diffusers"):
            pipe.export(tmp_path / "model", format)
    assert list(tmp_path.iterdir()) == []
