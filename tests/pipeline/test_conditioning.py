"""Sampling with conditions on Gaussian data, where the answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig
from mezzotint.errors import UserError

SCHEDULE = mz.cosine(1000)
HOT = mz.NumbersCondition("heat", (300.0,), (20.0,), (240.0,), (360.0,))
SLOPE, OFFSET, SPREAD = 0.01, -3.0, 0.1  # x0 is normal, of mean SLOPE * heat + OFFSET


def posterior(x: Tensor, alpha: Tensor, sigma: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Return E[x0 | x] for x0 from N(mean, spread^2)."""
    gain = alpha * spread**2 / (alpha**2 * spread**2 + sigma**2)
    return mean + gain * (x - alpha * mean)


def exact(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
    """Return x0_hat given the heat; where the flag is 0, the heat is from N(300, 20^2)."""
    row = t.long() + 1
    alpha, sigma = (
        table[row].float()[:, None, None, None] for table in (SCHEDULE.alpha, SCHEDULE.sigma)
    )
    scaled, flag = condition[:, :1, None, None], condition[:, 1:, None, None]
    mean = SLOPE * (300 + 20 * scaled) + OFFSET
    spread = (SPREAD**2 + (1 - flag) * (20 * SLOPE) ** 2) ** 0.5
    return posterior(x, alpha, sigma, mean, spread)


def pipeline(**fields: object) -> mz.Pipeline:
    how = SampleConfig(steps=200, clipping="none")
    return mz.Pipeline(exact, SCHEDULE, "x0", (1, 1, 1), defaults=how, conditions=(HOT,), **fields)


def test_the_sampled_mean_follows_the_condition() -> None:
    heat = torch.tensor([260.0, 300.0, 340.0]).repeat_interleave(800)
    images = pipeline().sample(2_400, condition={"heat": heat}, batch=2_400)
    x0 = (images.float() / 127.5 - 1).view(3, 800)
    assert x0.mean(1).tolist() == pytest.approx([-0.4, 0.0, 0.4], abs=0.015)
    assert x0.std(1).tolist() == pytest.approx([SPREAD] * 3, rel=0.1)


def test_without_a_condition_the_whole_spread_is_sampled() -> None:
    x0 = pipeline().sample(2_000, batch=2_000).float() / 127.5 - 1
    assert float(x0.std()) == pytest.approx((SPREAD**2 + 0.2**2) ** 0.5, rel=0.1)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_guidance_is_the_closed_form(scale: float) -> None:
    level = SCHEDULE.level(500) if hasattr(SCHEDULE, "level") else SCHEDULE.grid(2)[1]
    x, heat = torch.linspace(-1, 1, 5).view(5, 1, 1, 1), torch.linspace(250.0, 350, 5)
    denoise = pipeline().denoiser(condition={"heat": heat}, guidance=scale, clipping="none")
    alpha, sigma = torch.tensor(level.alpha), torch.tensor(level.sigma)
    mean = (SLOPE * heat + OFFSET).view(5, 1, 1, 1)
    cond = posterior(x, alpha, sigma, mean, torch.tensor(SPREAD))
    whole = torch.tensor((SPREAD**2 + 0.2**2) ** 0.5)
    uncond = posterior(x, alpha, sigma, torch.zeros_like(mean), whole)
    torch.testing.assert_close(
        denoise(x, level), uncond + scale * (cond - uncond), rtol=1e-4, atol=1e-5
    )


def test_an_image_depends_on_its_own_condition_alone() -> None:
    pipe = pipeline()
    whole = pipe.sample(4, condition={"heat": [250, 280, 310, 340]}, batch=3)
    last = pipe.sample(1, condition=340, first=3)
    assert torch.equal(whole[3:], last)


def test_examples_are_used_in_turn() -> None:
    examples = {"heat": HOT.given([260, 340], 2)}
    pipe = pipeline(examples=examples)
    assert torch.equal(pipe.sample(4), pipe.sample(4, condition=[260, 340, 260, 340]))
    assert torch.equal(pipe.sample(3, first=1), pipe.sample(3, condition=[340, 260, 340], first=1))


def test_a_request_that_cannot_be_is_refused() -> None:
    pipe = pipeline()
    with pytest.raises(UserError, match="has no condition 'hea'; did you mean heat"):
        pipe.sample(1, condition={"hea": 300})
    with pytest.raises(UserError, match="2 values of 'heat' for 4 images"):
        pipe.sample(4, condition={"heat": [300, 310]})
    with pytest.raises(UserError, match="has no classes: leave out `labels`"):
        pipe.sample(1, labels=0)
    with pytest.raises(UserError, match="guidance needs condition: give `condition`"):
        pipe.sample(1, guidance=2.0)
    plain = mz.Pipeline(lambda x, t, c: x, SCHEDULE, "x0", (1, 1, 1))
    with pytest.raises(UserError, match="unconditional: leave out `condition`"):
        plain.sample(1, condition=1)
    with pytest.raises(UserError, match="`conditions` is"):
        mz.Pipeline(exact, SCHEDULE, "x0", (1, 1, 1), conditions=("heat",))  # type: ignore[arg-type]


def test_edits_take_the_condition_too() -> None:
    pipe = pipeline()
    images = pipe.sample(2, condition=260)
    hotter = pipe.vary(images, 1.0, condition={"heat": 340})
    assert (hotter.float().mean() - images.float().mean()) / 127.5 == pytest.approx(0.8, abs=0.3)


def test_saved_and_loaded_it_samples_the_same(tmp_path) -> None:
    config = mz.UNetConfig(channels=(8,), blocks=1, attention=(), groups=4)
    conditions = (HOT, mz.TagsCondition("tags", ("a", "b")), mz.ImageCondition("small", (3, 4, 4)))
    net = mz.UNet(config, 3, 2, conditions=conditions).eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    pipe = mz.Pipeline(
        net, SCHEDULE, "v", (3, 8, 8), classes=("cat", "dog"), conditions=conditions,
        examples={"label": torch.tensor([1]), "heat": HOT.given(310, 1),
                  "tags": conditions[1].some(1), "small": conditions[2].some(1)},
    )  # fmt: skip
    again = mz.load(pipe.save(tmp_path / "saved"))
    assert again.conditions == conditions
    given = {"label": "dog", "heat": 300, "tags": {"b"}, "small": torch.zeros(3, 4, 4).byte()}
    for condition in (given, None):
        one, two = (p.sample(2, condition=condition, steps=3) for p in (pipe, again))
        assert torch.equal(one, two)
    assert again.labels(2) == [1, 1]
    assert pipe.digest == again.digest


def test_a_folder_of_samples_grows_under_the_same_condition_only(tmp_path) -> None:
    pipe, heat = pipeline(), [260, 280, 300, 320]
    mz.write_samples(pipe, tmp_path / "out", 2, condition=heat[:2], steps=5)
    with pytest.raises(UserError, match="condition"):
        mz.write_samples(pipe, tmp_path / "out", 4, condition=340, steps=5)
    one = mz.write_samples(pipe, tmp_path / "one", 2, condition=340, steps=5)
    more = mz.write_samples(pipe, tmp_path / "one", 4, condition=340, steps=5)
    assert torch.equal(more, pipe.sample(4, condition=340, steps=5))
    assert torch.equal(one, more[:2])
