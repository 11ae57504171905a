"""Our samplers against diffusers' schedulers, on a fixed random network and at equal levels.

Where both do the same thing they agree to 1e-9 of the largest value, once diffusers' float32
tables are replaced by float64 ones, or to 3e-6 where it carries x itself in float32 (DPM-Solver++).
What differs by convention only, and is compared on diffusers' own levels and ends:

- "leading" and "linspace" of its DPM-Solver++, UniPC and DEIS have the t's of n + 1 steps, less the
  last, 0.
- DPM-Solver++ of order 3 makes its last step but one at order 3 from 15 steps on. Ours falls to
  order 2 there, as UniPC's and as theirs below 15.
- Heun's first step from noise as good as pure, a cosine schedule's last row, is of second order as
  all are. Ours is DDIM's.
- DEIS ends at row 1, where sigma is 0.01, and not at the clean level.

WHERE diffusers (0.42) IS WRONG; a test below shows each:

1. ``DDIMScheduler.step`` takes ``t - T // n`` for the next level whatever the spacing. That is
   right for "leading", and for "trailing" where n divides T. Elsewhere it steps to levels off the
   grid on which the network is asked next, and "trailing" ends before the clean level.
2. ``DDPMScheduler`` holds back the noise of the last step only where that step starts at t = 0, as
   that of "trailing" does not: with the large or a learned variance its images end noisy.
3. Third-order DPM-Solver++: ``D2 = (D1_0 - D1_1) / (r0 + r1)`` is half the second derivative and is
   given the weight of a whole one. The order that can be measured is 2. (Its single-step third
   order has the factor of 2.)
4. Third-order SDE-DPM-Solver++: that, and the weight ends in ``- 0.5`` where the integral has
   ``+ 0.5``: it goes to -1 for small steps instead of to 0. The order that can be measured is 1.
5. UniPC's "bh1" to the clean level is nan: ``B_h = -h`` is infinite there, times 0.
6. "trailing" is an arange of floats, which has one t too many at 62 of the 1000 step counts. That t
   is -1, where ``alphas_cumprod[-1]`` is the noisiest row: DDIM and DDPM blow their images up.
7. ``s_churn`` of the Euler schedulers adds its noise after the network was asked, and so never
   removes it: even where x0_hat is exact, x is noisier than its level. (Algorithm 2 of Karras et
   al. asks at the raised level, as the deprecated KarrasVeScheduler does, and as ours.)
8. ``beta_schedule="laplace"`` has ``sqrt(snr / (1 + snr))``, which is alpha, for alpha_bar: the
   median of its SNR is not 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser, to_x0
from mezzotint.diffusion.samplers.heun import PURE

from oracles import Gaussian, along, at

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")  # numpy's

SCHEDULES = {"linear": mz.linear(1000), "squaredcos_cap_v2": mz.cosine(1000)}


class RandomNet:
    """A fixed smooth function of (x, t) in place of a network that predicts eps."""

    def __init__(self) -> None:
        weights = torch.Generator().manual_seed(0)
        self.a, self.b = torch.randn(2, 12, 12, generator=weights, dtype=torch.float64) / 4

    def __call__(self, x: Tensor, t: float) -> Tensor:
        return torch.tanh(x @ self.a + math.sin(t / 100)) @ self.b + 0.5 * x


NET = RandomNet()
START = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def denoise(x: Tensor, level: Level) -> Tensor:
    return to_x0("eps", NET(x, level.t), x, level)


def draws() -> Callable[..., Tensor]:
    """Return a function that draws the same standard normal numbers in the same order."""
    noise = torch.Generator().manual_seed(2)
    return lambda *_, **__: torch.randn(START.shape, generator=noise, dtype=START.dtype)


def prepare(scheduler: Any, beta: str, steps: int) -> list[Level]:
    """Set float64 tables and timesteps; the levels that the scheduler then walks.

    Asserts that its t's are those of our spacing of that name.
    """
    schedule, spacing = SCHEDULES[beta], scheduler.config.timestep_spacing
    scheduler.alphas_cumprod = schedule.alpha[1:] ** 2
    scheduler.set_timesteps(steps)
    t = [int(t) for t in dict.fromkeys(scheduler.timesteps.tolist())]  # Heun's stand twice
    multistep = "Multistep" in type(scheduler).__name__
    grid = schedule.grid(steps + (multistep and spacing != "trailing"), spacing)
    assert t == [level.t for level in grid[:steps]]
    if not hasattr(scheduler, "sigmas"):
        return grid
    levels = [*grid[:steps], schedule.row(0 if scheduler.sigmas[-1] == 0 else 1)]
    first, *middle, last = (
        torch.tensor([level.sigma / level.alpha], dtype=torch.float64) for level in levels
    )
    scheduler.sigmas = torch.cat(
        [first, *(s for s in middle for _ in range(scheduler.order)), last]
    )
    return levels


def walk(
    scheduler: Any, net: Callable[[Tensor, float], Tensor], x: Tensor, **options: Any
) -> Tensor:
    for t in scheduler.timesteps:
        output = net(scheduler.scale_model_input(x, t), float(t))
        x = scheduler.step(output, t, x, **options).prev_sample
    return x


def assert_close(got: Tensor, wanted: Tensor, rel: float = 1e-9) -> None:
    scale = float(wanted.abs().max())  # a random network sends x far away under the cosine schedule
    torch.testing.assert_close(got / scale, wanted / scale, rtol=0, atol=rel)


@pytest.fixture
def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give diffusers' schedulers the noise of `draws`, as our samplers have it."""
    draw = draws()
    for scheduler in DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, KarrasVeScheduler:
        monkeypatch.setattr(f"{scheduler.__module__}.randn_tensor", draw)


