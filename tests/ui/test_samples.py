"""Samples on the page, and the commands and code that make the same samples."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint.evaluation.folder import MARK
from mezzotint.ui import answers, results, samples, texts
from mezzotint.ui.samples import Column, Samples, Step

from commands import CapSys, call

SETTINGS: dict[str, Any] = {"sampler": "ddim", "spacing": "trailing", "steps": 3, "guidance": 2.0}


@pytest.fixture
def pipe(trained: Path) -> mz.Pipeline:
    return mz.load(trained)


def asked(pipe: mz.Pipeline, classes: tuple[int, ...] = (3,), **settings: Any) -> Samples:
    return Samples(3, classes, 5, samples.one(pipe.defaults, {**SETTINGS, **settings}))


def test_settings_that_are_the_defaults_are_left_out(pipe: mz.Pipeline) -> None:
    (column,) = samples.one(pipe.defaults, {**SETTINGS, "sampler": "heun", "spacing": None})
    assert column.settings == {"sampler": "heun", "steps": 3}
    assert column.caption == "heun, 3 steps, trailing, guidance 2"


def test_classes_are_taken_in_turn() -> None:
    assert Samples(4, (), 0, ()).labels is None
    assert Samples(4, (2,), 0, ()).labels == 2
    assert Samples(4, (2, 7, 1), 0, ()).labels == [2, 7, 1, 2]


def test_columns_begin_with_the_same_noise_and_are_what_sample_makes(pipe: mz.Pipeline) -> None:
    columns = samples.row(pipe.defaults, {**SETTINGS, "guidance": None}, "guidance", "0 1, 2.5")
    assert [column.caption for column in columns] == ["guidance 0", "guidance 1", "guidance 2.5"]
    seen: list[Step] = []
    made = samples.make(pipe, Samples(2, (), 4, columns), seen.append)
    for images, guidance in zip(made.columns, (0.0, 1.0, 2.5), strict=True):
        assert torch.equal(images, pipe.sample(2, seed=4, steps=3, guidance=guidance))
    assert [step.done for step in seen] == list(range(1, 10))
    assert {step.calls for step in seen} == {9}
    assert len(seen[0].columns) == 1  # the first estimate is shown at once


def test_two_settings_are_named(pipe: mz.Pipeline) -> None:
    a, b = samples.two(pipe.defaults, SETTINGS, {**SETTINGS, "steps": 2})
    assert (a.name, b.name) == ("A", "B")
    assert (a.settings, b.settings) == ({"steps": 3}, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [("1", "there are 1 values"), ("1 2 x", "give numbers"), ("1 2.5", "give numbers")],
)
def test_a_row_of_no_use_is_refused(pipe: mz.Pipeline, values: str, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        samples.row(pipe.defaults, SETTINGS, "steps", values)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Samples(65, (), 0, (Column("", "a", {}),)), "`n` is 65: make at most 64"),
        (Samples(2, (), -1, (Column("", "a", {}),)), "`seed` is -1"),
        (Samples(2, (), 0, (Column("", "a", {"steps": 0}),)), "steps"),
        (Samples(2, (), 0, (Column("", "a", {}), Column("", "b", {"steps": 9999}))), "9,?999"),
    ],
)
def test_what_cannot_be_made_is_refused_first(
    pipe: mz.Pipeline, request_: Samples, message: str
) -> None:
    seen: list[Step] = []
    with pytest.raises(mz.UserError, match=message):
        samples.make(pipe, request_, seen.append)
    assert seen == []


@pytest.mark.parametrize("classes", [(), (3,), (3, 1)])
def test_the_command_line_and_python_give_the_same_images(
    trained: Path,
    pipe: mz.Pipeline,
    classes: tuple[int, ...],
    capsys: CapSys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(trained.parent)
    request = asked(pipe, classes)
    made = samples.make(pipe, request, lambda step: None).columns[0]
    program, *words = shlex.split(texts.command(str(trained), pipe, request))
    assert program == "mezzotint"
    code, _, said = call(capsys, *words)
    assert code == 0, said
    assert torch.equal(mz.read_images(sorted(Path("samples").glob("*.png")), pipe.size), made)
    names: dict[str, Any] = {}
    exec(texts.python(str(trained), pipe, request), names)
    assert torch.equal(names["images"], made)


def test_several_columns_are_several_lines(pipe: mz.Pipeline) -> None:
    columns = samples.row(pipe.defaults, SETTINGS, "steps", "1 2")
    request = Samples(2, (0,), 0, columns)
    lines = texts.command("cifar10", pipe, request).splitlines()
    assert lines[0] == "mezzotint sample cifar10 -n 2 --labels 0 --steps 1 --out steps-1"
    assert lines[1] == "mezzotint sample cifar10 -n 2 --labels 0 --out steps-2"
    text = texts.python(None, pipe, request)
    names: dict[str, Any] = {"pipe": pipe}
    exec(text, names)
    assert torch.equal(names["columns"][0], pipe.sample(2, 0, steps=1))
    assert "save it with pipe.save" in texts.command(None, pipe, request)


@pytest.mark.parametrize(("k", "label"), [(0, "cat"), (1, 1), (2, 2), (3, 3), (4, "it's")])
def test_a_class_whose_name_would_not_do_is_numbered(k: int, label: str | int) -> None:
    assert texts.label(k, ("cat", "-x", "twice", "twice", "it's")) == label


def marks(html: str) -> list[dict[str, Any]]:
    """Return the records in the PNG files of an HTML text."""
    found = []
    for coded in re.findall(r'href="data:image/png;base64,([^"]+)"', html):
        with Image.open(io.BytesIO(base64.b64decode(coded))) as image:
            found.append(json.loads(image.info[MARK]))
    return found


def test_images_are_saved_with_their_settings(trained: Path, pipe: mz.Pipeline) -> None:
    request = asked(pipe)
    *early, last = answers.answers(str(trained), pipe, request)
    assert all("download" not in (answer.result or "") for answer in early)
    assert last.result
    *each, sheet = marks(last.result)
    assert [mark["image"] for mark in each] == [0, 1, 2]
    assert {mark["seed"] for mark in each} == {5}
    assert {mark["steps"] for mark in each} == {3}
    # The sheet is what `write_samples` writes, which goes on from it.
    mz.write_samples(pipe, trained / "made", 3, 3, seed=5, steps=3)
    with Image.open(trained / "made.png") as image:
        assert sheet == json.loads(image.info[MARK])


def test_columns_that_are_not_begun_are_empty(pipe: mz.Pipeline) -> None:
    request = Samples(2, (), 0, samples.two(pipe.defaults, SETTINGS, SETTINGS))
    html = results.of_samples(pipe, request, [pipe.sample(2)], final=False)
    assert html.count("<img") == 2
    assert html.count("<td></td>") == 2


def test_an_error_is_a_line(capsys: CapSys) -> None:
    said = answers.failed(mz.UserError("`steps` is <b>: choose 1"))
    assert "<code>steps</code> is &lt;b&gt;: choose 1" in said.status
    assert (said.result, said.command, said.python) == ("", "", "")
    assert "out of memory" in answers.failed(MemoryError()).status
    bug = answers.failed(KeyError("x")).status
    assert "mezzotint failed (KeyError)" in bug
    assert "Traceback" not in bug
    assert "KeyError" in capsys.readouterr().err
