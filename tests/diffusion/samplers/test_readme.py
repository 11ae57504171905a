"""The sampler that samplers/README.md adds, taken from the page and put through its paces."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion import samplers
from mezzotint.diffusion.samplers.step import mean

from oracles import Gaussian, along

PAGE = (Path(samplers.__file__).parent / "README.md").read_text("utf-8")
CODE, ENTRY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
DATA = Gaussian(mean=0.7, var=0.1)


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> str:
    """The example's name, entered into SAMPLERS for the length of a test."""
    names: dict[str, Any] = {"Sampler": samplers.Sampler}
    exec(CODE, names)
    entries: dict[str, Any] = eval(f"{{{ENTRY}}}", names)
    ((name, sampler),) = entries.items()
    assert name not in mz.SAMPLERS  # an example that is none any more
    monkeypatch.setitem(mz.SAMPLERS, name, sampler)
    return name


def error(name: str, steps: int, lo: float = -2.0, hi: float = 1.5) -> float:
    """How far from the flow it ends, over equal steps in lambda."""
    grid = along(np.linspace(lo, hi, steps + 1).tolist())
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    (m_t, v_t), (m_s, v_s) = DATA.marginal(grid[0]), DATA.marginal(grid[-1])
    wanted = m_s + math.sqrt(v_s / v_t) * (x - m_t)
    return float((mz.SAMPLERS[name](DATA.denoise, x, grid) - wanted).abs().max())


def test_it_is_at_most_thirty_lines_and_one_entry() -> None:
    assert len(CODE.splitlines()) <= 30
    assert max(len(line) for line in CODE.splitlines()) <= 100
    assert len(ENTRY.splitlines()) == 1


def test_it_converges_at_the_order_of_its_entry(name: str) -> None:
    measured = math.log2(error(name, 200) / error(name, 400))
    assert measured == pytest.approx(mz.SAMPLERS[name].order, abs=0.1)
    assert error(name, 200) < error("ddim", 200) / 20


@pytest.mark.parametrize("schedule", [mz.linear(1000), mz.zero_terminal_snr(mz.cosine(1000))])
def test_it_makes_the_data_of_noise(name: str, schedule: mz.Schedule) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(10_000, generator=draw, dtype=torch.float64)
    got = mz.SAMPLERS[name](DATA.denoise, x, schedule.grid(50, spacing="trailing"))
    assert float(got.mean()) == pytest.approx(DATA.mean, abs=0.01)
    assert float(got.std()) == pytest.approx(math.sqrt(DATA.var), abs=0.01)


def test_below_its_fewest_steps_it_is_ddim_and_from_there_on_it_is_not(name: str) -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    least = mz.SAMPLERS[name].least
    for steps in range(1, least + 2):
        grid = mz.linear(1000).grid(steps, spacing="trailing")
        got, ddim = (mz.SAMPLERS[kind](DATA.denoise, x, grid) for kind in (name, "ddim"))
        assert torch.allclose(got, ddim) == (steps < least)


def test_its_weights_are_those_of_the_textbook() -> None:
    past = [torch.eye(4, dtype=torch.float64)[i] for i in range(4)]
    weights = mean(past, [0.0, -1.0, -2.0, -3.0], [1.0, 1 / 2, 1 / 3, 1 / 4])
    assert (24 * weights).tolist() == pytest.approx([55, -59, 37, -9])


def test_a_configuration_takes_it(name: str) -> None:
    assert SampleConfig(sampler=name).sampler == name
    assert SampleConfig(sampler=name).within(20).steps == 20
    with pytest.raises(ValueError, match="`eta` is for"):
        SampleConfig(sampler=name, eta=0.5)


def test_without_the_entry_there_is_no_such_sampler() -> None:
    with pytest.raises(ValueError, match="unknown sampler 'pndm'"):
        SampleConfig(sampler="pndm")
