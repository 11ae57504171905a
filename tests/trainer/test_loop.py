from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mezzotint import UserError, linear
from mezzotint.networks.conditions import every
from mezzotint.trainer.ema import averaged, decay
from mezzotint.trainer.loop import Examples, Step, TrainConfig, optimizer, train
from mezzotint.trainer.objective import Diffusion, ObjectiveConfig

CONFIG = TrainConfig(images=64, batch=16, lr=1e-2, warmup=0, ema_halflife=100)


class Linear(nn.Module):
    """A tiny network that records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 4)
        self.asked: list[tuple[Tensor, Tensor, dict[str, Tensor]]] = []

    def forward(self, x: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        self.asked.append((x, t, condition))
        return self.layer(x.flatten(1)).view_as(x)


def data(start: int, count: int, u: Tensor) -> Examples:
    numbers = torch.arange(start, start + count)
    x0 = numbers.float().sin()[:, None, None, None].expand(-1, 1, 2, 2).clone()
    return Examples(x0, {"label": numbers % 10})


def diffusion(dropout: float = 0.5) -> Diffusion:
    config = ObjectiveConfig(label_dropout=dropout)
    return Diffusion(config, linear(1000), "eps", (1, 2, 2), every(10))


def go(config: TrainConfig, start: int = 0, dropout: float = 0.5) -> tuple[Linear, list[Step]]:
    net, task = Linear(), diffusion(dropout)
    steps = train(
        Accelerator(cpu=True),
        net,
        averaged(net, config.batch, config.ema_halflife),
        optimizer(net, config, task),
        task,
        data,
        config,
        start,
    )
    return net, list(steps)


def test_a_step_depends_on_the_seed_and_its_number_alone() -> None:
    first, _ = go(CONFIG)
    torch.rand(100)  # whatever else draws from the global generator
    again, _ = go(CONFIG)
    later, _ = go(CONFIG, start=2)
    other, _ = go(TrainConfig(**{**CONFIG.__dict__, "seed": 1}))
    for a, b in zip(first.asked, again.asked, strict=True):
        assert torch.equal(a[0], b[0])
    assert torch.equal(first.asked[2][0], later.asked[0][0])
    assert not torch.equal(first.asked[0][0], other.asked[0][0])
    assert not torch.equal(first.asked[0][1], first.asked[1][1])


def test_accumulation_gives_the_whole_batchs_losses_and_weights() -> None:
    whole, one = go(CONFIG)
    parts, many = go(TrainConfig(**{**CONFIG.__dict__, "accumulate": 4}))
    assert len(parts.asked) == 4 * len(whole.asked)
    for a, b in zip(one, many, strict=True):
        torch.testing.assert_close(a.loss, b.loss)
        torch.testing.assert_close(a.grad_norm, b.grad_norm)
    torch.testing.assert_close(whole.layer.weight, parts.layer.weight)


def test_labels_are_dropped_per_sample_at_the_stated_share() -> None:
    net, _ = go(TrainConfig(images=4096, batch=512, warmup=0), dropout=0.25)
    labels = torch.cat([asked[2]["label"] for asked in net.asked])
    null = labels == 10
    assert float(null.float().mean()) == pytest.approx(0.25, abs=0.03)  # 4.4 standard errors
    assert torch.equal(labels[~null], (torch.arange(4096) % 10)[~null])


def test_every_row_of_the_schedule_is_asked_and_no_other() -> None:
    net, _ = go(TrainConfig(images=16_384, batch=2048, warmup=0))
    t = torch.cat([asked[1] for asked in net.asked])
    assert t.min() == 0
    assert t.max() == 999
    assert len(t.unique()) == 1000
    assert float(t.mean()) == pytest.approx(499.5, abs=10)


def test_the_noisy_picture_is_at_the_level_that_the_network_is_told() -> None:
    net, _ = go(TrainConfig(images=32_768, batch=4096, warmup=0))
    x = torch.cat([asked[0] for asked in net.asked]).flatten(1)
    t = torch.cat([asked[1] for asked in net.asked]).long()
    x0 = torch.arange(len(x)).float().sin()[:, None]
    schedule = linear(1000)
    alpha, sigma = (table[t + 1].float()[:, None] for table in (schedule.alpha, schedule.sigma))
    eps = (x - alpha * x0) / sigma
    assert float(eps.mean()) == pytest.approx(0, abs=0.02)
    assert float(eps.var()) == pytest.approx(1, abs=0.02)


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    config = TrainConfig(images=1000, batch=10, lr=1.0, warmup=200, cooldown=0.4)
    rates = [config.lr_at(step) for step in range(config.steps)]
    assert rates[:3] == pytest.approx([0.05, 0.10, 0.15])
    assert rates[20:60] == [1.0] * 40
    assert rates[61] < 1
    assert rates[-1] == pytest.approx(1 / 40)
    assert config.lr_at(config.steps) == 0


def test_the_gradients_norm_is_bounded() -> None:
    net, steps = go(TrainConfig(**{**CONFIG.__dict__, "clip": 1e-9, "lr": 1e-2}))
    assert all(step.grad_norm > 1e-3 for step in steps)  # as it was before clipping
    assert not any(weight.grad is not None for weight in net.parameters())


def test_ema_is_the_mean_with_half_life_in_images_and_skips_the_beginning() -> None:
    assert decay(step=10**6, batch=128, halflife=1280) == pytest.approx(0.5**0.1)
    assert decay(step=1, batch=128, halflife=1e9) < 1e-5  # nearly a copy
    net = nn.Linear(1, 1, bias=False)
    ema = averaged(net, batch=8, halflife=16)
    wanted = None
    for step in range(1, 2001):
        nn.init.constant_(net.weight, float(step % 7))
        ema.update_parameters(net)
        d = decay(step, 8, 16)
        now = float(step % 7)
        wanted = now if wanted is None else d * wanted + (1 - d) * now
    assert ema.module.weight.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"batch": 128, "accumulate": 3},
            "`accumulate` is 3: choose a divisor",
        ),
        ({"cooldown": 1.5}, "choose 0 to 1, a share"),
        ({"images": 0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**fields)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    class Three(Accelerator):
        num_processes = 3

    net, task = Linear(), diffusion()
    ema, adam = averaged(net, 16, 1), optimizer(net, CONFIG, task)
    with pytest.raises(UserError, match="choose a multiple of 3"):
        next(train(Three(cpu=True), net, ema, adam, task, data, CONFIG))
