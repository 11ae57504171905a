from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.diffusion import optimised_grid
from mezzotint.diffusion.guidance import threshold
from mezzotint.diffusion.noise import noise
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.spacings import SPACINGS
from mezzotint.evaluation import samples
from mezzotint.networks import UNet
from mezzotint.networks.conditions.classes import integers


@pytest.fixture
def pipe(tiny_net) -> mz.Pipeline:
    return mz.Pipeline(
        tiny_net(classes=3), mz.cosine(1000), "v", (3, 16, 16), ("ant", "bee", "cow"),
        defaults=SampleConfig(steps=4, guidance=2.0),
    )  # fmt: skip


@pytest.fixture
def uncond(tiny_net) -> mz.Pipeline:
    return mz.Pipeline(tiny_net(), mz.linear(1000), "eps", (3, 16, 16), (), SampleConfig(steps=4))


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return whether images differ by one grey level at most; batch sizes round differently."""
    return bool((a.int() - b.int()).abs().max() <= 1)


def test_pictures_are_uint8(pipe: mz.Pipeline) -> None:
    images = pipe.sample(5)
    assert images.shape == (5, 3, 16, 16)
    assert images.dtype == torch.uint8
    assert len(images.unique()) > 50


ORDINARY = [name for name, sampler in SAMPLERS.items() if not sampler.few_step]
STOCHASTIC = [name for name in ORDINARY if SAMPLERS[name].stochastic]


@pytest.mark.parametrize(
    "settings", [{}, {"eta": 1.0}, *({"sampler": name, "steps": 6} for name in STOCHASTIC)]
)
def test_picture_i_follows_from_the_seed_and_i_alone(pipe: mz.Pipeline, settings: dict) -> None:
    seven = pipe.sample(7, seed=3, **settings)
    assert near(pipe.sample(7, seed=3, batch=2, **settings), seven)
    assert near(pipe.sample(4, seed=3, **settings), seven[:4])
    torch.rand(5)  # the global generator has no part in it
    assert torch.equal(pipe.sample(7, seed=3, **settings), seven)
    assert not near(pipe.sample(7, seed=4, **settings), seven)
    assert not near(seven[:1], seven[3:4])  # nor are any two alike, though of one class
    if not settings:
        assert torch.equal(pipe.sample(7, seed=np.int32(3), batch=np.uint8(64)), seven)


@pytest.mark.parametrize("settings", [{}, {"sampler": "dpmpp_2m_sde"}])
def test_pictures_from_a_number_on_are_those_of_that_number(pipe, settings: dict) -> None:
    shown: list[tuple[int, int]] = []
    later = pipe.sample(
        3, seed=3, first=4, batch=2, on_images=lambda i, x: shown.append((i, len(x))), **settings
    )
    assert near(later, pipe.sample(7, seed=3, **settings)[4:])
    assert shown == [(0, 2), (2, 1)]


def test_a_seed_of_more_than_32_bits_is_no_others_next_picture() -> None:
    def drawn(seed: int, i: int) -> torch.Tensor:
        return noise(seed, [i])(torch.empty(1, 4))

    large = [drawn(2**32, 0), drawn(2**32 + 1, 0), drawn(2**64, 0), drawn(2**32, 1)]
    small = [drawn(seed, i) for seed in (0, 1) for i in (0, 1)]
    assert len({tuple(x.flatten().tolist()) for x in large + small}) == 8


def test_neighbouring_seeds_and_pictures_have_unlike_noise() -> None:
    shape = torch.empty(2, 3, 16, 16)
    a, b = noise(0, [0, 1])(shape), noise(1, [0, 1])(shape)
    flat = torch.cat([a, b]).flatten(1)
    assert (torch.corrcoef(flat) - torch.eye(4)).abs().max() < 0.2
    assert float(flat.std()) == pytest.approx(1, abs=0.05)


def test_labels_are_every_class_in_turn_one_for_all_or_one_each(pipe: mz.Pipeline) -> None:
    turn = pipe.sample(6)
    assert near(turn, pipe.sample(6, labels=[0, 1, 2, 0, 1, 2]))
    for ones in (torch.tensor([1, 1]), [1, 1], np.int64(1), torch.tensor(1)):
        assert near(pipe.sample(2, labels=1), pipe.sample(2, labels=ones))
    assert not near(pipe.sample(2, labels=1), pipe.sample(2, labels=2))
    assert near(pipe.sample(2, labels="cow"), pipe.sample(2, labels=2))
    assert near(pipe.sample(2, labels=["cow", "ant"]), pipe.sample(2, labels=[2, 0]))


def test_guidance_is_the_papers_on_the_raw_network(pipe: mz.Pipeline) -> None:
    x, level = torch.randn(2, 3, 16, 16), pipe.schedule.grid(4)[0]
    labels, t = torch.tensor([0, 2]), torch.full((2,), level.t)
    with torch.no_grad():
        cond, null = pipe.net(x, t, labels), pipe.net(x, t, torch.tensor([3, 3]))
        for scale in (0.0, 1.0, 2.5):
            guided = null + scale * (cond - null)
            wanted = mz.to_x0("v", guided, x, level).clamp(-1, 1)
            got = pipe.denoiser(labels, guidance=scale)(x, level)
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_conditional_and_unconditional_go_in_one_doubled_batch(pipe: mz.Pipeline) -> None:
    sizes = []
    pipe.net.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    pipe.sample(3, guidance=2.0, steps=2)
    pipe.sample(3, guidance=1.0, steps=2)
    pipe.sample(3, guidance=0.0, steps=2)
    assert sizes == [6, 6, 3, 3, 3, 3]


def test_a_sampler_walks_the_pipelines_denoiser_to_the_pipelines_pictures(uncond) -> None:
    x = noise(5, range(2))(torch.empty(2, 3, 16, 16))
    with torch.no_grad():
        x = mz.SAMPLERS["ddim"](uncond.denoiser(), x, uncond.schedule.grid(4, spacing="trailing"))
    assert near(uncond.codec.decode(x), uncond.sample(2, seed=5))


def test_steps_are_told_as_they_are_made(pipe: mz.Pipeline) -> None:
    told: list[tuple[int, int]] = []
    pipe.sample(5, batch=3, steps=2, on_step=lambda *step: told.append(step))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_bf16_makes_nearly_the_same_pictures(pipe: mz.Pipeline) -> None:
    low = pipe.in_precision("bf16")
    assert low.net.dtype == torch.bfloat16
    assert pipe.net.dtype == torch.float32
    difference = (low.sample(4).float() - pipe.sample(4).float()).abs().mean()
    assert 0 < difference < 4


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"n": 0}, "`n` is 0"),
        ({"labels": 3}, "there is no class 3: choose labels from 0 to 2"),
        ({"labels": -1}, "there is no class -1"),
        ({"labels": [0, 1, 2]}, "there are 3 `labels` for 2 images"),
        ({"labels": [0.5, 1.5]}, "`labels` are torch.float32: give integers"),
        ({"labels": "bees"}, "there is no class 'bees'; did you mean bee"),
        ({"labels": ["ant", "dodo"]}, "no class 'dodo': choose 0 to 2, or a name such as ant"),
        ({"labels": {1}}, "`labels` is \\{1\\}: give integers"),
        ({"labels": [[0, 1], [1, 2]]}, "give one integer for each image"),
        ({"steps": 0}, "steps: input should be greater than 0"),
        ({"steps": 1001}, "`steps` is 1001: choose 1 to 1000"),
        ({"sampler": "euler"}, "unknown sampler 'euler': choose one of ddpm, ddim, heun"),
        (
            {"sampler": "heun", "eta": 0.5},
            "`eta` is for ddim, hybrid, consistency: leave it out with heun",
        ),
        ({"spacing": "random"}, "unknown spacing 'random': choose one of leading"),
        ({"spacing": "knots"}, '`knots` and `spacing="knots"` belong together'),
        ({"spacing": "knots", "knots": (1.0, 2.0)}, "`knots` has 1, 2: give finite"),
        ({"spacing": "knots", "knots": (1e6, 2.0)}, "knot 1e.06 is outside the schedule"),
        ({"spacing": "optimised", "steps": 25}, "at most 24 steps and .*: choose `spacing="),
        ({"guidance_shape": "cfg++"}, "`guidance` is 2: choose 0 to 1 with cfg.."),
        (
            {"spacing": "optimised", "guidance_shape": "cfg++", "guidance": 0.5},
            'cfg.. does not work with `spacing="optimised"`: choose another `spacing`',
        ),
        ({"interval": (1e6, 1e7)}, "no level of the grid has"),
        ({"nfe": 0}, "a budget of 0 denoiser calls is too small for the sampler: give 1 or more"),
        (
            {"sampler": "heun", "nfe": 2},
            "a budget of 2 denoiser calls .* give 3 or more, enough for 2 steps",
        ),
        ({"nfe": "5"}, "`nfe` is '5': give a whole number"),
        ({"nfe": 1001}, "`steps` is 1001: choose 1 to 1000"),
        ({"sampler": "ddpm", "variance": "learned"}, "has not learned a variance: choose"),
        ({"eta": 2.0}, "eta: input should be less than or equal to 1"),
        ({"guidance": -1.0}, "guidance: input should be greater than or equal to 0"),
        ({"seed": -1}, "`seed` is -1"),
        ({"guidance": float("inf")}, "guidance: input should be a finite number"),
        ({"guidence": 1.0}, "unknown setting 'guidence'; did you mean guidance"),
    ],
)
def test_what_cannot_be_sampled_is_refused(pipe, wish: dict, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        pipe.sample(**({"n": 2} | wish))


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"sampler": "dpmpp_2m"}, {"sampler": "dpmpp_2m", "eta": None}),
        (
            {"sampler": "ddpm", "variance": "large"},
            {"sampler": "ddpm", "variance": "large", "eta": None},
        ),
        ({"sampler": "ddim", "steps": 3}, {"steps": 3}),
        ({"spacing": "karras"}, {"spacing": "karras", "knots": ()}),
        ({"spacing": "knots", "knots": (5.0, 1.0)}, {"knots": (5.0, 1.0)}),
        ({"spacing": None, "sampler": None}, {}),
    ],
)
def test_what_only_the_old_choice_took_goes_with_it(changed: dict, wanted: dict) -> None:
    own = SampleConfig(eta=0.5, guidance=2.0, spacing="knots", knots=(9.0, 0.1))
    assert chosen(own, changed) == replace(own, **wanted)


def test_what_is_asked_for_beside_another_choice_must_still_fit_it() -> None:
    own = SampleConfig(eta=0.5, spacing="knots", knots=(9.0, 0.1))
    for changed in ({"sampler": "heun", "eta": 0.5}, {"spacing": "karras", "knots": (9.0, 0.1)}):
        with pytest.raises(mz.UserError, match=r"eta` is for|belong together"):
            chosen(own, changed)


def test_an_unconditional_model_takes_neither_labels_nor_guidance(uncond: mz.Pipeline) -> None:
    assert uncond.sample(1).shape == (1, 3, 16, 16)
    with pytest.raises(mz.UserError, match="unconditional: leave out `guidance`"):
        uncond.sample(1, guidance=2.0)
    with pytest.raises(mz.UserError, match="unconditional: leave out `labels`"):
        uncond.sample(1, labels=0)
    with pytest.raises(mz.UserError, match="unconditional: leave out `labels`"):
        uncond.sample(1, labels="ant")


# Samplers, spacings and budgets.


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute optimised grids on a coarser path."""
    monkeypatch.setattr(optimised_grid, "FINE", 12)


