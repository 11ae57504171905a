from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint import UserError
from mezzotint.networks import DiT, DiTConfig, UNet, UNetConfig, network
from mezzotint.networks.blocks import Attention, Down, Up, attend, doubled, sinusoid
from mezzotint.networks.norm import GroupNorm

WIDE = {"channels": (32, 64), "groups": 8}  # at 32x32 every way through Up and GroupNorm is taken


def test_the_default_is_ddpms_network_on_cifar10() -> None:
    assert sum(p.numel() for p in UNet(UNetConfig()).parameters()) == 35_746_307


def test_the_time_embedding_is_sine_first_with_frequency_shift_1() -> None:
    emb = sinusoid(torch.tensor([0.0, 7.0]), 8)
    assert emb[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    angles = 7 * torch.tensor([1.0, 10000 ** (-1 / 3), 10000 ** (-2 / 3), 1e-4])
    torch.testing.assert_close(emb[1], torch.cat([angles.sin(), angles.cos()]))


def test_downsampling_pads_right_and_bottom_only() -> None:
    down = Down(1)
    nn.init.zeros_(down.conv.weight)
    nn.init.zeros_(down.conv.bias)
    with torch.no_grad():
        down.conv.weight[0, 0, 0, 0] = 1.0  # picks the upper left pixel of each window
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert down(x).flatten().tolist() == [0, 2, 8, 10]


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (16, 24), (32, 32)])
def test_upsampling_is_a_convolution_of_the_nearest_neighbours(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    up = Up(8)
    x = torch.randn(2, 8, *size).to(memory_format=torch.channels_last).requires_grad_()
    plain = up.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    slope, of = torch.randn_like(plain), (x, up.conv.weight, up.conv.bias)
    ours, theirs = (
        (out, *torch.autograd.grad(out, of, slope, retain_graph=True)) for out in (up(x), plain)
    )
    for got, wanted in zip(ours, theirs, strict=True):
        bound = 1e-5 * float(wanted.detach().abs().max())
        torch.testing.assert_close(got, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_any_patch_keeps_the_shape(tiny_net, patch: int) -> None:
    net = tiny_net(patch=patch)
    assert net(torch.randn(2, 3, 16, 24), torch.zeros(2)).shape == (2, 3, 16, 24)


def test_a_new_network_says_zero() -> None:
    net = UNet(UNetConfig(channels=(32, 32), blocks=1), classes=3)
    assert not net(torch.randn(2, 3, 8, 8), torch.tensor([1.0, 2.0]), torch.tensor([0, 3])).any()


def test_no_labels_are_the_null_class_which_is_the_last_row(tiny_net) -> None:
    net = tiny_net(classes=10)
    assert net.label.weight.shape[0] == 11
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([5.0, 500.0])
    torch.testing.assert_close(net(x, t), net(x, t, torch.tensor([10, 10])))
    assert not torch.allclose(net(x, t), net(x, t, torch.tensor([3, 3])), atol=1e-3)


def test_labels_for_an_unconditional_network_are_refused(tiny_net) -> None:
    with pytest.raises(UserError, match="unconditional"):
        tiny_net()(torch.randn(1, 3, 8, 8), torch.zeros(1), torch.zeros(1, dtype=torch.int64))


def test_both_forms_of_attention_are_one_function() -> None:
    q, k, v = torch.randn(3, 2, 4, 16, 8)
    wanted = nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attend(q, k, v), wanted, rtol=1e-5, atol=1e-5)


def test_attention_sees_every_pixel() -> None:
    torch.manual_seed(0)
    layer = Attention(8, groups=2, width=4)
    nn.init.normal_(layer.out.weight)
    x = torch.randn(1, 8, 4, 4, requires_grad=True)
    layer(x)[0, :, 0, 0].sum().backward()
    assert layer.heads == 2
    assert (x.grad[0].abs().sum(0) > 0).all()


@pytest.mark.parametrize("width", [96, 128])
def test_wide_networks_are_laid_out_channels_last(width: int) -> None:
    net = UNet(UNetConfig(channels=(width,), blocks=1, attention=()))
    weight = net.mid_in.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == (width == 128)


def test_the_whole_network_stays_in_channels_last(tiny_net) -> None:
    net, seen = tiny_net(**WIDE).to(memory_format=torch.channels_last), []

    def note(layer: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        seen.append(layer)
        assert out.is_contiguous(memory_format=torch.channels_last), layer

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | GroupNorm | Attention | Up)]
    for layer in layers:
        layer.register_forward_hook(note)
    net(torch.randn(2, 3, 32, 32), torch.zeros(2)).sum().backward()
    merged = [m.conv for m in layers if isinstance(m, Up)]  # its weights alone are used
    assert set(layers) - set(seen) == set(merged)
    for weight in net.parameters():
        assert weight.grad.stride() == weight.stride()


def test_a_copy_for_inference_is_the_same_function_with_its_taps_made_once(tiny_net) -> None:
    net = tiny_net(classes=3, **WIDE).to(memory_format=torch.channels_last)
    copy = net.for_inference(torch.float32)
    x, t, labels = torch.randn(2, 3, 32, 32), torch.tensor([5.0, 500.0]), torch.tensor([0, 3])
    with torch.no_grad():
        torch.testing.assert_close(copy(x, t, labels), net(x, t, labels), rtol=1e-6, atol=1e-6)
    assert [m.merged is not None for m in copy.modules() if isinstance(m, Up)] == [True]
    assert copy.state_dict().keys() == net.state_dict().keys()


