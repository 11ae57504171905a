"""Sides that a network cannot halve often enough."""

from __future__ import annotations

import pytest
import torch

from mezzotint.networks import UNet, UNet2D, UNet2DConfig, UNetConfig
from mezzotint.networks.padding import cut, padded

UNET = UNetConfig(channels=(8, 8, 8), blocks=1, attention=(), groups=4)
UNET2D = UNet2DConfig(
    channels=(8, 8, 8), blocks=1, attention_down=(), attention_up=(), groups=4, groups_bottom=4
)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 5), (15, 16), (7, 3)])
def test_padding_is_zero_below_and_on_the_right_and_is_cut_off_again(height: int, width: int):
    x = torch.randn(2, 3, height, width)
    whole = padded(x, 4)
    assert whole.shape[2] % 4 == whole.shape[3] % 4 == 0
    assert max(whole.shape[2] - height, whole.shape[3] - width) < 4
    assert torch.equal(cut(whole, x), x)
    assert whole.sum() == pytest.approx(float(x.sum()), abs=1e-5)


def test_what_needs_none_is_not_copied() -> None:
    x = torch.randn(2, 3, 8, 4)
    assert padded(x, 4) is x
    assert cut(x, x) is x


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("kind", ["unet", "unet2d"])
def test_a_unet_of_odd_sides_is_the_one_of_whole_sides_on_the_padded_image(kind, patch) -> None:
    if kind == "unet2d" and patch == 2:
        pytest.skip("folds nothing")
    torch.manual_seed(0)
    config = UNetConfig(**{**UNET.__dict__, "patch": patch})
    net = (UNet(config) if kind == "unet" else UNet2D(UNET2D)).eval()
    torch.nn.init.normal_(net.out.weight)
    x, t = torch.randn(2, 3, 13, 6), torch.tensor([3.0, 700.0])
    with torch.no_grad():
        got, wanted = net(x, t), net(padded(x, net.config.factor), t)[..., :13, :6]
    assert got.shape == x.shape
    torch.testing.assert_close(got, wanted)


def test_gradients_pass_the_padding() -> None:
    net = UNet(UNET)
    torch.nn.init.normal_(net.out.weight)
    x = torch.randn(1, 3, 5, 7, requires_grad=True)
    net(x, torch.tensor([3.0])).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().min() > 0