def calls(pipe: mz.Pipeline) -> list[int]:
    """Return a list to which the network adds the batch size of each later call."""
    sizes: list[int] = []
    pipe.net.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    return sizes


@pytest.mark.parametrize("spacing", [*SPACINGS, "knots", "optimised"])
@pytest.mark.parametrize("sampler", ORDINARY)
def test_every_sampler_walks_every_spacing(uncond, quick, sampler: str, spacing: str) -> None:
    told: list[tuple[int, int]] = []
    images = uncond.sample(
        3, batch=2, sampler=sampler, spacing=spacing, steps=4,
        knots=(20.0, 0.1) if spacing == "knots" else (),
        on_step=lambda *step: told.append(step),
    )  # fmt: skip
    assert (images.shape, images.dtype) == ((3, 3, 16, 16), torch.uint8)
    assert len(images.unique()) > 50
    cost = 2 * SAMPLERS[sampler].cost(4)  # of two batches
    assert told == [(i, cost) for i in range(1, cost + 1)]


@pytest.mark.parametrize("nfe", [5, 8, 20])
@pytest.mark.parametrize("sampler", ORDINARY)
def test_a_budget_of_calls_is_kept_and_used(uncond, pipe, sampler: str, nfe: int) -> None:
    for model in (uncond, pipe):  # a cosine schedule ends in noise, where heun saves a call
        sizes, told = calls(model), []
        follow = partial(lambda told, *step: told.append(step), told)
        model.sample(3, batch=2, sampler=sampler, nfe=nfe, on_step=follow)
        each = SAMPLERS[sampler].calls
        assert 2 * (nfe - each) <= len(sizes) <= 2 * nfe
        assert [done for done, _ in told] == list(range(1, len(sizes) + 1))
        assert {total for _, total in told} == {2 * (nfe - (nfe - 1) % each)}


