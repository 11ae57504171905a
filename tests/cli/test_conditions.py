"""The arguments of `--condition`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint.cli.flags import settings
from mezzotint.cli.sample import SampleFlags, _count
from mezzotint.config.sampling import SampleConfig
from mezzotint.evaluation.conditions import condition_of

HEAT = mz.NumbersCondition("heat", (300.0,), (20.0,), (260.0,), (340.0,))
TAGS = mz.TagsCondition("tags", ("a", "b"))
SMALL = mz.ImageCondition("small", (3, 4, 4))
ALL = (HEAT, TAGS, SMALL)


def test_numbers_labels_and_images_are_read(tmp_path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    words = ["heat=270,300", "tags=a+b", f"small={tmp_path / 'small.png'}"]
    found = condition_of(words, ALL)
    assert found["heat"] == ([270.0, 300.0], 2)
    assert TAGS.given(found["tags"][0], 1).tolist() == TAGS.given([["a", "b"]], 1).tolist()
    image, count = found["small"]
    assert count == 1
    assert torch.equal(image[0], torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("heat", "`condition` has 'heat': write NAME=VALUE"),
        ("heat=warm", "heat=warm is not a number"),
        ("hea=1", "no condition 'hea'; did you mean heat"),
        ("small=none.png", "none.png"),
        ("small=image.eps", "image.eps: "),
        ("small=large.png", "large.png is 5x4, but the model's images are 4x4"),
    ],
)
def test_other_words_are_refused_in_one_line(word, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 5)).save("large.png")
    Image.new("RGB", (4, 4)).save("image.eps")
    with pytest.raises(mz.UserError, match=said) as error:
        condition_of([word], ALL)
    assert "\n" not in str(error.value)


def test_n_may_be_written_without_a_space() -> None:
    flags = SampleFlags(SampleConfig(), Path("images"), n=8)
    given = {"heat": ([260.0, 340.0], 2)}
    words = ["--condition", "heat=260,340"]
    assert [_count(flags, given, [*n, *words]) for n in (["-n8"], ["-n", "8"], [])] == [8, 8, 2]


def test_guidance_0_drops_the_default_interval() -> None:
    defaults = SampleConfig(guidance=2.0, interval=(0.3, 3.0))
    assert settings(defaults, ["--guidance", "0"]).interval is None
    assert settings(defaults, ["--guidance", "3"]).interval == (0.3, 3.0)
    assert settings(defaults, ["--guidance", "x"]) == settings(defaults, ["--guidance"]) == defaults
