from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.metrics.networks import network
from mezzotint.metrics.perceptual import NAMES, perceptual, stages

CPU = torch.device("cpu")
# VGG16 as torchvision numbers it: where a slice of LPIPS ends, and its convolutions.
CONVOLUTIONS = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
WIDTHS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random weights for VGG that keep the size of its activations."""
    draw = torch.Generator().manual_seed(0)
    made: dict[str, Tensor] = {}
    channels = 3
    for i, width in WIDTHS.items():
        for j in CONVOLUTIONS[i]:
            w = torch.randn(width, channels, 3, 3, generator=draw)
            made[f"net.slice{i}.{j}.weight"] = w * (2 / (9 * channels)) ** 0.5
            made[f"net.slice{i}.{j}.bias"] = 0.1 * torch.randn(width, generator=draw)
            channels = width
        made[f"lin{i - 1}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=draw)
    return made


@pytest.fixture(scope="module")
def file(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of these weights as lpips 0.1.4 saves it: scaling constants, and all heads twice."""
    twice = {f"lins.{k[3]}{k[4:]}": w for k, w in weights.items() if k.startswith("lin")}
    constants = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    path = tmp_path_factory.mktemp("lpips") / "lpips.pth"
    torch.save(constants | weights | twice, path)
    return path


@pytest.fixture(autouse=True)
def named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEZZOTINT_LPIPS", str(file))


@pytest.fixture
def x(digits: np.ndarray) -> Tensor:
    return torch.from_numpy(digits[:2]).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.fixture
def y(digits: np.ndarray) -> Tensor:
    return torch.from_numpy(digits[2:4]).permute(0, 3, 1, 2) / 127.5 - 1