def test_a_budget_of_20_is_19_calls_of_heun_or_18(uncond, pipe) -> None:
    for model, made in ((uncond, 19), (pipe, 18)):
        sizes = calls(model)
        model.sample(1, sampler="heun", nfe=20)
        assert len(sizes) == made


def test_a_budget_stands_in_the_place_of_steps(pipe: mz.Pipeline) -> None:
    assert torch.equal(pipe.sample(2, nfe=7), pipe.sample(2, steps=7))
    assert torch.equal(pipe.sample(2, sampler="edm", nfe=7), pipe.sample(2, sampler="edm", steps=4))


def test_knots_are_the_levels_that_are_visited(pipe: mz.Pipeline) -> None:
    how = replace(pipe.defaults, spacing="knots", knots=(40.0, 3.0, 0.5, 0.01))
    grid = pipe.grid(how)
    assert [x.sigma / x.alpha for x in grid] == pytest.approx([40, 3, 0.5, 0.01, 0])
    settings = {"spacing": "knots", "knots": [40.0, 3.0, 0.5, 0.01]}
    x = noise(0, range(2))(torch.empty(2, 3, 16, 16))
    with torch.no_grad():
        x = SAMPLERS["ddim"](pipe.denoiser([0, 1], 2.0), x, grid)
    assert near(pipe.codec.decode(x), pipe.sample(2, **settings))


