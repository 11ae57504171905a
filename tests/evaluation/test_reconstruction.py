"""Measure the reconstructions and the latents of an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import UserError, evaluation
from mezzotint.data import prepare
from mezzotint.data.prepared import Prepared
from mezzotint.data.values import Values
from mezzotint.evaluation import reconstruction
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.measuring import Measure
from mezzotint.metrics import Figure, pairs
from mezzotint.networks import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from mezzotint.pipeline.codec import Latents

CAP = 10 * np.log10(12 * 255**2)  # dB: an error of rounding's own size


@dataclass
class Config:
    factor: int = 2
    latent: int = 12


class Folded:
    """An autoencoder that loses nothing; its decoder adds noise."""

    config = Config()
    image_channels = 3

    def __init__(self, noise: float = 0.0, log_variance: float = -30.0) -> None:
        self.noise, self.log_variance = noise, log_variance
        self.generator = torch.Generator().manual_seed(0)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = F.pixel_unshuffle(x, 2)
        return z, torch.full_like(z, self.log_variance)

    def decode(self, z: Tensor) -> Tensor:
        x = F.pixel_shuffle(z, 2)
        return x + self.noise * torch.randn(x.shape, generator=self.generator)


def test_images_of_another_range_are_refused() -> None:
    """The autoencoder would encode other grey values."""
    pixels = np.linspace(0, 1, 10 * 8 * 8 * 3, dtype=np.float32).reshape(10, 8, 8, 3)
    images = Against("mine", prepare(pixels, range=(0, 1)))
    values = Values("float32", -1, 1)
    codec = Latents(Folded(), torch.zeros(12), torch.ones(12), values=values)
    with pytest.raises(UserError, match="are float32 from 0 to 1, but the autoencoder is for "):
        evaluation.of_codec(codec, evaluation.Request(), images)


@pytest.fixture
def originals(few_glyphs: None) -> Prepared:
    return prepare("glyphs")


@pytest.fixture
def measure(originals: Prepared) -> Measure:
    against = Against("glyphs (split train)", originals)
    return evaluation.measure("glyphs", against, (32, 32), torch.device("cpu"))


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
        assert (f.count, f.network) == (100, "glyphs")
        assert f.against == "100 images of glyphs (split train)"
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


def test_kl_is_that_of_the_posterior_in_nats_an_image(originals) -> None:
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
    originals, measure, monkeypatch
) -> None:
    torch.manual_seed(0)
    vae = VAE(VAEConfig(channels=(8, 16), blocks=1, groups=4)).eval()
    vae = Latents(vae, torch.zeros(4), torch.ones(4))
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
    with pytest.raises(UserError, match="the reference was not made from the originals"):
        reconstruction.reconstruct(codec(), originals.some(50), [measure])
    grey = replace(originals, images=originals.images[..., :1])
    with pytest.raises(UserError, match="images have 1 channels but the autoencoder needs 3"):
        reconstruction.reconstruct(codec(), grey, [])


def test_images_of_other_sides_are_padded_and_cut(originals) -> None:
    odd = replace(originals, images=originals.images[:20, :31])
    vae = VAE(VAEConfig(channels=(8, 16), blocks=1, groups=4)).eval()
    plain = Latents(vae, torch.zeros(4), torch.ones(4))
    found = reconstruction.reconstruct(plain, odd, [], ()).figures
    assert {figure.name for figure in found} >= {"psnr", "ssim"}
