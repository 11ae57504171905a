"""The precision of models, and that conversions lose nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import mezzotint as mz
from mezzotint.networks import precision


@pytest.fixture
def fast_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the hardware computes in bf16."""
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)


def test_a_model_computes_in_what_the_hardware_does(trained, monkeypatch) -> None:
    assert mz.load(trained).net.dtype == torch.float32
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    assert mz.load(trained).net.dtype == torch.bfloat16
    assert mz.load(trained, precision="float32").net.dtype == torch.float32


def test_the_way_back_loses_nothing(trained, fast_bf16) -> None:
    low, exact = mz.load(trained), mz.load(trained, precision="float32")
    back = replace(low, defaults=mz.SampleConfig(steps=3)).in_precision("float32")
    assert back.digest == exact.digest
    assert back.defaults.steps == 3
    how = {"steps": 2, "guidance": 2.0}
    assert torch.equal(back.sample(3, **how), exact.sample(3, **how))


def test_what_is_saved_is_in_float32(trained, fast_bf16, tmp_path) -> None:
    exact = mz.load(trained, precision="float32")
    for name, write in (("saved", mz.Pipeline.save), ("exported", _export)):
        write(mz.load(trained), tmp_path / name)
        assert mz.load(tmp_path / name, precision="float32").digest == exact.digest


def _export(pipe: mz.Pipeline, folder) -> None:
    pipe.export(folder, "safetensors")


def test_weights_that_were_changed_in_bf16_are_not_taken_for_the_originals(
    trained, fast_bf16, tmp_path
) -> None:
    pipe = mz.load(trained)
    with torch.no_grad():
        next(pipe.net.parameters()).mul_(2)
    with pytest.raises(mz.UserError, match="is in memory: load it again with"):
        pipe.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_weaker_model_takes_the_precision_of_the_model(trained, fast_bf16) -> None:
    low, exact = mz.load(trained), mz.load(trained, precision="float32")
    for pipe, weaker in ((low, exact), (exact, low)):
        found = pipe.guided_by(weaker).weaker
        assert found is not None
        assert found.net.dtype == pipe.net.dtype


@pytest.mark.filterwarnings("ignore:.*images are fewer than:UserWarning")
def test_records_name_what_was_computed_in(trained, fast_bf16, tmp_path) -> None:
    for given, wanted in ((None, "bf16"), ("float32", "float32"), ("auto", "bf16")):
        out = tmp_path / str(given)
        mz.evaluate(trained, samples=32, metrics="fd", precision=given, out=out)
        (row,) = [json.loads(line) for line in (out / "figures.jsonl").read_text().splitlines()]
        assert row["precision"] == wanted
    assert "precision   bfloat16 on cpu" in repr(mz.load(trained))


def test_samples_of_another_precision_are_not_continued(trained, fast_bf16, tmp_path) -> None:
    mz.write_samples(trained, tmp_path / "images", n=2)
    with pytest.raises(mz.UserError, match="precision"):
        mz.write_samples(mz.load(trained, precision="float32"), tmp_path / "images", n=4)


def test_a_guided_model_has_one_identity_in_either_precision(trained, fast_bf16) -> None:
    low, exact = mz.load(trained), mz.load(trained, precision="float32")
    assert low.digest != low.identity == exact.identity == exact.digest
    low, exact = low.guided_by(low), exact.guided_by(exact)
    assert low.identity == exact.identity != mz.load(trained).identity
