"""The remaining work and its time, and the models that take too long."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mezzotint.paper import estimate
from mezzotint.paper.costs import Cost
from mezzotint.paper.estimate import Estimate, estimates, too_long
from mezzotint.paper.options import Options
from mezzotint.paper.plan import plan
from mezzotint.paper.reproduction import decide
from mezzotint.paper.work import begin

COST = Cost(training=3600.0, call=2.0)


@pytest.fixture
def hour(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training take an hour, and every call of a network two seconds."""
    monkeypatch.setattr(estimate, "cost", lambda *_: COST)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_estimate_is_made_of_all_that_is_left_and_changes_nothing(
    hour: None, trained: Path, tmp_path: Path
) -> None:
    work = begin(plan(Options(only=("C", "D"), out=tmp_path / "out")))
    before = contents(tmp_path)
    found = {each.model: each for each in estimates(work)}
    assert list(found) == ["cosine", "adaptive", "vae", "latent"]
    assert contents(tmp_path) == before
    assert not work.left_out
    assert [name for name, _ in found["vae"].parts()] == ["train vae, 96 images"]
    latent = dict(found["latent"].parts())
    assert latent["train latent, 96 images"] == 3600
    # One batch of 50 calls; a guided denoiser calls its network twice.
    assert latent["C: 10 samples, latent DDIM 50, guidance 1"] == 100
    assert latent["C: 10 samples, latent DDIM 50, guidance 4"] == 200


def test_only_the_rest_of_a_training_counts(hour: None, trained: Path, tmp_path: Path) -> None:
    """8 of 12 steps are done."""
    out = tmp_path / "out"
    work = begin(plan(Options(only=("D",), out=out)))
    found, _ = estimates(work)
    assert (found.model, found.left) == ("cosine", 1)
    shutil.copytree(trained / "checkpoints" / "step-8", out / "cosine" / "checkpoints" / "step-8")
    found, _ = estimates(work)
    assert found.left == pytest.approx(1 / 3)
    assert found.training == pytest.approx(1200)


def test_a_training_is_too_long_beyond_the_hours_alone() -> None:
    rest = Estimate("linear", 96, 0.5, {}, COST)
    assert too_long(rest, 0.5) == ""
    assert "about 0 hours on this machine, more than `hours=0.4`" in too_long(rest, 0.4)
    done = Estimate("linear", 96, 0.0, {}, COST)
    assert too_long(done, 0.0) == ""


def test_what_needs_a_model_that_is_left_out_is_left_out_too(
    hour: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost(config: object, *_: object) -> Cost:
        return Cost(7200.0 if type(config).__name__ == "Autoencoder" else 3600.0, 2.0)

    monkeypatch.setattr(estimate, "cost", cost)
    said: list[str] = []
    work = begin(plan(Options(only=("C", "D"), out=tmp_path)))
    left = decide(work, 1.5, said.append)
    assert list(left.left_out) == ["vae"]
    assert left.models == ["cosine", "adaptive"]
    assert {row.model for row in left.rows} == {"cosine", "adaptive"}
    assert left.why_not("latent") == left.why_not("vae") != ""
    assert [line.split()[0] for line in said if "is left out" in line] == ["vae", "latent"]
    assert said[-1] == "  in all: about 2 hours"
    assert not work.left_out  # which was not changed
