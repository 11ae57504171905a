"""Distilled runs: trained, interrupted, loaded, sampled, measured, edited; and errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mezzotint as mz
from conftest import TINY as SMALLEST
from mezzotint import config as configuration
from mezzotint.config import changed
from mezzotint.config.experiment import Experiment
from mezzotint.pipeline import codecs
from mezzotint.run import distilling, run
from mezzotint.run.changes import in_words
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.run.distilling import begin, made_for, student
from mezzotint.run.folder import check_data
from mezzotint.storage import checkpoint

from commands import call
from trainings import assert_same, finish

TINY = {"images": 32, "batch": 8, "progress": False, "precision": "float32"}


@pytest.fixture(scope="session")
def finished_fast(finished: Path, once: Callable[..., Path], cache: Path) -> Path:
    """A finished student of the run of `tiny`. Tests may only copy it."""
    from conftest import small_and_own

    with pytest.MonkeyPatch.context() as patch:
        small_and_own(cache, patch)
        return once(
            "finished-fast", lambda out: mz.distil(finished, out=out, method="consistency", **TINY)
        )


@pytest.fixture
def fast(finished_fast: Path, few_glyphs: None, tmp_path: Path) -> Path:
    """A copy of the finished student, which a test may change."""
    return Path(shutil.copytree(finished_fast, tmp_path / "fast"))


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(mz.UserError) as wrong:
        work()
    (line,) = str(wrong.value).splitlines()
    return line


def crashed(experiment: Experiment, folder: Path, steps: int) -> None:
    running = run(experiment, folder)
    for _ in range(1 + steps):
        next(running)
    running.close()


def short(teacher: Path, method: str) -> Experiment:
    base = made_for(student(teacher), {"method": method})
    train = replace(base.train, images=64, batch=8)
    objective = replace(base.objective, teacher_steps=8)
    return replace(base, train=train, objective=objective, save_every=32, precision="float32")


def test_a_teacher_with_other_conditions_than_classes_has_another_default(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = checkpoint.listed(trained / "checkpoints")[-1]
    for teacher in (trained, newest):
        assert student(teacher).objective.method == "trajectory"  # type: ignore[union-attr]
    tags = {"conditions": [{"kind": "tags", "name": "tags", "tags": ["a"]}]}
    monkeypatch.setattr(codecs, "facts", lambda found: tags if found == newest else {})
    for teacher in (trained, newest):
        assert student(teacher).objective.method == "multistep"  # type: ignore[union-attr]


def test_guidance_that_a_student_does_not_learn_is_named(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration.read(trained / "config.json")
    assert isinstance(config, Experiment)
    guided = replace(config, sample=replace(config.sample, rescale=0.7))
    monkeypatch.setattr(configuration, "read", lambda path: guided)
    with pytest.warns(UserWarning, match="sampled with `rescale`, which a student does not learn"):
        assert student(trained).objective.scale == 2.0


def test_a_student_learns_the_interval_in_which_its_teacher_is_guided(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration.read(trained / "config.json")
    assert isinstance(config, Experiment)
    within = replace(config, sample=replace(config.sample, interval=(0.1, 3.0)))
    monkeypatch.setattr(configuration, "read", lambda path: within)
    assert student(trained).objective.guided_within == (0.1, 3.0)
    plain = replace(config, sample=replace(config.sample, guidance=1.0, interval=(0.1, 3.0)))
    monkeypatch.setattr(configuration, "read", lambda path: plain)
    assert student(trained).objective.guided_within is None


def test_a_student_starts_from_its_teachers_weights_and_settings(trained: Path) -> None:
    teacher, base = configuration.read(trained / "config.json"), student(trained)
    assert isinstance(teacher, Experiment)
    assert base.objective == mz.DistillationConfig(teacher=str(trained), scale=2.0)
    assert (base.data, base.noise) == (teacher.data, teacher.noise)
    assert base.net == replace(teacher.net, dropout=0.0)
    assert base.recipe == "tiny-few"
    how = base.sample
    assert (how.sampler, how.steps, how.spacing, how.eta) == ("consistency", 2, "angle", 0.0)
    job = DiffusionJob(base, torch.device("cpu"), None)
    assert job.pipe.net is job.state.ema.module  # samples of a training have the newest weights
    weights, ours = mz.load(trained).net.state_dict(), job.state.net.state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in weights.items())


@pytest.mark.parametrize("method", ["progressive", "trajectory"])
def test_a_resumed_distillation_is_the_uninterrupted_one(
    method: str, trained: Path, tmp_path: Path
) -> None:
    """It resumes across a change of the stage, and with stored trajectories."""
    experiment = short(trained, method)
    finish(experiment, tmp_path / "whole")
    crashed(experiment, tmp_path / "parts", 3)
    finish(experiment, tmp_path / "parts", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "parts")
    if method == "progressive":
        parts = checkpoint.newest(tmp_path / "parts" / "checkpoints", print)
        assert parts is not None
        assert int(load_file(parts / "task.safetensors")["stage"]) == 1


@pytest.mark.parametrize(
    ("method", "images", "step"),
    [("progressive", 96, 7), ("tuning", 96, 5), ("trajectory", 96, 1), ("trajectory", 96_000, 9)],
)
def test_another_length_that_changes_the_method_is_told(
    method: str, images: int, step: int, trained: Path
) -> None:
    now = changed(short(trained, method), {"images": images, "cooldown": 0.0})
    lengths = {"train.images": (images, 2 * images)}
    told = [" method divides a training " in in_words(lengths, now, i) for i in range(8)]
    assert told == [step <= i for i in range(8)]


def test_another_clipping_of_the_teacher_is_told(trained: Path, tiny: Experiment) -> None:
    changes = {"sample.clipping": ("static", "none")}
    assert "that are clipped differently" in in_words(changes, short(trained, "multistep"), 1)
    assert in_words(changes, tiny, 1) == "changed: clipping static -> none"


def test_a_student_samples_in_one_evaluation_a_call(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = mz.load(fast)
    assert pipe.few_step == mz.FewStep(guidance=2.0)
    assert "made for any number of calls, with a built-in guidance of 2" in repr(pipe)
    sizes: list[int] = []
    pipe.net.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    for steps in (1, 4):
        sizes.clear()
        images = pipe.sample(3, steps=steps)
        assert images.shape == (3, 3, 32, 32)
        assert sizes == [3] * steps
    assert torch.equal(pipe.sample(3), pipe.sample(3, steps=2, eta=1.0))
    assert not torch.equal(pipe.sample(3), pipe.sample(3, eta=0.0))


def test_a_saved_student_is_one_too(fast: Path, tmp_path: Path) -> None:
    pipe = mz.load(fast)
    back = mz.load(pipe.save(tmp_path / "saved"))
    assert back.few_step == pipe.few_step
    assert torch.equal(back.sample(2), pipe.sample(2))


def test_a_student_of_a_fixed_number_of_calls_keeps_to_it(trained: Path, tmp_path: Path) -> None:
    pipe = mz.distil(trained, method="multistep", calls=3, out=tmp_path / "three", **TINY)
    assert pipe.few_step == mz.FewStep(guidance=2.0, calls=3)
    assert (pipe.defaults.steps, pipe.defaults.eta) == (3, 0.0)
    assert len(pipe.sample(2)) == 2
    fixed = "this model was distilled for 3 network calls with the spacing 'angle': leave out"
    assert refused(lambda: pipe.sample(2, steps=2)).startswith(fixed)
    assert refused(lambda: pipe.sample(2, spacing="trailing")).startswith(fixed)


def test_a_second_guidance_is_refused(fast: Path) -> None:
    pipe = mz.load(fast)
    inside = (
        "this few-step model has a built-in guidance of 2: leave out the options of guidance, such "
        "as `guidance`"
    )
    for settings in ({"guidance": 2.0}, {"guidance": 0.0}, {"rescale": 0.5}):
        assert refused(lambda s=settings: pipe.sample(2, **s)) == inside  # type: ignore[misc]
    assert refused(lambda: pipe.denoiser([0], guidance=3.0)) == inside
    assert len(pipe.sample(2, guidance=1.0)) == 2
    needs = "guidance by a weaker model needs the mean"
    assert needs in refused(lambda: pipe.guided_by(pipe))
    assert needs in refused(lambda: replace(pipe, few_step=None).guided_by(pipe))


def test_samplers_are_for_one_kind_of_model(fast: Path, trained: Path) -> None:
    wrong = "the sampler ddim cannot sample from a few-step model: choose `sampler="
    assert refused(lambda: mz.load(fast).sample(2, sampler="ddim")).startswith(wrong)
    wrong = "the sampler consistency is only for few-step models: choose another"
    assert refused(lambda: mz.load(trained).sample(2, sampler="consistency")).startswith(wrong)


def test_no_grid_is_optimised_for_a_student(fast: Path) -> None:
    wrong = "the spacing optimised is only for models that predict the mean of x0"
    assert refused(lambda: mz.load(fast).sample(2, spacing="optimised")).startswith(wrong)


def test_a_student_varies_images_and_refuses_what_needs_the_flow(fast: Path) -> None:
    pipe = mz.load(fast)
    images = pipe.sample(2)
    assert pipe.vary(images, 0.5, labels=[0, 1]).shape == images.shape
    assert "cannot sample without labels: give `labels`" in refused(lambda: pipe.vary(images, 0.5))
    mask = torch.zeros(32, 32)
    mask[:8] = 1
    needs = "needs the mean of x0 at each level, which a few-step model does not predict: give"
    for work in (
        lambda: pipe.inpaint(images, mask),
        lambda: pipe.enlarge(images[:, :, ::2, ::2], 2),
        lambda: pipe.invert(images),
        lambda: pipe.interpolate(images[0], images[1]),
    ):
        assert needs in refused(work)


def test_a_student_is_swept_measured_examined_and_shown(fast: Path, tmp_path: Path) -> None:
    found = mz.sweep(fast, samples=10, network="glyphs")
    assert [cell.calls for cell in found.cells] == [1, 2, 4]
    assert {cell.settings.sampler for cell in found.cells} == {"consistency"}
    assert "accuracy" in mz.evaluate(fast, samples=10, metrics="accuracy")
    titles = {finding.title for finding in mz.diagnose(fast, samples=10)}
    assert "guidance without label dropout" not in titles
    page = mz.report(fast, out=tmp_path / "page.html", samples=1)
    text = Path(page).read_text()
    assert "by consistency in 4 steps" in text
    assert "Not shown" not in text


def test_latents_are_distilled_with_the_teachers_codec(trained_ldm: Path, tmp_path: Path) -> None:
    pipe = mz.distil(trained_ldm, out=tmp_path / "fast", **TINY)
    assert pipe.codec.digest == mz.load(trained_ldm).codec.digest
    assert pipe.sample(2).shape == (2, 3, 32, 32)


def test_a_latent_teacher_without_its_codec_is_refused(trained_ldm: Path, tmp_path: Path) -> None:
    newest = checkpoint.listed(trained_ldm / "checkpoints")[-1]
    (newest / "codec.safetensors").unlink()
    assert "codec" in refused(lambda: mz.distil(newest, out=tmp_path / "fast", **TINY))


def test_a_teacher_of_few_timesteps_has_students(few_glyphs: None, tmp_path: Path) -> None:
    noise = replace(SMALLEST.noise, timesteps=10)
    finish(replace(SMALLEST, noise=noise), teacher := tmp_path / "teacher")
    assert made_for(student(teacher), {"calls": 3}).sample.steps == 3
    # The usual number of the teacher's steps is 12.
    assert mz.distil(teacher, out=tmp_path / "fast", **TINY).defaults.steps == 2
    for wrong in ({"teacher_steps": 12}, {"calls": 6}):
        assert refused(lambda w=wrong: mz.distil(teacher, out=tmp_path / "x", **TINY, **w)) == (  # type: ignore[misc]
            "the teacher has only 10 timesteps: give fewer `teacher_steps` or `calls`, or another "
            "`method`"
        )


def test_a_damaged_recommendation_of_the_teacher_is_named(trained: Path, tmp_path: Path) -> None:
    path = trained / "recommended.json"
    path.write_text("{}")
    said = refused(lambda: mz.distil(trained, out=tmp_path / "fast", **TINY))
    assert said.startswith(f"{path} is unusable (")
    assert said.endswith("): repeat the sweep, or delete the file")


def test_what_cannot_be_distilled_is_refused(
    fast: Path, trained_vae: Path, trained: Path, tmp_path: Path
) -> None:
    saved = mz.load(trained).save(tmp_path / "saved")
    for model, wanted in (
        (fast, f"{fast} is a few-step model already: give the model that it was distilled from, "),
        (trained_vae, f"{trained_vae} is an autoencoder: give a diffusion model to distil"),
        (saved, f"{saved} was saved without its configuration: give the run or the checkpoint"),
        (tmp_path, f"{tmp_path} is not a run or a checkpoint: give a model that mezzotint"),
    ):
        assert refused(lambda m=model: mz.distil(m, out=tmp_path / "x")).startswith(wanted)  # type: ignore[misc]


def test_data_and_settings_that_do_not_fit_the_teacher_are_refused(
    trained: Path, tmp_path: Path
) -> None:
    def message(**fields: object) -> str:
        return refused(lambda: mz.distil(trained, out=tmp_path / "x", **TINY, **fields))

    assert message(size=16) == (
        "the data gives inputs of 16x16x3, but the teacher's are 32x32x3: give images "
        "of 32x32x3, for example with `size=32`"
    )
    assert "`scale` is 2, but a teacher without classes" in message(conditional=False)
    assert "the data has the classes none, but the teacher has the classes 0, 1, 2" in message(
        conditional=False, scale=1.0
    )
    assert message(calls=0) == "`calls`: input should be greater than 0, not 0"
    assert message(guided_within=(3.0, 0.1)).startswith("`guided_within` is 3 to 0.1: give the")
    assert message(guided_within=(0.1, 3.0), scale=1.0).startswith("`guided_within` has no effect")
    assert message(teacher_steps=3).startswith("`teacher_steps` is 3: choose 4 or more")
    assert message(sampler="ddim").startswith("the sampler ddim is not for few-step models: choose")
    assert "set the guidance of the teacher with `scale`" in message(guidance=3.0)
    assert message(vae="other").startswith("a student works in the same space as its teacher")
    assert message(init="cifar10") == (
        "a student starts from the weights of its teacher: leave out `init`"
    )
    assert message(prediction="eps").startswith("the student predicts eps, but its teacher")
    assert message(schedule="laplace").startswith("the student has another noise schedule")
    for fields in ({"blocks": 2}, {"groups": 1}, {"non_leaking": 0.1}, {"learn_variance": True}):
        assert message(**fields).startswith("the student has another network than its teacher")
    assert "a teacher that predicts x0 cannot be distilled" in message(prediction="x0")


def test_weights_of_a_student_can_be_frozen(trained: Path, tmp_path: Path) -> None:
    fast = mz.distil(trained, out=tmp_path / "fast", freeze=("down.*",), **TINY)
    before = mz.load(trained).net.state_dict()
    kept = {k for k, weight in fast.net.state_dict().items() if torch.equal(weight, before[k])}
    assert kept == {name for name in before if name.startswith("down.")}


def test_a_run_is_resumed_with_its_own_teacher(fast: Path, trained: Path) -> None:
    other = f"{fast} was distilled from "
    assert refused(lambda: begin(trained, fast, True, {})).startswith(other)
    own = configuration.read(fast / "config.json").objective.teacher  # type: ignore[union-attr]
    assert begin(own, fast, True, {}).resumed


def test_a_teacher_with_other_weights_is_refused_at_a_resume(fast: Path) -> None:
    found = checkpoint.listed(fast / "checkpoints")[-1]
    facts = json.loads((found / "state.json").read_text())
    data = configuration.read(fast / "config.json", fast).data.prepared()
    check_data(found, facts, data)
    assert refused(lambda: check_data(found, {**facts, "teacher": "0"}, data)).startswith(
        "the teacher is"
    )


def test_the_command_line_distils_and_goes_on(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cli"
    words = ["distil", str(trained), "--images", "32", "--batch", "8", "--out", str(out)]
    code, printed, said = call(capsys, *words, "--calls", "1", "--guided-within", "0.1", "3")
    assert (code, printed.strip()) == (0, f"the distilled model is in {out}"), said
    how = mz.load(out).defaults
    assert (how.steps, how.eta) == (1, 0.0)
    words[3] = "64"
    code, _, said = call(capsys, *words, "--resume")
    assert code == 0, said
    assert mz.load(out).few_step == mz.FewStep(guidance=2.0, calls=1)
    assert configuration.read(out / "config.json").objective.guided_within == (0.1, 3.0)  # type: ignore[union-attr]
    assert call(capsys, "distil", str(trained), "--calls", "0")[0] == 2
    code, _, said = call(capsys, "distil", str(trained), "--teacher", "cifar10")
    assert (code, f"is already given as {trained}: leave out --teacher" in said) == (2, True)
    code, printed, _ = call(capsys, "distil", str(trained), "--help")
    assert (code, "--teacher-steps" in printed) == (0, True)


def test_a_student_is_trained_with_adamw_whatever_its_teacher() -> None:
    """The methods of distillation were measured only with AdamW."""
    muon = mz.TrainConfig(images=64_000, optimizer="muon")
    assert distilling._shorter(muon).optimizer == "adamw"
