from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.networks.norm import GroupNorm

# B, C, H, W, groups: each way that the forward pass can take, and the edges between them.
SHAPES = {
    "one pixel": (2, 32, 1, 1, 8),
    "few pixels": (2, 32, 7, 5, 8),
    "the middle, odd": (2, 32, 7, 11, 8),
    "the middle, a channel a group": (2, 32, 16, 24, 32),
    "the middle, wide groups": (2, 64, 16, 16, 4),
    "many pixels": (2, 16, 32, 33, 8),
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
Results = tuple[Tensor, ...]


@pytest.fixture(params=["run", "compiled"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the layer in its usual form, or in the form for a compiler."""
    if request.param == "compiled":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


forms = pytest.mark.usefixtures("form")


def layer(channels: int, groups: int, silu: bool = True) -> GroupNorm:
    """Make a layer whose weight and bias differ from their initial values."""
    norm = GroupNorm(channels, groups, silu)
    torch.nn.init.normal_(norm.weight, 1, 0.2)
    torch.nn.init.normal_(norm.bias, 0, 0.2)
    return norm


def picture(b: int, c: int, h: int, w: int, mean: float = 1.0) -> Tensor:
    return (torch.randn(b, c, h, w) + mean).to(memory_format=torch.channels_last)


def torchs(norm: GroupNorm, x: Tensor) -> Tensor:
    out = F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return F.silu(out) if norm.silu else out


def results(norm: GroupNorm, x: Tensor, out: Tensor, slope: Tensor) -> Results:
    """Return the output, and the gradients of x, weight and bias if the output's is ``slope``."""
    grads = torch.autograd.grad(out, (x, norm.weight, norm.bias), slope.to(out))
    return out.detach(), *grads


@forms
@shapes
@pytest.mark.parametrize("silu", [True, False], ids=["silu", "plain"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_it_is_torchs_norm_and_its_gradients(
    shape: tuple[int, ...], silu: bool, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    *size, groups = shape
    norm, x = layer(size[1], groups, silu).to(dtype), picture(*size).to(dtype).requires_grad_()
    plain = x.detach().contiguous().requires_grad_()
    slope = torch.randn(size)  # not channels-last: nor is what comes back from every layer
    ours = results(norm, x, norm(x), slope)
    for got, wanted in zip(ours, results(norm, plain, torchs(norm, plain), slope), strict=True):
        bound = tolerance * float(wanted.abs().max())
        torch.testing.assert_close(got, wanted, rtol=0, atol=max(bound, tolerance))


@forms
@pytest.mark.parametrize("silu", [True, False], ids=["silu", "plain"])
def test_the_gradients_are_the_limits_of_differences(silu: bool) -> None:
    torch.manual_seed(0)
    x, norm = picture(1, 2, 8, 8).double().requires_grad_(), layer(2, 1, silu).double()

    def output(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(output, (x, norm.weight, norm.bias))


@shapes
def test_the_layout_is_kept_and_x_is_not_written_to(shape: tuple[int, ...]) -> None:
    *size, groups = shape
    norm, x = layer(size[1], groups), picture(*size).requires_grad_()
    before = x.detach().clone()
    out, grad, *_ = results(norm, x, norm(x), torch.randn(size))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert grad.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)


@shapes
def test_x_is_all_that_is_kept_for_the_backward_pass(shape: tuple[int, ...]) -> None:
    *size, groups = shape
    norm, x = layer(size[1], groups), picture(*size).requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        norm(x)
    pixels = [t for t in kept if t.shape == x.shape]
    assert [t.data_ptr() for t in pixels] == [x.data_ptr()]
    assert all(t.numel() <= size[0] * size[1] for t in kept if t.shape != x.shape)


@forms
@pytest.mark.parametrize("shape", list(SHAPES.values())[1:], ids=list(SHAPES)[1:])
@pytest.mark.parametrize("mean", [0.0, 5.0])
def test_bf16_loses_little_more_than_torchs_own(shape: tuple[int, ...], mean: float) -> None:
    torch.manual_seed(0)
    _, c, h, w, groups = shape
    norm, x = layer(c, groups), picture(8, c, h, w, mean).bfloat16().requires_grad_()
    slope = torch.randn_like(x)
    exact = x.detach().float().requires_grad_()
    wanted = results(norm, exact, torchs(norm, exact), slope)

    def errors(out: Tensor) -> list[float]:
        got = results(norm, x, out, slope)
        return [float((a.float() - b).norm() / b.norm()) for a, b in zip(got, wanted, strict=True)]

    ours, theirs = errors(norm(x)), errors(torchs(norm, x))
    assert ours[0] <= 1.5 * theirs[0]  # the output
    assert ours[1] <= 1.5 * theirs[1]  # the gradient of x


@forms
@shapes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 3.3, -1e4])
def test_constant_pictures_give_finite_numbers(
    shape: tuple[int, ...], dtype: torch.dtype, value: float
) -> None:
    *size, groups = shape
    norm, x = layer(size[1], groups), torch.full_like(picture(*size), value).to(dtype)
    x.requires_grad_()
    assert all(r.isfinite().all() for r in results(norm, x, norm(x), torch.randn(size)))