@pytest.mark.parametrize("sampler", ["ddim", "heun", "ddpm"])
def test_weights_that_are_not_finite_stop_at_the_level_where_they_tell(pipe, sampler: str) -> None:
    with torch.no_grad():
        next(pipe.net.parameters()).fill_(float("nan"))
    with pytest.raises(mz.UserError, match="output is not finite at t = 999 ") as refused:
        pipe.sample(2, sampler=sampler)
    assert len(str(refused.value).splitlines()) == 1


# Guidance.


def answers(pipe: mz.Pipeline, x: torch.Tensor, level: mz.Level, labels: list[int] | None):
    """Return x0_hat of the raw network, without clipping."""
    t = torch.full((len(x),), float(level.t))
    with torch.no_grad():
        output = pipe.net(x, t, None if labels is None else torch.tensor(labels))
    return mz.to_x0(pipe.prediction, output, x, level)


def test_guidance_may_be_a_function_of_the_level(pipe: mz.Pipeline) -> None:
    x, labels = torch.randn(2, 3, 16, 16), [0, 2]
    denoise = pipe.denoiser(labels, lambda level: 3.0 if level.sigma > 0.9 else 1.0)
    for level in pipe.schedule.grid(4, "trailing")[:-1]:
        c, u = answers(pipe, x, level, labels), answers(pipe, x, level, None)
        wanted = u + 3 * (c - u) if level.sigma > 0.9 else c
        with torch.no_grad():
            got = denoise(x, level)
        torch.testing.assert_close(got, wanted.clamp(-1, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clipping", ["none", "static", "dynamic"])
def test_what_is_guided_is_rescaled_and_then_clipped(pipe: mz.Pipeline, clipping: str) -> None:
    x, labels = 3 * torch.randn(2, 3, 16, 16), [0, 2]
    level = pipe.schedule.grid(4)[1]
    c, u = answers(pipe, x, level, labels), answers(pipe, x, level, None)
    guided = u + 4 * (c - u)
    std = [value.flatten(1).std(1).view(2, 1, 1, 1) for value in (c, guided)]
    rescaled = guided * (0.4 + 0.6 * std[0] / std[1])
    assert rescaled.abs().max() > 1
    wanted = {
        "none": rescaled,
        "static": rescaled.clamp(-1, 1),
        "dynamic": threshold(lambda x, level: rescaled)(x, level),
    }
    with torch.no_grad():
        got = pipe.denoiser(labels, 4.0, rescale=0.6, clipping=clipping)(x, level)
    torch.testing.assert_close(got, wanted[clipping], rtol=1e-4, atol=1e-4)


def test_outside_the_interval_the_network_sees_single_batches(pipe: mz.Pipeline) -> None:
    sizes = calls(pipe)
    grid = pipe.schedule.grid(4, "trailing")
    noise = [level.sigma / level.alpha for level in grid[:-1]]
    pipe.sample(3, guidance=2.0, interval=(noise[2], noise[1]))
    assert sizes == [3, 6, 6, 3]


@pytest.mark.parametrize(
    "settings",
    [
        {"guidance_shape": "linear"},
        {"guidance_shape": "cosine"},
        {"guidance_shape": "cfg++", "guidance": 0.6},
        {"interval": (0.3, 5.0)},
        {"rescale": 0.7},
        {"clipping": "none"},
        {"clipping": "dynamic"},
    ],
)
def test_every_way_of_guiding_makes_other_pictures_and_has_another_name(pipe, settings) -> None:
    plain, other = pipe.sample(3), pipe.sample(3, **settings)
    assert not near(plain, other)
    assert near(other, pipe.sample(3, batch=2, **settings))
    how = replace(pipe.defaults, **settings)
    assert samples.key(pipe, how, 0, 8) != samples.key(pipe, pipe.defaults, 0, 8)


# Autoguidance.


@pytest.fixture
def other_weights() -> Callable[[mz.Pipeline], mz.Pipeline]:
    def build(pipe: mz.Pipeline) -> mz.Pipeline:
        """Return the same model with changed weights."""
        net = UNet(pipe.net.config, 3, len(pipe.classes))
        net.load_state_dict(pipe.net.state_dict())
        torch.manual_seed(1)
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        return replace(pipe, net=net.eval())

    return build


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("which", ["pipe", "uncond"])
def test_a_weaker_model_guides_in_the_place_of_the_unconditional(
    request, other_weights, which: str, scale: float
) -> None:
    strong: mz.Pipeline = request.getfixturevalue(which)
    weak = other_weights(strong)
    labels = [0, 2] if strong.classes else None
    x, level = torch.randn(2, 3, 16, 16), strong.schedule.grid(4)[1]
    s, w = answers(strong, x, level, labels), answers(weak, x, level, labels)
    with torch.no_grad():
        got = strong.guided_by(weak).denoiser(labels, scale, clipping="none")(x, level)
    torch.testing.assert_close(got, w + scale * (s - w), rtol=1e-4, atol=1e-4)


def test_autoguidance_calls_each_network_once_a_step(pipe, other_weights) -> None:
    weak = other_weights(pipe)
    strong_calls, weak_calls, told = calls(pipe), calls(weak), []
    guided = pipe.guided_by(weak)
    images = guided.sample(3, guidance=2.0, steps=4, on_step=lambda *step: told.append(step))
    assert strong_calls == weak_calls == [3] * 4
    assert told[-1] == (4, 4)
    assert not near(images, pipe.sample(3, guidance=2.0, steps=4))
    assert near(guided.sample(3, guidance=1.0), pipe.sample(3, guidance=1.0))


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": mz.linear(1000)},
        {"schedule": mz.cosine(500)},
        {"classes": ("ant", "bee", "dog")},
        {"classes": ()},
        {"shape": (3, 8, 8)},
    ],
)
def test_a_weaker_model_of_something_else_is_refused(pipe, other_weights, change: dict) -> None:
    told = "differs from this model in shape, condition, codec or schedule"
    with pytest.raises(mz.UserError, match=told) as refused:
        pipe.guided_by(replace(other_weights(pipe), **change))
    assert len(str(refused.value).splitlines()) == 1


