"""Edits on the page equal those of the pipeline, and unusable uploads are refused."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import mezzotint as mz
from mezzotint.ui import answers, edits, results, texts
from mezzotint.ui.edits import KINDS, Edit
from mezzotint.ui.samples import Step

from commands import CapSys, call

MASK = torch.zeros(32, 32, dtype=torch.bool)
MASK[4:12, 8:20] = True
OPTIONS: dict[str, dict[str, Any]] = {
    "vary": {"strength": 1.0, "n": 2},
    "inpaint": {"method": None},
    "outpaint": {"border": 5, "method": "ddnm"},
    "enlarge": {"factor": 2, "method": None},
    "interpolate": {"n": 3},
}


@pytest.fixture
def pipe(trained: Path) -> mz.Pipeline:
    return mz.load(trained)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two photographs in the current folder, larger than the model's images."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    paths = tmp_path / "a photo.png", tmp_path / "b.png"
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (40, 52, 3), np.uint8)).save(path)
    return paths


def edit(kind: str, photos: tuple[Path, ...], classes: tuple[int, ...] = ()) -> Edit:
    mask = MASK if kind == "inpaint" else None
    settings = {"guidance": 1.5, "steps": 3}
    files = photos[: KINDS[kind].files]
    return Edit(kind, files, classes, 7, settings, OPTIONS[kind], mask)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_and_python_give_the_same_images(
    kind: str, trained: Path, pipe: mz.Pipeline, photos: tuple[Path, Path], capsys: CapSys
) -> None:
    classes = {"vary": (3,), "interpolate": (3, 1)}.get(kind, ())
    asked = edit(kind, photos, classes)
    seen: list[Step] = []
    made = edits.make(pipe, asked, seen.append).columns[1]
    assert seen
    Image.fromarray(edits.mask_image(MASK)[0].numpy()).save("mask.png")
    _, *words = shlex.split(texts.command(str(trained), pipe, asked))
    code, _, said = call(capsys, *words)
    assert code == 0, said
    assert torch.equal(mz.read_images(sorted(Path(kind).glob("*.png")), pipe.size), made)
    names: dict[str, Any] = {}
    exec(texts.python(str(trained), pipe, asked), names)
    assert torch.equal(names["made"], made)


def test_the_answers_show_what_is_given_masked_and_made(
    pipe: mz.Pipeline, photos: tuple[Path, Path]
) -> None:
    *_, last = answers.answers(None, pipe, edit("inpaint", photos))
    assert last.result
    assert last.result.count("<figure>") == 3
    assert 'download="mask.png"' in last.result
    assert ">1 image made<" in last.status
    given = mz.read_images([photos[0]], pipe.size, fit=True)
    early = results.of_edit(pipe, edit("vary", photos), (given,), final=False)
    assert early.count("<figure>") == 1
    assert "download" not in early


def test_a_finished_interpolation_records_the_sampler_that_it_uses(
    pipe: mz.Pipeline, photos: tuple[Path, Path]
) -> None:
    own = replace(pipe, defaults=replace(pipe.defaults, sampler="dpmpp_2m"))
    assert results._edited_by(own, edit("interpolate", photos))["sampler"] == "ddim"
    assert results._edited_by(own, edit("vary", photos))["sampler"] == "dpmpp_2m"


def refused(pipe: mz.Pipeline, asked: Edit) -> str:
    with pytest.raises(mz.UserError) as error:
        edits.make(pipe, asked, lambda step: None)
    return str(error.value)


def test_uploads_of_no_use_are_refused(pipe: mz.Pipeline, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("not an image")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    (tmp_path / "empty.png").touch()
    said = {
        name: refused(pipe, edit("vary", (tmp_path / f"{name}.png",)))
        for name in ("no", "large", "empty")
    }
    assert said["no"] == "no.png: not an image"
    assert said["large"] == "large.png has 100 megapixels: scale it down to at most 64"
    assert said["empty"] == "empty.png: empty file"


def test_what_is_missing_or_too_much_is_named(pipe: mz.Pipeline, photos: tuple[Path, Path]) -> None:
    assert refused(pipe, edit("inpaint", ())) == "inpaint needs 1 image, not 0: upload one"
    one = refused(pipe, edit("interpolate", photos[:1]))
    assert one == "interpolate needs 2 images, not 1: upload the first and the last image"
    unmarked = replace(edit("inpaint", photos), mask=None)
    assert "paint over the part to fill in" in refused(pipe, unmarked)
    assert "vary takes 1 class, not 2" in refused(pipe, edit("vary", photos, (1, 2)))
    for kind, options, message in (
        ("vary", {"strength": 2.0, "n": 1}, "`strength` is 2"),
        ("vary", {"strength": 0.5, "n": 17}, "`n` is 17: choose 1 to 16"),
        ("outpaint", {"border": 16}, "`border` is 16: choose 1 to 15 pixels"),
        ("enlarge", {"factor": 1}, "`factor` is 1: choose 2 to 32"),
    ):
        assert message in refused(pipe, replace(edit(kind, photos), options=options))


def layer(box: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGBA", (320, 320))
    image.paste((255, 0, 0, 255), box)
    return image


def test_a_pixel_is_marked_if_half_of_it_is_painted() -> None:
    found: Tensor = edits.painted([layer((0, 0, 26, 10)), layer((300, 300, 320, 320))], (32, 32))
    assert found.nonzero().tolist() == [
        [0, 0],
        [0, 1],
        [0, 2],
        [30, 30],
        [30, 31],
        [31, 30],
        [31, 31],
    ]
    with pytest.raises(mz.UserError, match="nothing is marked"):
        edits.painted([layer((0, 0, 3, 3))], (32, 32))
    with pytest.raises(mz.UserError, match="nothing is marked"):
        edits.painted([], (32, 32))


def test_the_mask_of_an_oblong_image_is_in_the_middle_of_the_canvas() -> None:
    """gradio shows the image 8x16 in the rows 80 to 239 of the canvas of 320x320."""
    found = edits.painted([layer((0, 0, 320, 80)), layer((300, 80, 320, 100))], (8, 16))
    assert found.nonzero().tolist() == [[0, 15]]


def test_the_canvas_is_the_image_enlarged(pipe: mz.Pipeline) -> None:
    image = pipe.sample(1)[0]
    assert edits.canvas(pipe, image).size == (480, 480)
    assert edits.canvas(pipe, image[:, :16], 100).size == (96, 48)
