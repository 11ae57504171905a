from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.guidance import (
    CLIPPINGS,
    GUIDANCE_SHAPES,
    clip,
    doubled,
    interval,
    threshold,
)
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import PREDICTIONS, Denoiser, target, to_x0

LEVEL = Level(400, 0.8, 0.6)
TO_NOISE = mz.zero_terminal_snr(mz.linear(1000))
GRIDS = {
    "trailing": mz.cosine(1000).grid(8, "trailing"),
    "logsnr": mz.linear(1000).grid(8, "logsnr"),
    "from pure noise": TO_NOISE.grid(8, "trailing"),
}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(seed: int, size: int = 12) -> Denoiser:
    """A random smooth denoiser of images with ``size`` numbers, which depends on the level."""
    inward, outward = drawn(2, size, size, seed=seed) / size**0.5

    def denoise(x: Tensor, level: Level) -> Tensor:
        hidden = torch.tanh(x.flatten(1) @ inward + math.atan2(level.sigma, level.alpha))
        return (hidden @ outward).view(x.shape)

    return denoise


class Counted:
    """A denoiser that records the levels of its calls."""

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise = denoise
        self.levels: list[Level] = []

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        self.levels.append(level)
        return self.denoise(x, level)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_guidance_commutes_with_the_prediction_type(kind: str) -> None:
    x, out_c, out_u = drawn(3, 4, 8)
    guided_output = out_u + 3.0 * (out_c - out_u)
    guided = mz.guide(
        lambda x, level: to_x0(kind, out_c, x, level),
        lambda x, level: to_x0(kind, out_u, x, level),
        scale=3.0,
    )
    torch.testing.assert_close(guided(x, LEVEL), to_x0(kind, guided_output, x, LEVEL))


def test_scale_1_is_conditional_and_0_unconditional_each_in_one_call() -> None:
    def fail(x, level):
        raise AssertionError("called for nothing")

    def one(x, level):
        return x + 1

    x = torch.zeros(2)
    assert mz.guide(one, fail, scale=1)(x, LEVEL).tolist() == [1, 1]
    assert mz.guide(fail, one, scale=0)(x, LEVEL).tolist() == [1, 1]
    assert mz.guide(one, fail, scale=lambda level: 1.0)(x, LEVEL).tolist() == [1, 1]


def test_a_doubled_batch_gives_what_two_calls_give() -> None:
    x = drawn(4, 8)
    shift = torch.tensor([1.0] * 4 + [-1.0] * 4)[:, None]
    cond, uncond = (lambda x, level: x * 2 + 1), (lambda x, level: x * 2 - 1)
    both = doubled(lambda both, level: both * 2 + shift)
    pair = mz.guide(cond, uncond, 2.5, both=both)
    torch.testing.assert_close(pair(x, LEVEL), mz.guide(cond, uncond, 2.5)(x, LEVEL))


def test_target_is_affine_with_weights_that_sum_to_one() -> None:
    eps, a, b = drawn(3, 8)
    for kind in PREDICTIONS:
        mixed = target(kind, b + 4 * (a - b), eps, LEVEL)
        each = [target(kind, x0, eps, LEVEL) for x0 in (a, b)]
        torch.testing.assert_close(mixed, each[1] + 4 * (each[0] - each[1]))


# Scales that vary along a grid.