BETAS = pytest.mark.parametrize("beta", SCHEDULES)
SPACINGS = pytest.mark.parametrize("spacing", ["leading", "trailing"])


@BETAS
@SPACINGS
@pytest.mark.parametrize("steps", [10, 50, 250])
@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_ddim_equals_diffusers(
    beta: str, spacing: str, steps: int, eta: float, same_noise: None
) -> None:
    scheduler = DDIMScheduler(1000, timestep_spacing=spacing, clip_sample=False)
    grid = prepare(scheduler, beta, steps)
    wanted = walk(scheduler, NET, START, eta=eta)
    assert_close(mz.SAMPLERS["ddim"](denoise, START, grid, eta=eta, randn=draws()), wanted)


@BETAS
@SPACINGS
@pytest.mark.parametrize("steps", [10, 50, 1000])
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_ddpm_equals_diffusers(
    beta: str, spacing: str, steps: int, variance: str, same_noise: None
) -> None:
    kind = "learned_range" if variance == "learned" else f"fixed_{variance}"
    scheduler = DDPMScheduler(1000, timestep_spacing=spacing, clip_sample=False, variance_type=kind)
    grid = prepare(scheduler, beta, steps)
    if variance != "small" and scheduler.timesteps[-1] > 0:  # Case 2: compared up to there.
        grid, scheduler.timesteps = grid[:-1], scheduler.timesteps[:-1]
        scheduler.previous_timestep = lambda t: {int(a.t): int(b.t) for a, b in pairwise(grid)}[
            int(t)
        ]

    def between(x: Tensor, t: float) -> Tensor:
        return torch.sin(3 * x + t)  # from -1, the small variance, to 1, the large

    def output(x: Tensor, t: float) -> Tensor:
        return torch.cat([NET(x, t), between(x, t)], 1) if variance == "learned" else NET(x, t)

    ours: Any = variance
    if variance == "learned":
        ours = lambda x, level: (between(x, level.t) + 1) / 2  # noqa: E731
    got = mz.SAMPLERS["ddpm"](denoise, START, grid, variance=ours, randn=draws())
    assert_close(got, walk(scheduler, output, START))


class MendedMultistep(DPMSolverMultistepScheduler):
    """diffusers' scheduler with the right weight of the second difference: cases 3 and 4."""

    def multistep_dpm_solver_third_order_update(
        self, outputs: list[Tensor], *, sample: Tensor, noise: Tensor | None
    ) -> Tensor:
        lam = -torch.log(self.sigmas[self.step_index - 2 : self.step_index + 2])
        h1, h0, h = lam.diff()
        m2, m1, m0 = outputs
        D2 = ((m0 - m1) / h0 - (m1 - m2) / h1) / (h0 + h1) * h**2
        sde = self.config.algorithm_type == "sde-dpmsolver++"
        z = 2 * h if sde else h
        integral = (1 - torch.exp(-z) - z) / z**2  # and 1/2: the mean of theta^2 / 2
        missing = 2 * (integral + 0.5) - (integral - 0.5 if sde else integral + 0.5)
        moved = super().multistep_dpm_solver_third_order_update(outputs, sample=sample, noise=noise)
        return moved + missing * D2 / (self.sigmas[self.step_index + 1] ** 2 + 1).sqrt()


