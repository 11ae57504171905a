"""An autoencoder measured: by what it gives back, and the command that does so."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mezzotint import UserError, evaluation
from mezzotint.data import prepare
from mezzotint.data.prepared import Prepared
from mezzotint.evaluation import reconstruction
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.measuring import Measure
from mezzotint.interop.vae import write_vae
from mezzotint.metrics import Figure, pairs
from mezzotint.networks import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.loading import is_autoencoder, load_codec

from commands import CapSys, call

CAP = 10 * np.log10(12 * 255**2)  # dB: an error of rounding's own size


@dataclass
class Config:
    factor: int = 2
    latent: int = 12


class Folded:
    """An autoencoder that loses nothing, but for noise that its decoder adds."""

    config = Config()

    def __init__(self, noise: float = 0.0, log_variance: float = -30.0) -> None:
        self.noise, self.log_variance = noise, log_variance
        self.generator = torch.Generator().manual_seed(0)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = F.pixel_unshuffle(x, 2)
        return z, torch.full_like(z, self.log_variance)

    def decode(self, z: Tensor) -> Tensor:
        x = F.pixel_shuffle(z, 2)
        return x + self.noise * torch.randn(x.shape, generator=self.generator)


@pytest.fixture
def originals(few_glyphs: None) -> Prepared:
    return prepare("glyphs")


@pytest.fixture
def measure(originals: Prepared) -> Measure:
    against = Against("glyphs train", originals)
    return evaluation.measure("glyphs", against, (32, 32), torch.device("cpu"))


@pytest.fixture
def foreign(few_glyphs: None, tmp_path: Path) -> Path:
    """An autoencoder as diffusers saves it."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig(channels=(8, 16), blocks=1, groups=4))
    write_vae(tmp_path / "foreign", asdict(vae.config), 3, vae.state_dict(), 1.0, 0.0)
    return tmp_path / "foreign"


def codec(mean: float = 0.0, std: float = 1.0, **spoilt: float) -> Latents:
    return Latents(Folded(**spoilt), torch.full((12,), mean), torch.full((12,), std))


def figures(*arguments) -> dict[str, Figure]:
    return {f.name: f for f in reconstruction.reconstruct(*arguments).figures}


def test_what_a_perfect_autoencoder_gives_back(originals, measure) -> None:
    seen: list[tuple[float, int]] = []
    found = figures(
        *(codec(0.3, 0.5), originals, [measure], ("fd", "sfd", "kd")),
        lambda what, done, total: seen.append((done, total)),
    )
    assert list(found) == ["fd-glyphs", "sfd-glyphs", "kd-glyphs", "psnr", "ssim", "kl"]
    for name in ("fd-glyphs", "sfd-glyphs", "kd-glyphs"):
        f = found[name]
        assert (f.low, f.value, f.high) == pytest.approx((0, 0, 0), abs=1e-6), name
        assert (f.count, f.network, f.against) == (100, "glyphs", "100 of glyphs train")
    assert found["psnr"].value == pytest.approx(CAP)
    assert found["ssim"].value == pytest.approx(1)
    assert "network" not in str(found["psnr"])
    assert str(found["psnr"]).endswith("100 images; dB")
    assert seen[0] == (0, 100)


def test_the_more_noise_the_farther_from_the_original(originals, measure) -> None:
    found = [figures(codec(noise=n), originals, [measure]) for n in (0.02, 0.06, 0.2)]
    for name in ("psnr", "ssim"):
        values = [f[name].value for f in found]
        assert values == sorted(values, reverse=True), name
    for name in ("fd-glyphs", "sfd-glyphs", "kd-glyphs"):
        values = [f[name].value for f in found]
        assert values == sorted(values), name
        assert found[1][name].high < found[2][name].low, name
    # Noise of 0.02 in [-1, 1], and rounding, of which little is cut away at black and white.
    mse = (0.02 * 127.5) ** 2 + 1 / 12
    assert found[0]["psnr"].value == pytest.approx(10 * np.log10(255**2 / mse), abs=0.1)


def test_kl_is_that_of_the_posterior_in_nats_a_picture(originals) -> None:
    variance = 0.3
    found = figures(codec(0.3, 0.5, log_variance=np.log(variance)), originals, [])
    x = originals.images[:].astype(np.float64) / 127.5 - 1
    wanted = 0.5 * (x**2 + variance - 1 - np.log(variance)).sum((1, 2, 3))
    assert list(found) == ["psnr", "ssim", "kl"]
    assert found["kl"].value == pytest.approx(wanted.mean(), rel=1e-5)
    assert found["kl"].note == "nats an image"


