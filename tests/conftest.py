from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from mezzotint.config import recipes
from mezzotint.config.experiment import Autoencoder, Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import AugmentedConfig, CodecConfig, DataConfig, NoiseConfig
from mezzotint.data.sources import glyphs
from mezzotint.metrics import interval
from mezzotint.networks import UNet, UNetConfig, VAEConfig, precision
from mezzotint.paper.plan import SCALES, Size
from mezzotint.trainer.loop import TrainConfig

from trainings import finish

settings.register_profile("steady", deadline=None)  # machines are busy
settings.load_profile("steady")
torch.set_num_threads(1)  # the networks here are too small for two


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests share, so each data set is drawn only once."""
    return tmp_path_factory.mktemp("cache")


Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A function that makes a folder once, even if several processes run the tests."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each process has a folder of its own in the session's
        root = root.parent

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # another process has failed
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the user's cache."""
    monkeypatch.setenv("MEZZOTINT_CACHE", str(cache))


@pytest.fixture(scope="session", autouse=True)
def float32_by_default() -> Iterator[None]:
    """Make "auto" precision float32, so tests have the same numbers on any hardware."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "has_fast_bf16", lambda device: False)
        yield


@pytest.fixture(autouse=True)
def few_halvings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute intervals from few halvings, to save time; tests/metrics uses more."""
    monkeypatch.setattr(interval, "HALVINGS", 4)


def small_and_own(cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Reduce `glyphs` to 100 images, in the tests' own cache."""
    patch.setenv("MEZZOTINT_CACHE", str(cache))
    patch.setitem(glyphs.COUNTS, "train", 100)


@pytest.fixture
def few_glyphs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce `glyphs` to 100 images, in the tests' own cache."""
    small_and_own(cache, monkeypatch)


TINY = Experiment(
    recipe="tiny",
    data=DataConfig(data="glyphs"),
    net=UNetConfig(channels=(8, 16), blocks=1, attention=(1,), groups=4, patch=2, dropout=0.1),
    noise=NoiseConfig(schedule="cosine", prediction="v"),
    train=TrainConfig(images=96, batch=8, lr=1e-3, warmup=16, cooldown=0.5, ema_halflife=100),
    sample=SampleConfig(steps=2, guidance=2.0),
    precision="float32",
    log_every=24,
    sample_every=10_000,
    save_every=32,
)


@pytest.fixture
def tiny(few_glyphs: None) -> Experiment:
    """A whole experiment of 12 steps with 8 glyphs each, which takes a second."""
    return TINY


@pytest.fixture(scope="session")
def finished(cache: Path, once: Once) -> Path:
    """The finished run of `tiny`. Tests may only copy it."""
    with pytest.MonkeyPatch.context() as patch:
        small_and_own(cache, patch)
        return once("finished", lambda folder: finish(TINY, folder))


@pytest.fixture
def trained(finished: Path, few_glyphs: None, tmp_path: Path) -> Path:
    """A copy of the finished run of `tiny`, which a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def tiny_net() -> Callable[..., UNet]:
    """A function that makes a small network, of which no weight tensor is all zero."""

    def build(classes: int = 0, **fields: object) -> UNet:
        torch.manual_seed(0)
        config = replace(UNetConfig(channels=(8, 16), blocks=1, attention=(1,), groups=4), **fields)
        net = UNet(config, 3, classes)
        for weight in net.parameters():
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.1)
        return net.eval()

    return build


TINY_VAE = Autoencoder(
    recipe="tiny-vae",
    data=AugmentedConfig(data="glyphs", flip=False),
    net=VAEConfig(channels=(8, 16), blocks=1, groups=4, patch=2),
    train=TrainConfig(images=96, batch=8, lr=1e-3, warmup=16, ema_halflife=20),
    precision="float32",
    log_every=24,
    sample_every=10_000,
    save_every=48,
)


def small_vae(cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Reduce `glyphs` to 100 images and 60 held-out images, in the tests' own cache."""
    small_and_own(cache, patch)
    patch.setitem(glyphs.COUNTS, "test", 60)


@pytest.fixture(scope="session")
def finished_vae(cache: Path, once: Once) -> Path:
    """The finished run of `TINY_VAE`. Tests may only copy it."""
    with pytest.MonkeyPatch.context() as patch:
        small_vae(cache, patch)
        return once("finished-vae", lambda folder: finish(TINY_VAE, folder))


@pytest.fixture
def trained_vae(
    finished_vae: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the finished run of `TINY_VAE`, which a test may change."""
    small_vae(cache, monkeypatch)
    return Path(shutil.copytree(finished_vae, tmp_path / "vae"))


TINY_LDM = replace(
    TINY,
    recipe="tiny-ldm",
    net=replace(TINY.net, patch=1),
    sample=replace(TINY.sample, clipping="none"),
)


@pytest.fixture(scope="session")
def finished_ldm(finished_vae: Path, cache: Path, once: Once) -> Path:
    """The finished run of `TINY_LDM` on the latents of `finished_vae`. Tests may only copy it."""
    ldm = replace(TINY_LDM, codec=CodecConfig(vae=str(finished_vae)))
    with pytest.MonkeyPatch.context() as patch:
        small_and_own(cache, patch)
        return once("finished-ldm", lambda folder: finish(ldm, folder))


@pytest.fixture
def tiny_ldm(trained_vae: Path) -> Experiment:
    """`TINY_LDM` on the latents of `trained_vae`."""
    return replace(TINY_LDM, codec=CodecConfig(vae=str(trained_vae)))


@pytest.fixture
def trained_ldm(finished_ldm: Path, few_glyphs: None, tmp_path: Path) -> Path:
    """A copy of the finished run of `TINY_LDM`, which a test may change."""
    return Path(shutil.copytree(finished_ldm, tmp_path / "ldm"))


@pytest.fixture
def small(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the scale glyphs of `reproduce` tiny recipes, and remove the samples of other tests."""
    small_vae(cache, monkeypatch)
    shutil.rmtree(cache / "samples", ignore_errors=True)
    monkeypatch.setitem(recipes.RECIPES, TINY_VAE.recipe, TINY_VAE)
    for config in (TINY, TINY_LDM):  # sampled in a thousand steps and more
        net = replace(config.net, channels=(8,), attention=(), patch=2 * config.net.patch)
        monkeypatch.setitem(recipes.RECIPES, config.recipe, replace(config, net=net))
    monkeypatch.setitem(SCALES, "glyphs", Size("tiny", "tiny-vae", "tiny-ldm", samples=10))
    monkeypatch.delenv("MEZZOTINT_INCEPTION", raising=False)
