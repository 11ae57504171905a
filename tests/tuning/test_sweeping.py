"""Sweeps from Python: which cells are measured, which are not repeated, and the result."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint import processes
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import DataConfig
from mezzotint.networks.network import Network
from mezzotint.pipeline import loading, tuned
from mezzotint.run import run
from mezzotint.tuning import search, sweeping
from mezzotint.tuning.cells import combinations
from mezzotint.tuning.search import Search, seconds

from commands import CapSys, call

FEW: dict[str, Any] = {"samples": 12, "precision": "float32"}
SMALL: dict[str, Any] = {
    **FEW,
    "sampler": ["ddim", "dpmpp_2m"],
    "guidance": [1, 2],
    "nfe": [3, 4],
}


@pytest.fixture(autouse=True)
def own_samples(cache: Path) -> None:
    """Remove the samples of other tests from the shared cache."""
    shutil.rmtree(cache / "samples", ignore_errors=True)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list of the batch sizes of all network calls."""
    seen: list[int] = []
    plain = Network.__call__

    def counted(self, x, *more):
        seen.append(len(x))
        return plain(self, x, *more)

    monkeypatch.setattr(Network, "__call__", counted)
    return seen


def rows(folder: Path) -> list[dict]:
    return [json.loads(s) for s in (folder / "sweep" / "cells.jsonl").read_text().splitlines()]


def test_a_sweep_measures_writes_and_recommends(trained: Path) -> None:
    before = mz.load(trained).defaults
    said: list[str] = []
    progress: list[tuple[str, float, int]] = []
    found = mz.sweep(
        trained, **SMALL, on_message=said.append, on_progress=lambda *step: progress.append(step)
    )
    measured = rows(trained)
    assert len(found.cells) == len(measured) == 8
    for cell, row in zip(found.cells, measured, strict=True):
        assert asdict(cell.settings) == SampleConfig(**row["settings"]).__dict__
        fd, accuracy = (f for f in row["figures"] if not f["name"].endswith("-inf"))
        assert (fd["name"], accuracy["name"], cell.figure.count) == ("fd-glyphs", "accuracy", 12)
        assert (cell.figure.row, cell.accuracy.row) == (fd, accuracy)
    values = [cell.figure.value for cell in found.cells]
    assert found.best.figure.value == min(values)
    assert found.budgets[3].figure.value == min(
        cell.figure.value for cell in found.cells if cell.calls == 3
    )
    assert found.budgets == {3: found.budgets[3], 4: found.best}
    assert [row["value"] for row in found.rows()] == values
    assert {row["guidance"] for row in found.rows()} == {1.0, 2.0}

    assert said[0].startswith(
        "8 combinations of settings (12 samples each), 8 to be measured in about "
    )
    assert repr(found).splitlines() == [*said[1:], *found.summary()]
    assert progress[0][0].startswith("combination 1 of 8: ")
    assert progress[-1][0].startswith("combination 8 of 8: ")
    assert all(0 <= done <= total for _, done, total in progress)

    assert (found.page, found.recommended) == (
        trained / "sweep" / "sweep.md",
        trained / "recommended.json",
    )
    kept = tuned.read(trained)
    assert kept
    assert kept.best.settings == found.best.settings
    assert {int(n): c.value for n, c in kept.budgets.items()} == {
        n: cell.figure.value for n, cell in found.budgets.items()
    }
    assert (kept.metric, kept.samples, kept.precision) == ("fd-glyphs", 12, "float32")
    page = found.page.read_text()
    assert page.count("\n| 3 | ") + page.count("\n| 4 | ") == 8 + 2
    for name in ("heatmap.png", "pareto.png"):
        assert f"({name})" in page
        assert (trained / "sweep" / name).stat().st_size > 1_000

    pipe = mz.load(trained)
    assert pipe.defaults == found.best.settings != before
    assert loading.load(trained, recommended=False).defaults == before
    assert mz.load(trained / "checkpoints" / "step-12").defaults == before


def test_the_figures_are_those_of_evaluate(trained: Path, tmp_path: Path, capsys: CapSys) -> None:
    mz.sweep(trained, **FEW, sampler="ddim", nfe=3, guidance=2)
    (row,) = rows(trained)
    flags = "--samples 12 --sampler ddim --steps 3 --guidance 2 --spacing karras --metrics fd"
    with pytest.warns(UserWarning, match="are fewer than 2,049"):
        code, *_ = call(capsys, "evaluate", str(trained), "--out", str(tmp_path), *flags.split())
    assert code == 0
    evaluated = json.loads((tmp_path / "figures.jsonl").read_text())
    assert evaluated["figures"] == row["figures"][:1]
    assert evaluated["pictures"] == row["pictures"]


