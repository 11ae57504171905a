"""Images whose sides a network cannot halve often enough."""

from __future__ import annotations

import pytest
import torch

import mezzotint as mz
from mezzotint.networks import DiT, DiTConfig, UNet, UNet2D, UNet2DConfig, UNetConfig
from mezzotint.networks.padding import cut, padded
from mezzotint.trainer.loop import Examples
from mezzotint.trainer.objective import Diffusion, ObjectiveConfig

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


DIT = DiTConfig(patch=8, width=16, depth=1, heads=2)
FOUR = UNetConfig(channels=(8, 8, 8), blocks=1, attention=(), groups=4, patch=2)  # of factor 8


@pytest.mark.parametrize("weighting", ["simple", "learned"])
@pytest.mark.parametrize("config", [FOUR, DIT], ids=["unet", "dit"])
def test_loss_and_gradients_of_28x28_do_not_see_the_padding(config, weighting) -> None:
    """They come from the 28x28 true pixels of the output for 32x32 padded pixels."""
    torch.manual_seed(0)
    net = (DiT if config is DIT else UNet)(config, 1)
    torch.nn.init.normal_(net.out.weight, std=0.1)
    task = Diffusion(ObjectiveConfig(weighting=weighting), mz.cosine(100), "v", (1, 28, 28))
    rows, eps, dropped = task.draw(4, 0, torch.Generator().manual_seed(1))
    x0 = torch.rand(4, 1, 28, 28) * 2 - 1

    def gradients(called) -> list[torch.Tensor]:
        net.zero_grad()
        loss, _ = task(called, Examples(x0), rows, eps, dropped)
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in net.parameters())]

    whole: list[torch.Tensor] = []

    def by_hand(x, t, labels):
        output = net(padded(x, 8), t, labels)
        output.retain_grad()
        whole.append(output)
        return output[..., :28, :28]

    def with_noise_outside(x, t, labels):
        output = net(padded(x, 8), t, labels)
        inside = torch.zeros_like(output)
        inside[..., :28, :28] = 1
        return torch.where(inside > 0, output, output * 1e3 + 7)[..., :28, :28]

    wanted = gradients(by_hand)
    assert not whole[0].grad[..., 28:, :].any()
    assert not whole[0].grad[..., 28:].any()
    assert whole[0].grad[..., :28, :28].any()
    for called in (net, with_noise_outside):
        for got, expected in zip(gradients(called), wanted, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("size", [(28, 28), (9, 20)])
def test_a_dit_of_other_sides_is_the_one_of_whole_sides_on_the_padded_image(size) -> None:
    torch.manual_seed(0)
    net = DiT(DIT, 5).eval()
    torch.nn.init.normal_(net.out.weight, std=0.1)
    x, t = torch.randn(2, 5, *size), torch.tensor([3.0, 700.0])
    with torch.no_grad():
        got, wanted = net(x, t), net(padded(x, 8), t)
    assert got.shape == x.shape
    torch.testing.assert_close(got, wanted[..., : size[0], : size[1]])