def test_a_copy_for_inference_takes_other_weights_whole(tiny_net) -> None:
    one, other = (tiny_net(**WIDE).for_inference(torch.float32) for _ in range(2))
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.5)
        other.load_state_dict(other.state_dict())
        one.load_state_dict(other.state_dict())
        x, t = torch.randn(2, 3, 32, 32), torch.tensor([5.0, 500.0])
        assert torch.equal(one(x, t), other(x, t))
    (up,) = (layer for layer in one.modules() if isinstance(layer, Up))
    assert torch.equal(up.merged, up.taps())


def test_a_copy_in_bf16_leaves_the_original_as_it_was(tiny_net) -> None:
    net = tiny_net(**WIDE).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    copy = net.for_inference(torch.bfloat16)
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([5.0, 500.0])
    assert copy(x, t).dtype == x.dtype
    for layer in copy.modules():
        dtype = torch.float32 if isinstance(layer, GroupNorm) else torch.bfloat16
        assert {v.dtype for v in (*layer.parameters(False), *layer.buffers(False))} <= {dtype}
    assert not any(p.requires_grad for p in copy.parameters())
    assert not copy.training

    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert not list(net.buffers())
    after = net.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], v) and after[k].dtype == v.dtype for k, v in before.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": (48, 64)}, "`groups` is 32, which does not divide 48: choose"),
        ({"channels": ()}, "`channels` is empty"),
        ({"attention": (4,)}, "`attention` has the level 4: choose levels from 0 to 3"),
        ({"head_width": 48}, "`head_width` is 48, which does not divide 128: choose"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNetConfig(**fields)


@pytest.mark.parametrize("training", [True, False])
def test_a_compiler_sees_it_as_one_graph(tiny_net, training: bool) -> None:
    net = tiny_net(classes=3).train(training)
    x, t, labels = torch.randn(2, 3, 16, 16), torch.zeros(2), torch.tensor([0, 3])
    with torch.set_grad_enabled(training):
        compiled = torch.compile(net, backend="eager", fullgraph=True, dynamic=False)
        torch.testing.assert_close(compiled(x, t, labels), net(x, t, labels))


def test_what_a_compiler_is_handed_doubles_the_same(monkeypatch) -> None:
    x = torch.randn(2, 3, 4, 5)
    plain = doubled(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(doubled(x), plain)


@pytest.mark.parametrize("training", [True, False])
def test_on_a_cpu_only_long_work_that_gains_is_compiled(
    tiny_net, monkeypatch, training: bool
) -> None:
    def made(**fields: Any) -> UNet:
        net = tiny_net(**fields)
        return net.train() if training else net.for_inference(torch.bfloat16)

    monkeypatch.setattr(network, "compiles", lambda: True)
    many = network.STEPS_FROM if training else network.COMPILE_FROM
    assert not made().compile_for(many - 1)
    wide = made(channels=(128,), attention=())
    assert wide.compile_for(many) is not training  # which would take much more memory
    assert not tiny_net().eval().compile_for(many)  # in float32 it gains nothing
    net = made()
    assert net.compile_for(many)
    assert net.stem.weight.is_contiguous(memory_format=torch.channels_last)
    assert not net.compile_for(many)  # already
    monkeypatch.setattr(network, "compiles", lambda: False)
    assert not made().compile_for(many)


def test_where_nothing_can_be_compiled_that_is_found_out(monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", fails)
    assert not network.compiles.__wrapped__()


def conditioned(kind: str, numbers: int) -> nn.Module:
    torch.manual_seed(0)
    if kind == "unet":
        net = UNet(UNetConfig(channels=(8, 16), blocks=1, groups=4), 3, 4, augmentation=numbers)
    else:
        net = DiT(DiTConfig(width=16, depth=1, heads=2), 3, 4, augmentation=numbers)
    for weight in net.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    return net


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_the_augmentation_adds_to_the_embedding(kind: str) -> None:
    net, plain = conditioned(kind, 3), conditioned(kind, 0)
    assert net.state_dict().keys() - plain.state_dict().keys() == {"augmentation.weight"}
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if k != "augmentation.weight"})
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([5.0, 500.0])
    for nothing in (None, torch.zeros(2, 3)):
        torch.testing.assert_close(net(x, t, augmentation=nothing), plain(x, t), rtol=0, atol=0)
    numbers = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    given = net.named(None, t)
    shift = net.embed(t, given, numbers) - net.embed(t, given, None)
    torch.testing.assert_close(shift, numbers @ net.augmentation.weight.T, rtol=1e-5, atol=1e-6)
    apart = (net(x, t, augmentation=numbers) - net(x, t)).abs().amax((1, 2, 3))
    assert apart[0] > 1e-3
    assert apart[1] == 0


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_telling_nothing_still_gives_every_weight_a_gradient(kind: str) -> None:
    """Processes that train together need a gradient for every weight."""
    net = conditioned(kind, 3)
    net(torch.randn(2, 3, 8, 8), torch.zeros(2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_an_augmentation_is_refused_by_a_network_without_one(kind: str) -> None:
    with pytest.raises(UserError, match="leave out `augmentation`"):
        conditioned(kind, 0)(
            torch.randn(1, 3, 8, 8), torch.zeros(1), augmentation=torch.zeros(1, 3)
        )
