"""Several processes share sampling and measuring."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import mezzotint as mz
from mezzotint import cli, processes
from mezzotint.metrics.features import Features, Rows
from mezzotint.processes import Share
from together import together


def test_the_pieces_are_shared_in_a_row() -> None:
    for pieces in range(8):
        for count in (1, 2, 3, 5):
            parts = [Share(number, count).part(pieces) for number in range(count)]
            assert [i for part in parts for i in part] == [*range(pieces)]
            sizes = [len(part) for part in parts]
            assert max(sizes) - min(sizes) <= 1
            assert sizes[0] == max(sizes)  # the first process has work, if there is any


@pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_samples_and_figures_are_those_of_one_process(
    trained: Path, tmp_path: Path, monkeypatch, count: int
) -> None:
    """Each sample is made once, from the command line and Python; an error is one line."""
    cache = Path(os.environ["MEZZOTINT_CACHE"])
    shutil.rmtree(cache / "samples", ignore_errors=True)
    one, out, log = tmp_path / "one", tmp_path / "out", tmp_path / "log"
    whole = mz.write_samples(trained, one, 20, batch=4, seed=3)
    figures = mz.evaluate(trained, samples=20, batch=4, metrics="fd")
    for part in ("samples", "references"):
        shutil.rmtree(cache / part)
    monkeypatch.setattr(sys.modules[Features.__module__], "PART", 50)
    returned, sample = tmp_path / "returned", mz.Pipeline.sample

    def counted(self: mz.Pipeline, n: int, **more: int) -> torch.Tensor:
        with (tmp_path / "made").open("a") as file:
            file.write(f"{more['first']}\n")
        return sample(self, n, **more)

    monkeypatch.setattr(mz.Pipeline, "sample", counted)
    seen, compute = tmp_path / "seen", Features.rows

    def noted(self: Features, images: torch.Tensor) -> Iterator[Rows]:
        with seen.open("a") as file:
            file.write(f"{os.environ['RANK']}:{len(images)}\n")
        return compute(self, images)

    monkeypatch.setattr(Features, "rows", noted)

    def work(rank: int) -> None:
        words = ["sample", str(trained), "--batch", "4", "--seed", "3", "--out", str(out)]
        cli.main([*words, "-n", "10"])
        torch.save(mz.write_samples(trained, out, 20, batch=4, seed=3), f"{returned}-{rank}")
        found = mz.evaluate(trained, samples=20, batch=4, metrics="fd")
        if rank == 0:
            row = found["fd-glyphs"].row
            (tmp_path / "figure").write_text(json.dumps(row))
        cli.main([*words, "--seed", "4"])

    assert together(count, work, log) == [2] * count
    said = log.read_text()
    assert said.count("wrote 10 samples to ") == 1
    assert said.count(f"mezzotint: {out} holds 20 samples made with --seed 3, not 4: ") == 1
    names = sorted(path.name for path in one.iterdir())
    assert sorted(path.name for path in out.iterdir()) == names
    assert all((one / name).read_bytes() == (out / name).read_bytes() for name in names)
    assert all(torch.equal(torch.load(f"{returned}-{i}"), whole) for i in range(count))
    assert json.loads((tmp_path / "figure").read_text()) == figures["fd-glyphs"].row
    made = sorted(map(int, (tmp_path / "made").read_text().split()))
    assert made == [0, 4, 8, 12, 16]
    shares = Counter(seen.read_text().split())
    samples = {f"{rank}:4": len(range(rank, 5, count)) for rank in range(count)}
    assert shares == {**samples, "0:50": 1, "1:50": 1}  # the reference has 100 images
    assert len(list((cache / "references").iterdir())) == 1


def test_the_first_process_prepares_and_refuses_for_all(tmp_path: Path) -> None:
    """The others find its work, and raise its error without doing the work."""
    worked = tmp_path / "worked"

    def work(rank: int) -> None:
        share, _ = processes.join()
        with share.first(), worked.open("a") as file:
            file.write(f"{rank}")
        with share.first():
            with worked.open("a") as file:
                file.write(f"-{rank}")
            raise mz.UserError("this cannot be: change it")

    log = tmp_path / "log"
    assert together(2, work, log) == [2, 2]
    assert worked.read_text() == "01-0"
    assert sorted(log.read_text().splitlines()) == [
        f"{rank}: this cannot be: change it" for rank in (0, 1)
    ]


def test_one_that_fails_alone_says_why_and_ends_the_others(tmp_path: Path, monkeypatch) -> None:
    """For example if one disk is full: only the process that failed prints a line."""

    def work(rank: int) -> None:
        def fail(arguments: list[str]) -> None:
            share, _ = processes.join()
            if rank == 1:
                raise mz.UserError("this disk is full: free some of it")
            share.wait()

        monkeypatch.setattr("mezzotint.cli.sample.sample", fail)
        cli.main(["sample", "RUN"])

    assert together(2, work, tmp_path / "log") == [2, 2]
    line = "mezzotint: this disk is full: free some of it\n"
    assert (tmp_path / "log").read_text() == line
