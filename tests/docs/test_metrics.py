"""The examples of docs/metrics.md."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mezzotint.metrics import NETWORKS

from examples import run_examples

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")
def test_the_examples_run_on_a_run_of_glyphs(
    trained: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    def inception(device: torch.device):
        return replace(NETWORKS["glyphs"](device), name="inception")

    monkeypatch.setitem(NETWORKS, "inception", inception)  # whose weights are not at hand
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "mine")
    names = run_examples(PAGE)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[:-1]] == [
        *("fd-glyphs", "precision", "recall", "density", "coverage"),
    ]
    assert names["fid"].name == "fid"
    assert said[-1].startswith(f"FID {names['fid'].value:.1f}; fd-glyphs")
