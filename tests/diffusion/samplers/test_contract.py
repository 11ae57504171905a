"""What every entry of SAMPLERS promises, and how each refuses bad input."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion import samplers
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.dpmpp import dpmpp
from mezzotint.diffusion.schedules import zero_terminal_snr
from mezzotint.diffusion.spacings import SPACINGS

from oracles import Gaussian, Mixture, drawn

LINEAR, COSINE = mz.linear(1000), mz.cosine(1000)
TO_NOISE = zero_terminal_snr(COSINE)
STEPS = [1, 2, 3, 5, 50]
DETERMINISTIC = [name for name, sampler in mz.SAMPLERS.items() if not sampler.stochastic]
STOCHASTIC = [name for name, sampler in mz.SAMPLERS.items() if sampler.stochastic]
every = pytest.mark.parametrize("name", mz.SAMPLERS)


def pictures(dtype: torch.dtype = torch.float32) -> Tensor:
    return drawn(0)(torch.empty(2, 3, 8, 8, dtype=dtype))


class Seen:
    """A denoiser that records its levels; from call number ``after`` on, it returns ``bad``."""

    def __init__(self, denoise: Denoiser, after: float = math.inf, bad: float = 0.0) -> None:
        self.denoise, self.after, self.bad = denoise, after, bad
        self.levels: list[Level] = []

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        self.levels.append(level)
        x0 = self.denoise(x, level)
        if len(self.levels) >= self.after:
            x0[..., -1] = self.bad  # one corner of the batch is enough
        return x0


DATA = Gaussian(mean=0.2, var=0.25).denoise


@every
@pytest.mark.parametrize("steps", STEPS)
def test_it_takes_float32_pictures_at_the_declared_cost_and_leaves_them_be(
    name: str, steps: int
) -> None:
    x, grid, seen = pictures(), LINEAR.grid(steps, spacing="trailing"), Seen(DATA)
    got = mz.SAMPLERS[name](seen, x, grid, randn=drawn(1))
    assert (got.shape, got.dtype) == (x.shape, x.dtype)
    assert torch.isfinite(got).all()
    assert torch.equal(x, pictures())
    assert len(seen.levels) == mz.SAMPLERS[name].cost(steps)
    assert all(grid[-2].t <= level.t <= grid[0].t for level in seen.levels)


@every
@pytest.mark.parametrize("spacing", SPACINGS)
def test_it_starts_from_pure_noise_as_from_any_level(name: str, spacing: str) -> None:
    for steps in STEPS:
        grid, seen = TO_NOISE.grid(steps, spacing=spacing), Seen(DATA)
        assert (grid[0].alpha == 0) == (spacing in ("trailing", "linspace"))
        got = mz.SAMPLERS[name](seen, pictures(), grid, randn=drawn(1))
        assert torch.isfinite(got).all()
        assert len(seen.levels) <= mz.SAMPLERS[name].cost(steps)
        assert all(grid[-2].t <= level.t <= grid[0].t for level in seen.levels)
    if mz.SAMPLERS[name].few_step:  # which needs another denoiser than the mean of x0
        return
    # a sanity check, of the 50 steps
    assert float(got.mean()) == pytest.approx(0.2, abs=0.1)
    assert float(got.std()) == pytest.approx(0.5, abs=0.1)


@every
@pytest.mark.parametrize("schedule", [COSINE, TO_NOISE], ids=["cosine", "to noise"])
def test_a_constant_x0_hat_is_what_it_ends_at(name: str, schedule: mz.Schedule) -> None:
    x0 = drawn(2)(pictures())
    for steps in STEPS:
        grid = schedule.grid(steps, spacing="trailing")
        got = mz.SAMPLERS[name](lambda *_: x0, pictures(), grid, randn=drawn(1))
        assert torch.equal(got, x0)


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize("schedule", [COSINE, TO_NOISE], ids=["cosine", "to noise"])
def test_with_a_constant_x0_hat_the_way_there_is_straight(name: str, schedule: mz.Schedule) -> None:
    x0, eps = drawn(2)(pictures(torch.float64)), pictures(torch.float64)
    grid = schedule.grid(6, spacing="trailing")
    x = grid[0].alpha * x0 + grid[0].sigma * eps
    for end in range(2, 7):
        got = mz.SAMPLERS[name](lambda *_: x0, x, grid[:end])
        wanted = grid[end - 1].alpha * x0 + grid[end - 1].sigma * eps
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@every
def test_steps_are_the_most_that_a_budget_of_calls_allows(name: str) -> None:
    sampler = mz.SAMPLERS[name]
    need = sampler.cost(sampler.least)
    for calls in range(need, 60):
        steps = sampler.steps(calls)
        assert steps >= sampler.least
        assert sampler.cost(steps) <= calls < sampler.cost(steps + 1)
        assert sampler.steps(sampler.cost(steps)) == steps
    for calls in range(-1, need):
        with pytest.raises(
            mz.UserError, match=f"give {need} or more, enough for {sampler.least} step"
        ):
            sampler.steps(calls)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_deterministic_method_draws_no_noise(name: str) -> None:
    def refuse(x: Tensor) -> Tensor:
        raise AssertionError

    x, grid = pictures(), COSINE.grid(10)
    got = mz.SAMPLERS[name](DATA, x, grid, randn=refuse)
    assert torch.equal(got, mz.SAMPLERS[name](DATA, x, grid))


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stochastic_methods_noise_is_the_callers(name: str) -> None:
    def go(seed: int) -> Tensor:
        return mz.SAMPLERS[name](DATA, pictures(), COSINE.grid(10), randn=drawn(seed))

    state = torch.get_rng_state()
    assert torch.equal(go(1), go(1))
    assert not torch.allclose(go(1), go(2), atol=1e-2)
    assert torch.equal(torch.get_rng_state(), state)


def draws(name: str, grid: list[Level], denoise: Denoiser = DATA, **options: Any) -> int:
    """Return how often a sampler draws noise."""
    asked = []

    def count(x: Tensor) -> Tensor:
        asked.append(x)
        return torch.randn_like(x)

    mz.SAMPLERS[name](denoise, pictures(), grid, randn=count, **options)
    return len(asked)


@pytest.mark.parametrize("switch", [0.0, 0.25, 0.5, 0.9])
def test_hybrid_draws_noise_in_the_share_of_its_steps_that_it_is_told(switch: float) -> None:
    assert draws("hybrid", COSINE.grid(20), switch=switch) == 20 * switch


@pytest.mark.parametrize(("low", "high"), [(0.01, 1.0), (0.3, 3.0), (0.0, math.inf)])
def test_edm_draws_noise_between_low_and_high(low: float, high: float) -> None:
    grid = COSINE.grid(20)
    within = [low <= level.sigma / level.alpha <= high for level in grid[:-1]]
    assert draws("edm", grid, low=low, high=high) == sum(within)


def test_edm_is_never_above_its_first_level_and_tells_the_network_the_right_t() -> None:
    grid, seen = COSINE.grid(20), Seen(DATA)
    draws("edm", grid, seen, churn=100.0, low=0.0, high=math.inf)
    raised = [level for level in seen.levels if level not in grid]
    assert min(level.lam for level in seen.levels) == pytest.approx(grid[0].lam)
    assert len(raised) > 10
    for level in raised:
        assert level.t == pytest.approx(COSINE.at(level.lam).t, abs=1)


SAME = {
    "dpmpp of order 1 is ddim": (("dpmpp_1", {}), ("ddim", {"eta": 0.0})),
    "deis of order 1 is ddim": (("deis", {"order": 1}), ("ddim", {})),
    "ddim 1 is ddpm with the small variance": (("ddim", {"eta": 1.0}), ("ddpm", {})),
    "hybrid without a second part is ddim 1": (("hybrid", {"switch": 1.0}), ("ddim", {"eta": 1.0})),
    "hybrid without a first part is dpmpp_2m": (("hybrid", {"switch": 0.0}), ("dpmpp_2m", {})),
    "hybrid without noise or a second part is ddim": (
        ("hybrid", {"switch": 1.0, "eta": 0.0}),
        ("ddim", {}),
    ),
    "edm without churn is heun": (("edm", {"churn": 0.0}), ("heun", {})),
}


def on_a_mixture(method: Callable[..., Tensor], **options: Any) -> Tensor:
    x = drawn(3)(torch.empty(16, 4, dtype=torch.float64))
    grid = COSINE.grid(12, spacing="trailing")
    return method(Mixture.random(4).denoise, x, grid, randn=drawn(4), **options)


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_the_same_method_under_two_names_gives_the_same(
    one: tuple[str, dict], other: tuple[str, dict]
) -> None:
    got, wanted = (on_a_mixture(mz.SAMPLERS[name], **options) for name, options in (one, other))
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_dpmpp_of_order_1_is_ddim_at_every_eta(eta: float) -> None:
    wanted = on_a_mixture(mz.SAMPLERS["ddim"], eta=eta)
    torch.testing.assert_close(on_a_mixture(dpmpp, order=1, eta=eta), wanted)


def test_otherwise_no_two_entries_are_the_same() -> None:
    made = {name: on_a_mixture(sampler) for name, sampler in mz.SAMPLERS.items()}
    del made["dpmpp_1"]
    for name, x in made.items():
        assert [other for other in made if torch.allclose(x, made[other], atol=1e-6)] == [name]


def refusal(name: str, grid: list[Level], denoise: Denoiser = DATA, **options: Any) -> str:
    """Return the one-line error of a sampler."""
    with pytest.raises(mz.UserError) as error:
        mz.SAMPLERS[name](denoise, pictures(), grid, **options)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


NOISY, MIDDLE, CLEAN = COSINE.grid(2, spacing="trailing")


@every
@pytest.mark.parametrize(
    "grid",
    [[], [NOISY], [NOISY, NOISY, CLEAN], [MIDDLE, NOISY, CLEAN], [NOISY, CLEAN, CLEAN]],
    ids=["no level", "one level", "a level twice", "rising", "clean twice"],
)
def test_a_grid_that_does_not_strictly_fall_is_refused(name: str, grid: list[Level]) -> None:
    assert "strictly falling in noise" in refusal(name, grid)


@every
def test_an_unknown_option_is_refused_and_the_known_ones_are_named(name: str) -> None:
    said = refusal(name, COSINE.grid(4), order_of_the_day=1)
    assert "'order_of_the_day'" in said
    assert said.endswith(f": it takes {', '.join(mz.SAMPLERS[name].options) or 'none'}")


@pytest.mark.parametrize("name", [name for name in mz.SAMPLERS if name.startswith("dpmpp")])
@pytest.mark.parametrize("option", ["order", "eta"])
def test_what_a_name_has_fixed_is_not_an_option(name: str, option: str) -> None:
    assert f"no option '{option}'" in refusal(name, COSINE.grid(4), **{option: 1})


@pytest.mark.parametrize(
    ("name", "option", "value", "said"),
    [
        *[
            (name, "eta", eta, "choose 0 (deterministic) to 1")
            for name in ("ddim", "hybrid")
            for eta in (-0.1, 1.1, math.nan)
        ],
        *[("hybrid", "switch", share, "choose 0 to 1") for share in (-0.1, 1.1, math.nan)],
        *[("edm", "churn", churn, "choose 0") for churn in (-1.0, math.nan)],
        *[("edm", name, value, "choose 0") for name, value in (("low", 2.0), ("inflate", -1.0))],
        ("ddpm", "variance", "huge", "choose one of small, large"),
        ("unipc", "corrector", "bh3", "choose one of bh1, bh2"),
        *[("unipc", "order", order, "choose 1, 2 or 3") for order in (0, 4, 1.5)],
    ],
)
def test_an_option_outside_its_range_is_refused(
    name: str, option: str, value: object, said: str
) -> None:
    message = refusal(name, COSINE.grid(4), **{option: value})
    assert said in message
    assert (repr(value) if isinstance(value, str) else f"{value:g}") in message


@every
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_answer_that_is_not_finite_is_refused_where_it_comes(name: str, bad: float) -> None:
    seen = Seen(DATA, after=5, bad=bad)
    said = refusal(name, COSINE.grid(10), seen)
    assert len(seen.levels) == 5
    assert f"not finite at t = {seen.levels[-1].t:g} " in said


@every
def test_an_estimate_of_another_shape_is_refused(name: str) -> None:
    said = refusal(name, COSINE.grid(4), lambda x, _: x[:, :1])
    assert said.startswith("the denoiser's estimate has the shape (")
    assert ": return it in the shape of x, (" in said


FILES = sorted(Path(samplers.__file__).parent.glob("*.py"))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: x / 0, "the sampler's result is not finite"),
        (lambda x: x[:1], r"the sampler returned \(1, .*: make its method return"),
        (lambda x: None, "the sampler returned NoneType"),
    ],
)
def test_a_method_that_spoils_the_result_is_refused(result: Any, message: str) -> None:
    bad = mz.Sampler(lambda denoise, x, grid: result(denoise(x, grid[0])))
    with pytest.raises(mz.UserError, match=message):
        bad(lambda x, level: x, torch.randn(2, 3, 4, 4), COSINE.grid(2))


def test_an_entry_that_is_no_sampler_is_refused() -> None:
    with pytest.raises(mz.UserError, match=r"'mine' is of type function: register it as Sampler\("):
        mz.SAMPLERS["mine"] = lambda denoise, x, grid: x


def test_the_samplers_are_short() -> None:
    lines = {file.name: len(file.read_text("utf-8").splitlines()) for file in FILES}
    assert sum(lines.values()) < 60 * len(lines)
    shared = ("__init__.py", "sampler.py", "step.py")
    assert {name: n for name, n in lines.items() if n > 70 and name not in shared} == {}


def test_no_function_body_of_the_samplers_stands_twice() -> None:
    bodies: dict[str, str] = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                here = f"{file.name}: {node.name}"
                assert bodies.setdefault(ast.dump(ast.Module(body, [])), here) == here
    assert len(bodies) > 10


def test_an_option_without_a_default_is_refused() -> None:
    def own(denoise: Denoiser, x: Tensor, grid: list[Level], strength: float) -> Tensor:
        return x

    with pytest.raises(mz.UserError, match="the sampler's option 'strength' has no default"):
        mz.Sampler(own)
