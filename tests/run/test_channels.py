"""Trainings on images with other channels, values or sides than 8-bit RGB squares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint.networks import DiTConfig, UNetConfig, VAEConfig
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.loading import load_codec
from mezzotint.storage.arrays import nchw

SHORT: dict[str, Any] = {
    "images": 32,
    "batch": 16,
    "log_every": 32,
    "save_every": 32,
    "sample_every": 32,
    "steps": 2,
    "flip": False,
    "precision": "float32",
}
NETS = {
    "unet": UNetConfig(channels=(8, 16), blocks=1, attention=(), groups=4, patch=2),
    "dit": DiTConfig(patch=8, width=16, depth=1, heads=2),
}
CASES: dict[str, tuple[tuple[int, ...], type, dict[str, Any]]] = {
    "grey 28x28": ((28, 28), np.uint8, {}),
    "16-bit 9x14": ((9, 14), np.uint16, {}),
    "five channels 10x7": ((10, 7, 5), np.float32, {"layout": "NHWC", "range": (-4, 4)}),
    "transparent 6x10": ((6, 10, 3), np.uint8, {"mode": "rgba"}),
}


def images(case: str) -> Any:
    shape, dtype, options = CASES[case]
    rng = np.random.default_rng(0)
    if dtype is np.float32:
        values = rng.normal(size=(20, *shape)).clip(-4, 4).astype(dtype)
    else:
        values = rng.integers(0, np.iinfo(dtype).max + 1, (20, *shape)).astype(dtype)
    return mz.prepare(values, np.arange(20) % 2, **options)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("case", CASES)
def test_samples_have_the_datas_type_range_and_channels(case: str, net: str, tmp_path: Path):
    data = images(case)
    run = tmp_path / "run"
    pipe = mz.train("glyphs-ddpm", data=data, net=NETS[net], out=run, progress=False, **SHORT)
    made = pipe.sample(3, seed=1)
    assert pipe.values == data.values
    assert made.shape == (3, *nchw(data.images[:1]).shape[1:])
    assert made.numpy().dtype == data.images.dtype
    assert data.values.low <= float(made.float().min())
    assert float(made.float().max()) <= data.values.high
    assert torch.equal(mz.load(pipe.save(tmp_path / "saved")).sample(3, seed=1), made)

    written = mz.write_samples(pipe, tmp_path / "images", n=3, seed=1)
    assert torch.equal(written, made)
    more = mz.write_samples(run, tmp_path / "images", n=4, seed=1)
    assert torch.equal(more[:3], made)
    files = sorted(path.name for path in (tmp_path / "images").iterdir())
    beside = case.startswith("five")
    assert files == [f"00000{i}.{end}" for i in range(4) for end in ("npy", "png")[1 - beside :]]
    if beside:
        kept = np.load(tmp_path / "images" / "000000.npy")
    else:
        with Image.open(tmp_path / "images" / "000000.png") as image:
            kept = np.asarray(image)
    np.testing.assert_array_equal(kept.reshape(data.images.shape[1:]), data_of(made[0]))
    assert list((run / "samples").glob("*.png"))


def data_of(image: torch.Tensor) -> np.ndarray:
    found: np.ndarray = image.permute(1, 2, 0).numpy()
    return found


@pytest.mark.parametrize("case", ["16-bit 9x14", "five channels 10x7"])
def test_edits_stay_in_the_datas_values(case: str, tmp_path: Path):
    data = images(case)
    pipe = mz.train("glyphs-ddpm", data=data, net=NETS["unet"], out=tmp_path / "run", **SHORT)
    given = nchw(data.images[:2])
    mask = torch.zeros(given.shape[2:])
    mask[:3] = 1
    filled = pipe.inpaint(given, mask, steps=2)
    assert filled.dtype == given.dtype
    known = filled[:, :, 3:].double() - given[:, :, 3:].double()
    assert known.abs().max() <= 1e-5
    back = pipe.sample(2, noise=pipe.invert(given, steps=2), steps=2, guidance=0.0)
    assert (back.dtype, back.shape) == (given.dtype, given.shape)
    with pytest.raises(mz.UserError, match=f"give a tensor .* of {data.values}"):
        pipe.vary(given.float().to(torch.uint8), 0.5)


@pytest.mark.parametrize("channels", [1, 5])
def test_an_autoencoder_and_its_latents_have_the_channels_and_the_sides(
    channels: int, tmp_path: Path
):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, (20, 10, 15, channels)).astype(np.uint8)
    data = mz.prepare(values, layout="NHWC")
    net = VAEConfig(channels=(8, 8), blocks=1, groups=4, patch=2)
    short = {name: value for name, value in SHORT.items() if name != "steps"}
    vae = tmp_path / "vae"
    codec = mz.train("glyphs-vae", data=data, net=net, out=vae, perceptual=0.0, **short)
    assert isinstance(codec, Latents)
    assert codec.size == (10, 15)  # which 4 does not divide
    given = nchw(data.images[:3])
    z = codec.encode(given)
    assert z.shape == (3, 4, 3, 4)
    assert codec.decode(z).shape == given.shape
    assert torch.equal(load_codec(vae).decode(z), codec.decode(z))

    more: dict[str, Any] = {**SHORT, "vae": str(vae), "scaling": "measured", "conditional": False}
    run = tmp_path / "run"
    pipe = mz.train("glyphs-ldm", data=data, net=NETS["unet"], out=run, **more)
    assert pipe.shape == (4, 3, 4)
    assert pipe.size == (10, 15)
    made = pipe.sample(2)
    assert made.shape == (2, channels, 10, 15)
    assert torch.equal(mz.load(pipe.save(tmp_path / "saved")).sample(2), made)
    assert list(mz.load(run).sample(1).shape[1:]) == [channels, 10, 15]
    mask = torch.zeros(10, 15)
    mask[:, :6] = 1
    assert pipe.inpaint(given, mask, method="repaint", steps=2).shape == given.shape
    message = "the images have 3 channels but the autoencoder needs"
    colour = mz.prepare(values[..., :1].repeat(3, 3))
    with pytest.raises(mz.UserError, match=message):
        mz.train("glyphs-ldm", data=colour, out=tmp_path / "other", **more)


def test_grey_images_have_a_perceptual_distance_and_others_none(tmp_path: Path):
    net = VAEConfig(channels=(8, 8), blocks=1, groups=4)
    short = {name: value for name, value in SHORT.items() if name != "steps"}
    grey = mz.prepare(np.random.default_rng(0).integers(0, 256, (20, 16, 16)).astype(np.uint8))
    mz.train("glyphs-vae", data=grey, net=net, out=tmp_path / "grey", **short)
    two = mz.prepare(np.zeros((20, 16, 16, 2), np.uint8), layout="NHWC")
    with pytest.raises(mz.UserError, match="have 2 channels: pass `perceptual=0`"):
        mz.train("glyphs-vae", data=two, net=net, out=tmp_path / "two", **short)


def test_what_was_understood_is_said_before_the_first_step(tmp_path: Path):
    data = images("16-bit 9x14")
    steps = mz.training("glyphs-ddpm", data=data, net=NETS["unet"], out=tmp_path / "run", **SHORT)
    note = next(steps).note
    steps.close()
    assert note.startswith(f"started in {tmp_path / 'run'}; ")
    assert note.endswith(
        "; data: 20 images of 9x14 (height x width), grey, uint16 from 0 to 65535, 2 classes of 10 "
        "images; padded to 12x16 inside the network"
    )


@pytest.mark.parametrize("size", [(12, 20), "12x20"])
def test_images_are_scaled_to_height_and_width(size: Any, tmp_path: Path):
    data = mz.prepare(np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8))
    more = {**SHORT, "size": size, "conditional": False, "net": NETS["unet"]}
    pipe = mz.train("glyphs-ddpm", data=data.source, out=tmp_path / "run", **more)
    assert pipe.sample(1).shape == (1, 3, 12, 20)
    assert mz.load(tmp_path / "run").size == (12, 20)


def test_learned_variances_count_256_values(tmp_path: Path):
    with pytest.raises(mz.UserError, match="`learn_variance` needs 8-bit values, but the images"):
        mz.train(
            "glyphs-ddpm",
            data=images("16-bit 9x14"),
            out=tmp_path / "run",
            learn_variance=True,
            **SHORT,
        )