CLEAN = {"final_sigmas_type": "zero"}  # The order falls on the last steps.
NOISY = {"final_sigmas_type": "sigma_min", "lower_order_final": False}  # It never does.
SDE = {"algorithm_type": "sde-dpmsolver++"}


def finer() -> Iterator[Any]:
    """Yield (scheduler, its settings, our method, its options, the most steps to compare)."""
    for order, ours in (1, "dpmpp_1"), (2, "dpmpp_2m"), (3, "dpmpp_3m"):
        solver = MendedMultistep if order == 3 else DPMSolverMultistepScheduler
        below = {"clean": 14 if order == 3 else 1000, "noisy": 1000}
        for (end, most), ending in zip(below.items(), (CLEAN, NOISY), strict=True):
            settings = {"solver_order": order, **ending}
            yield pytest.param(solver, settings, ours, {}, most, id=f"{ours} {end}")
            method, eta = ("ddim", {"eta": 1.0}) if order == 1 else (f"{ours}_sde", {})
            yield pytest.param(solver, settings | SDE, method, eta, most, id=f"sde {order} {end}")
    for order in 2, 3:
        for bh in "bh1", "bh2":
            for end, ending in ("clean", CLEAN), ("noisy", NOISY):
                if (bh, end) != ("bh1", "clean"):  # Case 5.
                    settings = {"solver_order": order, "solver_type": bh, **ending}
                    options = {"order": order, "corrector": bh}
                    name = f"unipc {order} {bh} {end}"
                    yield pytest.param(
                        UniPCMultistepScheduler, settings, "unipc", options, 1000, id=name
                    )
        settings = {"solver_order": order, "lower_order_final": False}
        options = {"order": order}
        yield pytest.param(
            DEISMultistepScheduler, settings, "deis", options, 1000, id=f"deis {order}"
        )
    yield pytest.param(HeunDiscreteScheduler, {}, "heun", {}, 1000, id="heun")


@BETAS
@SPACINGS
@pytest.mark.parametrize("steps", [6, 10, 50])
@pytest.mark.parametrize(("solver", "settings", "method", "options", "most"), list(finer()))
def test_methods_of_higher_order_equal_diffusers(
    solver: Any,
    settings: dict[str, Any],
    method: str,
    options: dict[str, Any],
    most: int,
    steps: int,
    beta: str,
    spacing: str,
    same_noise: None,
) -> None:
    if steps > most:
        pytest.skip("theirs does its last step but one at order 3")
    scheduler = solver(1000, timestep_spacing=spacing, **settings)
    grid = prepare(scheduler, beta, steps)
    start = START
    if solver is HeunDiscreteScheduler:
        if grid[0].alpha < PURE:  # Ours begins with DDIM's step there: compared from the next.
            grid = grid[1:]
            scheduler.timesteps, scheduler.sigmas = scheduler.timesteps[2:], scheduler.sigmas[2:]
        start = START / grid[0].alpha  # It carries x / alpha.
    wanted = walk(scheduler, NET, start)
    got = mz.SAMPLERS[method](denoise, START, grid, randn=draws(), **options)
    rounded = issubclass(solver, DPMSolverMultistepScheduler)  # It carries x in float32.
    assert_close(got, wanted, 3e-6 if rounded else 1e-9)


