from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.metrics import mean_figure, psnr, ssim

Pair = tuple[Tensor, Tensor]


@pytest.fixture
def pair(digits: np.ndarray, draw: torch.Generator) -> Pair:
    """Six images, and copies with noise from slight to extreme."""
    a = torch.from_numpy(digits[:6]).permute(0, 3, 1, 2)[..., :27]
    noise = torch.randn(a.shape, generator=draw) * torch.logspace(0.3, 2, 6).view(-1, 1, 1, 1)
    return a, (a + noise).round().clamp(0, 255).byte()


def test_psnr_is_scikit_images(pair: Pair) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    both = zip(*pair, strict=True)
    wanted = [metrics.peak_signal_noise_ratio(a.numpy(), b.numpy()) for a, b in both]
    np.testing.assert_allclose(psnr(*pair), wanted, rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_scikit_images(pair: Pair, channels: int) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = (x[:, :channels] for x in pair)
    as_published = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    wanted = [
        metrics.structural_similarity(
            x.numpy(), y.numpy(), channel_axis=0, data_range=255, **as_published
        )
        for x, y in zip(a, b, strict=True)
    ]
    assert max(wanted) > 0.95
    assert min(wanted) < 0.5
    np.testing.assert_allclose(ssim(a, b), wanted, rtol=1e-10)


def test_an_even_error_of_e_has_a_psnr_of_20_log_255_over_e() -> None:
    a = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    assert psnr(a, a + 5).item() == pytest.approx(20 * math.log10(255 / 5))


def test_flat_images_differ_in_luminance_alone() -> None:
    a = torch.full((1, 3, 11, 11), 100, dtype=torch.uint8)
    c1 = (0.01 * 255) ** 2
    wanted = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ssim(a, a + 20).item() == pytest.approx(wanted)


def test_equal_images_have_the_best_figures_and_finite_ones(pair: Pair) -> None:
    a, b = pair
    assert psnr(a, a).tolist() == pytest.approx([10 * math.log10(12 * 255**2)] * len(a))
    torch.testing.assert_close(ssim(a, a), torch.ones(len(a), dtype=torch.float64))
    assert (psnr(a, b) < psnr(a, a)).all()
    assert (ssim(a, b) < ssim(a, a)).all()


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_what_is_no_pair_of_images_is_refused(metric: object, pair: Pair) -> None:
    a, b = pair
    with pytest.raises(UserError, match="uint8 and float32: give uint8"):
        metric(a, b.float())
    for x, y in [(a, b[:1]), (a[0], b[0]), (a[:0], b[:0])]:
        with pytest.raises(UserError, match=r"give two batches"):
            metric(x, y)


def test_ssim_needs_room_for_its_window(pair: Pair) -> None:
    a, b = (x[..., :10] for x in pair)
    with pytest.raises(UserError, match="32x10 are too small for SSIM: give at least 11"):
        ssim(a, b)


def test_a_mean_comes_with_its_interval(draw: torch.Generator) -> None:
    values = 30 + 2 * torch.randn(400, generator=draw)
    figure = mean_figure("psnr", values, "dB")
    assert (figure.name, figure.count, figure.note) == ("psnr", 400, "dB")
    assert figure.value == pytest.approx(float(values.mean()))
    assert figure.high - figure.value == pytest.approx(1.96 * 2 / 400**0.5, rel=0.2)
    assert figure.low + figure.high == pytest.approx(2 * figure.value)