def test_measured_cells_are_not_measured_again(trained: Path, batches, monkeypatch) -> None:
    said: list[str] = []
    first = mz.sweep(trained, **SMALL)
    kept, made = rows(trained), len(batches)
    assert made > 8 * 3
    assert mz.sweep(trained, **SMALL, minutes=0, on_message=said.append) == first
    assert (len(batches), rows(trained)) == (made, kept)
    assert said[0] == "8 combinations of settings (12 samples each), all measured before"

    more = mz.sweep(trained, **SMALL | {"nfe": [3, 4, 5]}, on_message=said.append)
    assert (len(more.cells), len(rows(trained))) == (12, 12)
    assert any(
        s.startswith("12 combinations of settings (12 samples each), 4 to be measured in about ")
        for s in said
    )

    # Another metric of samples that are there, and other weights.
    del batches[:]
    monkeypatch.setattr(search, "seconds_of", lambda call: 0.0)
    by_accuracy = mz.sweep(trained, **SMALL, metric="accuracy")
    assert (batches, len(rows(trained))) == ([], 20)
    accuracies = [cell.figure.value for cell in by_accuracy.cells]
    assert by_accuracy.best.figure.value == max(accuracies)
    shutil.rmtree(trained / "checkpoints" / "step-12")
    with pytest.warns(UserWarning, match="measured on earlier weights of the run: repeat"):
        mz.load(trained)
    mz.sweep(trained, **SMALL)
    assert len(rows(trained)) == 28
    mz.load(trained)


def test_a_sweep_continues_where_it_was_killed(trained: Path, monkeypatch) -> None:
    whole = mz.sweep(trained, **SMALL)
    file = trained / "sweep" / "cells.jsonl"
    kept = file.read_text().splitlines(keepends=True)
    file.write_bytes(b"{}\n\xff\n" + "".join(kept[:3]).encode() + kept[3][:90].encode())
    (trained / "recommended.json").unlink()
    measure, done = sweeping.measure, []

    def killed(plan, settings, *more):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(settings)
        return measure(plan, settings, *more)

    monkeypatch.setattr(sweeping, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        mz.sweep(trained, **SMALL)
    assert not (trained / "recommended.json").exists()
    monkeypatch.setattr(sweeping, "measure", measure)
    said: list[str] = []
    assert mz.sweep(trained, **SMALL, on_message=said.append) == whole
    assert said[0].startswith(
        "8 combinations of settings (12 samples each), 3 to be measured in about "
    )
    assert len(file.read_bytes().splitlines()) == 11  # with the half that was left, and the others


def test_a_sweep_that_takes_too_long_is_refused(trained: Path, monkeypatch) -> None:
    monkeypatch.setattr(search, "seconds_of", lambda call: (call(), 60.0)[1])
    # 8 cells of one block: 28 calls of a minute, guided or not, 8 looks and 8 decodings.
    with pytest.raises(mz.UserError) as wrong:
        mz.sweep(trained, **SMALL, minutes=43)
    assert str(wrong.value) == (
        "8 combinations of settings (12 samples each) would take about 44 minutes, "
        "more than `minutes=43`: raise that limit, or sweep fewer settings"
    )
    assert not (trained / "sweep").exists()
    with pytest.raises(mz.UserError, match="about 7 hours, more than `minutes=60`"):
        mz.sweep(trained, **SMALL | {"samples": 640})  # of ten blocks
    mz.sweep(trained, **SMALL, minutes=None)
    assert len(rows(trained)) == 8


def test_the_time_counts_guided_calls_twice_and_only_what_is_missing(trained, monkeypatch) -> None:
    pipe = loading.load(trained)
    plan = Search(trained, pipe, pipe.digest, "float32", "glyphs", samples=100)

    def timed(call):
        batches = []
        plain = Network.__call__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                Network, "__call__", lambda s, x, *m: (batches.append(len(x)), plain(s, x, *m))[1]
            )
            call()
        return sum(batches) / 64  # of the denoiser alone

    monkeypatch.setattr(search, "seconds_of", timed)
    plain, guided = combinations(pipe, ["ddim"], [1.0, 3.0], [None], steps=[10])
    (part,) = combinations(pipe, ["ddim"], [3.0], [(0.5, 2.0)], steps=[10])
    inside = sum(0.5 <= level.sigma / level.alpha <= 2 for level in pipe.grid(part)[:-1])
    assert 0 < inside < 10
    assert seconds(plan, [plain]) == 2 * 10  # two blocks of 64
    assert seconds(plan, [guided]) == 2 * 20
    assert seconds(plan, [part]) == pytest.approx(2 * (10 + inside))
    folder = search.evaluation.kept(pipe, plain, 0, 64)
    folder.mkdir(parents=True)
    (folder / "000000.npy").touch()
    assert seconds(plan, [plain, guided]) == 10 + 40


