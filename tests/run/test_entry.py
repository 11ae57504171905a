"""Training from Python: mz.train and mz.training."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint import config as configuration
from mezzotint.config.experiment import Autoencoder, Experiment
from mezzotint.networks import passing
from mezzotint.networks.conditions import ClassCondition
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.conditioning import unlearned
from mezzotint.run import run
from mezzotint.storage import checkpoint
from mezzotint.storage.log import read
from own import Lacking, Own, Plain, Wrong

from commands import CapSys, call
from trainings import assert_same, finish

SHORT = {
    "images": 96, "batch": 8, "warmup": 16, "ema_halflife": 100, "log_every": 24,
    "save_every": 32, "sample_every": 10_000, "steps": 2, "precision": "float32",
}  # fmt: skip


@pytest.fixture
def data(cache: Path) -> mz.Prepared:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return mz.prepare(images, np.arange(40) % 3, classes=("ant", "bee", "cat"))


@pytest.fixture
def nothing_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "_PASSED", {})


own = functools.partial(Own, width=4, classes=3)
train = functools.partial(mz.train, "cifar10-ddpm-small", **SHORT)
training = functools.partial(mz.training, "cifar10-ddpm-small", **SHORT)


def test_a_configuration_is_trained_as_the_run_that_it_is(tiny: Experiment, tmp_path) -> None:
    pipe = mz.train(tiny, out=tmp_path / "a")
    finish(tiny, tmp_path / "b")
    assert_same(tmp_path / "a", tmp_path / "b")
    assert torch.equal(pipe.sample(2), mz.load(tmp_path / "b").sample(2))
    assert pipe.defaults_from == "of the recipe tiny"


def test_a_recipe_of_arrays_with_other_fields(data, tmp_path) -> None:
    """The run records where the arrays are, so it can be resumed and loaded alone."""
    out = tmp_path / "run"
    pipe = train(data=data, out=out, channels=(4, 8), groups=2, blocks=1, attention=())
    assert pipe.classes == ("ant", "bee", "cat")
    assert pipe.sample(3, labels="bee").shape == (3, 3, 8, 8)
    config = configuration.read(out / "config.json")
    assert config.data.data == data.source
    assert (config.train.images, config.net.channels, config.sample.steps) == (96, (4, 8), 2)
    longer = configuration.changed(config, {"images": 128})
    finish(longer, out, resume=True)
    assert checkpoint.listed(out / "checkpoints")[-1].name == "step-16"


def test_the_run_is_in_runs_by_its_recipes_name(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    mz.train(tiny)
    assert (tmp_path / "runs" / "tiny" / "config.json").exists()


def test_an_autoencoder_comes_back_as_the_codec_that_it_is(
    cache: Path, tmp_path: Path, trained_vae: Path
) -> None:
    recipe = configuration.read(trained_vae / "config.json")
    assert isinstance(recipe, Autoencoder)
    codec = mz.train(recipe, out=tmp_path / "other", images=16)
    assert isinstance(codec, Latents)


def test_each_step_says_where_it_stands(tiny: Experiment, tmp_path: Path) -> None:
    steps = list(mz.training(tiny, out=tmp_path / "run"))
    assert [p.images for p in steps if not p.note] == [8, 16, 24, 40, 48, 56, 72, 80, 88]
    assert steps[0].images == 0
    assert steps[0].total == 96
    assert not steps[0].row
    rows = read(tmp_path / "run" / "log.jsonl")
    last = steps[-1]
    assert (last.images, last.row, last.loss) == (96, rows[-1], rows[-1]["loss"])


def test_a_loop_that_is_left_early_leaves_a_saved_run(tiny: Experiment, tmp_path) -> None:
    for progress in mz.training(tiny, out=tmp_path / "left"):
        if progress.images == 40:  # between two checkpoints
            break
    assert checkpoint.listed(tmp_path / "left" / "checkpoints")[-1].name == "step-5"
    assert mz.load(tmp_path / "left").sample(1).shape == (1, 3, 32, 32)
    mz.train(tiny, out=tmp_path / "left", resume=True)
    finish(tiny, tmp_path / "whole")
    assert_same(tmp_path / "left", tmp_path / "whole")


def test_an_error_in_the_loop_leaves_a_saved_run_too(tiny: Experiment, tmp_path) -> None:
    def loop() -> None:
        for progress in mz.training(tiny, out=tmp_path / "run"):
            if progress.images == 40:
                raise KeyError("a user's own")

    with pytest.raises(KeyError):
        loop()
    assert checkpoint.listed(tmp_path / "run" / "checkpoints")[-1].name == "step-5"


def test_a_loop_left_before_the_first_step_leaves_nothing_to_save(tiny, tmp_path) -> None:
    for _ in mz.training(tiny, out=tmp_path / "run"):
        break
    assert not (tmp_path / "run" / "checkpoints").exists()
    mz.train(tiny, out=tmp_path / "run", resume=True)


def test_a_tracker_hears_of_a_loop_that_is_left(tiny, tmp_path, monkeypatch) -> None:
    class Memory:
        ended = 0

        def begin(self, folder, run_id, config, sent):
            return sent

        def log(self, number, images, values):
            pass

        def end(self, report):
            Memory.ended += 1

    monkeypatch.setitem(mz.run.trackers.TRACKERS, "memory", Memory)
    for progress in mz.training(tiny, out=tmp_path / "run", track="memory"):
        if progress.images == 40:
            break
    assert Memory.ended == 1
    assert checkpoint.listed(tmp_path / "run" / "checkpoints")[-1].name == "step-5"


def test_it_is_quiet_where_no_one_watches(tiny: Experiment, tmp_path, capfd) -> None:
    mz.train(tiny, out=tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")
    mz.train(tiny, out=tmp_path / "loud", progress=True)
    assert "saved" in capfd.readouterr().err


def test_the_command_line_is_a_shell_over_it(few_glyphs, tmp_path, capsys: CapSys) -> None:
    fields = SHORT | {"channels": (4, 8), "groups": 2, "blocks": 1, "attention": (1,), "patch": 2}
    mz.train("glyphs-ddpm", out=tmp_path / "a", flip=True, **fields)
    flags = []
    for name, value in fields.items():
        words = value if isinstance(value, tuple) else [value]
        flags += [f"--{name.replace('_', '-')}", *map(str, words)]
    said = call(capsys, "train", "glyphs-ddpm", "--out", str(tmp_path / "b"), "--flip", *flags)
    assert said[0] == 0, said
    assert_same(tmp_path / "a", tmp_path / "b")


# A network of the user's own.


@pytest.mark.usefixtures("nothing_passed")
@pytest.mark.parametrize("net", [own, Own(4, 3)], ids=["partial", "module"])
def test_a_network_of_ones_own_is_trained_stopped_and_resumed_to_the_bit(
    data, tmp_path: Path, net: object
) -> None:
    """It has dropout, batch norm and tied weights. The resuming process does not know it."""
    whole = train(data=data, net=net, out=tmp_path / "whole")
    config = configuration.read(tmp_path / "whole" / "config.json")
    started = run(config, tmp_path / "crashed")
    for _ in range(1 + 7):
        next(started)
    started.close()  # as a crash: what came after step 4 is lost
    passing._PASSED.clear()
    train(data=data, net=net, out=tmp_path / "crashed", resume=True)
    assert_same(tmp_path / "crashed", tmp_path / "whole")
    for progress in training(data=data, net=net, out=tmp_path / "left"):
        if progress.images == 40:
            break
    again = train(data=data, net=net, out=tmp_path / "left", resume=True)
    assert_same(tmp_path / "left", tmp_path / "whole")
    assert torch.equal(whole.sample(4, guidance=2.0), again.sample(4, guidance=2.0))
    assert whole.digest == again.digest


@pytest.mark.usefixtures("nothing_passed")
def test_a_run_of_a_network_of_ones_own_is_loaded_with_that(data, tmp_path: Path) -> None:
    pipe = train(data=data, net=own, out=tmp_path / "run")
    images = pipe.sample(4, steps=4)
    assert torch.equal(mz.load(tmp_path / "run").sample(4, steps=4), images)  # it was passed
    passing._PASSED.clear()
    with pytest.raises(mz.UserError, match=r"own:Own\(width=4, classes=3\).*mz\.load\(run, net="):
        mz.load(tmp_path / "run")
    for net in (own, Own, Own(4, 3)):
        assert torch.equal(mz.load(tmp_path / "run", net=net).sample(4, steps=4), images)
        passing._PASSED.clear()


def test_the_users_module_is_trained_from_its_weights_and_left_as_it_is(data, tmp_path) -> None:
    module = Own(4, 3)
    before = module.out.weight.clone()
    pipe = train(data=data, net=module, out=tmp_path / "run", lr=1e-9, images=8)
    assert torch.equal(module.out.weight, before)
    torch.testing.assert_close(pipe.net.module.out.weight, before, atol=1e-6, rtol=0)
    module.load_state_dict(pipe.net.state_dict())


def test_a_module_in_evaluation_mode_is_trained_as_in_training_mode(data, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Own(4, 3)  # which has dropout and batch norm
    before = torch.get_rng_state()
    one = train(data=data, net=net, out=tmp_path / "a", images=8)
    assert torch.equal(torch.get_rng_state(), before)  # so the user's next network is another
    two = train(data=data, net=net.eval(), out=tmp_path / "b", images=8)
    assert one.digest == two.digest
    assert not net.training


def test_a_class_is_made_anew_with_the_runs_seed(data, tmp_path: Path) -> None:
    one = train(data=data, net=own, out=tmp_path / "a", images=8)
    torch.manual_seed(77)
    two = train(data=data, net=own, out=tmp_path / "b", images=8)
    other = train(data=data, net=own, out=tmp_path / "c", images=8, seed=1)
    assert one.digest == two.digest != other.digest


def test_a_network_without_classes_gets_no_condition(data, tmp_path: Path) -> None:
    pipe = train(data=data, net=Plain, out=tmp_path / "run", conditional=False)
    assert pipe.classes == ()
    assert pipe.sample(2).shape == (2, 3, 8, 8)


def test_a_network_that_learns_the_variance(data, tmp_path: Path) -> None:
    both = functools.partial(Wrong, "variance")
    pipe = train(
        data=data, net=both, out=tmp_path / "run", conditional=False, learn_variance=True,
        timesteps=10, sampler="ddpm", variance="learned",
    )  # fmt: skip
    assert pipe.sample(2).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_users_network_with_any_weights_is_resumed_and_averaged(data, tmp_path, dtype) -> None:
    class Scaled(Own):
        """A network with a weight without dimensions, whose weights may be float64."""

        def __init__(self) -> None:
            super().__init__(4, 3)
            self.gain = torch.nn.Parameter(torch.ones(()))
            self.to(dtype)

        def forward(self, x, t, condition):
            return self.gain * super().forward(x.to(dtype), t.to(dtype), condition)

    how = {"images": 24, "save_every": 8, "snapshots": 8, "lr": 0.01}
    torch.manual_seed(0)
    net = Scaled()
    whole = train(data=data, net=net, out=tmp_path / "a", **how)
    started = training(data=data, net=net, out=tmp_path / "b", **how)
    for _ in range(2):
        next(started)
    started.close()
    again = mz.train(data=data, net=net, out=tmp_path / "b", resume=True)
    assert again.digest == whole.digest
    (found,) = mz.average(tmp_path / "a", 0.1)
    averaged = mz.load(found.path, net=net)
    assert averaged.digest != whole.digest
    assert averaged.sample(2).shape == (2, 3, 8, 8)


def test_a_network_of_ours_may_be_another(data, tmp_path: Path) -> None:
    dit = mz.DiTConfig(patch=2, width=16, depth=1, heads=2)
    train(data=data, net=dit, out=tmp_path / "run", images=8)
    assert configuration.read(tmp_path / "run" / "config.json").net == dit
    config = replace(dit, patch=4)
    with pytest.raises(mz.UserError, match="was begun with `patch=2`, not 4"):
        train(data=data, net=config, out=tmp_path / "run", images=8, resume=True)


@pytest.mark.usefixtures("nothing_passed")
def test_resuming_with_another_network_is_refused_or_warned_of(
    data, tmp_path: Path, monkeypatch
) -> None:
    train(data=data, net=own, out=tmp_path / "run")
    with (
        pytest.warns(UserWarning, match="has changed since the training"),
        pytest.raises(mz.UserError, match=r"`net` does not fit the weights .*size mismatch"),
    ):
        train(data=data, net=functools.partial(own, width=8), out=tmp_path / "run", resume=True)
    mz.train(out=tmp_path / "run", resume=True)  # it was passed in this process
    monkeypatch.setattr(passing, "_PASSED", {})
    with pytest.raises(mz.UserError, match=r"of your own, own:Own\(width=4, .*pass the module"):
        mz.train(out=tmp_path / "run", resume=True)


# What cannot be.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": Lacking}, r"does not take \(x, t, condition\)"),
        ({"net": functools.partial(Wrong, "channels")}, r"returns \(2, 1, 8, 8\)"),
        ({"net": functools.partial(Wrong, "sides")}, r"returns \(2, 3, 7, 8\)"),
        ({"net": own, "learn_variance": True}, r"it? ?return \(2, 6, 8, 8\)"),
        ({"net": functools.partial(Own, classes=1)}, "of class 0 and the null class 3"),
        ({"net": Wrong}, "cannot be called without arguments"),
        ({"net": "unet"}, "`net` is of type str: pass an nn.Module"),
        ({"net": mz.VAEConfig()}, "cifar10-ddpm-small cannot train a `net` of type VAEConfig"),
        (
            {"net": own, "non_leaking": 0.1},
            "`non_leaking` needs a network with an input for the augmentation",
        ),
        ({"net": own, "channels": (8,)}, "unknown argument `channels`"),
        ({"imags": 3}, "unknown argument `imags`; did you mean images"),
        ({"images": "many"}, "`images`: input should be a valid integer, not 'many'"),
        ({"flip": "no"}, "`flip`: input should be a valid boolean, not 'no'"),
        ({"out": 3}, "`out` is 3: give the run's folder"),
        ({"track": "paper"}, "unknown track 'paper': choose one of wandb, tensorboard"),
        ({"data": np.zeros((4, 8, 8))}, r"`data` is of type ndarray: pass mz\.prepare"),
        ({"data": "nowhere"}, "nowhere"),
        ({"size": 16}, "`size` is 16 but `data` was prepared with None"),
        ({"resume": "yes"}, "`resume` is 'yes': give True or False"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    data, tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(mz.UserError, match=message):
        train(**({"data": data, "out": tmp_path / "run"} | options))
    assert not (tmp_path / "run").exists()


def test_a_training_without_gradients_is_refused(tiny: Experiment, tmp_path: Path) -> None:
    with torch.no_grad(), pytest.raises(mz.UserError, match="needs gradients, but they are turned"):
        mz.train(tiny, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_a_training_in_another_default_type_is_refused(tiny: Experiment, tmp_path, kind) -> None:
    torch.set_default_dtype(kind)
    try:
        with pytest.raises(mz.UserError, match=f"torch's default type is {kind}, but networks"):
            mz.train(tiny, out=tmp_path / "run")
    finally:
        torch.set_default_dtype(torch.float32)
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_there_is_none_of(tmp_path) -> None:
    with pytest.raises(mz.UserError, match="did you mean cifar10-ddpm"):
        mz.train("cifar10-dpm", out=tmp_path / "run")
    with pytest.raises(mz.UserError, match="the recipe is of type dict: give its name"):
        mz.train({"images": 3}, out=tmp_path / "run")


def test_an_out_that_holds_another_run_says_how_to_resume(trained: Path, tiny, capsys) -> None:
    with pytest.raises(mz.UserError, match=r"already holds a run: pass `resume=True`, or .*`out`"):
        mz.train(tiny, out=trained)
    with pytest.raises(mz.UserError, match=r"was begun with `lr=0\.001`, not 0\.1"):
        mz.train(tiny, out=trained, lr=0.1, resume=True)
    code, _, err = call(capsys, "train", "glyphs-ddpm", "--out", str(trained))
    assert code == 2
    assert err.endswith("already holds a run: pass --resume, or choose another --out\n")


def test_a_part_of_a_data_set_and_another_split_are_refused(data, tmp_path: Path) -> None:
    with pytest.raises(mz.UserError, match="`data` is a subset of a data set"):
        train(data=data.some(10), out=tmp_path / "run")
    with pytest.raises(mz.UserError, match="`data` is the split 'test' of glyphs"):
        train(data=mz.prepare("glyphs", split="test"), out=tmp_path / "run")


def test_an_autoencoder_takes_no_network_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(mz.UserError, match="glyphs-vae cannot train a `net`"):
        mz.train("glyphs-vae", net=own, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "term", "value"),
    [
        ("discriminator_penalty", "adversarial", 0.1),
        ("adversarial_from", "adversarial", 8),
        ("perceptual_network", "perceptual", "cifar10"),
    ],
)
def test_a_setting_of_a_term_that_is_turned_off_is_refused(
    tmp_path: Path, name: str, term: str, value: object
) -> None:
    with pytest.raises(mz.UserError, match=f"`{name}` has no effect because `{term}` is 0"):
        mz.train("glyphs-vae", **{name: value, term: 0.0}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"posterior": "sample"}, "`posterior` has no effect without `vae`: leave out"),
        ({"label_dropout": 0.3}, "`label_dropout` has no effect with `conditional=False`"),
        ({"guidance": 3.0}, "`guidance` has no effect with `conditional=False`"),
    ],
)
def test_a_setting_of_what_is_turned_off_is_refused(tiny, tmp_path, fields, message) -> None:
    with pytest.raises(mz.UserError, match=message):
        mz.training(tiny, out=tmp_path / "run", conditional=False, **fields)


def test_each_of_several_trainings_has_its_own_network(data, tmp_path: Path) -> None:
    nets = [own() for _ in range(2)]
    trainings = [training(data=data, net=net, out=tmp_path / str(i)) for i, net in enumerate(nets)]
    for net, steps in zip(nets, trainings, strict=True):
        next(steps)
        weights = steps.gi_frame.f_locals["job"].state.net.state_dict()
        assert all(torch.equal(weights[k], v) for k, v in net.state_dict().items())
        steps.close()


def test_gradients_that_are_turned_off_after_the_call_are_named(tiny, tmp_path: Path) -> None:
    steps = mz.training(tiny, out=tmp_path / "run")
    with torch.no_grad(), pytest.raises(mz.UserError, match="needs gradients, but they are turned"):
        next(steps)


def test_a_training_that_always_drops_the_labels_says_so(tiny: Experiment) -> None:
    always = replace(tiny.objective, label_dropout=1.0)
    assert "learns nothing about its conditions" in unlearned(always, [ClassCondition(("a", "b"))])
    assert not unlearned(always, [])
    assert not unlearned(tiny.objective, [ClassCondition(("a", "b"))])


def test_a_training_that_never_drops_the_labels_says_so(tiny: Experiment, tmp_path: Path) -> None:
    linear = replace(tiny.noise, schedule="linear", timesteps=100)
    with pytest.warns(UserWarning, match="schedule does not end in pure noise, from which samp"):
        mz.train(replace(tiny, noise=linear), out=tmp_path / "linear", images=8)
    never = replace(tiny, objective=replace(tiny.objective, label_dropout=0.0))
    with pytest.warns(UserWarning, match="`label_dropout=0`, so guidance and samples without a"):
        finish(never, tmp_path / "run")
    with pytest.warns(UserWarning, match=r"run: .*`label_dropout=0`, so guidance"):
        mz.load(tmp_path / "run")