def textbook(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    x, y = (x - shift) / scale, (y - shift) / scale
    d = torch.zeros(len(x), 1, 1, 1)
    for i, convolutions in CONVOLUTIONS.items():
        if i > 1:
            x, y = F.max_pool2d(x, 2, 2), F.max_pool2d(y, 2, 2)
        for j in convolutions:
            w, b = weights[f"net.slice{i}.{j}.weight"], weights[f"net.slice{i}.{j}.bias"]
            x, y = (F.relu(F.conv2d(z, w, b, padding=1)) for z in (x, y))
        u, v = (z / (z.norm(dim=1, keepdim=True) + 1e-10) for z in (x, y))
        head = weights[f"lin{i - 1}.model.1.weight"]
        d = d + F.conv2d((u - v) ** 2, head).mean((2, 3), keepdim=True)
    return d.flatten()


def test_lpips_is_the_papers(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> None:
    torch.testing.assert_close(
        perceptual("lpips")(x, y), textbook(weights, x, y), rtol=1e-4, atol=0
    )


def test_safetensors_do_as_well(
    weights: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    x: Tensor,
    y: Tensor,
) -> None:
    wanted = perceptual("lpips")(x, y)
    save_file(weights, tmp_path / "lpips.safetensors")
    monkeypatch.setenv("MEZZOTINT_LPIPS", str(tmp_path / "lpips.safetensors"))
    assert torch.equal(perceptual("lpips")(x, y), wanted)


@pytest.mark.parametrize("name", ["cifar10", "glyphs"])
def test_our_stages_are_the_feature_networks(name: str, x: Tensor) -> None:
    """The mean of the last stage is what the metrics use as pooled features."""
    net, seen = x, network(name)(((x + 1) * 127.5).round().byte())
    for stage, _ in stages(name, CPU):
        net = stage(net)
    pool = net.mean((2, 3))
    torch.testing.assert_close(pool / pool.norm(), seen.pool / seen.pool.norm())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_distance(name: str, x: Tensor, y: Tensor) -> None:
    d = perceptual(name)
    assert torch.equal(d(x, x), torch.zeros(2))
    assert torch.equal(d(x, y), d(y, x))
    assert (d(x, y) > 0).all()
    torch.testing.assert_close(d(x[:1], y[:1]), d(x, y)[:1])


@pytest.mark.parametrize("name", NAMES)
def test_blur_is_worse_than_a_grey_level(name: str, x: Tensor) -> None:
    d = perceptual(name)
    blurred = F.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
    assert (d(blurred, x) > 10 * d(x + 1 / 127.5, x)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_goes_to_the_images_alone(
    name: str, x: Tensor, y: Tensor, draw: torch.Generator
) -> None:
    d = perceptual(name)
    assert not any(w.requires_grad for stage, _ in stages(name, CPU) for w in stage.parameters())
    x = x + 0.1 * torch.randn(x.shape, generator=draw)  # where it is flat, maxima are tied
    a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
    (alone,) = torch.autograd.grad(d(a, y).sum(), a)
    step = 0.02 * alone / alone.norm()
    slope = (d(x + step, y) - d(x - step, y)).sum() / (2 * 0.02)
    assert float(slope) == pytest.approx(float(alone.norm()), rel=0.02)
    both, of_y = torch.autograd.grad(d(a, b).sum(), (a, b))
    torch.testing.assert_close(both, alone)
    (swapped,) = torch.autograd.grad(d(b, x).sum(), b)
    torch.testing.assert_close(of_y, swapped)


@pytest.mark.parametrize("name", NAMES)
def test_flat_images_and_equal_ones_have_finite_gradients(name: str, x: Tensor) -> None:
    for a, b in [(x, x), (torch.zeros_like(x), x), (-torch.ones_like(x), torch.zeros_like(x))]:
        a = a.clone().requires_grad_()
        perceptual(name)(a, b).sum().backward()
        assert a.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_little(name: str, x: Tensor, y: Tensor) -> None:
    d = perceptual(name)
    a = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = d(a.bfloat16(), y)
        value.sum().backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, d(x, y), rtol=0.05, atol=0)
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("name", ["cifar10", "glyphs"])
def test_images_are_seen_at_their_own_size(name: str, x: Tensor, y: Tensor) -> None:
    """A tiling of four images has about the distance of one image.

    It differs only at the inner edges.
    """
    d = perceptual(name)
    tiled = [torch.cat([z, z], 3) for z in (x, y)]
    tiled = [torch.cat([z, z], 2) for z in tiled]
    assert tiled[0].shape[2:] == (64, 64)
    torch.testing.assert_close(d(*tiled), d(x, y), rtol=0.1, atol=0)
    noise = 0.2 * (-1) ** torch.arange(64.0)  # a resize to 32x32 would not see it
    assert (d(tiled[0] + noise, tiled[0]) > 0.01 * d(*tiled)).all()


def test_a_name_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(UserError, match="'vgg': choose cifar10, glyphs, imagenet, lpips"):
        perceptual("vgg")


@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (2, 3, 32, 15), (3, 32, 32), (2, 1, 32, 32)])
def test_other_images_are_refused(shape: tuple[int, ...], x: Tensor) -> None:
    d = perceptual("glyphs")
    with pytest.raises(UserError, match="at least 16x16"):
        d(torch.zeros(shape), x if shape[-1] == 24 else torch.zeros(shape))
    with pytest.raises(UserError, match="give floats"):
        d(x.byte(), x)


def refusal(path: Path | str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MEZZOTINT_LPIPS", str(path))
    with pytest.raises(UserError) as error:
        perceptual("lpips")
    message = str(error.value)
    assert "\n" not in message
    return message


def test_weights_that_cannot_be_had_are_spoken_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "set $MEZZOTINT_LPIPS" in refusal("", monkeypatch)
    assert "or choose cifar10, glyphs or imagenet" in refusal("", monkeypatch)
    assert "no file is there" in refusal(tmp_path / "none.pth", monkeypatch)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"not weights", b"PK\x03\x04 cut off", b"\x80\x02}q\x00."]
)
def test_damaged_weights_are_refused(
    suffix: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"lpips.{suffix}"
    path.write_bytes(content)
    assert "lpips.LPIPS" in refusal(path, monkeypatch)


def test_weights_of_something_else_are_refused(
    weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lpips.pth"

    def saved(content: object) -> str:
        torch.save(content, path)
        return refusal(path, monkeypatch)

    heads = {key: w for key, w in weights.items() if key.startswith("lin")}
    assert "it lacks net.slice1.0.bias, net.slice1.0.weight, " in saved(heads)
    assert "net.slice2.7.weight and 18 more" in saved(heads)
    assert "should not have more" in saved(heads | {"more": torch.ones(1)})
    assert "it has the wrong shape of lin0.model.1.weight" in saved(
        weights | {"lin0.model.1.weight": torch.ones(1, 3, 1, 1)}
    )
    assert "is not a state dict" in saved([1, 2])
    assert "is not a state dict" in saved({"epoch": 1})
