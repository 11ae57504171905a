"""Whole runs, spoilt on purpose, looked over; and what the command says of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import TINY
from mezzotint.config.sampling import SampleConfig
from mezzotint.data.sources import glyphs
from mezzotint.doctor import Finding, examine
from mezzotint.errors import UserError
from mezzotint.pipeline import tuned
from mezzotint.run import run
from spoil import configure, newest, rows, spoil

from commands import CapSys, call


@pytest.fixture(autouse=True)
def few_held_out(few_glyphs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(glyphs.COUNTS, "test", 60)


def look(folder: Path) -> dict[str, str]:
    """Each fault that was looked for, with its severity."""
    return {finding.title: finding.severity for finding in examine(folder, samples=20)}


def test_a_run_is_looked_over_to_the_end_and_its_weights_are_well(trained: Path) -> None:
    steps: list[tuple[float, int]] = []
    found = list(examine(trained, 20, lambda what, done, total: steps.append((done, total))))
    severities = {finding.title: finding.severity for finding in found}
    assert len(severities) == len(found)
    assert steps[-1][0] == steps[-1][1]
    for title in (
        *("loss of NaN", "unfinished training", "damaged checkpoint", "weights not finite"),
        *("training set missing", "schedule ends before noise", "sampling begins below noise"),
        *("guidance without label dropout", "EMA lagging", "memorisation"),
    ):
        assert severities[title] == "well", title
    assert {"colour drift", "label shuffle", "network no better than none"} <= set(severities)


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
    ("loss of NaN", "wrong", diverge),
    ("damaged checkpoint", "wrong", cut_short),
    ("weights not finite", "wrong", not_a_number),
    ("network no better than none", "wrong", shout),
    ("EMA lagging", "wrong", initial),
    ("labels ignored", "wrong", forget_labels),
    ("too few samples", "doubtful", of_few),
    (
        "schedule ends before noise",
        "wrong",
        lambda run: configure(run, "noise", schedule="linear", timesteps=50),
    ),
    (
        "guidance without label dropout",
        "wrong",
        lambda run: configure(run, "objective", label_dropout=0.0),
    ),
    ("EMA half-life out of reach", "doubtful", lambda run: None),
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
    assert found["loss of NaN"] == "well"
    assert found["too few samples"] == "doubtful"


def test_a_damaged_checkpoint_is_passed_over_or_the_end(trained: Path) -> None:
    cut_short(trained)
    assert "memorisation" in look(trained)  # the one before it was looked at
    for path in (trained / "checkpoints").glob("step-*/ema.safetensors"):
        path.write_bytes(b"")
    assert "weights not finite" not in look(trained)


def recommend(run: Path, **fields: object) -> None:
    """As a sweep that found these settings best."""
    choice = tuned.Choice(SampleConfig(**fields), 10, 1.0, (0.9, 1.1))
    facts = {"metric": "fd-glyphs", "samples": 100, "seed": 0, "precision": "float32"}
    tuned.write(run, tuned.Recommended(**facts, digest="", budgets={}, best=choice))


BEGINS = "sampling begins below noise"


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
    found: list[Finding] = []
    with pytest.raises(UserError, match="missing or extra weights"):
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
    assert {"pictures all alike", "memorisation"} <= set(found)
    assert "labels ignored" not in found
    assert classes or not {"label shuffle", "guidance without label dropout"} & set(found)


def test_latents_are_looked_at_in_an_autoencoder_and_under_a_diffusion(
    trained_vae: Path, trained_ldm: Path
) -> None:
    found = look(trained_vae)
    assert found["EMA lagging"] == found["posterior exploding"] == "well"
    assert found["poor reconstruction"] == "wrong"  # of 12 steps
    assert "latents unscaled" not in found
    of_few(trained_vae)  # no matter: reconstructions have no floor
    assert "too few samples" not in look(trained_vae)
    assert look(trained_ldm)["latents unscaled"] == "well"

    def unscale(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return tensors | {"std": tensors["std"] / 10}

    spoil(trained_ldm, "codec", unscale)
    assert look(trained_ldm)["latents unscaled"] == "wrong"


def test_a_collapsed_and_an_exploded_posterior_are_named(trained_vae: Path) -> None:
    weights = load_file(newest(trained_vae) / "ema.safetensors")
    (last,) = [k for k in weights if k.startswith("quant") and k.endswith("weight")]
    (bias,) = [k for k in weights if k.startswith("quant") and k.endswith("bias")]
    other = Path(shutil.copytree(trained_vae, trained_vae.with_name("other")))
    spoil(trained_vae, "ema", lambda t: t | {last: 0 * t[last], bias: 0 * t[bias]})
    assert look(trained_vae)["dead latent channels"] == "wrong"
    spoil(other, "ema", lambda t: t | {last: 1e5 * t[last]})
    assert look(other)["posterior exploding"] == "wrong"


def test_the_command_says_what_is_wrong_and_exits_with_1(trained: Path, capsys: CapSys) -> None:
    not_a_number(trained)
    code, said, _ = call(capsys, "doctor", str(trained), "--samples", "20")
    assert code == 1
    assert "wrong: weights not finite\n  measured: " in said
    assert "\n  cause: " in said
    assert "\n  fix: " in said
    assert "looked for, and not found: loss of NaN" in said
    assert said.splitlines()[-1] == f"{trained}: 1 wrong, 1 doubtful"


def test_where_nothing_is_wrong_it_says_so_and_exits_with_0(capsys, monkeypatch) -> None:
    found = [Finding("well", "plateau", "0"), Finding("doubtful", "colour drift", "1", "a", "b")]
    monkeypatch.setattr("mezzotint.cli.doctor.examine", lambda *_: iter(found))
    code, said, _ = call(capsys, "doctor", "any")
    assert code == 0
    assert said.endswith("not found: plateau\nany: nothing wrong, 1 doubtful\n")
    code, said, _ = call(capsys, "doctor", "any", "--help")
    assert code == 0
    assert "Exits with 1 where something is wrong" in " ".join(said.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("doctor", "give a run's folder"),
        ("doctor nowhere", "nowhere is no run"),
        ("doctor RUN --samples 3", "3 pictures cannot be measured: give at least 10"),
        ("doctor RUN --smaples 3", "unknown field --smaples; did you mean --samples"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: str, message: str, trained: Path, capsys: CapSys
) -> None:
    code, _, said = call(capsys, *arguments.replace("RUN", str(trained)).split())
    assert (code, len(said.splitlines())) == (2, 1)
    assert message in said


def test_of_a_run_without_a_checkpoint_the_log_alone_is_looked_at(trained: Path) -> None:
    for path in (trained / "checkpoints").iterdir():
        shutil.rmtree(path)
    assert list(look(trained))[-1] == "damaged checkpoint"
    shutil.rmtree(trained / "checkpoints")
    with pytest.raises(UserError, match="no run with checkpoints"):
        look(trained)