@BETAS
@pytest.mark.parametrize("steps", [6, 10, 50])
@pytest.mark.parametrize("churn", [1.0, 30.0])
@pytest.mark.parametrize(("low", "high"), [(0.01, 1.0), (0.1, 50.0)])
def test_churn_equals_the_deprecated_scheduler_of_algorithm_2(
    beta: str, steps: int, churn: float, low: float, high: float, same_noise: None
) -> None:
    """It carries x / alpha, takes -eps and has no t, so the network gets lambda."""
    scheduler = KarrasVeScheduler(s_noise=1.007, s_churn=churn, s_min=low, s_max=high)
    scheduler.set_timesteps(steps)
    grid = SCHEDULES[beta].grid(steps, "karras")

    def output(x: Tensor, ratio: float) -> Tensor:
        return -NET(x / math.hypot(1, ratio), -100 * math.log(ratio))

    x = START / grid[0].alpha
    for ratio, after in pairwise(level.sigma / level.alpha for level in grid):
        up, raised = x, ratio
        if low <= ratio <= high:  # Else it draws noise that it has no use for.
            up, raised = scheduler.add_noise_to_input(x, ratio)
        euler = scheduler.step(output(up, raised), raised, after, up)
        x = euler.prev_sample
        if after:
            x = scheduler.step_correct(
                output(x, after), raised, after, up, x, euler.derivative
            ).prev_sample
    got = mz.SAMPLERS["edm"](
        lambda x, level: to_x0("eps", NET(x, 100 * level.lam), x, level),
        START,
        grid,
        churn=churn,
        low=low,
        high=high,
        inflate=1.007,
        randn=draws(),
    )
    assert_close(got, x)


# Where diffusers is wrong, by the numbers above.

POINT = torch.full_like(START, 0.7)  # The only image there is: every x0_hat is exact.


