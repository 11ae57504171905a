"""Models with several conditions: the page, the command line and Python agree."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import mezzotint as mz
from mezzotint.ui import answers, conditions, edits, models, samples, texts
from mezzotint.ui.edits import Edit
from mezzotint.ui.samples import Samples

HEAT = mz.NumbersCondition("heat", (300.0,), (20.0,), (260.0,), (340.0,))
TAGS = mz.TagsCondition("tags", ("red", "round one"))
SMALL = mz.ImageCondition("small", (3, 4, 4))


def net(x: Tensor, t: Tensor, given: dict[str, Tensor] | None) -> Tensor:
    """A network whose images depend on the conditions."""
    if given is None:
        return 0.1 * x
    shift = given["heat"][:, 0] - given["tags"][:, 0] + given["tags"][:, 1] / 2
    return 0.1 * x + shift.view(-1, 1, 1, 1) / 4 + given["label"].view(-1, 1, 1, 1) / 8


@pytest.fixture
def pipe() -> mz.Pipeline:
    how = mz.SampleConfig(steps=3, guidance=1.5)
    given = {"classes": ("cat", "dog"), "conditions": (HEAT, TAGS, SMALL)}
    return mz.Pipeline(net, mz.cosine(100), "v", (3, 8, 8), defaults=how, **given)


def request(pipe: mz.Pipeline, text: str, classes: tuple[int, ...] = ()) -> Samples:
    columns = samples.one(pipe.defaults, {})
    return Samples(2, classes, 4, columns, conditions.words(text))


def test_samples_follow_the_conditions(pipe: mz.Pipeline) -> None:
    asked = request(pipe, "heat=270,300 'tags=red+round one'", (1,))
    made = samples.make(pipe, asked, lambda step: None).columns[0]
    given = {"heat": [270, 300], "tags": {"red", "round one"}}
    assert torch.equal(made, pipe.sample(2, "dog", condition=given, seed=4))
    names: dict[str, Any] = {"pipe": pipe}
    exec(texts.python(None, pipe, asked), names)
    assert torch.equal(names["images"], made)
    words = shlex.split(texts.command("m", pipe, asked))
    assert words[words.index("--condition") + 1 :][:2] == ["heat=270,300", "tags=red+round one"]
    *_, last = answers.answers(None, pipe, asked)
    assert last.result
    assert last.result.count(">dog<") == 2


def test_what_is_not_given_is_said(pipe: mz.Pipeline) -> None:
    *_, last = answers.answers(None, pipe, request(pipe, "heat=270"))
    assert last.result
    assert last.result.count(">any class<") == 2
    assert "heat, 260 to 340" in models.about(pipe)
    with pytest.warns(UserWarning, match="'heat' is 250"):
        *_, last = answers.answers(None, pipe, request(pipe, "heat=250"))
    said = "2 images made; &#x27;heat&#x27; is 250, but the model was trained on 260 to 340"
    assert said in last.status


def test_an_edit_follows_the_conditions(pipe: mz.Pipeline, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 0, 0)).save(tmp_path / "a.png")
    options = {"strength": 0.7, "n": 2}
    edit = Edit("vary", (tmp_path / "a.png",), (), 4, {}, options, condition=("heat=270",))
    given, made = edits.make(pipe, edit, lambda step: None).columns
    wanted = pipe.vary(given.expand(2, -1, -1, -1), 0.7, condition={"heat": 270}, seed=4)
    assert torch.equal(made, wanted)
    assert "--condition heat=270 --seed 4" in texts.command("m", pipe, edit)
    *_, last = answers.answers(None, pipe, edit)
    assert last.python
    assert "condition={'heat': [270.0]}" in last.python


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heat", "`condition` has 'heat': write NAME=VALUE"),
        ("heat=warm", "heat=warm is not a number"),
        ("heat='1", "close the quotation mark"),
        ("small=/etc/passwd", "'small' is an image, but the page cannot read"),
        ("heat=1,2", "'heat' has 2 values, but an edit takes a single value"),
        ("cold=1", "no condition 'cold'"),
    ],
)
def test_words_of_no_use_are_refused(pipe: mz.Pipeline, text: str, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        conditions.values(pipe, conditions.words(text), each=False)