def test_a_taesd_has_no_posterior(originals) -> None:
    vae = TinyVAE(TinyVAEConfig(width=8, encoder=(1, 1), decoder=(1, 1)))
    found = figures(Latents(vae, torch.zeros(4), torch.ones(4)), originals, [])
    assert list(found) == ["psnr", "ssim"]


def test_the_latents_statistics_are_of_samples_as_they_are_scaled(originals) -> None:
    variance, mean, std = 0.3, torch.linspace(-0.5, 0.5, 12), torch.linspace(0.5, 2, 12)
    scaled = Latents(Folded(log_variance=np.log(variance)), mean, std)
    found = reconstruction.reconstruct(scaled, originals, [])
    x = originals.images[:].astype(np.float64) / 127.5 - 1
    cells = x.reshape(-1, 16, 2, 16, 2, 3).transpose(5, 2, 4, 0, 1, 3).reshape(12, -1)
    means = (cells.mean(1) - mean.numpy()) / std.numpy()
    stds = np.sqrt(cells.var(1) + variance) / std.numpy()
    np.testing.assert_allclose(found.mean, means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.std, stds, rtol=1e-4)


def test_in_whatever_parts_they_come_the_figures_are_the_same(
    originals, measure, foreign, monkeypatch
) -> None:
    vae = load_codec(foreign)
    at_once = figures(vae, originals, [measure], ("fd", "kd"))
    monkeypatch.setattr(reconstruction, "SLICE", 7 * 32 * 32)
    monkeypatch.setattr(pairs, "ROWS", 7)
    by_sevens = figures(vae, originals, [measure], ("fd", "kd"))
    for name, figure in at_once.items():
        for bound in ("value", "low", "high"):
            wanted = pytest.approx(getattr(figure, bound), rel=1e-4, abs=1e-4)
            assert getattr(by_sevens[name], bound) == wanted, name


def test_what_cannot_be_measured_is_refused(originals, measure) -> None:
    with pytest.raises(UserError, match="9 images cannot be measured: give at least 10"):
        reconstruction.reconstruct(codec(), originals.some(9), [])
    with pytest.raises(UserError, match="the reference is of other images"):
        reconstruction.reconstruct(codec(), originals.some(50), [measure])
    odd = replace(originals, images=originals.images[:, :31])
    with pytest.raises(UserError, match=r"31x32 .* pass a `size` that 2 divides"):
        reconstruction.reconstruct(codec(), odd, [])


NAMES = ["fd-glyphs", "sfd-glyphs", "kd-glyphs", "psnr", "ssim", "kl"]


def row(folder: Path) -> dict:
    """The one record of an evaluation."""
    (line,) = (folder / "figures.jsonl").read_text().splitlines()
    return json.loads(line)


def test_the_command_measures_an_autoencoder(trained_vae: Path, capsys: CapSys) -> None:
    code, said, err = call(capsys, "evaluate", str(trained_vae))
    assert (code, err) == (0, "")
    lines = said.splitlines()
    assert lines[0].endswith("to 32x32; against 60 of glyphs held out")
    assert lines[4] == "image by image"
    assert [line.split()[0] for line in lines[1:4] + lines[5:8]] == NAMES
    assert all("N = 60" in line for line in lines[1:4] + lines[5:8])
    assert lines[8].startswith("latents, scaled: mean ")

    out = trained_vae / "evaluation"
    kept = row(out)
    assert (kept["autoencoder"], kept["originals"]) == (str(trained_vae), "glyphs held out")
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
        ("--samples 20", 20, "glyphs held out"),
        ("--size 16", 60, "glyphs held out"),
        ("--against glyphs", 100, "glyphs train"),
        ("--against glyphs --against-split test --samples 900", 60, "glyphs test"),
        ("--tile 8 --size 64", 60, "glyphs held out"),
        ("--precision bf16", 60, "glyphs held out"),
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
    assert said.startswith("image by image\n")


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
        ("FOREIGN", "does not say what it was trained on: say what with --against"),
        ("FOREIGN --against nowhere", "there is no data set, file or folder 'nowhere'"),
        ("FOREIGN --against glyphs --size 31", "pass a --size that 2 divides"),
        ("FOREIGN --against glyphs --against-split half", "has no split 'half'"),
        ("VAE --size 30", "30x30 (height x width) have no latents"),
        ("VAE --size 8", "images of 8x8: SSIM needs 11 pixels a side"),
        ("VAE --samples 9", "9 images cannot be measured: give at least 10"),
        ("VAE --samples -1", "-1 images cannot be measured: give at least 10"),
        ("VAE --metrics accuracy", "accuracy"),
        ("VAE --tile 3", "a tile of 3 latents a side is too small"),
        ("VAE --steps 3", "unknown field --steps"),
        ("EMPTY", "has no checkpoint yet: train it on with --resume"),
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