@pytest.mark.parametrize(("spacing", "steps", "i"), [("linspace", 10, -3), ("trailing", 6, -2)])
def test_case_1_ddim_steps_to_a_level_off_its_own_grid(spacing: str, steps: int, i: int) -> None:
    scheduler = DDIMScheduler(1000, timestep_spacing=spacing, clip_sample=False)
    grid = prepare(scheduler, "linear", steps)
    t, s = grid[i:][:2]
    x = t.alpha * POINT + t.sigma * START
    landed = SCHEDULES["linear"].row(int(t.t) - 1000 // steps + 1)
    assert landed.sigma - s.sigma > 0.005
    wrong = scheduler.step(START, int(t.t), x).prev_sample
    assert_close(wrong, landed.alpha * POINT + landed.sigma * START)
    right = mz.SAMPLERS["ddim"](lambda *_: POINT, x, [t, s])
    assert_close(right, s.alpha * POINT + s.sigma * START)


def test_case_2_the_large_variance_leaves_noise_on_the_pictures(same_noise: None) -> None:
    scheduler = DDPMScheduler(
        1000, timestep_spacing="trailing", clip_sample=False, variance_type="fixed_large"
    )
    t, clean = prepare(scheduler, "linear", 50)[-2:]
    x = t.alpha * POINT + t.sigma * START
    assert t.t == 19
    assert t.sigma > 0.07
    assert_close(scheduler.step(START, 19, x).prev_sample - POINT, t.sigma * draws()())
    right = mz.SAMPLERS["ddpm"](lambda *_: POINT, x, [t, clean], variance="large")
    assert_close(right, POINT)


def smooth(lam: float) -> float:
    return math.cos((lam + 2) / 2)  # Flat at -2, so that the first step, of order 1, costs nothing.


def exact(eta: int) -> float:
    """Return x at lambda = 1 that starts at 0 at lambda = -2, without noise, if x0_hat is `smooth`.

    ``x e^(a lam) / alpha`` grows by the integral of ``a e^(a' lam) smooth``, where a' = 1 + eta.
    """
    k = 1 + eta

    def integral(lam: float) -> float:
        half = (lam + 2) / 2
        return k * math.exp(k * lam) * (k * math.cos(half) + math.sin(half) / 2) / (k**2 + 0.25)

    return at(1).sigma * math.exp(-eta) * (integral(1) - integral(-2))


def measured_order(end: Callable[[list[Level]], float], eta: int) -> float:
    errors = [abs(end(along(np.linspace(-2, 1, n + 1))) - exact(eta)) for n in (32, 64)]
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize(
    ("solver", "eta", "order"),
    [
        (DPMSolverMultistepScheduler, 0, 2),
        (DPMSolverMultistepScheduler, 1, 1),
        (MendedMultistep, 0, 3),
        (MendedMultistep, 1, 3),
        (None, 0, 3),
        (None, 1, 3),
    ],
)
def test_cases_3_and_4_the_third_order_is_the_second_or_the_first(
    solver: Any, eta: int, order: int
) -> None:
    nothing = torch.zeros(1, dtype=torch.float64)

    def theirs(grid: list[Level]) -> float:
        kind = SDE if eta else {}
        scheduler = solver(1000, solver_order=3, prediction_type="sample", **NOISY, **kind)
        scheduler.set_timesteps(len(grid) - 1)
        scheduler.sigmas = torch.tensor([s.sigma / s.alpha for s in grid], dtype=torch.float64)
        x = nothing
        for t, level in zip(scheduler.timesteps, grid, strict=False):
            output = torch.full_like(x, smooth(level.lam))
            x = scheduler.step(output, t, x, variance_noise=nothing).prev_sample
        return float(x)

    def ours(grid: list[Level]) -> float:
        sampler = mz.SAMPLERS["dpmpp_3m_sde" if eta else "dpmpp_3m"]
        x0: Denoiser = lambda x, level: torch.full_like(x, smooth(level.lam))  # noqa: E731
        return float(sampler(x0, nothing, grid, randn=torch.zeros_like))

    assert measured_order(theirs if solver else ours, eta) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_case_5_bh1_to_the_clean_level_is_nan(order: int) -> None:
    scheduler = UniPCMultistepScheduler(
        1000, timestep_spacing="trailing", solver_order=order, solver_type="bh1", **CLEAN
    )
    grid = prepare(scheduler, "linear", 10)
    assert walk(scheduler, NET, START).isnan().all()
    ours = mz.SAMPLERS["unipc"](denoise, START, grid, order=order, corrector="bh1")
    assert ours.isfinite().all()


def test_case_6_trailing_has_a_t_of_minus_1_at_some_step_counts() -> None:
    scheduler = DDIMScheduler(1000, timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(61)
    assert len(scheduler.timesteps) == 62
    assert scheduler.timesteps[-1] == -1
    blown = scheduler.step(torch.zeros(1), -1, torch.ones(1)).prev_sample
    assert float(blown) == pytest.approx(1 / SCHEDULES["linear"].row(1000).alpha, rel=1e-3)  # 157
    assert len(SCHEDULES["linear"].grid(61, "trailing")) == 62  # with the clean level


def test_case_7_noise_added_by_churn_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the data is 0, x of variance sigma^2 must end with the variance sigma_next^2."""

    def variance(go: Callable[[Tensor, Callable[..., Tensor]], Tensor]) -> float:
        zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        return float(go(one, lambda *_, **__: zero) ** 2 + go(zero, lambda *_, **__: one) ** 2)

    def theirs(z: Tensor, randn: Callable[..., Tensor]) -> Tensor:
        monkeypatch.setattr("diffusers.schedulers.scheduling_euler_discrete.randn_tensor", randn)
        scheduler = EulerDiscreteScheduler(1000, timestep_spacing="trailing")
        scheduler.set_timesteps(10)
        t = scheduler.timesteps[5]
        scheduler.scale_model_input(z, t)
        x, after = scheduler.sigmas[5] * z, scheduler.sigmas[6]
        return scheduler.step(z, t, x, s_churn=1e9).prev_sample / after

    def ours(z: Tensor, randn: Callable[..., Tensor]) -> Tensor:
        grid = SCHEDULES["linear"].grid(10, "trailing")[4:7]
        out = mz.SAMPLERS["edm"](
            Gaussian(0, 0).denoise,
            grid[0].sigma * z,
            grid,
            churn=1e9,
            high=grid[1].sigma / grid[1].alpha,
            inflate=1.0,
            randn=randn,
        )
        return out / grid[-1].sigma

    assert variance(theirs) > 1.5
    assert variance(ours) == pytest.approx(1, rel=1e-9)


def test_case_8_laplace_has_alpha_for_alpha_bar() -> None:
    theirs = DDPMScheduler(1000, beta_schedule="laplace").alphas_cumprod[499:501]
    ours = mz.laplace(1000, mean=0.0, width=0.5).alpha[500:502] ** 2
    assert float((theirs / (1 - theirs)).mean()) > 2  # the median of the SNR
    assert float((ours / (1 - ours)).mean()) == pytest.approx(1, rel=1e-3)