def test_a_weaker_model_is_cast_too_and_names_other_pictures(pipe, other_weights) -> None:
    weak = other_weights(pipe)
    guided = pipe.guided_by(weak)
    low = guided.in_precision("bf16")
    assert low.weaker is not None
    assert (low.net.dtype, low.weaker.net.dtype) == (torch.bfloat16, torch.bfloat16)
    assert (pipe.net.dtype, weak.net.dtype) == (torch.float32, torch.float32)
    assert low.sample(2).shape == (2, 3, 16, 16)
    half = pipe.in_precision("bf16").guided_by(weak).in_precision("bf16")
    assert half.weaker is not None
    assert half.weaker.net.dtype == torch.bfloat16
    models = (pipe, weak, guided, low, pipe.guided_by(pipe))
    assert len({samples.key(model, pipe.defaults, 0, 8) for model in models}) == len(models)


def test_what_leaves_no_trace_in_the_weights_names_other_pictures_too(pipe: mz.Pipeline) -> None:
    def other(**fields: object) -> mz.Pipeline:
        net = UNet(replace(pipe.net.config, **fields), 3, 3)
        net.load_state_dict(pipe.net.state_dict())
        return replace(pipe, net=net.eval())

    models = (pipe, other(head_width=8), other(groups=2))
    assert len({samples.key(model, pipe.defaults, 0, 8) for model in models}) == len(models)
    assert other().digest == pipe.digest


