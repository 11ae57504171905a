"""The fast forms and layouts of layers on a CPU do not change a training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from mezzotint import cosine
from mezzotint.networks import UNet, UNetConfig, blocks, network
from mezzotint.networks.blocks import Up
from mezzotint.networks.conditions import every
from mezzotint.networks.norm import GroupNorm
from mezzotint.run.saving import restore, save
from mezzotint.trainer.ema import averaged
from mezzotint.trainer.loop import Examples, Step, TrainConfig, optimizer, train
from mezzotint.trainer.objective import Diffusion, ObjectiveConfig
from mezzotint.trainer.state import TrainState

CONFIG = TrainConfig(images=1200, batch=4, lr=1e-3, warmup=0, ema_halflife=200)
SIDE, CLASSES = 32, 4  # from 32 pixels on every way through Up and GroupNorm is taken


def bars(start: int, count: int, u: Tensor) -> Examples:
    """White bars on black, tilted according to their class."""
    number = torch.arange(start, start + count)
    angle = (number % CLASSES * torch.pi / CLASSES)[:, None, None]
    middle = (number.float().sin() / 2)[:, None, None]
    y, x = torch.meshgrid(*2 * [torch.linspace(-1, 1, SIDE)], indexing="ij")
    across = x * angle.cos() + y * angle.sin() - middle
    return Examples((across.abs() < 0.2).float()[:, None] * 2 - 1, {"label": number % CLASSES})


def begin(
    memory_format: torch.memory_format = torch.channels_last, dtype: torch.dtype = torch.float32
) -> TrainState:
    torch.manual_seed(0)
    net = UNet(UNetConfig(channels=(16, 32), blocks=1, attention=(1,), groups=8), 1, CLASSES)
    net.to(memory_format=memory_format)
    ema = averaged(net, CONFIG.batch, CONFIG.ema_halflife)
    shape, schedule = (1, SIDE, SIDE), cosine(1000)
    task = Diffusion(ObjectiveConfig(), schedule, "v", shape, every(CLASSES), dtype=dtype)
    return TrainState(net, ema, optimizer(net, CONFIG, task), task)


def go(state: TrainState) -> Iterator[Step]:
    steps = train(
        Accelerator(cpu=True),
        state.net,
        state.ema,
        state.optimizer,
        state.task,
        bars,
        CONFIG,
        state.step,
    )
    for step in steps:
        state.step = step.step
        yield step


def losses(
    steps: int,
    dtype: torch.dtype,
    plain: bool = False,
    much: int = 2**23,
    compiled: bool = False,
) -> Tensor:
    """Return the losses of the first training steps; ``plain`` uses torch's layers and layout."""

    def norm(self: GroupNorm, x: Tensor) -> Tensor:
        out = F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        return F.silu(out) if self.silu else out

    def up(self: Up, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MUCH", much)
        if plain:
            patch.setattr(GroupNorm, "forward", norm)
            patch.setattr(Up, "forward", up)
        state = begin(torch.contiguous_format if plain else torch.channels_last, dtype)
        if compiled:
            assert state.net.compile_for(network.STEPS_FROM)
        return torch.stack([step.loss for step in islice(go(state), steps)])


def test_a_step_in_float32_is_the_plain_networks() -> None:
    fast, plain = losses(20, torch.float32), losses(20, torch.float32, plain=True)
    assert not torch.equal(fast, plain)  # or nothing has been compared
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=0)


def test_what_is_made_again_is_the_same() -> None:
    assert torch.equal(losses(5, torch.float32, much=0), losses(5, torch.float32))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_training_in_bf16_goes_as_the_plain_networks(compiled: bool) -> None:
    if compiled and not network.compiles():
        pytest.skip("no code can be compiled here: that takes a C++ compiler, Python's headers")
    fast = losses(120, torch.bfloat16, compiled=compiled).view(6, 20).mean(1)
    plain = losses(120, torch.bfloat16, plain=True).view(6, 20).mean(1)
    assert fast[-1] < fast[0] / 2  # something is learned
    torch.testing.assert_close(fast, plain, rtol=0.05, atol=0)


def tensors(state: TrainState) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint: the weights, their average, Adam's moments."""
    moments = state.optimizer.state_dict()["state"]
    return {
        **{f"net.{k}": v for k, v in state.net.state_dict().items()},
        **{f"ema.{k}": v for k, v in state.ema.module.state_dict().items()},
        **{f"optimizer.{i}.{k}": v for i, s in moments.items() for k, v in s.items()},
    }


def same(a: TrainState, b: TrainState) -> None:
    """Check that two states hold the same numbers in the same memory layout."""
    ours, theirs = tensors(a), tensors(b)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
        assert value.stride() == theirs[name].stride(), name


def test_a_restored_training_goes_on_bit_for_bit_in_its_layout(tmp_path: Path) -> None:
    straight = begin()
    list(islice(go(straight), 3))
    saved = save(straight, straight.tensors(), tmp_path, {}, {}, keep=1, more={})
    restored = begin()
    restore(restored, saved)
    same(restored, straight)
    moved = [v for v in tensors(restored).values() if v.ndim == 4 and not v.is_contiguous()]
    assert len(moved) > 40  # the layout is one that a careless copy would lose
    for state in (straight, restored):
        list(islice(go(state), 2))
    same(restored, straight)


def test_files_hold_the_weights_in_the_order_of_their_axes(tmp_path: Path) -> None:
    state = begin()
    list(islice(go(state), 1))
    saved = save(state, state.tensors(), tmp_path, {}, {}, keep=1, more={})
    names = ("net", "ema", "optimizer")
    stored = {
        f"{n}.{k}": v for n in names for k, v in load_file(saved / f"{n}.safetensors").items()
    }
    live = tensors(state)
    assert stored.keys() == live.keys()
    for name, value in stored.items():
        assert value.is_contiguous()
        assert torch.equal(value, live[name]), name
