"""The settings of diffusers' U-Nets; tests/interop/test_unet.py compares the outputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import mezzotint as mz
from mezzotint.networks import UNet2D, UNet2DConfig
from mezzotint.networks.norm import GroupNorm

SMALL = UNet2DConfig(
    channels=(8, 16), blocks=1, attention_down=(1,), attention_up=(1,), groups=4, groups_bottom=4
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ()}, "the channels are ()"),
        ({"channels": (9, 16)}, "choose an even number of 4 or more as the first"),
        ({"channels": (8, 18)}, "the number of groups is 4, which does not divide 18 channels"),
        ({"head_width": 6}, "the head width is 6, which does not divide 8 channels"),
        ({"shift": 2}, "shift"),
        ({"eps": 0.0}, "eps"),
    ],
)
def test_what_makes_no_network_is_refused(change: dict, message: str) -> None:
    with pytest.raises(mz.UserError) as error:
        replace(SMALL, **change)
    assert message in str(error.value)


def test_every_norm_has_the_epsilon() -> None:
    norms = [m for m in UNet2D(replace(SMALL, eps=0.25)).modules() if isinstance(m, GroupNorm)]
    assert {norm.eps for norm in norms} == {0.25}


def test_a_network_of_another_epsilon_is_another_one() -> None:
    digests = set()
    for eps in (1e-5, 1e-6):
        torch.manual_seed(0)
        digests.add(UNet2D(replace(SMALL, eps=eps)).digest)
    assert len(digests) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_copy_to_sample_with_is_the_same_function(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, channels=(32, 64), scaled=True, block_down=(0,), block_up=(1,))
    net = UNet2D(config, classes=3).eval()
    torch.nn.init.normal_(net.out.weight, std=0.1)
    x, t, labels = torch.randn(2, 3, 16, 16), torch.tensor([3, 700]), torch.tensor([0, 3])
    with torch.no_grad():
        got, wanted = net.for_inference(dtype)(x, t, labels), net(x, t, labels)
    bound = 1e-5 if dtype == torch.float32 else 0.05
    assert float((got - wanted).norm() / wanted.norm()) < bound
