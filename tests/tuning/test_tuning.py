"""Sweeps: what is measured, what is not measured again, and the settings that come of it."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint import tuning
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import DataConfig
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.networks.network import Network
from mezzotint.pipeline import loading, tuned
from mezzotint.run import run
from mezzotint.tuning import Sweep, cells, pareto, settings

from commands import CapSys, call

FEW = ["--samples", "12", "--precision", "float32"]
SMALL = [*FEW, "--sampler", "ddim", "dpmpp_2m", "--guidance", "1", "2", "--nfe", "3", "4"]


@pytest.fixture(autouse=True)
def own_pictures(cache: Path) -> None:
    """The tests share a cache; no test is to find another's pictures."""
    shutil.rmtree(cache / "samples", ignore_errors=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch of every call of a network."""
    seen: list[int] = []
    plain = Network.__call__

    def counted(self, x, *more):
        seen.append(len(x))
        return plain(self, x, *more)

    monkeypatch.setattr(Network, "__call__", counted)
    return seen


def rows(folder: Path) -> list[dict]:
    return [json.loads(s) for s in (folder / "sweep" / "cells.jsonl").read_text().splitlines()]


def points(count: int, seed: int) -> list[tuple[float, float]]:
    """Random ones on a coarse lattice, so that many are equal in one number or both."""
    draw = random.Random(seed)
    return [(draw.randint(1, 8), draw.randint(1, 8) / 4) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [1, 2, 9, 60])
def test_the_pareto_front_is_what_no_point_beats(count: int, seed: int) -> None:
    every = points(count, seed)
    unbeaten = [
        i
        for i, (a, b) in enumerate(every)
        if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in every)
    ]
    front = pareto(every)
    assert sorted(front) == unbeaten
    assert [every[i] for i in front] == sorted(every[i] for i in unbeaten)


def test_cells_are_all_combinations_each_once(trained: Path) -> None:
    pipe = mz.load(trained)
    found = settings(pipe, ["ddim", "heun"], [1.0, 2.0], [None, (0.2, 5.0)], nfe=[5, 6, 9])
    # ddim of 5, 6 and 9 calls, heun of 5 and 9 (6 buys no more than 5); at scale 1 one interval.
    assert len(found) == len(set(found)) == (3 + 2) * 3
    cost = [SAMPLERS[how.sampler].cost(how.steps) for how in found]
    assert cost == sorted(cost)
    assert set(cost) == {5, 6, 9}
    assert {(how.guidance, how.interval) for how in found} == {
        (1.0, None),
        (2.0, None),
        (2.0, (0.2, 5.0)),
    }
    assert all(how.spacing == "karras" for how in found)
    by_steps = settings(pipe, ["heun"], [2.0], [None], steps=[4, 7])
    assert [(how.steps, how.guidance) for how in by_steps] == [(4, 2.0), (7, 2.0)]


def test_what_the_run_says_beside_holds_and_options_go_with_their_sampler(trained: Path) -> None:
    pipe = mz.load(trained)
    own = SampleConfig(sampler="ddim", eta=0.5, rescale=0.3, spacing="knots", knots=(9.0, 0.1))
    pipe = replace(pipe, defaults=own)
    ddim, dpm = settings(pipe, ["ddim", "dpmpp_2m"], [1.5], [None], nfe=[4])
    assert ddim == replace(own, spacing="karras", knots=(), steps=4, guidance=1.5)
    assert dpm == replace(ddim, sampler="dpmpp_2m", eta=None)


def test_a_sweep_measures_writes_and_recommends(trained: Path, capsys: CapSys) -> None:
    before = mz.load(trained).defaults
    code, said, _ = call(capsys, "sweep", str(trained), *SMALL)
    assert code == 0
    lines = said.splitlines()
    assert lines[0].startswith("8 cells of 12 pictures, 8 to be measured in about ")
    assert lines[1].split()[:4] == ["calls", "sampler", "steps", "guidance"]
    table = {tuple(line.split()[:4]): line.split()[4] for line in lines[2:10]}
    measured = rows(trained)
    assert len(table) == len(measured) == 8
    for row in measured:
        how = SampleConfig(**row["settings"])
        fd, accuracy = (f for f in row["figures"] if not f["name"].endswith("-inf"))
        assert (fd["name"], accuracy["name"], fd["samples"]) == ("fd-glyphs", "accuracy", 12)
        name = (str(how.steps), how.sampler, str(how.steps), f"{how.guidance:g}")
        assert table[name] == f"{fd['value']:.4g}"

    values = {(r["settings"]["steps"], r["pictures"]): r["figures"][0]["value"] for r in measured}
    found = tuned.read(trained)
    assert found
    assert found.best.value == min(values.values())
    assert found.budgets["3"].value == min(v for (steps, _), v in values.items() if steps == 3)
    assert found.budgets["4"] == found.best
    assert (found.metric, found.samples, found.precision) == ("fd-glyphs", 12, "float32")
    assert lines[-1].endswith(str(trained / "recommended.json"))

    page = (trained / "sweep" / "sweep.md").read_text()
    assert page.count("\n| 3 | ") + page.count("\n| 4 | ") == 8 + 2
    for name in ("heatmap.png", "pareto.png"):
        assert f"({name})" in page
        assert (trained / "sweep" / name).stat().st_size > 1_000

    pipe = mz.load(trained)
    assert pipe.defaults == found.best.settings != before
    assert loading.load(trained, recommended=False).defaults == before
    assert mz.load(trained / "checkpoints" / "step-12").defaults == before


def test_the_figures_are_those_of_evaluate(trained: Path, tmp_path: Path, capsys: CapSys) -> None:
    call(capsys, "sweep", str(trained), *FEW, "--sampler", "ddim", "--nfe", "3", "--guidance", "2")
    (row,) = rows(trained)
    flags = "--samples 12 --sampler ddim --steps 3 --guidance 2 --spacing karras --metrics fd"
    with pytest.warns(UserWarning, match="are fewer than 2,049"):
        code, *_ = call(capsys, "evaluate", str(trained), "--out", str(tmp_path), *flags.split())
    assert code == 0
    evaluated = json.loads((tmp_path / "figures.jsonl").read_text())
    assert evaluated["figures"] == row["figures"][:1]
    assert evaluated["pictures"] == row["pictures"]


def test_measured_cells_are_not_measured_again(trained: Path, capsys, asked, monkeypatch) -> None:
    _, first, _ = call(capsys, "sweep", str(trained), *SMALL)
    kept, made = rows(trained), len(asked)
    assert made > 8 * 3
    code, again, _ = call(capsys, "sweep", str(trained), *SMALL, "--minutes", "0")
    assert (code, len(asked), rows(trained)) == (0, made, kept)
    assert again.splitlines()[0] == "8 cells of 12 pictures, all measured before"
    assert again.splitlines()[1:] == first.splitlines()[1:]

    code, more, _ = call(capsys, "sweep", str(trained), *SMALL, "5")  # one budget more
    assert (code, len(rows(trained))) == (0, 12)
    assert more.startswith("12 cells of 12 pictures, 4 to be measured in about ")

    # Another metric of pictures that are there, and other weights.
    del asked[:]
    monkeypatch.setattr(cells, "seconds", lambda *_: 0.0)
    monkeypatch.setattr(tuning, "seconds", lambda *_: 0.0)
    assert call(capsys, "sweep", str(trained), *SMALL, "--metric", "accuracy")[0] == 0
    assert (asked, len(rows(trained))) == ([], 20)
    shutil.rmtree(trained / "checkpoints" / "step-12")
    with pytest.warns(UserWarning, match="measured on earlier weights: sweep again"):
        mz.load(trained)
    assert call(capsys, "sweep", str(trained), *SMALL)[0] == 0
    assert len(rows(trained)) == 28
    mz.load(trained)


def test_a_sweep_goes_on_where_it_was_killed(trained: Path, capsys, monkeypatch) -> None:
    _, whole, _ = call(capsys, "sweep", str(trained), *SMALL)
    file = trained / "sweep" / "cells.jsonl"
    kept = file.read_text().splitlines(keepends=True)
    file.write_bytes(b"{}\n\xff\n" + "".join(kept[:3]).encode() + kept[3][:90].encode())
    (trained / "recommended.json").unlink()
    measured = cells.measure
    done = []

    def killed(plan, how, *more):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(how)
        return measured(plan, how, *more)

    monkeypatch.setattr(tuning, "measure", killed)
    code, _, err = call(capsys, "sweep", str(trained), *SMALL)
    assert (code, err) == (130, "mezzotint: stopped\n")
    assert not (trained / "recommended.json").exists()
    monkeypatch.setattr(tuning, "measure", measured)
    code, said, _ = call(capsys, "sweep", str(trained), *SMALL)
    assert code == 0
    assert said.startswith("8 cells of 12 pictures, 3 to be measured in about ")
    assert said.splitlines()[1:] == whole.splitlines()[1:]
    assert len(file.read_bytes().splitlines()) == 11  # with the half that was left, and the others


def test_a_sweep_that_takes_too_long_asks_first(trained: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(cells, "seconds_of", lambda call: (call(), 60.0)[1])
    # 8 cells of one block: 28 calls of a minute, guided or not, 8 looks and 8 decodings.
    code, out, err = call(capsys, "sweep", str(trained), *SMALL, "--minutes", "43")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "8 cells of 12 pictures would take about 44 minutes, more than --minutes 43" in err
    assert "add --yes" in err
    assert not (trained / "sweep").exists()
    _, _, err = call(capsys, "sweep", str(trained), *SMALL, "--samples", "640")  # of ten blocks
    assert "would take about 7 hours, more than --minutes 60" in err
    code, out, _ = call(capsys, "sweep", str(trained), *SMALL, "--minutes", "43", "--yes")
    assert (code, len(rows(trained))) == (0, 8)


def test_the_time_counts_guided_calls_twice_and_only_what_is_missing(trained, monkeypatch) -> None:
    pipe = loading.load(trained)
    plan = tuning.Sweep(trained, pipe, pipe.digest, "float32", "glyphs", samples=100)

    def timed(call):
        batches = []
        plain = Network.__call__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                Network, "__call__", lambda s, x, *m: (batches.append(len(x)), plain(s, x, *m))[1]
            )
            call()
        return sum(batches) / 64  # of the denoiser alone

    monkeypatch.setattr(cells, "seconds_of", timed)
    plain, guided = settings(pipe, ["ddim"], [1.0, 3.0], [None], steps=[10])
    (part,) = settings(pipe, ["ddim"], [3.0], [(0.5, 2.0)], steps=[10])
    inside = sum(0.5 <= level.sigma / level.alpha <= 2 for level in pipe.grid(part)[:-1])
    assert 0 < inside < 10
    assert tuning.seconds(plan, [plain]) == 2 * 10  # two blocks of 64
    assert tuning.seconds(plan, [guided]) == 2 * 20
    assert tuning.seconds(plan, [part]) == pytest.approx(2 * (10 + inside))
    folder = cells.evaluation.kept(pipe, plain, 0, 64)
    folder.mkdir(parents=True)
    (folder / "000000.npy").touch()
    assert tuning.seconds(plan, [plain, guided]) == 10 + 40


@pytest.fixture
def recommending(trained: Path) -> Path:
    """The run with a recommendation."""
    pipe = mz.load(trained)
    how = SampleConfig(sampler="ddim", eta=0.3, steps=3, spacing="karras", guidance=1.5)
    choice = tuned.Choice(how, 3, 1.25, (1.0, 1.5))
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
        "recommended, where no flag says otherwise: ddim, 3 steps, karras, guidance 1.5: "
        "fd-glyphs 1.25 of 100 pictures"
    )
    plain = mz.load(recommending / "checkpoints" / "step-12")
    wanted = plain.sample(3, **asdict(how))
    assert torch.equal(pipe.sample(3), wanted)
    for more, changed in (([], {}), (["--steps", "5", "--eta", "0"], {"steps": 5, "eta": 0.0})):
        assert call(capsys, "sample", str(recommending), *flags, *more)[0] == 0
        made = plain.sample(3, **asdict(replace(how, **changed)))
        for i, image in enumerate(made):
            with Image.open(tmp_path / "out" / f"{i:06d}.png") as picture:
                assert picture.tobytes() == image.permute(1, 2, 0).numpy().tobytes()

    said = call(capsys, "sample", str(recommending / "checkpoints" / "step-12"), *flags)[1]
    assert "recommended, where" not in said


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
    assert "recommended, where" not in said


def test_a_sweep_begins_from_the_runs_own_settings(recommending: Path, capsys: CapSys) -> None:
    words = ["--sampler", "ddim", "--nfe", "3", "--guidance", "2"]
    assert call(capsys, "sweep", str(recommending), *FEW, *words)[0] == 0
    (row,) = rows(recommending)
    assert row["settings"]["eta"] is None  # which was recommended, and is not the run's


@pytest.fixture
def unconditional(tiny, tmp_path: Path) -> Path:
    data = DataConfig(data="glyphs", conditional=False)
    for _ in run(replace(tiny, data=data), tmp_path / "unconditional"):
        pass
    return tmp_path / "unconditional"


def test_an_unconditional_run_has_no_guidance_axis(unconditional: Path, capsys: CapSys) -> None:
    words = ["--network", "glyphs", "--sampler", "ddim", "heun", "--steps", "2", "3"]
    assert call(capsys, "sweep", str(unconditional), *FEW, *words)[0] == 0
    assert {row["settings"]["guidance"] for row in rows(unconditional)} == {1.0}
    assert len(rows(unconditional)) == 4
    found = tuned.read(unconditional)
    assert found
    assert set(found.budgets) == {"2", "3", "5"}  # heun's two and three steps are 3 and 5 calls
    assert mz.load(unconditional).sample(1).shape == (1, 3, 32, 32)
    for flags in (["--guidance", "2"], ["--interval", "0.2,5"]):
        code, out, err = call(capsys, "sweep", str(unconditional), *flags)
        assert (code, out) == (2, "")
        assert "this model is unconditional: leave out --guidance and --interval" in err


def test_a_latent_run_is_swept(trained_ldm: Path, capsys: CapSys) -> None:
    code, _, _ = call(capsys, "sweep", str(trained_ldm), *SMALL)
    assert (code, len(rows(trained_ldm))) == (0, 8)
    assert mz.load(trained_ldm).defaults.clipping == "none"


@pytest.mark.parametrize("classes", [(), ("cats", "dogs")])
def test_accuracy_is_not_swept_for_classes_that_no_network_knows(classes, tmp_path) -> None:
    pipe: Any = SimpleNamespace(classes=classes)
    with pytest.raises(mz.UserError, match="accuracy takes a network of the model's own classes"):
        Sweep(tmp_path, pipe, "", "float32", "cifar10", "accuracy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sweep", "give a run"),
        ("sweep nowhere", "there is no folder nowhere"),
        ("sweep RUN/checkpoints/step-12", "is no run: a sweep is kept in one"),
        ("sweep RUN --nfe 3 --steps 3", "give --nfe or --steps, not both"),
        ("sweep RUN --sampler nonsense", "unknown sampler 'nonsense': choose one of ddpm, ddim"),
        ("sweep RUN --sampler dpmpp_3m --nfe 2", "sampler dpmpp_3m guidance 1.0 nfe 2: a budget"),
        ("sweep RUN --sampler", "there is nothing to sweep"),
        ("sweep RUN --steps 1001", "--steps is 1001: choose 1 to 1000"),
        ("sweep RUN --steps 0", "steps: input should be greater than 0"),
        ("sweep RUN --guidance -1", "guidance: input should be greater than or equal to 0"),
        ("sweep RUN --interval 5", "interval is '5': give none, or two values of sigma / alpha"),
        ("sweep RUN --interval 5,0.2", "give the lower end first"),
        ("sweep RUN --interval 1e6,1e7", "no level of the grid has 1e+06 <= sigma / alpha"),
        ("sweep RUN --samples 9", "9 images cannot be measured: give at least 10"),
        ("sweep RUN --samples some", "give 1k, 5k, 10k, 50k or a number"),
        ("sweep RUN --metric prdc", "prdc"),
        ("sweep RUN --metric accuracy --network cifar10", "a network of the model's own classes"),
        ("sweep RUN --network vgg", "vgg"),
        ("sweep RUN --seed -1", "seed is -1"),
        ("sweep RUN --minutes 0", "more than --minutes 0: add --yes"),
        ("sweep RUN --stepps 3", "unknown field --stepps; did you mean --steps"),
    ],
)
def test_bad_input_is_one_clear_line(
    trained: Path, tmp_path: Path, capsys: CapSys, monkeypatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    code, out, err = call(capsys, *arguments.replace("RUN", str(trained)).split())
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert message in err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_torchrun_is_refused(trained: Path, capsys: CapSys, monkeypatch) -> None:
    two = tuning.cells.evaluation.Share(0, 2)
    monkeypatch.setattr(cells.evaluation, "join", lambda: (two, torch.device("cpu")))
    code, _, err = call(capsys, "sweep", str(trained))
    assert code == 2
    assert "start it without torchrun" in err