def along_t(shape: str, scale: float) -> list[float]:
    """Return the scale at each t of a schedule of 1000 levels, from the noisy end."""
    grid = mz.linear(1000).grid(10, "trailing")
    at = GUIDANCE_SHAPES[shape](scale, grid)
    return [at(Level(t, 0.8, 0.6)) if callable(at) else at for t in range(999, -1, -1)]


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
def test_the_mean_of_a_shape_is_the_scale(shape: str) -> None:
    scales = along_t(shape, 4.0)
    assert sum(scales) / len(scales) == pytest.approx(4.0, abs=1e-12)
    assert scales == sorted(scales)
    assert along_t(shape, 1.0) == pytest.approx([1.0] * 1000, abs=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_a_shape_goes_from_no_guidance_to_twice_as_much(shape: str) -> None:
    scales = along_t(shape, 4.0)
    assert scales[0] == 1.0
    assert scales[-1] == pytest.approx(1 + 2 * 3.0)
    quarter = {"linear": 1 + 2 * 3.0 / 4, "cosine": 1 + 3.0 * (1 - 2**-0.5)}[shape]
    at = GUIDANCE_SHAPES[shape](4.0, mz.linear(1000).grid(10, "trailing"))
    assert callable(at)
    assert at(Level(999 * 3 / 4, 0.8, 0.6)) == pytest.approx(quarter)  # between two rows
    assert at(Level(749.25, 0.1, 0.9)) == at(Level(749.25, 0.9, 0.1))  # t alone counts


def test_of_a_grid_that_begins_at_t_0_a_shape_is_its_end() -> None:
    grid = mz.linear(1000).grid(1, "leading")
    at = GUIDANCE_SHAPES["linear"](4.0, grid)
    assert callable(at)
    assert at(grid[0]) == 7.0


def published_cfgpp(
    cond: Denoiser, uncond: Denoiser, x: Tensor, grid: Sequence[Level], lam: float
) -> Tensor:
    """Chung et al. 2024, arXiv 2406.08070, algorithm 2, line by line."""
    for t, s in pairwise(grid):
        eps_c = (x - t.alpha * cond(x, t)) / t.sigma
        eps_u = (x - t.alpha * uncond(x, t)) / t.sigma
        if t.alpha:
            x0 = (x - t.sigma * (eps_u + lam * (eps_c - eps_u))) / t.alpha
        else:  # 0 / 0: what it tends to
            x0 = uncond(x, t) + lam * (cond(x, t) - uncond(x, t))
        x = s.alpha * x0 + s.sigma * eps_u
    return x


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("lam", [0.0, 0.2, 0.6, 1.0])
def test_cfgpp_is_the_papers_ddim(grid: str, lam: float) -> None:
    cond, uncond, x, levels = network(1), network(2), drawn(5, 12), GRIDS[grid]
    guided = mz.guide(cond, uncond, GUIDANCE_SHAPES["cfg++"](lam, levels))
    ours = mz.SAMPLERS["ddim"](guided, x, levels)
    paper = published_cfgpp(cond, uncond, x, levels, lam)
    torch.testing.assert_close(ours, paper, rtol=0, atol=1e-9)
    if lam:  # nor would any constant scale do
        plain = mz.SAMPLERS["ddim"](mz.guide(cond, uncond, lam), x, levels)
        assert (plain - paper).abs().max() > 1e-2


def test_cfgpp_off_the_grid_looks_to_the_next_cleaner_level_on_it() -> None:
    grid = GRIDS["logsnr"]
    at = GUIDANCE_SHAPES["cfg++"](0.5, grid)
    assert callable(at)
    for noisy, clean in pairwise(grid[:-1]):
        lam = (0.3 * noisy.lam) + (0.7 * clean.lam)
        between = mz.linear(1000).at(lam)
        assert at(between) == pytest.approx(0.5 / (1 - math.exp(lam - clean.lam)), rel=1e-6)
        assert at(between) > at(noisy)
    assert at(grid[-2]) == 0.5  # the step to the clean level
    assert at(mz.linear(1000).at(grid[-2].lam + 0.1)) == 0.5


@pytest.mark.parametrize("shape", GUIDANCE_SHAPES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("sampler", ["ddim", "heun", "edm", "unipc"])
def test_every_shape_serves_samplers_that_leave_the_grid(sampler, grid: str, shape: str) -> None:
    levels = GRIDS[grid]
    cond = Counted(network(1))
    guided = mz.guide(cond, network(2), GUIDANCE_SHAPES[shape](0.7, levels))
    more = {"churn": 100.0, "high": 50.0} if sampler == "edm" else {}
    randn = torch.Generator().manual_seed(0)
    x = mz.SAMPLERS[sampler](
        guided, drawn(3, 12), levels, **more,
        randn=lambda x: torch.randn(x.shape, generator=randn, dtype=x.dtype),
    )  # fmt: skip
    assert torch.isfinite(x).all()
    assert bool(set(cond.levels) - set(levels)) == (sampler == "edm")


def test_outside_its_interval_guidance_is_the_conditional_denoiser_alone() -> None:
    grid = GRIDS["trailing"]
    noise = [level.sigma / level.alpha for level in grid[:-1]]
    low, high = noise[-2], noise[2]  # its ends belong to it
    cond, uncond = Counted(network(1)), Counted(network(2))
    guided = mz.guide(cond, uncond, interval(3.0, low, high, grid))
    x = drawn(5, 12)
    for i, level in enumerate(grid[:-1]):
        c, u = network(1)(x, level), network(2)(x, level)
        if 2 <= i <= len(noise) - 2:
            torch.testing.assert_close(guided(x, level), u + 3 * (c - u))
        else:
            assert torch.equal(guided(x, level), c)
    assert cond.levels == grid[:-1]
    assert uncond.levels == grid[2:-2]


def test_an_interval_bounds_a_shape_too() -> None:
    grid = GRIDS["from pure noise"]
    shape = GUIDANCE_SHAPES["linear"](3.0, grid)
    at = interval(shape, 0.5, 2.0, grid)
    assert callable(at)
    assert callable(shape)
    inside = [0.5 <= math.exp(-level.lam) <= 2 for level in grid[:-1]]
    assert [at(x) for x in grid[:-1]] == [
        shape(x) if i else 1 for i, x in zip(inside, grid, strict=False)
    ]
    assert at(grid[0]) == 1  # pure noise, sigma / alpha infinite
    between = mz.linear(1000).at(0.1)  # of a level off the grid the same holds
    assert at(between) == shape(between) != 1


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_an_interval_without_a_level_is_refused_in_one_line(grid: str, steps: int) -> None:
    with pytest.raises(mz.UserError, match=r"no level of the grid has 1e\+06 <= sigma") as refused:
        interval(2.0, 1e6, 2e6, [*GRIDS[grid][:steps], GRIDS[grid][-1]])
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 150


# What brings images back.


def std(x: Tensor) -> Tensor:
    return x.flatten(1).std(1)


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.7, 1.0])
def test_rescaling_brings_each_pictures_contrast_back(phi: float) -> None:
    x = drawn(5, 3, 2, 2)
    c, u = network(1)(x, LEVEL), network(2)(x, LEVEL)
    guided = u + 4.0 * (c - u)
    # Lin et al. 2024, eqs. 15 and 16: of each image as a whole.
    pos, cfg = (std(value).view(-1, 1, 1, 1) for value in (c, guided))
    wanted = phi * (guided * pos / cfg) + (1 - phi) * guided
    rescaled = mz.guide(network(1), network(2), 4.0, rescale=phi)
    got = rescaled(x, LEVEL)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(std(got), phi * std(c) + (1 - phi) * std(guided))
    torch.testing.assert_close(rescaled(x[2:3], LEVEL), got[2:3])  # whatever its batch