def test_a_sweep_starts_from_the_runs_own_settings(trained: Path) -> None:
    mz.sweep(trained, **FEW, sampler="ddim", nfe=3, guidance=[1.5, 2])
    path = trained / "recommended.json"
    path.write_text(path.read_text().replace('"eta": null', '"eta": 0.3'))
    assert mz.load(trained).defaults.eta == 0.3
    (cell,) = mz.sweep(mz.load(trained), **FEW, sampler="ddim", nfe=4, guidance=2).cells
    assert cell.settings.eta is None  # which is recommended, and not the run's own


def test_a_pipeline_of_a_run_is_swept_as_the_run_is(trained: Path) -> None:
    by_folder = mz.sweep(str(trained), **FEW, sampler="ddim", nfe=3)
    for precision in ("float32", "bf16"):
        assert mz.sweep(mz.load(trained, precision=precision), **FEW, sampler="ddim", nfe=3) == (
            by_folder
        )


def test_a_pipeline_that_is_not_the_run_is_refused(trained: Path) -> None:
    pipe = mz.load(trained)
    changed = mz.load(trained)
    with torch.no_grad():
        next(changed.net.parameters()).add_(1)
    for wrong, message in (
        (replace(pipe, home=None), "was not loaded from a folder: pass a run folder"),
        (changed, "are not those of"),
        (pipe.guided_by(mz.load(trained / "checkpoints" / "step-8")), "are not those of"),
        (
            replace(pipe, defaults=replace(pipe.defaults, rescale=0.5)),
            "but the pipeline `run` has other defaults",
        ),
        (mz.load(trained / "checkpoints" / "step-12"), "is not a run: give the folder of a run"),
    ):
        with pytest.raises(mz.UserError, match=message):
            mz.sweep(wrong, **SMALL)
    assert not (trained / "sweep").exists()


@pytest.mark.parametrize(
    ("given", "intervals"),
    [
        ({}, {(0.1, 9.0)}),  # the run's own
        ({"interval": None}, {None}),
        ({"interval": (0.2, 5)}, {(0.2, 5.0)}),
        ({"interval": [0.2, 5]}, {(0.2, 5.0)}),
        ({"interval": [None, (0.2, 5)]}, {None, (0.2, 5.0)}),
        ({"interval": [(1, 6), (0.2, 5)]}, {(1.0, 6.0), (0.2, 5.0)}),
    ],
)
def test_an_interval_or_several_may_be_given(tiny, tmp_path, monkeypatch, given, intervals) -> None:
    plans: list[Any] = []
    monkeypatch.setattr(sweeping, "refuse_long", lambda plan, minutes: plans.append(plan))
    monkeypatch.setattr(sweeping, "measured", lambda plan, follow: iter(()))
    monkeypatch.setattr(sweeping, "_result", lambda plan, cells: None)
    monkeypatch.setattr(search, "seconds_of", lambda call: 0.0)
    own = replace(tiny, sample=replace(tiny.sample, interval=(0.1, 9.0)))
    for _ in run(own, tmp_path / "run"):
        pass
    mz.sweep(
        tmp_path / "run", **FEW, sampler="ddim", steps=3, guidance=np.array([2.0, 3.0]), **given
    )
    assert {settings.interval for settings in plans[0].settings} == intervals
    assert {settings.guidance for settings in plans[0].settings} == {2.0, 3.0}


@pytest.fixture
def unconditional(tiny, tmp_path: Path) -> Path:
    data = DataConfig(data="glyphs", conditional=False)
    for _ in run(replace(tiny, data=data), tmp_path / "unconditional"):
        pass
    return tmp_path / "unconditional"


