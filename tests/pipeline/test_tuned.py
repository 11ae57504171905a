"""The use of settings that a sweep has recommended."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig
from mezzotint.pipeline import loading, tuned

from commands import CapSys, call


@pytest.fixture
def recommending(trained: Path) -> Path:
    """Give the run a recommendation."""
    pipe = mz.load(trained)
    how = SampleConfig(sampler="ddim", eta=0.3, steps=3, spacing="karras", guidance=1.5)
    choice = tuned.BestSettings(how, 3, 1.25, (1.0, 1.5))
    facts = {"metric": "fd-glyphs", "samples": 100, "seed": 0, "precision": "float32"}
    found = tuned.Recommended(**facts, digest=pipe.digest, budgets={"3": choice}, best=choice)
    tuned.write(trained, found)
    assert tuned.read(trained) == found
    return trained


def test_recommended_settings_are_the_defaults_and_flags_override(
    recommending: Path, tmp_path: Path, capsys: CapSys
) -> None:
    pipe = mz.load(recommending)
    how = pipe.defaults
    assert (how.steps, how.guidance, how.eta) == (3, 1.5, 0.3)
    flags = ["-n", "3", "--out", str(tmp_path / "out")]
    code, said, _ = call(capsys, "sample", str(recommending), *flags)
    assert code == 0
    assert said.splitlines()[0] == (
        "the defaults are the settings that a sweep recommended: "
        "ddim, 3 steps, karras, guidance 1.5: "
        "fd-glyphs 1.25 of 100 images"
    )
    plain = mz.load(recommending / "checkpoints" / "step-12")
    wanted = plain.sample(3, **asdict(how))
    assert torch.equal(pipe.sample(3), wanted)
    for more, changed in (([], {}), (["--steps", "5", "--eta", "0"], {"steps": 5, "eta": 0.0})):
        out = tmp_path / f"of {len(more)}"
        words = ["-n", "3", "--out", str(out), *more]
        assert call(capsys, "sample", str(recommending), *words)[0] == 0
        made = plain.sample(3, **asdict(replace(how, **changed)))
        for i, image in enumerate(made):
            with Image.open(out / f"{i:06d}.png") as saved:
                assert saved.tobytes() == image.permute(1, 2, 0).numpy().tobytes()

    said = call(capsys, "sample", str(recommending / "checkpoints" / "step-12"), *flags)[1]
    assert "recommended by a sweep" not in said


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[:40], "is ignored (kind: invalid JSON"),
        (lambda text: text.replace('"eta"', '"etta"'), "etta: unexpected keyword argument"),
        (lambda text: text.replace('"ddim"', '"dimm"'), "unknown sampler 'dimm'"),
        (lambda text: text.replace('"steps": 3', '"steps": 3000'), "`steps` is 3000"),
        (lambda text: text.replace('"steps": 3', '"steps": "3"'), "input should be a valid int"),
        (lambda text: text.replace('"samples": 100,', ""), "samples: "),
        (lambda text: text.replace("1.25", "NaN"), "value: "),
        (lambda text: "[]", "is ignored"),
    ],
)
def test_a_recommendation_that_does_not_fit_is_ignored(
    recommending: Path, tmp_path: Path, capsys: CapSys, spoil, message: str
) -> None:
    file = recommending / "recommended.json"
    text = spoil(file.read_text())
    assert text != file.read_text()
    file.write_text(text)
    with pytest.warns(UserWarning, match="is ignored") as caught:
        pipe = mz.load(recommending)
    (warned,) = caught
    assert message in str(warned.message)
    assert str(file) in str(warned.message)
    assert "\n" not in str(warned.message)
    assert pipe.defaults == loading.load(recommending, recommended=False).defaults
    with pytest.warns(UserWarning, match="is ignored"):
        code, said, _ = call(
            capsys, "sample", str(recommending), "-n", "1", "--out", str(tmp_path / "out")
        )
    assert code == 0
    assert "recommended by a sweep" not in said
