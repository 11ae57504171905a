"""The output of --json: one document on the standard output, with the documented keys."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint import cli, pages, paper
from mezzotint.cli import distil
from mezzotint.cli.answer import Answer
from mezzotint.doctor import Finding, examination
from mezzotint.metrics import Figure

from commands import CapSys, call

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "programs.md").read_text()
KEYS = {
    name: {*re.findall(r"`(\w+)`", keys)}
    for name, keys in re.findall(r"^\| (`[^|]*?) \| (`.*`) \|$", PAGE, re.MULTILINE)
}
pytestmark = pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")


def answer(capsys: CapSys, *words: str, code: int = 0) -> Any:
    """Return the JSON document that a command prints, which must be its whole standard output."""
    ended, out, err = call(capsys, *words, "--json")
    assert ended == code, err
    return json.loads(out, parse_constant=pytest.fail)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The file of an array of twelve images."""
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8))
    return path


def test_the_page_documents_every_verb_that_answers() -> None:
    assert {name.split("`")[1] for name in KEYS} == {*cli.VERBS, "--version"} - {"play"}


def test_a_page_in_a_browser_is_not_json(capsys: CapSys) -> None:
    code, out, err = call(capsys, "play", "--json")
    assert (code, out) == (2, "")
    assert err == "mezzotint: play cannot write JSON: leave out --json\n"


def test_samples_and_what_is_done_with_them(trained: Path, tmp_path: Path, capsys: CapSys) -> None:
    out = tmp_path / "made"
    made = answer(capsys, "sample", str(trained), "-n", "2", "--steps", "1", "--out", str(out))
    assert made.keys() == KEYS["`sample`"]
    assert (made["samples"], made["folder"], made["animation"]) == (2, str(out), None)
    assert Path(made["grid"]).exists()
    assert len(made["channels"]["mean"]) == 3
    (image, *_) = sorted(out.glob("*.png"))
    words = ["--out", str(tmp_path / "edited"), "--steps", "2"]
    found = answer(capsys, "edit", str(trained), "vary", str(image), *words)
    assert found.keys() == KEYS["`edit`"]
    assert (found["images"], found["psnr"]) == (1, None)
    folder = answer(
        *(capsys, "export", str(trained), "--format", "safetensors"), "--out", str(tmp_path / "e")
    )
    assert folder.keys() == KEYS["`export`"]
    assert Path(folder["card"]).exists()


def test_figures_are_what_the_files_hold(
    trained: Path, trained_vae: Path, images: Path, tmp_path: Path, capsys: CapSys
) -> None:
    few = ["--network", "glyphs", "--metrics", "fd", "--out", str(tmp_path / "figures")]
    of_images = answer(capsys, "evaluate", str(images), "--against", "glyphs", *few)
    of_model = answer(capsys, "evaluate", str(trained), "--samples", "12", "--steps", "1", *few)
    of_vae = answer(capsys, "evaluate", str(trained_vae), "--samples", "12", *few)
    assert of_images.keys() == of_model.keys() == KEYS["`evaluate`"]
    assert of_vae.keys() == KEYS["`evaluate` of an autoencoder"]
    rows = (tmp_path / "figures" / "figures.jsonl").read_text().splitlines()
    for found, row in zip((of_images, of_model, of_vae), rows, strict=True):
        assert found["figures"] == json.loads(row)["figures"]
        assert found["kept"] == str(tmp_path / "figures" / "figures.jsonl")
    assert {*of_images["figures"][0]} == {
        *("name", "value", "low", "high", "samples", "network", "resize", "against", "note")
    }


