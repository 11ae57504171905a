"""The doctor's findings about samples, some of them damaged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch

import mezzotint as mz
from exact import bytes_of, exact, gaussian
from mezzotint.doctor import samples
from mezzotint.metrics import network
from spoil import accused


def test_samples_of_the_exact_denoiser_are_accused_of_nothing() -> None:
    labels = torch.arange(700) % 2
    every = bytes_of(gaussian(labels))
    data, unseen = every[:500], every[500:]
    made = exact().sample(128, steps=25, clipping="none")
    looks = (samples.colour_drift, samples.grey, samples.saturated, samples.noisy)
    found = [look(made, data) for look in looks]
    eyes = network("cifar10")
    ours, theirs, other = (eyes(x).pool for x in (made, data, unseen))
    found.append(samples.alike(ours, theirs, labels[:128], labels[:500]))
    found.append(samples.memorised(ours, theirs, other))
    assert accused(found) == {}


def test_spoilt_samples_are_named(digits) -> None:
    made, data = digits[0][:128], digits[0][128:]
    float_ = made.float()
    for look in (samples.colour_drift, samples.grey, samples.saturated, samples.noisy):
        assert look(made, data).severity == "well"
    tinted = float_ + torch.tensor([40.0, 0, 0]).view(3, 1, 1)
    assert samples.colour_drift(tinted.clamp(max=255).byte(), data).severity == "wrong"
    faded = float_.mean(1, keepdim=True).expand(-1, 3, -1, -1).byte()
    assert samples.grey(faded, data).severity == "wrong"
    hard = (3 * (float_ - 128) + 128).clamp(0, 255).byte()
    assert samples.saturated(hard, data).severity == "wrong"
    noise = 60 * torch.randn(float_.shape, generator=torch.Generator().manual_seed(0))
    assert samples.noisy((float_ + noise).clamp(0, 255).byte(), data).severity == "wrong"
    assert (
        samples.noisy(float_.mean((2, 3), keepdim=True).expand_as(float_), data).severity == "well"
    )


def test_shuffled_collapsed_and_copied_samples_are_named(digits) -> None:
    images, labels = digits
    eyes = network("glyphs")
    seen = eyes(images)
    few, pool, logits = slice(0, 130), seen.pool, seen.logits
    right, turned = labels[few], (labels[few] + 1) % 10
    told = logits, labels
    assert samples.recognised(logits[few], right, *told).severity == "well"
    assert samples.recognised(logits[few], turned, *told).severity == "wrong"
    mixed = labels[torch.randperm(800, generator=torch.Generator().manual_seed(0))]
    assert samples.recognised(logits[few], right, logits, mixed).severity == "doubtful"

    assert samples.alike(pool[few], pool, right, labels).severity == "well"
    same = pool[:10].repeat(13, 1) + 0.01 * torch.randn(130, pool.shape[1])
    assert samples.alike(same, pool, right, labels).severity == "wrong"
    assert samples.alike(same[:1].repeat(130, 1), pool, None, None).severity == "wrong"

    unseen, training = pool[:400], pool[400:]
    assert samples.memorised(unseen[:130], training, unseen[130:]).severity == "well"
    assert samples.memorised(unseen[:130], training, None).severity == "well"
    assert samples.memorised(training[:130], training, unseen).severity == "wrong"
    assert samples.memorised(training[:130], training, None).severity == "wrong"


def test_samples_have_the_frequencies_of_the_classes() -> None:
    asked: list[list[int] | None] = []

    def sample(count: int, labels: list[int] | None = None, **settings: object) -> torch.Tensor:
        asked.append(labels)
        return torch.zeros(count, 3, 8, 8, dtype=torch.uint8)

    pipe = SimpleNamespace(defaults=mz.SampleConfig(steps=2), examples={}, sample=sample)
    pipe.labels = lambda count: [i % len(pipe.classes) for i in range(count)]
    for labels in ([*range(40)], [0, 1, 2], [0] * 7 + [1] * 3):
        pipe.classes = tuple(map(str, range(max(labels) + 1)))
        data = mz.prepare(torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), labels)
        next(samples.look(pipe, None, data, 10, lambda *_: None))
    assert asked == [[0, 4, 8, 12, 16, 20, 24, 28, 32, 36], None, [0] * 7 + [1] * 3]


def test_samples_are_not_compared_with_a_single_image() -> None:
    one = mz.prepare(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert list(samples.look(None, None, one, 10, lambda *_: None)) == []


def test_few_samples_measured_are_named(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    assert samples.too_few(path) is None
    path.write_text('{"figures": [{"name": "kd-glyphs", "samples": 10}]}\n')
    assert samples.too_few(path) is None
    path.write_text('{"figures": [{"name": "fd-glyphs", "samples": 1000}]}\nhalf a li\n')
    assert samples.too_few(path).severity == "doubtful"
    with path.open("a") as file:
        file.write('{"figures": [{"name": "fid", "samples": 10000}]}\n')
    assert samples.too_few(path).severity == "well"
