from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as torchs_kl

from mezzotint.networks import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from mezzotint.networks.padding import padded
from mezzotint.networks.vae import kl_divergence, posterior_sample


def vae(**fields: object) -> VAE:
    """Make a small VAE, of which no weight tensor is all zero."""
    torch.manual_seed(0)
    net = VAE(VAEConfig(**{"channels": (8, 16), "blocks": 1, "groups": 4, **fields}))
    for weight in net.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    return net


def tiny() -> TinyVAE:
    torch.manual_seed(0)
    return TinyVAE(TinyVAEConfig(width=8, encoder=(1, 2, 1), decoder=(1, 2, 1)))


def test_it_is_the_papers_network() -> None:
    """The f8 autoencoder with 4 channels of latent diffusion and Stable Diffusion."""
    with torch.device("meta"):
        net = VAE(VAEConfig(channels=(128, 256, 512, 512)))
    assert net.config.factor == 8
    assert sum(p.numel() for p in net.parameters()) == 83_653_863


def test_taesd_is_as_published() -> None:
    with torch.device("meta"):
        net = TinyVAE(TinyVAEConfig())
    assert net.config.factor == 8
    assert sum(p.numel() for p in net.encoder.parameters()) == 1_222_532
    assert sum(p.numel() for p in net.decoder.parameters()) == 1_222_531


@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 16, 8), (8, 8, 16, 16)])
@pytest.mark.parametrize("latent", [3, 4])
def test_shapes_follow_the_factor(channels: tuple[int, ...], latent: int) -> None:
    net = vae(channels=channels, latent=latent)
    x, f = torch.randn(2, 3, 16, 24), net.config.factor
    assert f == 2 ** (len(channels) - 1)
    mean, log_variance = net.encode(x)
    assert mean.shape == log_variance.shape == (2, latent, 16 // f, 24 // f)
    assert net.decode(mean).shape == x.shape


def test_the_tiny_ones_shapes_too() -> None:
    net, x = tiny(), torch.randn(2, 3, 16, 24)
    z, log_variance = net.encode(x)
    assert z.shape == log_variance.shape == (2, 4, 4, 6)
    assert (log_variance == -30).all()
    assert net.decode(z).shape == x.shape


def test_the_tiny_one_looks_at_latents_up_to_a_magnitude_of_3() -> None:
    net, z = tiny(), torch.full((1, 4, 2, 2), 40.0)
    torch.testing.assert_close(net.decode(z), net.decode(25 * z))


@pytest.mark.parametrize("build", [vae, tiny])
@pytest.mark.parametrize("size", [(16, 18), (17, 16)])
def test_sides_that_the_factor_does_not_divide_are_padded(build, size: tuple[int, int]) -> None:
    net = vae(channels=(8, 8, 16)) if build is vae else tiny()
    x = torch.randn(1, 3, *size)
    (mean, _), (wanted, _) = net.encode(x), net.encode(padded(x, 4))
    assert mean.shape[2:] == (-(-size[0] // 4), -(-size[1] // 4))
    torch.testing.assert_close(mean, wanted)
    if build is vae:
        made, mean, _ = net(x, torch.randn_like(mean))
        assert made.shape == x.shape


def test_the_log_variance_is_cut() -> None:
    net = vae(quant=False)
    for value, bound in ((1e3, 20), (-1e3, -30)):
        nn.init.constant_(net.encoder[-1].bias, value)
        mean, log_variance = net.encode(torch.randn(1, 3, 8, 8))
        assert (log_variance == bound).all()
        assert (mean.abs() > 900).all()  # which is not


def test_the_divergence_is_torchs() -> None:
    mean, log_variance = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    q = Normal(mean, (log_variance / 2).exp())
    wanted = torchs_kl(q, Normal(0.0, 1.0)).sum((1, 2, 3))
    torch.testing.assert_close(kl_divergence(mean, log_variance), wanted)
    assert not kl_divergence(torch.zeros(2, 4, 3, 3), torch.zeros(2, 4, 3, 3)).any()


def test_samples_have_the_posteriors_moments() -> None:
    noise = torch.randn(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = posterior_sample(torch.tensor(3.0), torch.tensor(4.0).log(), noise)
    torch.testing.assert_close(z.mean(), 3 + 2 * noise.mean())
    torch.testing.assert_close(z.std(), 2 * noise.std())
    assert abs(float(z.mean()) - 3) < 4 * 2 / len(noise) ** 0.5
    certain = posterior_sample(torch.ones(2), torch.full((2,), -30.0), torch.ones(2))
    torch.testing.assert_close(certain, torch.ones(2), rtol=0, atol=1e-6)


def loss(net: VAE, x: Tensor) -> Tensor:
    mean, log_variance = net.encode(x)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    out = net.decode(posterior_sample(mean, log_variance, noise))
    return (out - x).square().mean() + 1e-3 * kl_divergence(mean, log_variance).mean()


def test_every_weight_has_a_gradient() -> None:
    net = vae(channels=(8, 8, 16))
    loss(net, torch.randn(2, 3, 16, 16)).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_making_layers_again_changes_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = vae(), torch.randn(2, 3, 16, 16)
    loss(net, x).backward()
    wanted = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    monkeypatch.setattr("mezzotint.networks.blocks.MUCH", 0)
    loss(net, x).backward()
    for weight, grad in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(weight.grad, grad)


def test_a_few_steps_bring_the_loss_down() -> None:
    torch.manual_seed(0)
    net = VAE(VAEConfig(channels=(8, 16), blocks=1, groups=4))  # as it begins
    x = torch.rand(4, 3, 1, 1).expand(4, 3, 16, 16) * 2 - 1
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=3e-3), []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(loss(net, x))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


@torch.no_grad()
def test_channels_last_is_the_same_function() -> None:
    net, x = vae(channels=(16, 32)), torch.randn(2, 3, 32, 48)
    moments = net.encode(x)
    out = net.decode(moments[0])
    net.to(memory_format=torch.channels_last)
    last = net.encode(x.to(memory_format=torch.channels_last))
    for got, wanted in zip((*last, net.decode(last[0])), (*moments, out), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("build", [vae, tiny])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bf16_is_near_and_the_callers_type_is_kept(build, layout: torch.memory_format) -> None:
    net, x = build(), torch.randn(2, 3, 32, 48)

    def passed() -> list[Tensor]:
        moments = net.encode(x)
        return [*moments, net.decode(torch.linspace(-1, 1, moments[0].numel()).view_as(moments[0]))]

    wanted = passed()
    net.to(torch.bfloat16, memory_format=layout)
    for a, b in zip(passed(), wanted, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.03 * b.norm()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: VAEConfig(channels=(48, 64)),
            "`groups` is 32, which does not divide 48: choose",
        ),
        (lambda: VAEConfig(channels=()), "`channels` is empty"),
        (lambda: VAEConfig(latent=0), "latent"),
        (lambda: TinyVAEConfig(encoder=(1, 3)), "give both the same number"),
    ],
)
def test_one_that_cannot_be_built_is_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
