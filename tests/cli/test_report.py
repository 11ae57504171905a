"""The command `mezzotint report`: the page that it writes, and its errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pages import sound

from commands import CapSys, call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a run, or several to compare"),
        (["{}/nowhere"], "{}/nowhere is not a run: give a folder that a training wrote"),
        (["{}/run", "{}/run/../run"], "{}/run/../run is given twice: give each run once"),
        (["{}/run", "--samples", "0"], "samples: input should be greater than 0, not 0"),
        (["{}/run", "--seed", "-1"], "seed: input should be greater than or equal to 0, not -1"),
        (["{}/run", "--sample", "3"], "unknown option --sample; did you mean --samples"),
    ],
)
def test_bad_input_is_one_clear_line(
    trained: Path, tmp_path: Path, capsys: CapSys, arguments: list[str], said: str
) -> None:
    code, out, err = call(capsys, "report", *(a.format(tmp_path) for a in arguments))
    assert (code, out) == (2, "")
    assert err.startswith(f"mezzotint: {said.format(tmp_path)}")
    assert err.count("\n") == 1


def test_a_folder_for_a_page_is_refused_before_anything_is_made(trained, tmp_path, capsys) -> None:
    code, _, err = call(capsys, "report", str(trained), "--out", str(tmp_path))
    assert (code, err) == (2, f"mezzotint: {tmp_path} is a folder: give a file as --out\n")


def test_the_command_writes_the_page_beside_the_run(trained: Path, capsys: CapSys) -> None:
    shutil.rmtree(trained / "checkpoints")  # there is no model to make samples
    code, out, _ = call(capsys, "report", str(trained))
    assert code == 0
    assert out.startswith(f"wrote {trained}/report.html (")
    sound((trained / "report.html").read_text())