def test_what_a_denoiser_is_told_wrongly_is_refused(pipe: mz.Pipeline) -> None:
    with pytest.raises(mz.UserError, match="unknown clipping 'soft': choose one of none"):
        pipe.denoiser([0], clipping="soft")
    with pytest.raises(mz.UserError, match="`rescale` is 5: choose 0 to 1"):
        pipe.denoiser([0], guidance=2.0, rescale=5)


# A learned variance.


@pytest.fixture
def learned(pipe: mz.Pipeline) -> mz.Pipeline:
    torch.manual_seed(0)
    net = UNet(pipe.net.config, 3, 3, out_channels=6)
    torch.nn.init.normal_(net.out.weight, std=0.1)
    return replace(pipe, net=net.eval(), learned_variance=True)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(("says", "name"), [(-1.0, "small"), (1.0, "large")])
def test_a_learned_variance_is_what_the_network_says(
    learned: mz.Pipeline, says: float, name: str, guidance: float
) -> None:
    with torch.no_grad():  # the second three outputs: the same everywhere
        learned.net.out.weight[3:] = 0
        learned.net.out.bias[3:] = says
    how = {"sampler": "ddpm", "steps": 5, "guidance": guidance}
    assert near(
        learned.sample(3, variance="learned", **how), learned.sample(3, variance=name, **how)
    )


