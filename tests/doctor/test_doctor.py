"""What the doctor says of weights, pictures and latents made by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mezzotint.data.sources import glyphs
from mezzotint.diffusion.schedules import cosine
from mezzotint.doctor import Title, latents, pictures, weights
from mezzotint.metrics import network
from mezzotint.networks import VAE, VAEConfig
from mezzotint.networks.network import Network
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.pipeline import Pipeline
from spoil import accused

FLAT_VAR, PIXEL_VAR, SIDE = 0.04, 0.005, 16


class Exact(Network):
    """The x0 expected of Gaussian data: each channel a colour N(m, 0.04), pixels N(0, 0.005) about.

    m is -0.4 and 0.4 in the two classes. ``wrong`` is added to what it says; not ``told``, it takes
    m for 0.
    """

    def __init__(self, wrong: float = 0.0, told: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.wrong, self.told, self.schedule = wrong, told, cosine(1000)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        angle = torch.from_numpy(np.interp(t, range(1000), self.schedule.angles[1:].numpy()))
        alpha, sigma = (f(angle).float().view(-1, 1, 1, 1) for f in (torch.cos, torch.sin))
        shift = torch.zeros(len(x), 1, 1, 1)
        if labels is not None and self.told:
            shift = (0.8 * labels.view(-1, 1, 1, 1) - 0.4) * (labels < 2).view(-1, 1, 1, 1)
        x = x - alpha * shift
        mean, v = x.mean((2, 3), keepdim=True), FLAT_VAR + PIXEL_VAR / SIDE**2
        colour = alpha * v / (alpha**2 * v + sigma**2 / SIDE**2) * mean
        rest = alpha * PIXEL_VAR / (alpha**2 * PIXEL_VAR + sigma**2) * (x - mean)
        return shift + colour + rest + self.wrong


def gaussian(labels: Tensor) -> Tensor:
    """Such data, in [-1, 1]."""
    draw = torch.Generator().manual_seed(1)
    x = PIXEL_VAR**0.5 * torch.randn(len(labels), 3, SIDE, SIDE, generator=draw)
    x = x + FLAT_VAR**0.5 * torch.randn(len(labels), 3, 1, 1, generator=draw)
    return x + 0.8 * labels.view(-1, 1, 1, 1) - 0.4


def exact(**fields: object) -> Pipeline:
    return Pipeline(Exact(**fields), cosine(1000), "x0", (3, SIDE, SIDE), ("a", "b"))


def bytes_of(x: Tensor) -> Tensor:
    return (127.5 * (x + 1)).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture
def known() -> tuple[Tensor, Tensor, Tensor]:
    """x0, eps and labels of Gaussian data of two classes."""
    labels = torch.arange(128) % 2
    eps = torch.randn(128, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    return gaussian(labels), eps, labels


def test_the_exact_denoiser_is_accused_of_nothing(known) -> None:
    x0, eps, labels = known
    found = weights.errors(exact(), x0, eps, labels)
    assert found.shape == (3, 128)
    assert weights.informed(found).severity == "well"
    assert weights.labels_matter(exact(), x0, eps, labels).severity == "well"


def test_a_network_that_is_noise_or_deaf_is_named(known) -> None:
    x0, eps, labels = known
    assert weights.informed(weights.errors(exact(wrong=2.0), x0, eps, labels)).severity == "wrong"
    deaf = exact(told=False)
    assert weights.labels_matter(deaf, x0, eps, labels).severity == "wrong"
    shuffled = labels[torch.randperm(128, generator=torch.Generator().manual_seed(0))]
    assert weights.labels_matter(exact(), x0, eps, shuffled).severity == "doubtful"


def test_an_average_that_lags_is_named() -> None:
    raw = 0.3 + 0.05 * torch.rand(128)
    assert weights.lagging(0.15, raw - 0.01, raw).severity == "well"
    assert weights.lagging(0.15, raw + 0.01, raw).severity == "well"
    assert weights.lagging(0.15, raw + 0.15, raw).severity == "doubtful"
    assert weights.lagging(0.15, raw + 0.5, raw).severity == "wrong"
    assert weights.lagging(0.9, raw, raw).severity == "doubtful"


def test_the_distance_of_an_average_is_that_of_theory() -> None:
    """Of a straight walk, the mean age 0.05 / ln 2 of all images; of the first weights, 1."""
    end, start = {"w": torch.ones(3)}, {"w": torch.zeros(3)}
    assert weights.distance({"w": torch.full((3,), 1 - 0.072)}, end, start) == pytest.approx(0.072)
    assert weights.distance(start, end, start) == 1
    assert weights.distance(end, end, end) == 0


def test_pictures_of_the_exact_denoiser_are_accused_of_nothing() -> None:
    labels = torch.arange(700) % 2
    every = bytes_of(gaussian(labels))
    data, unseen = every[:500], every[500:]
    made = exact().sample(128, steps=25, clipping="none")
    looks = (pictures.colour_drift, pictures.grey, pictures.saturated)
    found = [look(made, data) for look in looks]
    eyes = network("cifar10")
    ours, theirs, other = (eyes(x).pool for x in (made, data, unseen))
    found.append(pictures.alike(ours, theirs, labels[:128], labels[:500]))
    found.append(pictures.memorised(ours, theirs, other))
    assert accused(found) == {}


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Eight hundred pictures of digits and their labels."""
    images = np.stack([glyphs.draw("train", i) for i in range(800)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.arange(800) % 10


def test_spoilt_pictures_are_named(digits) -> None:
    made, data = digits[0][:128], digits[0][128:]
    float_ = made.float()
    for look in (pictures.colour_drift, pictures.grey, pictures.saturated):
        assert look(made, data).severity == "well"
    tinted = float_ + torch.tensor([40.0, 0, 0]).view(3, 1, 1)
    assert pictures.colour_drift(tinted.clamp(max=255).byte(), data).severity == "wrong"
    faded = float_.mean(1, keepdim=True).expand(-1, 3, -1, -1).byte()
    assert pictures.grey(faded, data).severity == "wrong"
    hard = (3 * (float_ - 128) + 128).clamp(0, 255).byte()
    assert pictures.saturated(hard, data).severity == "wrong"


def test_shuffled_collapsed_and_copied_pictures_are_named(digits) -> None:
    images, labels = digits
    eyes = network("glyphs")
    seen = eyes(images)
    few, pool, logits = slice(0, 130), seen.pool, seen.logits
    right, turned = labels[few], (labels[few] + 1) % 10
    told = logits, labels
    assert pictures.recognised(logits[few], right, *told).severity == "well"
    assert pictures.recognised(logits[few], turned, *told).severity == "wrong"
    mixed = labels[torch.randperm(800, generator=torch.Generator().manual_seed(0))]
    assert pictures.recognised(logits[few], right, logits, mixed).severity == "doubtful"

    assert pictures.alike(pool[few], pool, right, labels).severity == "well"
    same = pool[:10].repeat(13, 1) + 0.01 * torch.randn(130, pool.shape[1])
    assert pictures.alike(same, pool, right, labels).severity == "wrong"
    assert pictures.alike(same[:1].repeat(130, 1), pool, None, None).severity == "wrong"

    unseen, training = pool[:400], pool[400:]
    assert pictures.memorised(unseen[:130], training, unseen[130:]).severity == "well"
    assert pictures.memorised(unseen[:130], training, None).severity == "well"
    assert pictures.memorised(training[:130], training, unseen).severity == "wrong"
    assert pictures.memorised(training[:130], training, None).severity == "wrong"


def test_few_pictures_measured_are_named(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    assert pictures.too_few(path) is None
    path.write_text('{"figures": [{"name": "fd-glyphs", "samples": 1000}]}\nhalf a li\n')
    assert pictures.too_few(path).severity == "doubtful"
    with path.open("a") as file:
        file.write('{"figures": [{"name": "fid", "samples": 10000}]}\n')
    assert pictures.too_few(path).severity == "well"


def test_latents_are_named_for_what_they_are(digits) -> None:
    draw = torch.Generator().manual_seed(0)
    mean = 4 + 5 * torch.randn(64, 3, 8, 8, generator=draw)
    std = torch.full_like(mean, 0.1)
    vae = VAE(VAEConfig(channels=(8, 16), blocks=1, groups=4))
    ones = torch.ones(3)
    assert latents.scaled(Latents(vae, 0 * ones, ones), mean, std).severity == "wrong"
    assert latents.scaled(Latents(vae, 4 * ones, 5 * ones), mean, std).severity == "well"

    assert latents.dead(mean, std).severity == "well"
    one, all_ = mean.clone(), 0.01 * torch.randn(64, 3, 8, 8, generator=draw)
    one[:, 1] = 3
    assert latents.dead(one, std).severity == "doubtful"
    assert latents.dead(all_, torch.ones_like(all_)).severity == "wrong"
    assert latents.dead(all_ + 50, std / 1e4).severity == "wrong"  # too still for half precision

    assert latents.exploding(mean, std, 3 * 32 * 32).severity == "well"
    assert latents.exploding(1e3 * mean, std, 3 * 32 * 32).severity == "wrong"
    assert latents.exploding(mean / 0, std, 3 * 32 * 32).severity == "wrong"

    images = digits[0][:64]
    near = (images.float() + 5 * torch.randn(images.shape)).clamp(0, 255).byte()
    assert latents.reconstruction(images, near, 4).severity == "well"
    assert latents.reconstruction(images, torch.full_like(images, 60), 4).severity == "wrong"


def test_the_page_names_every_diagnosis() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    assert re.findall(r"^\| \*\*(.*?)\*\* \|", page, re.MULTILINE) == list(get_args(Title))
