"""Pipelines of a user's own network: made by hand, saved, and printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig
from mezzotint.networks import UNet, UNetConfig, passing
from mezzotint.pipeline import tuned
from mezzotint.pipeline.tuned import BestSettings, Recommended
from own import Lacking, Own, Plain, Wrong

V = (mz.cosine(50), "v", (3, 8, 8))


@pytest.fixture
def own() -> mz.Pipeline:
    torch.manual_seed(0)
    return mz.Pipeline(Own(4, 2), mz.cosine(50), "v", (3, 8, 8), classes=("ant", "bee"))


def test_any_module_makes_images(own: mz.Pipeline) -> None:
    images = own.sample(4, labels="bee", steps=5, guidance=2.0)
    assert (images.shape, images.dtype) == ((4, 3, 8, 8), torch.uint8)
    assert torch.equal(own.sample(2, labels="bee", steps=5, guidance=2.0, first=2), images[2:])
    assert torch.equal(own.sample(1, 1, steps=5), own.sample(1, "bee", steps=5))


@pytest.mark.parametrize("net", [Plain, lambda: UNet(UNetConfig((8,), 1, (), groups=4)).eval()])
def test_the_default_steps_are_no_more_than_the_schedule_has(net) -> None:
    shape = (3, 8, 8)
    pipe = mz.Pipeline(net(), mz.cosine(20), "v", shape)
    assert pipe.defaults == SampleConfig(steps=20)
    assert pipe.defaults_from == "mezzotint's own"
    assert pipe.sample(1).shape == (1, *shape)
    assert mz.Pipeline(Plain(), mz.cosine(60), "v", shape).defaults == SampleConfig()
    chosen = mz.Pipeline(Plain(), mz.cosine(20), "v", shape, defaults=SampleConfig(steps=30))
    with pytest.raises(mz.UserError, match="`steps` is 30: choose 1 to 20"):
        chosen.sample(1)


def test_a_function_that_knows_the_answer_samples_it() -> None:
    """For a single image, the best x0_hat is this image at every level."""
    answer = torch.linspace(-1, 1, 3 * 8 * 8).reshape(3, 8, 8)
    pipe = mz.Pipeline(lambda x, t, labels: answer.expand_as(x), mz.linear(100), "x0", (3, 8, 8))
    images = pipe.sample(2, steps=4)
    wanted = (answer * 127.5 + 127.5).round().to(torch.uint8)
    assert (images.int() - wanted.int()).abs().max() <= 1
    assert pipe.digest == pipe.digest


def test_the_raw_network_and_the_denoiser_are_what_they_say(own: mz.Pipeline) -> None:
    x, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    level = own.schedule.row(20)
    t = torch.full((2,), level.t)
    output = own.net(x, t, labels)
    expected = mz.to_x0("v", output, x, level).clamp(-1, 1)
    torch.testing.assert_close(own.denoiser(labels)(x, level), expected)
    null = own.net(x, t, None)
    torch.testing.assert_close(null, own.net(x, t, torch.tensor([2, 2])))
    sharp = own.denoiser(labels, guidance=3.0, clipping="none")(x, level)
    c, u = (mz.to_x0("v", o, x, level) for o in (output, null))
    torch.testing.assert_close(sharp, u + 3 * (c - u), atol=1e-4, rtol=1e-4)


def test_no_graph_is_kept_unless_it_is_asked_for(own: mz.Pipeline, trained: Path) -> None:
    for pipe in (own, mz.load(trained)):
        x = torch.randn(2, *pipe.shape)
        level, labels = pipe.schedule.row(20), [0, 1]
        for output in (pipe.net(x, torch.zeros(2), None), pipe.denoiser(labels)(x, level)):
            assert not output.requires_grad
        output = pipe.denoiser(labels, clipping="none")(x.requires_grad_(), level)
        assert output.requires_grad


def test_training_on_does_not_change_the_pipeline() -> None:
    module = Own(4, 2)
    pipe = mz.Pipeline(module, mz.cosine(50), "v", (3, 8, 8), classes=("ant", "bee"))
    before = pipe.sample(2, steps=2)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 1
    assert torch.equal(pipe.sample(2, steps=2), before)
    assert module.training


def test_a_saved_pipeline_comes_back_to_the_bit(
    own: mz.Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = replace(own, defaults=SampleConfig(steps=3, guidance=1.5, eta=0.5))
    images = pipe.sample(4)
    folder = pipe.save(tmp_path / "model")
    again = mz.load(folder)  # in the process that knows the network
    assert torch.equal(again.sample(4), images)
    assert (again.digest, again.defaults) == (pipe.digest, pipe.defaults)
    assert torch.equal(again.schedule.alpha, own.schedule.alpha)
    assert again.defaults_from == "chosen by the caller"
    monkeypatch.setattr(passing, "_PASSED", {})  # in another
    with pytest.raises(mz.UserError, match=r"own:Own, .*mz\.load\(run, net=\.\.\.\)"):
        mz.load(folder)
    assert torch.equal(mz.load(folder, net=Own(4, 2)).sample(4), images)


@pytest.mark.parametrize("model", ["trained", "trained_ldm"])
def test_a_run_saved_as_a_pipeline_comes_back_to_the_bit(
    model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pipe = mz.load(request.getfixturevalue(model))
    folder = pipe.save(tmp_path / "model")
    again = mz.load(folder)
    assert torch.equal(again.sample(4), pipe.sample(4))
    assert (again.digest, again.data, again.colour) == (pipe.digest, pipe.data, pipe.colour)
    assert again.defaults_from == pipe.defaults_from
    if model == "trained_ldm":
        assert mz.load_codec(folder).digest == pipe.codec.digest
        assert mz.load(pipe.tiled(8).save(tmp_path / "tiled")).codec.tile == 8


def test_a_schedule_of_ones_own_is_saved(tmp_path: Path) -> None:
    angle = torch.linspace(0, 1.5, 21, dtype=torch.float64)
    schedule = mz.Schedule(angle.cos(), angle.sin())
    pipe = mz.Pipeline(Plain(), schedule, "flow", (3, 8, 8))
    again = mz.load(pipe.save(tmp_path / "model"))
    assert torch.equal(again.schedule.sigma, schedule.sigma)
    assert again.schedule.alpha.dtype == torch.float64


def test_a_network_of_ours_with_all_it_has_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = mz.UNetConfig(channels=(8,), blocks=1, attention=(), groups=4)
    net = UNet(config, 3, 2, 6, augmentation=5)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    pipe = mz.Pipeline(
        net.eval(), mz.cosine(50), "eps", (3, 8, 8), ("a", "b"), learned_variance=True
    )
    again = mz.load(pipe.save(tmp_path / "model"))
    how = {"sampler": "ddpm", "variance": "learned", "steps": 5}
    assert torch.equal(again.sample(2, **how), pipe.sample(2, **how))


def test_a_network_of_ours_is_copied_for_sampling() -> None:
    config = mz.UNetConfig(channels=(8,), blocks=1, attention=(), groups=4, dropout=0.5)
    net = mz.UNet(config, 3, 3)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    pipe = mz.Pipeline(net, *V, ("a", "b", "c"))
    assert torch.equal(pipe.sample(3, steps=2), pipe.sample(3, steps=2))  # without dropout
    assert net.training
    assert all(weight.requires_grad for weight in net.parameters())
    assert replace(pipe, home=None).net is pipe.net  # which is ready
    with pytest.raises(mz.UserError, match="conditions 3 classes: 0, 1, 2, but the pipeline 2 cla"):
        mz.Pipeline(net, *V, ("a", "b"))
    with pytest.raises(mz.UserError, match=r"`net` returns \(2, 3, 8, 8\) for"):
        mz.Pipeline(net, *V, ("a", "b", "c"), learned_variance=True)


def test_saving_again_replaces_and_damage_is_found(own: mz.Pipeline, tmp_path: Path) -> None:
    own.save(tmp_path / "model")
    other = replace(own, defaults=SampleConfig(steps=7))
    other.save(tmp_path / "model")
    assert mz.load(tmp_path / "model").defaults.steps == 7
    weights = tmp_path / "model" / "ema.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(mz.UserError, match=r"ema\.safetensors does not match its SHA-256"):
        mz.load(tmp_path / "model")


def test_what_cannot_be_saved_is_refused(own: mz.Pipeline, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for folder in (tmp_path / "full", tmp_path / "full" / "mine.txt", trained):
        with pytest.raises(mz.UserError, match="exists and is not a saved model"):
            own.save(folder)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    with pytest.raises(mz.UserError, match="is in memory"):
        replace(own.in_precision("bf16"), original=None).save(tmp_path / "low")
    with pytest.raises(mz.UserError, match="guided by a weaker model"):
        own.guided_by(own).save(tmp_path / "guided")
    own.save(tmp_path / "model")
    path = tmp_path / "model" / "pipeline.json"
    assert path.exists()
    mine = tmp_path / "model" / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(mz.UserError, match=r"holds mine\.txt beside a saved model: move other"):
        own.save(tmp_path / "model")
    assert mine.read_text() == "mine"


def test_a_pipeline_says_what_it_is(own: mz.Pipeline, trained: Path, trained_ldm: Path) -> None:
    assert repr(own) == (
        "Pipeline\n"
        "  network     Own, 275 weights\n"
        "  images      8x8x3\n"
        "  classes     2: ant, bee\n"
        "  prediction  v, on 50 levels of noise\n"
        "  defaults    ddim, 50 steps, trailing (mezzotint's own)\n"
        "  precision   float32 on cpu"
    )
    run = repr(mz.load(trained))
    assert "network     UNet, " in run
    assert "classes     10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n" in run
    assert "defaults    ddim, 2 steps, trailing, guidance 2 (of the recipe tiny)\n" in run
    assert "images      32x32x3, in latents " in repr(mz.load(trained_ldm))
    assert "none: unconditional" in repr(mz.Pipeline(Plain(), mz.linear(9), "x0", (3, 8, 8)))
    assert "precision   bfloat16 on cpu" in repr(own.in_precision("bf16"))
    assert "(chosen by the caller)" in repr(replace(own, defaults=SampleConfig(steps=9)))


def test_what_a_sweep_recommends_is_used_and_said(trained: Path) -> None:
    pipe = mz.load(trained)
    best = BestSettings(SampleConfig("heun", steps=2), 3, 12.345, (12.0, 13.0))
    tuned.write(trained, Recommended("fd", 1000, 0, "float32", pipe.digest, {"3": best}, best))
    swept = mz.load(trained)
    assert swept.defaults == best.settings
    assert swept.defaults_from == "recommended by a sweep: fd 12.3 of 1,000 images"
    assert torch.equal(swept.sample(2), pipe.sample(2, sampler="heun", steps=2, guidance=1.0))
    assert torch.equal(swept.sample(2, steps=4), swept.sample(2, sampler="heun", steps=4))
    assert mz.load(trained, recommended=False).defaults_from == "of the recipe tiny"
    changed = replace(swept, defaults=SampleConfig(steps=5))
    assert changed.defaults_from == "chosen by the caller"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Own, *V), r"`net` is <class .*: pass an nn\.Module, or a function"),
        ((None, *V), "`net` is None"),
        ((Lacking(), *V), r"`net` does not take \(x, t, condition\)"),
        ((Wrong("channels"), *V), r"`net` returns \(2, 1, 8, 8\)"),
        ((Wrong("tuple"), *V), "`net` returns a tuple"),
        ((Own(4, 2), *V), "`net` cannot be called .* condition None"),
        ((Own(4, 2), *V, ("a", "b", "c")), "of class 0 and the null class 3"),
        ((lambda x, t, labels: x.mul_(2), *V), "`net` changes its input x in place: make it"),
        ((lambda x, t, k: x * t.add_(1).view(-1, 1, 1, 1), *V), "its input t in place: make it"),
        ((lambda x, t, k: x * k.add_(1).sum(), *V, ("a",)), "its input condition in place: make"),
        ((Plain(), 1000, *V[1:]), r"`schedule` is 1000: give a schedule, such as mz\.cosine"),
        ((Plain(), V[0], "w", V[2]), "unknown prediction 'w': choose one of eps, x0, v"),
        ((Plain(), *V[:2], (3, 8)), r"`shape` is \(3, 8\): give \(channels, height, width\)"),
        ((Plain(), *V[:2], 8), "`shape` is 8"),
        ((Plain(), *V[:2], (3, 8, 0)), r"`shape` is \(3, 8, 0\)"),
        ((Plain(), *V, "ant"), "`classes` is 'ant': give a tuple of names"),
        ((Plain(), *V, (0, 1)), r"`classes` is \(0, 1\)"),
        ((Plain(), *V, 3), "`classes` is 3"),
    ],
)
def test_what_makes_no_pipeline_names_the_argument(arguments: tuple, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        mz.Pipeline(*arguments)