def test_the_variance_of_a_guided_step_is_the_conditional_ones(learned: mz.Pipeline) -> None:
    said: list[torch.Tensor] = []
    learned.net.register_forward_hook(lambda _, args, out: said.append(out))
    labels, x = torch.tensor([0, 2]), torch.randn(2, 3, 16, 16)
    level = learned.schedule.grid(4)[0]
    with torch.no_grad():
        learned.denoiser(labels, 3.0)(x, level)
        v = learned._split[1](x, level)
        output = learned.net(x, torch.full((2,), float(level.t)), labels)
    torch.testing.assert_close(v, (output[:, 3:] + 1) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampler", ORDINARY)
def test_a_model_with_a_learned_variance_takes_every_sampler(learned, sampler: str) -> None:
    assert len(learned.sample(2, sampler=sampler).unique()) > 50
    weaker = learned.guided_by(learned)
    assert near(weaker.sample(2, sampler=sampler), learned.sample(2, sampler=sampler, guidance=1.0))


def test_a_variance_that_would_not_be_asked_for_is_refused(learned: mz.Pipeline) -> None:
    asked = {"sampler": "ddpm", "variance": "learned", "guidance": 0.0}
    with pytest.raises(mz.UserError, match="guidance 0 uses only the weaker model"):
        learned.guided_by(learned).sample(2, **asked)


# Optimised grids.


@pytest.fixture
def homely(uncond: mz.Pipeline, quick: None, tmp_path: Path) -> mz.Pipeline:
    """A model with a folder, in which grids are kept."""
    return replace(uncond, home=tmp_path)


OPTIMISED = {"spacing": "optimised", "steps": 4}


def test_an_optimised_grid_of_a_model_that_cannot_be_written_to_goes_to_the_cache(
    homely: mz.Pipeline, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    homely.sample(1, **OPTIMISED)
    assert not (tmp_path / "grids").exists()
    (kept,) = (tmp_path / "cache" / "grids").iterdir()
    (tmp_path / "grids").mkdir()
    kept.rename(tmp_path / "grids" / kept.name)  # its owner's is used
    homely.sample(1, **OPTIMISED)
    assert not list((tmp_path / "cache" / "grids").iterdir())


def test_an_optimised_grid_is_measured_once_and_kept(homely: mz.Pipeline, tmp_path: Path) -> None:
    sizes = calls(homely)
    first = homely.sample(2, **OPTIMISED)
    assert (
        sizes == [64] * 48 + [2] * 4
    )  # of two batches the 12 levels of the quick path, three grids of 4
    (file,) = (tmp_path / "grids").iterdir()
    assert file.suffix == ".json"
    grid = homely.grid(replace(homely.defaults, **OPTIMISED))
    kept = json.loads(file.read_text())["sigma/alpha"]
    assert kept == pytest.approx([level.sigma / level.alpha for level in grid[:-1]])
    sizes.clear()
    assert torch.equal(homely.sample(2, **OPTIMISED), first)
    assert torch.equal(replace(homely).sample(2, **OPTIMISED), first)  # another time, say
    assert sizes == [2] * 8


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list of the steps of each optimised grid that is requested; none is computed."""
    asked: list[int] = []

    def optimised(denoise, batches, schedule, steps: int, order: int) -> list[float]:
        asked.append(steps)
        return torch.logspace(1, -1.5, steps).tolist()

    monkeypatch.setattr("mezzotint.pipeline.grids.optimised", optimised)
    return asked


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 3},
        {"sampler": "dpmpp_2m"},
        {"guidance": 3.0},
        {"guidance_shape": "linear"},
        {"interval": (0.1, 10.0)},
        {"rescale": 0.5},
        {"clipping": "dynamic"},
    ],
)
def test_a_grid_for_other_settings_is_measured_anew(pipe, measured, tmp_path, change) -> None:
    home = replace(pipe, home=tmp_path)
    for settings in (OPTIMISED, OPTIMISED | change, OPTIMISED, OPTIMISED | change):
        home.sample(1, **settings)
    assert len(measured) == len(list((tmp_path / "grids").iterdir())) == 2


def test_a_grid_for_other_weights_is_measured_anew(pipe, measured, other_weights, tmp_path) -> None:
    home = replace(pipe, home=tmp_path)
    other = other_weights(home)
    for model in (home, other, home.guided_by(other), home, other, home.guided_by(other)):
        model.sample(1, **OPTIMISED)
    assert len(measured) == 3


def test_samplers_of_one_order_share_a_grid_whatever_the_seed(pipe, measured, tmp_path) -> None:
    home = replace(pipe, home=tmp_path)
    for sampler in ("heun", "unipc", "dpmpp_2m", "dpmpp_3m", "deis"):
        home.sample(2, seed=len(sampler), sampler=sampler, **OPTIMISED)
    assert measured == [4]


def test_the_grid_of_a_model_without_a_home_is_kept_in_the_cache(
    uncond: mz.Pipeline, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path))
    sizes = calls(uncond)
    images = [uncond.sample(1, **OPTIMISED) for _ in range(2)]
    assert torch.equal(*images)
    assert len(list((tmp_path / "grids").iterdir())) == 1
    assert len(sizes) == 48 + 2 * 4


def test_an_accent_is_found_however_it_is_written() -> None:
    apart, whole = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    assert apart != whole
    for classes in ((apart, "tea"), (whole, "tea")):
        assert integers([apart, whole, "tea"], classes).tolist() == [0, 0, 1]
