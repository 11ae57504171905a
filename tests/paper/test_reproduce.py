"""The report's experiments by one command: what is planned, done, not done again, and said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conftest import TINY, TINY_LDM, TINY_VAE, small_vae
from mezzotint import config as configuration
from mezzotint.config import recipes
from mezzotint.config.experiment import Experiment
from mezzotint.data import prepare
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.errors import UserError
from mezzotint.paper import plan as planned
from mezzotint.paper import work
from mezzotint.paper.plan import SCALES, Plan, Row, Size
from mezzotint.paper.tables import Results, _efficiency
from mezzotint.run import run
from mezzotint.storage import checkpoint
from spoil import spoil

from commands import CapSys, call


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def small(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scale glyphs made of tiny recipes, and no other test's pictures."""
    small_vae(cache, monkeypatch)
    shutil.rmtree(cache / "samples", ignore_errors=True)
    for config in (TINY, TINY_VAE, TINY_LDM):
        monkeypatch.setitem(recipes.RECIPES, config.recipe, config)
    monkeypatch.setitem(SCALES, "glyphs", Size("tiny", "tiny-vae", "tiny-ldm", samples=10))
    monkeypatch.delenv("MEZZOTINT_INCEPTION", raising=False)


def test_the_plan_is_the_reports_table(tmp_path: Path) -> None:
    made = planned("full", ["A", "B", "C", "D"], tmp_path)
    a, *_ = [row for row in made.rows if row.letter == "A"]
    assert (a.how.sampler, a.how.steps) == ("ddpm", 1000)
    linear, cosine, adaptive = (made.models[m] for m in ("linear", "cosine", "adaptive"))
    assert isinstance(linear, Experiment)
    assert isinstance(cosine, Experiment)
    assert (linear.noise.schedule, linear.noise.prediction) == ("linear", "eps")
    assert linear.train.images == 61_000 * 128
    assert cosine.noise.schedule == "cosine"
    assert linear.train == cosine.train == adaptive.train  # at equal images seen
    assert {row.how.steps for row in made.rows if row.letter == "B"} >= {10, 50, 250, 1000}
    assert all(row.model == "linear" for row in made.rows if row.letter in "AB")  # one's weights
    assert [row.letter for row in made.rows if row.headline] == [*"ABCD"]
    by_steps = {row.how.steps: row.papers for row in made.rows if row.letter == "B"}
    assert by_steps[10] == "13.36"


def test_only_what_is_asked_is_trained(tmp_path: Path) -> None:
    assert list(planned("glyphs", ["B"], tmp_path).models) == ["linear"]
    assert list(planned("glyphs", ["a,b"], tmp_path).models) == ["linear"]
    assert list(planned("glyphs", ["C"], tmp_path).models) == ["vae", "latent"]
    assert list(planned("glyphs", ["C"], tmp_path, vae="mine").models) == ["latent"]
    assert list(planned("glyphs", ["D"], tmp_path).models) == ["cosine", "adaptive"]
    with pytest.raises(UserError, match="unknown experiment 'E': choose of A, B, C, D"):
        planned("glyphs", ["E"], tmp_path)