def test_a_sweep_and_a_report(
    trained: Path, tmp_path: Path, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = trained / "sweep.md"
    monkeypatch.setattr("mezzotint.tuning.page.write", lambda *_: page)
    flags = "--samples 12 --sampler ddim --guidance 1 --nfe 1 --precision float32"
    found = answer(capsys, "sweep", str(trained), *flags.split())
    assert found.keys() == KEYS["`sweep`"]
    assert found["cells"] == [found["best"]] == [found["budgets"]["1"]]

    def write(names: list[str], out: Path, **_: object) -> Path:
        out.write_text("a page")
        return out

    monkeypatch.setattr(pages, "report", write)
    written = answer(capsys, "report", str(trained))
    assert written == {"page": str(trained / "report.html"), "bytes": 6}
    assert written.keys() == KEYS["`report`"]


def test_a_training_ends_with_its_record(
    trained: Path, tmp_path: Path, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    found = answer(capsys, "train", "--resume", str(trained))
    assert found.keys() == KEYS["`train`"] == KEYS["`distil`"]
    assert found["checkpoint"] == str(trained / "checkpoints" / "step-12")
    assert found["last"] == rows[-1]
    assert found["figures"] == []
    monkeypatch.setattr(distil, "distillation", lambda *_, **__: iter(()))
    student = answer(capsys, "distil", str(trained), "--out", str(tmp_path / "student"))
    assert student == {
        "run": f"{tmp_path}/student",
        **dict.fromkeys(found.keys() - {"run"}),
        "figures": [],
    }


def test_findings_leave_the_exit_code(capsys: CapSys, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [
        Finding("wrong", "plateau", "1", "a", "lower `lr`"),
        Finding("well", "memorisation", ""),
    ]
    monkeypatch.setattr(examination, "examine", lambda *_: iter(faults))
    found = answer(capsys, "doctor", "any", code=1)
    assert found.keys() == KEYS["`doctor`"]
    assert (found["wrong"], found["doubtful"], found["well"]) == (1, 0, 1)
    assert found["findings"][0]["fix"] == "lower --lr"


def test_the_papers_rows(capsys: CapSys, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Figure("fid", float("nan"), 0.0, 1.0, 10)
    row = paper.ReproducedRow(
        *("B", "linear", mz.SampleConfig(), {"fid": figure}, 47.92, None), seconds=1.0, memory=None
    )
    place = Path("runs/x")
    whole = paper.Reproduction(place, (row,), {"ldm": "no data"}, place / "p", place / "t")
    monkeypatch.setattr(paper, "reproduce", lambda **_: whole)
    found = answer(capsys, "reproduce")
    assert found.keys() == KEYS["`reproduce`"]
    (only,) = found["rows"]
    assert only["settings"]["sampler"] == "ddim"
    assert only["figures"] == [{**figure.row, "value": None}]


def test_a_data_set_and_averages(
    images: Path, capsys: CapSys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = answer(capsys, "data", str(images), "--no-conditional")
    assert found.keys() == KEYS["`data`"]
    assert found.pop("examples") is None
    assert found == mz.describe(images, conditional=False).as_json()
    made = mz.Average(tmp_path, 0.1, 0.001)
    monkeypatch.setattr("mezzotint.run.averages.average", lambda *_: [made])
    assert answer(capsys, "average", "any") == {
        "averages": [{"path": str(tmp_path), "length": 0.1, "error": 0.001}]
    }


def test_the_versions(capsys: CapSys) -> None:
    found = answer(capsys, "--version")
    assert found.keys() == KEYS["`--version`"]
    assert (found["version"], found["torch"]) == (mz.__version__, torch.__version__)
    assert found["precision"] in ("bf16", "float32")


def test_a_failure_prints_no_document(capsys: CapSys) -> None:
    code, out, err = call(capsys, "evaluate", "nowhere", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_a_verb_without_an_answer_says_so(capsys: CapSys, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(arguments: list[str]) -> None: ...

    monkeypatch.setattr("mezzotint.cli.doctor.doctor", work)
    code, out, err = call(capsys, "doctor", "--json")
    assert (code, out) == (2, "")
    assert err == "mezzotint: doctor cannot write JSON: leave out --json\n"


def test_the_help_of_a_verb_names_the_flag(capsys: CapSys) -> None:
    for words in (
        ["doctor", "--help"],
        ["help", "doctor"],
        ["train", "glyphs-vae", "--help-all", "--json"],
    ):
        code, out, err = call(capsys, *words)
        assert (code, err) == (0, "")
        assert out.splitlines()[-1].startswith("  --json  Print one JSON document")


def test_a_document_is_ascii_and_has_no_number_that_json_lacks() -> None:
    said = Answer({"é": (float("inf"), Path("a")), "n": {1: None}}).document()
    assert said.isascii()
    assert json.loads(said, parse_constant=pytest.fail) == {"é": [None, "a"], "n": {"1": None}}