def test_an_unconditional_run_has_no_guidance_axis(unconditional: Path) -> None:
    found = mz.sweep(
        unconditional, **FEW, network="glyphs", sampler=["ddim", "heun"], steps=range(2, 4)
    )
    assert {cell.settings.guidance for cell in found.cells} == {1.0}
    assert len(rows(unconditional)) == 4
    assert set(found.budgets) == {2, 3, 5}  # heun's two and three steps are 3 and 5 calls
    assert mz.load(unconditional).sample(1).shape == (1, 3, 32, 32)
    for given in ({"guidance": 2}, {"interval": (0.2, 5)}):
        with pytest.raises(mz.UserError, match="leave out `guidance` and `interval`"):
            mz.sweep(unconditional, **FEW, **given)


def test_a_latent_run_is_swept(trained_ldm: Path) -> None:
    assert len(mz.sweep(trained_ldm, **SMALL).cells) == len(rows(trained_ldm)) == 8
    assert mz.load(trained_ldm).defaults.clipping == "none"


def test_a_metric_without_a_figure_is_refused(tmp_path: Path, monkeypatch) -> None:
    """A training set of one image has no covariance."""
    monkeypatch.setattr(search.evaluation, "kept", lambda *given: tmp_path)
    nothing = [(None, [])]
    monkeypatch.setattr(search.evaluation, "measure_samples", lambda *given, **more: nothing)
    pipe: Any = SimpleNamespace(classes=())
    by: Any = None
    one = Search(tmp_path, pipe, "", "float32", "glyphs", "fd", 10)
    with pytest.raises(mz.UserError, match="fd cannot be measured against this training set"):
        search.measure(one, SampleConfig(), by, lambda what, done, total: None)
    assert not one.file.exists()


@pytest.mark.parametrize("classes", [(), ("cats", "dogs")])
def test_accuracy_is_not_swept_for_classes_that_no_network_knows(classes, tmp_path) -> None:
    pipe: Any = SimpleNamespace(classes=classes)
    with pytest.raises(mz.UserError, match="accuracy needs a network that knows"):
        Search(tmp_path, pipe, "", "float32", "cifar10", "accuracy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": "nowhere"}, "there is no folder nowhere"),
        ({"nfe": 3, "steps": 3}, "`nfe` and `steps` are both given"),
        ({"sampler": "nonsense"}, "unknown sampler 'nonsense': choose one of ddpm, ddim"),
        ({"sampler": "dpmpp_3m", "nfe": 2}, "sampler dpmpp_3m guidance 1.0 nfe 2: a budget"),
        ({"sampler": ()}, "there is nothing to sweep"),
        ({"steps": 1001}, "is 1001: choose 1 to 1000"),
        ({"steps": 0}, "steps: input should be greater than 0"),
        ({"steps": "ten"}, "steps.0: input should be a valid integer"),
        ({"guidance": -1}, "guidance: input should be greater than or equal to 0"),
        ({"guidance": float("nan")}, "guidance.0: input should be a finite number"),
        ({"interval": 5}, "interval.0: input should be a valid tuple"),
        ({"interval": "none"}, "interval.0: input should be a valid tuple"),
        ({"interval": (5, 0.2)}, "give the lower end first"),
        ({"interval": (1e6, 1e7)}, "no level of the grid has 1e+06 <= sigma / alpha"),
        ({"samples": 9}, "give at least 10"),
        ({"samples": "some"}, "samples: input should be a valid integer"),
        ({"metric": "prdc"}, "unknown metric 'prdc': choose one of fd, sfd, cs, kd, accuracy"),
        ({"metric": "accuracy", "network": "cifar10"}, "a network that knows the classes"),
        ({"network": "vgg"}, "vgg"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0"),
        ({"precision": "half"}, "precision: input should be 'float32', 'bf16' or 'auto'"),
        ({"minutes": 0}, "more than `minutes=0`: raise that limit, or sweep fewer"),
        ({"minutes": -1}, "minutes: input should be greater than or equal to 0"),
    ],
)
def test_bad_input_names_the_argument(trained: Path, options: dict, message: str) -> None:
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    with pytest.raises(mz.UserError) as wrong:
        mz.sweep(**{"run": trained} | options)
    assert message in str(wrong.value)
    assert "\n" not in str(wrong.value)
    assert {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()} == before


def test_several_processes_are_refused(trained: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "join", lambda: (processes.Share(0, 2), torch.device("cpu")))
    with pytest.raises(mz.UserError, match="start it without torchrun"):
        mz.sweep(trained)
