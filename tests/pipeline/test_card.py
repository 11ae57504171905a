"""The model card of an exported model states what its folder records, and no private paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

import mezzotint as mz
from mezzotint.pipeline import shipped
from mezzotint.pipeline.card import card
from mezzotint.pipeline.few_step import FewStep
from mezzotint.pipeline.records import recorded
from mezzotint.storage import jsonl
from mezzotint.trainer.distilling.config import DistillationConfig

from commands import CapSys, call

PRIVATE = "/home/me/secret"


def of(pipe: mz.Pipeline) -> str:
    return card(pipe.in_precision("float32"), "safetensors", "mine", "")


def figure(
    name: str = "fd-glyphs", value: float = 12.345, count: int = 1_000, note: str = ""
) -> mz.Figure:
    to = f"100 images of {PRIVATE}/digits (split train)"
    return mz.Figure(name, value, value - 1, value + 1, count, "glyphs", against=to, note=note)


@pytest.fixture
def record(trained: Path) -> Callable[..., None]:
    """A function that records figures of the run as `mezzotint evaluate` does."""
    path = trained / "evaluation" / "figures.jsonl"
    path.parent.mkdir()

    def record(*figures: mz.Figure, **facts: Any) -> None:
        row = {"time": "2026-11-29T17:55:33+00:00", "machine": "a fast CPU", "torch": "2.13.0"}
        row |= {"mezzotint": "at commit abc1234", "model": f"{PRIVATE}/run", "precision": "bf16"}
        row |= {"digest": mz.load(trained).identity, "sampler": "ddim", "steps": 20, "knots": []}
        row |= {"spacing": "trailing", "guidance": 2.0, "eta": 0.5, "seed": 3, "batch": 64, **facts}
        jsonl.append(path, row | {"figures": [figure.row for figure in figures]})

    return record


def test_figures_are_given_with_everything_that_they_depend_on(
    trained: Path, record: Callable[..., None]
) -> None:
    record(figure(value=99.0), time="2026-11-01T00:00:00+00:00")
    record(figure(), figure("precision", 0.5, note="equally many"))
    record(figure(value=10.0, count=5_000))
    record(figure(value=7.0), guidance=4.0)
    text = of(mz.load(trained))
    settings = "**ddim, 20 steps, trailing, guidance 2, eta 0.5**: bf16, seed 3; measured on "
    by = "2026-11-29 by mezzotint at commit abc1234 with torch 2.13.0 on a fast CPU"
    reference = "100 images of digits (split train)"
    rows = [
        f"| fd-glyphs | 10 | 9 to 11 | 5,000 | {reference} | glyphs |  |",
        f"| fd-glyphs | 12.35 | 11.35 to 13.35 | 1,000 | {reference} | glyphs |  |",
        f"| precision | 0.5 | -0.5 to 1.5 | 1,000 | {reference} | glyphs | equally many |",
    ]
    assert settings + by + "\n" in text
    assert "\n".join(rows) in text
    assert text.index("guidance 4, eta") < text.index("guidance 2, eta")  # the newest first
    assert "98 to 100" not in text
    assert "features of glyphs are not FIDs" in text
    assert "FID was not measured." in text
    assert "The default settings were not measured" in text
    assert "Here N is 1,000 or 5,000." in text
    assert "Whether the model repeats training images was not measured." in text
    assert "Nothing was measured" not in text
    assert PRIVATE not in text


def test_records_of_other_weights_and_damaged_ones_are_left_out(
    trained: Path, record: Callable[..., None]
) -> None:
    record(figure(), digest="0" * 64)
    record(figure(), seed=None)
    record(figure(), sampler="of another program")
    with (trained / "evaluation" / "figures.jsonl").open("a") as file:
        file.write('{"digest": "cut')
    text = of(mz.load(trained))
    assert "`mezzotint evaluate RUN` measures a model." in text
    assert "leaves out 1 record of other weights in evaluation/figures.jsonl" in text
    assert "leaves out 3 lines of evaluation/figures.jsonl that cannot be read." in text
    assert "12.35" not in text


def test_the_training_and_the_data_are_described(trained: Path) -> None:
    text = of(mz.load(trained))
    for row in (
        "| recipe | tiny |",
        "| images seen | 96, in batches of 8 |",
        "| precision | float32 |",
        "| name | glyphs |",
        "| images | 100 |",
        "| size | 32x32 (height x width) |",
        "| changes | a random half is mirrored, anew in each epoch |",
        "The default settings, of the recipe tiny: ddim, 2 steps, trailing, guidance 2.",
        "- The model was trained on 100 images of 32x32 only, and makes images of no other size.",
    ):
        assert row in text
    assert "| time of the steps | 0:00:0" in text
    earlier = of(mz.load(trained / "checkpoints" / "step-8"))
    assert "| images seen | 64, in batches of 8 |" in earlier
    assert "The training was stopped after 64 of 96 images." in earlier
    assert str(trained.parent) not in text


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ("config.json", "The configuration of the training cannot be read."),
        ("state.json", "The configuration of the training cannot be read."),
        ("log.jsonl", "The log of the training is missing or cannot be read."),
        ("ema.safetensors", "No training of these weights is recorded in the model's folder."),
    ],
)
def test_missing_records_are_named_and_break_nothing(
    trained: Path, damaged: str, said: str
) -> None:
    pipe = mz.load(trained)
    for path in trained.rglob(damaged):
        path.write_text("{")
    text = of(pipe)
    assert said in text
    assert str(trained) not in text


def test_a_model_without_a_folder_has_a_card(trained: Path) -> None:
    text = of(replace(mz.load(trained), home=None))
    assert "No training of these weights is recorded in the model's folder." in text
    assert "| name | unknown |" in text


def test_a_student_names_its_teacher(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = mz.load(trained)
    found = recorded(pipe)
    assert found.training
    objective = DistillationConfig(f"{PRIVATE}/teacher", "trajectory", scale=2.5)
    sample = mz.SampleConfig("consistency", steps=2, spacing="angle")
    config = replace(found.training.config, objective=objective, sample=sample)
    found = replace(found, training=replace(found.training, config=config))
    monkeypatch.setattr("mezzotint.pipeline.card.recorded", lambda pipe: found)
    text = of(replace(pipe, defaults=sample, few_step=FewStep(2.5, 2)))
    assert "| teacher | teacher, by the method trajectory |" in text
    assert "`mezzotint distil teacher --data glyphs " in text
    assert "makes an image in 2 calls of the network. It contains the guidance 2.5" in text
    assert PRIVATE not in text


def test_the_command_and_python_write_the_same_card(
    trained: Path, record: Callable[..., None], tmp_path: Path, capsys: CapSys
) -> None:
    record(figure())
    mz.load(trained).export(tmp_path / "a" / "model", "safetensors", license="mit")
    words = ["--format", "safetensors", "--license", "mit", "--out", str(tmp_path / "b" / "model")]
    assert call(capsys, "export", str(trained), *words)[0] == 0
    one, two = ((tmp_path / name / "model" / "README.md").read_text() for name in "ab")
    assert one == two
    assert ModelCard(one).data.to_dict()["license"] == "mit"


def test_a_shipped_model_has_its_own_card(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "MODELS", tmp_path / "models")
    folder = (trained / "checkpoints" / "step-12").rename(tmp_path / "models")  # the only one
    place = folder / "small"
    place.mkdir()
    for file in [file for file in folder.iterdir() if file.is_file()]:
        file.rename(place / file.name)
    (place / "README.md").write_text(
        "# small\n\nIt is good, see [figures](../x.md) and [this](https://a.b)."
    )
    text = of(mz.load("small"))
    assert "It is good, see figures (in mezzotint's repository) and [this](https://a.b)." in text
    assert "Nothing was measured" not in text
    assert "not stated" not in text
