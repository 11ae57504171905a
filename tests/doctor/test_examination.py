"""Examinations of whole runs that were damaged on purpose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import TINY
from mezzotint.config.sampling import SampleConfig
from mezzotint.data.sources import glyphs
from mezzotint.doctor import Finding, diagnose, examine
from mezzotint.doctor.examination import _training_set
from mezzotint.errors import UserError
from mezzotint.pipeline import tuned
from mezzotint.run import run
from spoil import configure, newest, rows, spoil

from trainings import in_letters_and_numbers


@pytest.fixture(autouse=True)
def few_held_out(few_glyphs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(glyphs.COUNTS, "test", 60)


def look(folder: Path) -> dict[str, str]:
    """Return the severity of each finding by its title."""
    return {finding.title: finding.severity for finding in examine(folder, 20)}


def test_a_run_is_looked_over_to_the_end_and_its_weights_are_well(trained: Path) -> None:
    steps: list[tuple[float, int]] = []
    found = list(examine(trained, 20, lambda what, done, total: steps.append((done, total))))
    severities = {finding.title: finding.severity for finding in found}
    assert len(severities) == len(found)
    assert steps[-1][0] == steps[-1][1]
    for title in (
        *("loss not finite", "unfinished training", "damaged checkpoint", "weights not finite"),
        *(
            "training set missing",
            "schedule does not end in noise",
            "sampling does not start from noise",
        ),
        *("guidance without label dropout", "EMA lagging", "memorisation"),
    ):
        assert severities[title] == "well", title
    assert {"colour drift", "labels shuffled", "network no better than a guess"} <= set(severities)


def test_what_diagnose_returns_is_what_it_tells_as_it_goes(trained: Path) -> None:
    came: list[Finding] = []
    found = diagnose(str(trained), samples=20, on_finding=came.append)
    assert list(found) == came == list(examine(trained, 20))
    assert all(f.cause and f.fix for f in [*found.wrong, *found.doubtful])
    assert not any(f.cause or f.fix for f in found.well)


@pytest.mark.parametrize("samples", [9, 0, -1])
def test_too_few_samples_are_refused_before_anything_is_made(trained: Path, samples: int) -> None:
    with pytest.raises(UserError, match="give at least 10"):
        diagnose(trained, samples=samples, on_finding=pytest.fail)


def without(tensors: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {k: torch.zeros_like(v) if part in k else v for k, v in tensors.items()}


def initial(run: Path) -> None:
    torch.manual_seed(TINY.train.seed)
    spoil(run, "ema", lambda tensors: TINY.network(3, 10).state_dict())


def not_a_number(run: Path) -> None:
    spoil(run, "ema", lambda tensors: {k: v * float("nan") for k, v in tensors.items()})


def shout(run: Path) -> None:
    spoil(run, "net", lambda tensors: {k: 3 * v for k, v in tensors.items()})


def forget_labels(run: Path) -> None:
    spoil(run, "ema", lambda tensors: without(tensors, "label"))


def cut_short(run: Path) -> None:
    with (newest(run) / "ema.safetensors").open("r+b") as file:
        file.truncate(1000)


def of_few(run: Path) -> None:
    (run / "evaluation").mkdir()
    row = {"figures": [{"name": "fd-glyphs", "samples": 1000}]}
    (run / "evaluation" / "figures.jsonl").write_text(json.dumps(row))


def diverge(run: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows([1.0] * 19 + [float("nan")]))
    (run / "log.jsonl").write_text(text)


SPOILT: list[tuple[str, str, Callable[[Path], None]]] = [
    ("loss not finite", "wrong", diverge),
    ("damaged checkpoint", "wrong", cut_short),
    ("weights not finite", "wrong", not_a_number),
    ("network no better than a guess", "wrong", shout),
    ("EMA lagging", "wrong", initial),
    ("labels ignored", "wrong", forget_labels),
    ("too few samples", "doubtful", of_few),
    (
        "schedule does not end in noise",
        "wrong",
        lambda run: configure(run, "noise", schedule="linear", timesteps=50),
    ),
    (
        "guidance without label dropout",
        "wrong",
        lambda run: configure(run, "objective", label_dropout=0.0),
    ),
    ("EMA half-life longer than training", "doubtful", lambda run: None),
    ("training set missing", "doubtful", lambda run: configure(run, "data", data="nowhere")),
]


@pytest.mark.parametrize(("title", "severity", "change"), SPOILT, ids=[s[0] for s in SPOILT])
def test_a_spoilt_run_is_named(
    trained: Path, title: str, severity: str, change: Callable[[Path], None]
) -> None:
    change(trained)
    assert look(trained)[title] == severity


@pytest.mark.parametrize("damage", [b"{}\n", b"\xff\n", b'{"figures": [1]}\n'])
def test_damaged_rows_are_left_out(trained: Path, damage: bytes) -> None:
    of_few(trained)
    for path in (trained / "log.jsonl", trained / "evaluation" / "figures.jsonl"):
        path.write_bytes(damage + path.read_bytes() + b"\n" + damage)
    found = look(trained)
    assert found["loss not finite"] == "well"
    assert found["too few samples"] == "doubtful"


def test_a_damaged_checkpoint_is_passed_over_or_the_end(trained: Path) -> None:
    cut_short(trained)
    assert "memorisation" in look(trained)  # the one before it was looked at
    for path in (trained / "checkpoints").glob("step-*/ema.safetensors"):
        path.write_bytes(b"")
    assert "weights not finite" not in look(trained)


def recommend(run: Path, **fields: object) -> None:
    """Write the recommendation of a sweep that found these settings best."""
    choice = tuned.BestSettings(SampleConfig(**fields), 10, 1.0, (0.9, 1.1))
    facts = {"metric": "fd-glyphs", "samples": 100, "seed": 0, "precision": "float32"}
    tuned.write(run, tuned.Recommended(**facts, digest="", budgets={}, best=choice))


BEGINS = "sampling does not start from noise"


def test_the_settings_in_use_are_judged_which_a_sweep_may_have_chosen(trained: Path) -> None:
    recommend(trained, steps=10, spacing="leading")
    assert look(trained)[BEGINS] == "wrong"
    configure(trained, "sample", steps=10, spacing="leading")
    recommend(trained, steps=10)
    assert look(trained)[BEGINS] == "well"
    recommend(trained, steps=1001)  # does not fit, and is ignored
    assert look(trained)[BEGINS] == "wrong"
    recommend(trained, steps=10)
    not_a_number(trained)
    assert look(trained)[BEGINS] == "well"


def test_of_a_model_that_cannot_be_loaded_the_configuration_is_judged(trained_ldm: Path) -> None:
    configure(trained_ldm, "sample", steps=10, spacing="leading")
    recommend(trained_ldm, steps=10, clipping="none")
    spoil(trained_ldm, "codec", lambda t: {k: t[k] for k in ("mean", "std")})
    shutil.rmtree(trained_ldm / "checkpoints" / "step-8")  # which would be used instead
    found: list[Finding] = []
    with pytest.raises(UserError, match="weights are missing or superfluous"):
        found.extend(examine(trained_ldm, 20))
    assert {f.title: f.severity for f in found}[BEGINS] == "doubtful"


def test_a_run_killed_early_is_unfinished(tiny, tmp_path: Path) -> None:
    training = run(tiny, tmp_path / "run")
    for _ in range(6):
        next(training)
    training.close()
    assert look(tmp_path / "run")["unfinished training"] == "doubtful"


@pytest.mark.parametrize("classes", [0, 1])
def test_labels_are_not_looked_at_where_there_are_not_two(tiny, tmp_path, classes: int) -> None:
    folder = tmp_path / "data" / ("only" if classes else "")
    folder.mkdir(parents=True)
    for i in range(6):
        Image.new("RGB", (16, 16), (40 * i, 250, 20)).save(folder / f"{i}.png")
    short = replace(
        tiny,
        data=replace(tiny.data, data=str(tmp_path / "data"), conditional=bool(classes)),
        train=replace(tiny.train, images=16),
        sample=replace(tiny.sample, guidance=1.0),
    )
    for _ in run(short, tmp_path / "run"):
        pass
    found = look(tmp_path / "run")
    assert {"samples all alike", "memorisation"} <= set(found)
    assert "labels ignored" not in found
    assert classes or not {"labels shuffled", "guidance without label dropout"} & set(found)


def test_latents_are_looked_at_in_an_autoencoder_and_under_a_diffusion(
    trained_vae: Path, trained_ldm: Path
) -> None:
    found = look(trained_vae)
    assert found["EMA lagging"] == found["posterior exploding"] == "well"
    assert found["poor reconstruction"] == "wrong"  # of 12 steps
    assert "latents not scaled" not in found
    of_few(trained_vae)  # no matter: reconstructions have no floor
    assert "too few samples" not in look(trained_vae)
    assert look(trained_ldm)["latents not scaled"] == "well"

    def unscale(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return tensors | {"std": tensors["std"] / 10}

    spoil(trained_ldm, "codec", unscale)
    assert look(trained_ldm)["latents not scaled"] == "wrong"


def test_a_collapsed_and_an_exploded_posterior_are_named(trained_vae: Path) -> None:
    weights = load_file(newest(trained_vae) / "ema.safetensors")
    (last,) = [k for k in weights if k.startswith("quant") and k.endswith("weight")]
    (bias,) = [k for k in weights if k.startswith("quant") and k.endswith("bias")]
    other = Path(shutil.copytree(trained_vae, trained_vae.with_name("other")))
    spoil(trained_vae, "ema", lambda t: t | {last: 0 * t[last], bias: 0 * t[bias]})
    assert look(trained_vae)["dead latent channels"] == "wrong"
    spoil(other, "ema", lambda t: t | {last: 1e5 * t[last]})
    assert look(other)["posterior exploding"] == "wrong"


def test_class_folders_in_another_order_are_numbered_as_at_the_training() -> None:
    then, now = in_letters_and_numbers()
    config = SimpleNamespace(data=SimpleNamespace(data="here", prepared=lambda: now))
    facts = {"data": then.fingerprint, "classes": then.classes}
    found = _training_set(config, facts)
    assert found.classes == then.classes
    by_image = {image.tobytes(): int(k) for image, k in zip(then.images, then.labels, strict=True)}
    assert [by_image[image.tobytes()] for image in found.images] == [*found.labels]
    assert _training_set(config, {**facts, "classes": []}) is now
    with pytest.raises(UserError, match="here has changed since the training"):
        _training_set(config, {**facts, "data": "0" * 64})


def test_of_a_run_without_a_checkpoint_the_log_alone_is_looked_at(trained: Path) -> None:
    for path in (trained / "checkpoints").iterdir():
        shutil.rmtree(path)
    assert list(look(trained))[-1] == "damaged checkpoint"
    shutil.rmtree(trained / "checkpoints")
    with pytest.raises(UserError, match="not a run with checkpoints"):
        look(trained)