@pytest.mark.parametrize("how", CLIPPINGS)
def test_clipping_leaves_pictures_in_range_as_they_are(how: str) -> None:
    x = drawn(4, 3, 8, 8).clamp(-1, 1)
    assert torch.equal(CLIPPINGS[how](lambda x, level: x)(x, LEVEL), x)


def test_clipping_comes_after_guidance() -> None:
    guided = mz.guide(lambda x, level: x * 0 + 3.0, lambda x, level: x * 0 + 2.5, scale=2.0)
    assert clip(guided)(torch.zeros(1), LEVEL).item() == 1.0
    # Clipped first, the two would be equal, and guidance would say nothing.
    assert guided(torch.zeros(1), LEVEL).item() == 3.5


def test_dynamic_clipping_goes_by_the_quantile_of_each_picture() -> None:
    x = drawn(4, 3, 20, 20) * torch.tensor([0.1, 1.0, 2.0, 5.0])[:, None, None, None]
    got = threshold(lambda x, level: x)(x, LEVEL)
    for i in range(len(x)):
        s = max(1.0, sorted(x[i].abs().flatten().tolist())[math.ceil(0.995 * 1200) - 1])
        torch.testing.assert_close(got[i], x[i].clamp(-s, s) / s)
        torch.testing.assert_close(threshold(lambda x, level: x)(x[i : i + 1], LEVEL)[0], got[i])
    assert torch.equal(got[0], x[0])  # quieter than [-1, 1], and not amplified
    assert (got.abs() <= x.abs()).all()
    assert got.abs().amax((1, 2, 3))[1:].tolist() == [1, 1, 1]
    # Static clipping piles up at the ends what dynamic clipping only scales.
    static = clip(lambda x, level: x)(x, LEVEL)
    assert (got[3].abs() == 1).float().mean() < 0.01
    assert (static[3].abs() == 1).float().mean() > 0.5


def test_interval_rescaling_clipping_and_a_doubled_batch_go_together() -> None:
    grid = GRIDS["from pure noise"]
    scale = interval(GUIDANCE_SHAPES["cosine"](5.0, grid), 0.3, 4.0, grid)
    cond, uncond, x = network(1), network(2), drawn(4, 3, 2, 2)

    def pair(x: Tensor, level: Level) -> Tensor:
        return torch.cat([cond(x[:4], level), uncond(x[4:], level)])

    one = threshold(mz.guide(cond, uncond, scale, 0.5, doubled(pair)))
    two = threshold(mz.guide(cond, uncond, scale, 0.5))
    for level in grid[:-1]:
        w = scale(level) if callable(scale) else scale
        c, u = cond(x, level), uncond(x, level)
        wanted = u + w * (c - u)
        wanted = wanted * (0.5 + 0.5 * std(c) / std(wanted)).view(-1, 1, 1, 1)
        wanted = threshold(lambda x, level, wanted=wanted: wanted)(x, level)
        torch.testing.assert_close(one(x, level), wanted)
        torch.testing.assert_close(two(x, level), wanted)
    walked = [mz.SAMPLERS["ddim"](denoise, x, grid) for denoise in (one, two)]
    torch.testing.assert_close(*walked)
