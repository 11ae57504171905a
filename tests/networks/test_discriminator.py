from __future__ import annotations

import pytest
import torch
from torch import nn

from mezzotint import UserError
from mezzotint.networks import Discriminator
from mezzotint.networks.discriminator import hinge


def test_it_is_the_papers_network() -> None:
    """The authors' code has 2.77 million parameters; its norms have as many as ours."""
    convs = [(3, 64, True), (64, 128, False), (128, 256, False), (256, 512, False), (512, 1, True)]
    norms = (128, 256, 512)
    wanted = sum(16 * a * b + b * bias for a, b, bias in convs) + 2 * sum(norms)
    assert sum(p.numel() for p in Discriminator().parameters()) == wanted == 2_765_633


def test_the_width_doubles_up_to_eight_times() -> None:
    convs = [m for m in Discriminator(width=4, layers=5).modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convs] == [4, 8, 16, 32, 32, 32, 1]


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_the_papers_patch(layers: int, field: int) -> None:
    torch.manual_seed(0)
    net = Discriminator(1, 4, layers)
    for i, layer in enumerate(net.stack):
        if isinstance(layer, nn.GroupNorm):  # whose moments see everything
            net.stack[i] = nn.Identity()
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    out = net(x)
    side = 128 // 2**layers - 2
    assert out.shape == (1, 1, side, side)
    out[0, 0, side // 2, side // 2].backward()
    for axis in (0, 1):
        seen = x.grad[0, 0].any(axis).nonzero()
        assert seen.max() - seen.min() + 1 == field


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_smallest_picture_has_one_logit_and_a_smaller_one_is_refused(layers: int) -> None:
    net, least = Discriminator(3, 8, layers), 3 * 2**layers
    assert net(torch.randn(2, 3, least, least)).shape == (2, 1, 1, 1)
    with pytest.raises(
        UserError, match=rf"^images of {least}x{least - 1} .* {least} pixels a side$"
    ):
        net(torch.randn(2, 3, least, least - 1))


def test_a_picture_is_judged_alone() -> None:
    net, x = Discriminator(width=8), torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(net(x)[:1], net(x[:1]))


def test_it_begins_as_the_paper_says() -> None:
    for layer in Discriminator().stack:
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert layer.bias is None or not layer.bias.any()


def test_the_hinge_loss() -> None:
    zeros = torch.zeros(2, 1, 3, 3)
    assert hinge(zeros, zeros) == 1
    assert hinge(zeros + 1, zeros - 1) == hinge(zeros + 5, zeros - 9) == 0
    # Of two logits real, one fake: ((1 - 0.5) + 0) / 2 and 1 + 3, then halved.
    assert hinge(torch.tensor([0.5, 2.0]), torch.tensor([3.0])) == pytest.approx(0.125 + 2)


def test_a_few_steps_tell_two_kinds_of_picture_apart() -> None:
    torch.manual_seed(0)
    net = Discriminator(width=16, layers=2)
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=3e-3), []
    for _ in range(30):
        smooth = torch.randn(4, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
        optimizer.zero_grad()
        losses.append(hinge(net(smooth), net(torch.randn(4, 3, 32, 32))))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
