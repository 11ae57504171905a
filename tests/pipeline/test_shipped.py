"""Models that come with the package: how one is made, found by its name, and checked."""

from __future__ import annotations

import json
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import mezzotint as mz
from mezzotint import cli, metrics
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion import optimised_grid
from mezzotint.networks import precision
from mezzotint.pipeline import loading, shipped, tuned
from spoil import newest, seal

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "ship.py"))
ship: Callable[[Path, Path, str], int] = SCRIPT["ship"]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the package's models; the current folder is another one."""
    monkeypatch.setattr(shipped, "MODELS", tmp_path / "models")
    monkeypatch.setattr(shipped, "CHECKOUT", tmp_path / "checkout")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "models"


@pytest.fixture
def small(models: Path, trained: Path) -> Path:
    """Ship the model `small`, and return its folder."""
    ship(trained, models / "small", "# A card\n")
    return models / "small"


def bf16(pipe: mz.Pipeline) -> mz.Pipeline:
    """Round every weight to bf16, and keep it in float32."""
    pipe.net.load_state_dict({k: v.bfloat16().float() for k, v in pipe.net.state_dict().items()})
    return pipe


def refused(*arguments: str) -> str:
    with pytest.raises(mz.UserError) as error:
        mz.load(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_shipped_model_is_the_run_rounded_to_bf16(models: Path, trained: Path) -> None:
    size = ship(trained, models / "small", "# A card\n")
    wanted, pipe = bf16(mz.load(trained)), mz.load("small")
    assert torch.equal(pipe.sample(4, seed=1), wanted.sample(4, seed=1))
    assert pipe.net.dtype == torch.float32
    same = ("digest", "prediction", "shape", "classes", "defaults", "colour", "data")
    assert all(getattr(pipe, name) == getattr(wanted, name) for name in same)
    assert size == sum(path.stat().st_size for path in (models / "small").iterdir())
    weights = (trained / "checkpoints" / "step-12" / "ema.safetensors").stat().st_size
    assert (models / "small" / "ema.safetensors").stat().st_size < 0.7 * weights  # tiny: headers
    files = {"README.md", "config.json", "ema.safetensors", "manifest.json", "state.json"}
    assert {path.name for path in (models / "small").iterdir()} == files
    ship(trained / "checkpoints" / "step-8", models / "earlier", "")
    assert mz.load("earlier").digest == bf16(mz.load(trained / "checkpoints" / "step-8")).digest


def test_a_latent_model_is_shipped_with_its_autoencoder(models: Path, trained_ldm: Path) -> None:
    config = own_config(trained_ldm) | {"init": str(trained_ldm.parent / "first")}
    (newest(trained_ldm) / "config.json").write_text(json.dumps(config))
    seal(newest(trained_ldm))
    ship(trained_ldm, models / "small", "")
    pipe, own = mz.load("small"), mz.load(trained_ldm)
    assert torch.equal(pipe.codec.mean, own.codec.mean)
    assert torch.equal(pipe.codec.std, own.codec.std)
    for name, weight in own.codec.vae.state_dict().items():
        assert torch.equal(pipe.codec.vae.state_dict()[name], weight.bfloat16().float())
    assert pipe.sample(1).shape == (1, 3, 32, 32)
    shown = json.loads((models / "small" / "config.json").read_text())
    assert shown["codec"]["vae"] == Path(config["codec"]["vae"]).name  # and not where it lay
    assert shown["init"] == "first"


def own_config(run: Path) -> dict:
    return json.loads((run / "config.json").read_text())


def test_a_path_goes_before_a_name(small: Path, trained: Path) -> None:
    assert mz.load("small").home is None
    trained.rename("small")
    assert mz.load("small").home == Path("small")
    (Path("small") / "config.json").unlink()
    (Path("small") / "checkpoints").rename("elsewhere")
    assert "and hides the shipped model of the same name: rename it" in refused("small")


def test_what_is_neither_path_nor_name_is_told_the_names(models: Path, trained: Path) -> None:
    assert refused("smal").endswith("give a run, a checkpoint or a model's folder")
    for name in ("small", "another"):
        ship(trained, models / name, "")
    assert refused("smal").endswith("; shipped models: another, small")


@pytest.mark.parametrize(
    "name", ["ema.safetensors", "config.json", "state.json", "README.md", "manifest.json"]
)
def test_a_damaged_model_is_to_be_reinstalled(small: Path, name: str) -> None:
    file = small / name
    file.write_bytes(file.read_bytes()[:-9])
    assert refused("small").endswith("; it is part of mezzotint: reinstall mezzotint")
    file.unlink()
    assert refused("small").endswith("; it is part of mezzotint: reinstall mezzotint")
    assert name in refused("small")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_format_to_come_is_refused(small: Path, elsewhere: bool) -> None:
    manifest = json.loads((small / "manifest.json").read_text())
    (small / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    said = refused(str(small.rename("copy")) if elsewhere else "small")
    assert "has the format 2, but this version of mezzotint reads only 1: update mezzo" in said


def recommend(run: Path, digest: str) -> SampleConfig:
    how = SampleConfig(steps=3, sampler="dpmpp_2m", guidance=1.5)
    best = tuned.BestSettings(how, 3, 1.25, (1.0, 1.5))
    found = tuned.Recommended("fd", 10, 0, "float32", digest, {"3": best}, best)
    tuned.write(run, found)
    return how


@pytest.mark.parametrize("fast", [False, True])
def test_what_was_recommended_for_the_run_is_its_default(
    models: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    how = recommend(trained, mz.load(trained, precision="float32").digest)
    ship(trained, models / "small", "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mz.load("small").defaults == how
    assert mz.load("small", recommended=False).defaults != how


def test_the_command_samples_and_measures_it_and_leaves_the_package_be(
    models: Path, trained: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(optimised_grid, "FINE", 8)
    recommend(trained, mz.load(trained).digest)
    ship(trained, models / "small", "")
    before = {p: p.read_bytes() for p in models.rglob("*") if p.is_file()}
    capsys.readouterr()
    cli.main(["sample", "small", "-n", "2", "--labels", "3", "7", "--spacing", "optimised"])
    said = capsys.readouterr().out
    assert said.startswith(
        "the defaults are the settings that a sweep recommended: dpmpp_2m, 3 steps"
    )
    assert said.splitlines()[-1] == "wrote 2 samples to images, and a grid of them to images.png"
    with pytest.warns(UserWarning, match="12 images are fewer than"):
        cli.main(["evaluate", "small", "--samples", "12", "--metrics", "fd", "--network", "glyphs"])
    (row,) = Path("evaluation/figures.jsonl").read_text().splitlines()
    assert json.loads(row)["model"] == "small"
    assert {p.name for p in Path().iterdir()} == {"images", "images.png", "evaluation"}
    assert before == {p: p.read_bytes() for p in models.rglob("*") if p.is_file()}


def test_what_cannot_be_shipped_is_refused(
    models: Path, trained: Path, trained_vae: Path, tmp_path: Path, monkeypatch
) -> None:
    out = models / "small"
    with pytest.raises(mz.UserError, match="is an autoencoder, which makes no images"):
        ship(trained_vae, out, "")
    with pytest.raises(mz.UserError, match="exists: delete it first"):
        ship(trained, tmp_path / "work", "")
    recommend(trained, "that of other weights")
    with pytest.raises(mz.UserError, match="belongs to earlier weights: sweep again, or delete it"):
        ship(trained, out, "")
    monkeypatch.setitem(ship.__globals__, "LARGEST", 1_000)
    with pytest.raises(mz.UserError, match="more than the 1,000 of a model in the package: write"):
        ship(trained, out, "")
    assert not out.exists()
    (trained / tuned.NAME).unlink()
    assert ship(trained, tmp_path / "outside" / "small", "") > 1_000


def test_every_model_of_the_package_is_whole_and_makes_pictures() -> None:
    for folder in shipped.folders().values():
        pipe = loading.load(folder)
        assert len(pipe.sample(1, steps=2)) == 1
        held = {path.name for path in folder.iterdir()} - {"manifest.json"}
        assert held == set(json.loads((folder / "manifest.json").read_text())["sha256"])
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert size <= SCRIPT["LARGEST"] or folder.parent == shipped.CHECKOUT
        data = loading.configuration.read(folder / "config.json").data.data
        assert data.startswith("hub:") or "/" not in data


def test_the_pictures_of_cifar10_are_of_the_classes_asked_for() -> None:
    pipe = mz.load("cifar10")
    images = pipe.sample(20, seed=1)
    seen = metrics.network("cifar10")(images).logits.argmax(1)
    assert (seen == torch.tensor(pipe.labels(20))).float().mean() > 0.7
    assert pipe.sample(1, labels="ship", steps=2, seed=1).shape == (1, 3, 32, 32)
    with pytest.raises(mz.UserError, match="whale"):
        pipe.sample(1, labels="whale")


def test_a_model_of_a_checkout_is_found_and_without_one_asked_for(small: Path) -> None:
    assert refused("cifar10-fast").endswith("a checkout of the repository, models/cifar10-fast")
    shipped.CHECKOUT.mkdir()
    small.rename(shipped.CHECKOUT / "cifar10-fast")
    assert shipped.names() == ["cifar10-fast"]
    assert mz.load("cifar10-fast").home is None
    assert shipped.is_shipped(shipped.CHECKOUT / "cifar10-fast")


@pytest.mark.skipif("cifar10-fast" not in shipped.names(), reason="not a checkout: no models/")
def test_two_calls_of_the_fast_model_are_images_of_the_classes_asked_for() -> None:
    pipe = mz.load("cifar10-fast")
    assert pipe.defaults.steps == 2
    images = pipe.sample(20, seed=1)
    seen = metrics.network("cifar10")(images).logits.argmax(1)
    assert (seen == torch.tensor(pipe.labels(20))).float().mean() > 0.7
    with pytest.raises(mz.UserError, match="guidance"):
        pipe.sample(1, guidance=2.0)


@pytest.mark.skipif("imagenet100-64" not in shipped.names(), reason="not a checkout: no models/")
def test_the_imagenet_model_makes_images_of_a_class_by_its_short_name() -> None:
    pipe = mz.load("imagenet100-64")
    images = pipe.sample(2, labels=["goldfish", "n01641577 bullfrog"], steps=8, seed=1)
    assert images.shape == (2, 3, 64, 64)
    red, _, blue = images[0].float().mean((1, 2))
    assert red > blue  # a goldfish
    with pytest.raises(mz.UserError, match="there is no class 'unicorn'"):
        pipe.sample(1, labels="unicorn")


@pytest.mark.parametrize("split", [["--split", "dev"], ["--split=dev"]])
def test_a_split_says_that_the_data_of_the_same_name_is_measured(
    models: Path, trained: Path, split: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ship(trained, models / "glyphs", "")
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", "glyphs", "--against", "glyphs", *split])
    assert stop.value.code == 2
    assert "has no split 'dev'" in capsys.readouterr().err