def test_a_budget_keeps_the_shape_of_a_training(tmp_path: Path) -> None:
    whole = recipes.RECIPES["cifar10-ddpm-small"].train
    half = planned("cifar10", ["B"], tmp_path, images=whole.images // 2).models["linear"].train
    assert half.images == whole.images // 2
    assert half.warmup == whole.warmup // 2
    assert half.ema_halflife == whole.ema_halflife / 2
    assert half.lr == whole.lr


def test_the_flags_are_those_that_differ_from_the_scales_own(tmp_path: Path) -> None:
    every = {"scale": "cifar10", "only": ["D", "A,B,C"], "folder": tmp_path}
    assert planned(**every, samples=2_000).flags == {"scale": "cifar10"}
    asked = {"data": "/mine/cifar10", "imagenet": "hub:owner/name", "vae": "runs/tiny-vae/"}
    made = planned(**every, **asked, images=32_000, samples=128, seed=1, precision="float32")
    own = {"data": "cifar10", "imagenet": "hub:owner/name", "vae": "tiny-vae"}
    rest = {"images": "32000", "samples": "128", "seed": "1", "precision": "float32"}
    assert made.flags == {"scale": "cifar10"} | own | rest
    assert planned("glyphs", ["d", "A"], tmp_path).flags == {"scale": "glyphs", "only": "A,D"}


def test_all_four_then_nothing_again(small: None, tmp_path: Path, capsys: CapSys) -> None:
    out = tmp_path / "all"
    code, said, _ = call(capsys, "reproduce", "--out", str(out))
    assert code == 0
    assert "train linear, 96 images: about" in said
    assert said.splitlines()[-1] == f"the page, to open in a browser: {out / 'report.html'}"
    table = (out / "reproduce.md").read_text()
    assert ", by mezzotint reproduce --scale glyphs: 10 pictures a row" in table
    four = table.split("## The four experiments")[1].split("## ")[0]
    assert [four.count(f"| {letter}: ") for letter in "ABCD"] == [1, 1, 1, 1]
    assert "47.92" in four
    assert "323.51" in four
    assert "Inception's weights are not on this machine" in four
    assert "fd-glyphs" in four
    rows = lines(out / "rows.jsonl")
    assert len(rows) == 14
    for row in rows:
        calls = SAMPLERS[row["settings"]["sampler"]].cost(row["settings"]["steps"])
        assert row["seconds"] > 0
        assert calls >= 10
        assert all(f["low"] <= f["value"] <= f["high"] for f in row["figures"])
    assert [row["model"] for row in lines(out / "study.jsonl")] == ["linear", "cosine", "adaptive"]
    page = (out / "report.html").read_text()
    for title in ("What fewer steps cost", "Schedules", "Pictures", "Curves", "Trainings"):
        assert f">{title}</h2>" in page
    for picture in ("what-fewer-steps-cost.png", "schedules.png", "pictures.png"):
        assert (out / picture).exists()
        assert f"({picture})" in table

    logs = {path: path.read_text() for path in out.rglob("*.jsonl")}
    code, said, _ = call(capsys, "reproduce", "--out", str(out))
    assert code == 0
    assert "in all: nothing left to do" in said
    assert {path: path.read_text() for path in out.rglob("*.jsonl")} == logs

    # A run that was deleted is trained again, and gives what it gave.
    shutil.rmtree(out / "cosine")
    shutil.rmtree(out / "latent" / "checkpoints")
    code, _, _ = call(capsys, "reproduce", "--out", str(out))
    assert code == 0
    assert (out / "cosine" / "checkpoints" / "step-12").exists()
    assert (out / "rows.jsonl").read_text() == logs[out / "rows.jsonl"]


def test_rows_are_compared_by_the_distance_they_share(tmp_path: Path) -> None:
    plan = planned("glyphs", ["A", "B", "C"], tmp_path, data="cifar10")

    def facts(row: Row) -> dict:
        name = "fd-glyphs" if row.model == "latent" else "fd-cifar10"
        figure = {"name": name, "value": 1.0, "low": 0.5, "high": 2.0}
        return {"figures": [figure], "seconds": 1.0, "memory": None}

    results = Results(None, {row: facts(row) for row in plan.rows}, {})
    assert results.distances() == ["fd-cifar10", "fd-glyphs"]
    section, _ = _efficiency(results)
    assert section.tables[0].head[-1] == "fd-cifar10"


def test_a_damaged_checkpoint_does_not_count_as_done(trained: Path) -> None:
    config = configuration.read(trained / "config.json")
    assert work.progress(trained, config) == 1
    *_, last = checkpoint.listed(trained / "checkpoints")
    (last / "state.json").write_text("{")
    assert work.progress(trained, config) < 1


def test_rows_are_of_the_weights_that_are_there(trained: Path, tmp_path: Path) -> None:
    config = configuration.read(trained / "config.json")
    plan = Plan("glyphs", {"run": config}, (), 10, 0, folder=tmp_path)
    asked = work.Work(plan, data={"run": prepare("glyphs")})
    row = work._trained(asked, "run")
    for name in ("rows.jsonl", "study.jsonl"):
        (tmp_path / name).write_bytes(b"\xff\n{}\n" + json.dumps(row).encode())
        assert work._kept(asked, name) == [row]

    # Of the same configuration, but trained on something else.
    spoil(trained, "ema", lambda tensors: {name: 2 * w for name, w in tensors.items()})
    assert work.progress(trained, config) == 1
    for name in ("rows.jsonl", "study.jsonl"):
        assert work._kept(asked, name) == []


def test_a_killed_training_goes_on(small: None, tmp_path: Path, capsys: CapSys) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    steps = run(planned("glyphs", ["D"], killed).models["cosine"], killed / "cosine")
    for now in steps:
        if now.images == 40:
            break
    steps.close()  # after the checkpoint at 32 images
    (killed / "plan.json").write_text("{}")
    assert call(capsys, "reproduce", "--only", "D", "--out", str(killed))[0] == 2  # no plan there
    plan = {"scale": "glyphs", "samples": 10, "seed": 0, "precision": "auto"}
    (killed / "plan.json").write_text(json.dumps(plan))
    assert call(capsys, "reproduce", "--only", "D", "--out", str(killed))[0] == 0
    assert call(capsys, "reproduce", "--only", "D", "--out", str(whole))[0] == 0
    figures = [[row["figures"] for row in lines(f / "rows.jsonl")] for f in (killed, whole)]
    assert figures[0] == figures[1]


def test_what_cannot_be_done_says_why(small: None, tmp_path: Path, capsys: CapSys) -> None:
    out = tmp_path / "out"
    more = ["--only", "C,D", "--hours", "1e-9", "--imagenet", "/nowhere"]
    code, said, _ = call(capsys, "reproduce", "--out", str(out), *more)
    assert code == 0
    assert "cosine is left out: its training would take about" in said
    head, table = (out / "reproduce.md").read_text().split("## The four experiments")
    said = "--scale glyphs --only C,D --imagenet nowhere --hours 1e-09"
    assert f"mezzotint reproduce {said}: 10 pictures" in head
    four = table.split("## ")[0]
    assert "/nowhere" in four
    assert "given by --imagenet" in four
    assert "more than --hours 1e-09" in four


def test_data_that_is_not_there_binds_no_folder(
    small: None, tmp_path: Path, capsys: CapSys
) -> None:
    out = tmp_path / "out"
    begun = ["reproduce", "--out", str(out), "--hours", "1e-9"]
    code, said, err = call(capsys, *begun, "--only", "A,D", "--data", "nowhere")
    assert (code, said, err.count("\n")) == (2, "", 1)
    assert err.startswith("mezzotint: nothing can be done: linear: there is no data set, file or")
    assert "'nowhere'" in err
    assert "(its pictures are given by --data)" in err
    assert not out.exists()

    # What can be had goes on, and binds; the rest is a note on the page.
    assert call(capsys, *begun, "--only", "C,D", "--imagenet", "nowhere")[0] == 0
    held = json.loads((out / "plan.json").read_text())
    assert {name.split()[0] for name in held if " " in name} == {"cosine", "adaptive"}
    assert call(capsys, *begun, "--only", "C,D")[0] == 0
    assert json.loads((out / "plan.json").read_text())["latent data"] == "glyphs"
    code, _, err = call(capsys, *begun, "--only", "C,D", "--imagenet", "nowhere")
    assert (code, err.count("\n")) == (2, 1)
    assert "was begun with vae data = glyphs, not nowhere" in err


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_damaged_plan_is_one_clear_line(tmp_path: Path, capsys: CapSys, content: bytes) -> None:
    plan = tmp_path / "plan.json"
    plan.write_bytes(content)
    code, _, err = call(capsys, "reproduce", "--only", "D", "--out", str(tmp_path))
    said = f"{plan} is damaged: restore it, or choose another --out"
    assert (code, err) == (2, f"mezzotint: {said}\n")
    assert plan.read_bytes() == content


def test_bad_input(
    small: None, tmp_path: Path, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "diary.txt").write_text("dear diary")
    begun = ["--out", str(out), "--only", "D", "--hours", "1e-9"]
    assert call(capsys, "reproduce", *begun)[0] == 0
    for arguments, wrong in (
        (["--only", "X"], "unknown experiment 'X': choose of A, B, C, D"),
        (["--scale", "huge"], "huge"),
        (["--images", "0"], "images is 0: give 1 or more"),
        (["--hours", "nan"], "hours is nan: give a finite number"),
        (["--hours", "inf"], "hours is inf: give a finite number"),
        (["--seed", "-1"], "seed is -1: choose 0 or more"),
        (["--out", str(foreign)], f"{foreign} exists and holds no plan: choose another --out"),
        ([*begun, "--samples", "11"], f"{out} was begun with samples = 10, not 11"),
        (["--samples", "5"], "5 images cannot be measured"),
        ([*begun, "--data", "cifar10"], f"{out} was begun with cosine data = glyphs, not cifar10"),
        ([*begun, "--images", "8"], f"{out} was begun with cosine images = 96, not 8"),
    ):
        code, _, said = call(capsys, "reproduce", *arguments)
        assert (code, said.count("\n")) == (2, 1)
        assert wrong in said
    assert (foreign / "diary.txt").read_text() == "dear diary"


def test_a_metric_that_cannot_be_had(
    small: None, tmp_path: Path, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network in the package measures, and the page says so."""
    monkeypatch.setenv("MEZZOTINT_INCEPTION", "/nowhere/inception.pth")
    out = tmp_path / "out"
    assert call(capsys, "reproduce", "--out", str(out), "--only", "D")[0] == 0
    table = (out / "reproduce.md").read_text()
    assert "No FID: MEZZOTINT_INCEPTION is /nowhere/inception.pth" in table
    assert "fd-glyphs" in table

    # Once another network is at hand, the same pictures are measured by it too.
    monkeypatch.setattr(work, "networks", lambda classes: (["glyphs", "cifar10"], ""))
    before = [row["pictures"] for row in lines(out / "rows.jsonl")]
    assert call(capsys, "reproduce", "--out", str(out), "--only", "D")[0] == 0
    after = lines(out / "rows.jsonl")[len(before) :]
    assert [row["pictures"] for row in after] == before
    assert all({f["network"] for f in row["figures"]} >= {"glyphs", "cifar10"} for row in after)
