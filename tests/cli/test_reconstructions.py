"""The command `mezzotint evaluate` on an autoencoder."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import prepare
from mezzotint.interop.vae import write_vae
from mezzotint.networks import VAE, VAEConfig
from mezzotint.pipeline.loading import is_autoencoder, load_codec

from commands import CapSys, call


@pytest.fixture
def foreign(few_glyphs: None, tmp_path: Path) -> Path:
    """The folder of an autoencoder in the format of diffusers."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig(channels=(8, 16), blocks=1, groups=4))
    write_vae(tmp_path / "foreign", asdict(vae.config), 3, vae.state_dict(), [1.0], [0.0])
    return tmp_path / "foreign"


NAMES = ["fd-glyphs", "sfd-glyphs", "kd-glyphs", "psnr", "ssim", "kl"]


def row(folder: Path) -> dict:
    """Return the only row in figures.jsonl."""
    (line,) = (folder / "figures.jsonl").read_text().splitlines()
    return json.loads(line)


def test_the_command_measures_an_autoencoder(trained_vae: Path, capsys: CapSys) -> None:
    code, said, err = call(capsys, "evaluate", str(trained_vae))
    assert (code, err) == (0, "")
    lines = said.splitlines()
    assert lines[0].endswith(
        "to 32x32; compared with 60 images of glyphs (held out); [95 % interval]"
    )
    assert lines[4] == "image by image; [95 % interval]"
    assert [line.split()[0] for line in lines[1:4] + lines[5:8]] == NAMES
    assert all("N = 60" in line for line in lines[1:4] + lines[5:8])
    assert lines[8].startswith("the scaled latents have the mean ")

    out = trained_vae / "evaluation"
    kept = row(out)
    assert (kept["autoencoder"], kept["originals"]) == (str(trained_vae), "glyphs (held out)")
    assert [f["name"] for f in kept["figures"]] == NAMES
    assert np.shape(kept["latents"]["mean"]) == np.shape(kept["latents"]["std"]) == (4,)
    assert kept["latents"]["std"] == pytest.approx([1] * 4, abs=0.1)  # as its checkpoint scales
    with Image.open(out / "reconstructions.png") as picture:
        assert picture.height == 2 + 8 * 98  # four rows, each above what came back, enlarged

    call(capsys, "evaluate", str(trained_vae), "--metrics", "kd")
    assert len((out / "figures.jsonl").read_text().splitlines()) == 2


def test_a_checkpoint_is_measured_as_its_run(trained_vae, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    newest = trained_vae / "checkpoints" / "step-12"
    for folder in (trained_vae, newest):
        assert call(capsys, "evaluate", str(folder), "--metrics", "fd")[0] == 0
    made = [row(trained_vae / "evaluation"), row(tmp_path / "evaluation")]
    assert made[0]["figures"] == made[1]["figures"]
    assert made[0]["digest"] == made[1]["digest"]


@pytest.mark.parametrize(
    ("flags", "count", "name"),
    [
        ("--samples 20", 20, "glyphs (held out)"),
        ("--size 16", 60, "glyphs (held out)"),
        ("--against glyphs", 100, "glyphs (split train)"),
        ("--against glyphs --against-split test --samples 900", 60, "glyphs (split test)"),
        ("--tile 8 --size 64", 60, "glyphs (held out)"),
        ("--precision bf16", 60, "glyphs (held out)"),
    ],
)
def test_what_is_given_back_can_be_chosen(trained_vae, capsys, flags, count, name) -> None:
    words = [*flags.split(), "--metrics", "fd", "--network", "glyphs"]
    assert call(capsys, "evaluate", str(trained_vae), *words)[0] == 0
    kept = row(trained_vae / "evaluation")
    assert kept["originals"] == name
    assert [f["name"] for f in kept["figures"]] == ["fd-glyphs", *NAMES[3:]]
    assert {f["samples"] for f in kept["figures"]} == {count}


def test_figures_of_no_network_stand_alone(trained_vae, capsys) -> None:
    code, said, _ = call(capsys, "evaluate", str(trained_vae), "--metrics")
    assert code == 0
    assert said.startswith("image by image; ")


def test_a_foreign_autoencoder_is_measured_on_what_is_said(foreign, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    flags = ["--against", "glyphs", "--metrics", "fd", "--out", str(out)]
    assert call(capsys, "evaluate", str(foreign), *flags)[0] == 0
    found = {f["name"]: f["value"] for f in row(out)["figures"]}
    assert {f["samples"] for f in row(out)["figures"]} == {100}
    images = torch.from_numpy(np.array(prepare("glyphs").images)).permute(0, 3, 1, 2).contiguous()
    codec = load_codec(foreign)
    error = (codec.decode(codec.encode(images)).double() - images).square().mean((1, 2, 3))
    assert found["psnr"] == pytest.approx(float((10 * torch.log10(255**2 / error)).mean()))


def test_autoencoders_are_told_from_all_else(trained, trained_vae, foreign, tmp_path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    for folder in (trained_vae, trained_vae / "checkpoints" / "step-12", foreign):
        assert is_autoencoder(folder)
    for folder in (trained, trained / "checkpoints" / "step-12", tmp_path / "bad", "glyphs"):
        assert not is_autoencoder(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("FOREIGN", "does not record its training set: give images as --against"),
        ("FOREIGN --against nowhere", "there is no data set, file or folder 'nowhere'"),
        ("FOREIGN --against glyphs --against-split half", "has no split 'half'"),
        ("VAE --against-split train", "--against-split and --against-range need --against"),
        ("VAE --size 30x", "--size is '30x': give a side of at least 1 pixel"),
        ("VAE --size 8", "images of 8x8 are too small for SSIM: give at least 11"),
        ("VAE --samples 9", "9 images cannot be measured: give at least 10"),
        ("VAE --samples -1", "-1 images cannot be measured: give at least 10"),
        ("VAE --metrics accuracy", "accuracy"),
        ("VAE --tile 3", "--tile is 3: choose a side of 8 latents"),
        ("VAE --steps 3", "unknown option --steps"),
        ("EMPTY", "has no checkpoint yet: continue training with --resume"),
        ("BROKEN", "is damaged"),
    ],
)
def test_bad_input_is_one_clear_line(
    trained_vae, foreign, tmp_path, capsys, monkeypatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.copy(trained_vae / "config.json", tmp_path / "empty")
    broken = Path(shutil.copytree(trained_vae / "checkpoints" / "step-12", tmp_path / "broken"))
    (broken / "codec.safetensors").write_bytes(b"")
    places = {"FOREIGN": "foreign", "VAE": "vae", "EMPTY": "empty", "BROKEN": "broken"}
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    capsys.readouterr()
    words = [places.get(word, word) for word in arguments.split()]
    code, out, err = call(capsys, "evaluate", *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("mezzotint: ")
    assert message in err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
