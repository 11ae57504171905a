"""Models and pictures measured: shared work, work taken up again, and what the command says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args
from unittest.mock import MagicMock

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import errors
from PIL import Image

import mezzotint as mz
from mezzotint import evaluation
from mezzotint.cli.table import Distance, Metric, Network
from mezzotint.data.sources import glyphs
from mezzotint.diffusion import optimised_grid
from mezzotint.errors import UserError
from mezzotint.evaluation import samples
from mezzotint.evaluation.measuring import Measure
from mezzotint.evaluation.samples import Share
from mezzotint.metrics import METRICS, NETWORKS, interval
from mezzotint.metrics.pairs import DISTANCES
from mezzotint.storage import jsonl

from commands import CapSys, call

# Said of every evaluation here.
pytestmark = pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")


@pytest.fixture
def pipe(trained: Path) -> mz.Pipeline:
    return mz.load(trained)


@pytest.fixture
def measure(trained: Path, pipe: mz.Pipeline) -> Measure:
    against = evaluation.training_set(trained, pipe)
    return evaluation.measure("glyphs", against, pipe.shape[1:], torch.device("cpu"))


def figures(pipe, measure, folder: Path, tiers=(40,), **more):
    """Of each tier: name -> (value, low, high, samples)."""
    seen = evaluation.measure_samples(
        pipe, [measure], pipe.defaults, tiers, folder, batch=16, **more
    )
    return [{f.name: (f.value, f.low, f.high, f.count) for f in found} for _, found in seen]


def test_the_figures_do_not_depend_on_the_number_of_processes(pipe, measure, tmp_path) -> None:
    alone = figures(pipe, measure, tmp_path / "alone")
    for number in (2, 1):
        assert figures(pipe, measure, tmp_path / "three", share=Share(number, 3)) == []
    assert figures(pipe, measure, tmp_path / "three", share=Share(0, 3)) == alone
    assert alone[0]["fd-glyphs"][3] == 40


def test_an_evaluation_goes_on_where_it_stood(pipe, measure, tmp_path, monkeypatch) -> None:
    whole = figures(pipe, measure, tmp_path)
    (tmp_path / "000001.npy").unlink()
    made = []
    sample = mz.Pipeline.sample

    def counted(self, n, **more):
        made.append(more["first"])
        return sample(self, n, **more)

    monkeypatch.setattr(mz.Pipeline, "sample", counted)
    assert figures(pipe, measure, tmp_path) == whole
    assert made == [16]


def test_the_network_is_compiled_for_what_is_missing(pipe, measure, tmp_path, monkeypatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        mz.Pipeline, "sample", lambda self, n, **_: torch.zeros(n, 3, 32, 32).byte()
    )
    monkeypatch.setattr(
        type(pipe.net), "compile_for", lambda self, calls: bool(asked.append(calls))
    )
    for count in (24, 40):
        figures(pipe, measure, tmp_path, (count,))
    assert asked == [2 * pipe.defaults.steps, pipe.defaults.steps]


def test_more_pictures_begin_with_the_fewer_ones(pipe, measure, tmp_path) -> None:
    (fewer,) = figures(pipe, measure, tmp_path / "a", (24,))
    first, second = figures(pipe, measure, tmp_path / "b", (24, 40))
    assert first == fewer
    assert second == figures(pipe, measure, tmp_path / "c", (40,))[0]


def test_a_block_holds_the_pictures_of_its_numbers(pipe, measure, tmp_path) -> None:
    figures(pipe, measure, tmp_path)
    kept = torch.cat(list(samples.stored(tmp_path, 3, 37, 16)))
    wanted = pipe.sample(37)[3:]
    assert (kept.int() - wanted.int()).abs().max() <= 1  # another batch rounds differently


@pytest.mark.parametrize("whole", [0, 60, -1])
def test_a_damaged_block_is_named_in_one_line(tmp_path, whole) -> None:
    path = samples.block(tmp_path, 0)
    np.save(path, np.zeros((4, 8, 8, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:whole])
    with pytest.raises(UserError, match=r"000000\.npy is damaged: delete it"):
        list(samples.stored(tmp_path, 0, 4, 4))


def test_pictures_are_made_as_they_are_kept_whatever_the_models_own_settings(
    pipe, tmp_path
) -> None:
    own = replace(pipe, defaults=replace(pipe.defaults, guidance=3.0, interval=(0.5, 2.0)))
    how = replace(own.defaults, interval=None)
    samples.make(own, tmp_path, 0, how, 0, 4, 4, lambda *_: None)
    (made,) = samples.stored(tmp_path, 0, 4, 4)
    plain = replace(pipe, defaults=how)
    assert torch.equal(made, plain.sample(4, batch=4))
    assert not torch.equal(made, own.sample(4, batch=4))


def test_other_settings_weights_and_seeds_have_other_pictures(pipe) -> None:
    def key(pipe=pipe, seed=0, batch=64, **settings):
        return samples.key(pipe, replace(pipe.defaults, **settings), seed, batch)

    keys = {key(), key(seed=1), key(steps=3), key(guidance=1.5), key(batch=32)}
    keys |= {key(interval=(0.1, 9.0)), key(spacing="knots", knots=(9.0, 0.1)), key(rescale=0.5)}
    keys |= {key(sampler="unipc"), key(sampler="unipc", order=3), key(pipe.guided_by(pipe))}
    with torch.no_grad():
        next(pipe.net.parameters()).add_(1e-3)
    keys.add(key(replace(pipe)))
    assert len(keys) == 12


def test_the_command_offers_what_there_is() -> None:
    for literal, names in ((Metric, METRICS), (Network, NETWORKS), (Distance, DISTANCES)):
        assert get_args(literal) == tuple(names)


@pytest.mark.parametrize(
    ("samples", "tiers"),
    [
        ("1k", [1_000]),
        ("5k", [1_000, 5_000]),
        ("10k", [1_000, 5_000, 10_000]),
        ("50K", [1_000, 5_000, 10_000, 50_000]),
        ("2000", [1_000, 2_000]),
        ("64", [64]),
    ],
)
def test_figures_come_at_each_tier_on_the_way(samples: str, tiers: list[int]) -> None:
    assert evaluation.tiers(samples) == tiers


@pytest.mark.parametrize("samples", ["", "0", "k", "-5", "many", "1.5k", "0k"])
def test_a_count_that_is_none_is_refused(samples: str) -> None:
    with pytest.raises(UserError, match="give 1k, 5k, 10k, 50k or a number"):
        evaluation.tiers(samples)


def test_the_command_measures_a_run(trained: Path, capsys: CapSys) -> None:
    with pytest.warns(UserWarning, match="30 images are fewer than 2,049: the Frechet distance"):
        code, said, _ = call(capsys, "evaluate", str(trained), "--samples", "30", "--steps", "3")
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == (
        "glyphs network, bilinear with antialias to 32x32; against 100 of glyphs train"
    )
    names = [line.split()[0] for line in lines[1:-1]]
    assert names == [
        *("fd-glyphs", "sfd-glyphs", "cs-glyphs", "kd-glyphs"),
        *("precision", "recall", "density", "coverage", "accuracy", "memorised"),
    ]
    assert all("N = 30" in line for line in lines[1:-1])

    (row,) = map(json.loads, (trained / "evaluation" / "figures.jsonl").read_text().splitlines())
    assert (row["model"], row["steps"], row["seed"]) == (str(trained), 3, 0)
    for figure in row["figures"]:
        assert figure["samples"] == 30
        assert figure["network"] == "glyphs"
        assert figure["low"] <= figure["value"] <= figure["high"]
    with Image.open(trained / "evaluation" / "nearest.png") as picture:
        assert picture.height > 9 * 96  # ten rows, enlarged

    code, again, _ = call(capsys, "evaluate", str(trained), "--samples", "30", "--steps", "3")
    assert (code, again) == (0, said)
    assert len((trained / "evaluation" / "figures.jsonl").read_text().splitlines()) == 2


def test_a_figure_after_a_line_that_was_cut_short_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    path.write_text('{"time": "2026')
    evaluation.record(path, [], {"model": "mine"})
    assert [row["model"] for row in jsonl.read(path)] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("RUN --network cifar10 --metrics accuracy", "accuracy takes a network of the model's own"),
        ("RUN --network glyphs cifar10 --metrics accuracy", "of the model's own classes"),
        ("RUN --metrics", "nothing would be measured: choose"),
        ("DIGITS --against glyphs --metrics accuracy", "own classes, or the images': choose fd"),
        ("DIGITS --against glyphs --metrics", "nothing would be measured"),
    ],
)
def test_metrics_that_measure_nothing_are_refused_before_the_work(
    trained, tmp_path, capsys, monkeypatch, arguments: str, message: str
) -> None:
    def worked(*_: object) -> None:
        raise AssertionError("the work was begun")

    for name in ("model.own_training_set", "model.measure", "images.measure"):
        monkeypatch.setattr(f"mezzotint.evaluation.{name}", worked)
    monkeypatch.setattr(evaluation.Against, "of", worked)
    places = {"RUN": str(trained), "DIGITS": str(digits(tmp_path / "digits", 12))}
    code, out, err = call(capsys, "evaluate", *(places.get(w, w) for w in arguments.split()))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (trained / "evaluation").exists()


def test_a_budget_and_a_weaker_model_are_on_record(trained: Path, tmp_path, capsys) -> None:
    weaker = str(shutil.copytree(trained / "checkpoints" / "step-8", tmp_path / "weaker"))
    flags = ["--samples", "12", "--metrics", "fd", "--sampler", "heun"]
    more = [[], ["--nfe", "6"], ["--nfe", "6", "--weaker", weaker], ["--steps", "3"]]
    for words in more:
        assert call(capsys, "evaluate", str(trained), *flags, *words)[0] == 0
    lines = (trained / "evaluation" / "figures.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["steps"] for row in rows] == [2, 3, 3, 3]
    assert [row["nfe"] for row in rows] == [None, 6, 6, None]
    assert [row.get("weaker") for row in rows] == [None, None, weaker, None]
    assert all(row["sampler"] == "heun" for row in rows)
    assert rows[1]["pictures"] == rows[3]["pictures"]  # the same ones, made once
    assert rows[1]["figures"] == rows[3]["figures"]
    assert len({row["pictures"] for row in rows}) == 3


def test_two_networks_look_at_the_same_pictures(trained: Path, capsys: CapSys) -> None:
    flags = ["--samples", "12", "--metrics", "fd", "accuracy", "--network", "glyphs", "cifar10"]
    code, said, _ = call(capsys, "evaluate", str(trained), *flags)
    assert code == 0
    names = [line.split()[0] for line in said.splitlines()]
    assert names == ["glyphs", "fd-glyphs", "accuracy", "cifar10", "fd-cifar10", "kept:"]


def test_torchrun_gives_the_figures_of_one_process(
    trained: Path, tmp_path, monkeypatch, capsys: CapSys
) -> None:
    monkeypatch.setattr(interval, "HALVINGS", 50)  # as the other processes have it
    command = ["evaluate", str(trained), "--samples", "40", "--batch", "8"]
    command += ["--against", str(digits(tmp_path / "digits", 30)), "--metrics", "fd", "prdc"]
    code, said, _ = call(capsys, *command)
    assert code == 0

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "mezzotint", *command],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert said.count("fd-glyphs") == done.stdout.count("fd-glyphs") == 1
    lines = (trained / "evaluation" / "figures.jsonl").read_text().splitlines()
    one, two = (json.loads(line)["figures"] for line in lines)
    assert one == two


def digits(folder: Path, count: int, suffix: str = "png") -> Path:
    """A folder of glyphs, flat."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.fromarray(glyphs.draw("test", i)).save(folder / f"{i:03d}.{suffix}")
    return folder


def test_pictures_are_measured_against_pictures(few_glyphs, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = digits(tmp_path / "a", 30)
    shutil.make_archive(str(tmp_path / "b"), "zip", digits(tmp_path / "b", 40))
    np.save(tmp_path / "c.npy", np.stack([glyphs.draw("train", i) for i in range(35)]))
    said = {}
    for name, count in ((str(folder), 30), ("b.zip", 40), ("c.npy", 35), ("glyphs", 100)):
        flags = ["--against", "glyphs", "--network", "glyphs", "--metrics", "fd", "prdc"]
        code, out, _ = call(capsys, "evaluate", name, *flags)
        assert code == 0
        assert f"N = {count}" in out
        said[name] = float(out.split("fd-glyphs")[1].split()[0])
    assert said.pop("glyphs") < 1e-6 < min(said.values())
    assert len((tmp_path / "evaluation" / "figures.jsonl").read_text().splitlines()) == 4


def test_a_reference_is_given_as_its_file(few_glyphs, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    folder = digits(tmp_path / "a", 30)
    flags = ["--network", "glyphs", "--metrics", "fd", "kd", "--out", str(tmp_path / "out")]
    _, by_name, _ = call(capsys, "evaluate", str(folder), "--against", "glyphs", *flags)
    (file,) = (tmp_path / "cache" / "references").iterdir()
    code, by_file, _ = call(capsys, "evaluate", str(folder), "--against", str(file), *flags)
    assert code == 0
    assert by_file.splitlines()[:-1] == by_name.splitlines()[:-1]

    flags[1] = "cifar10"
    code, _, err = call(capsys, "evaluate", str(folder), "--against", str(file), *flags)
    assert code == 2
    assert "is of network glyphs, the images of cifar10" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluate", "give a run, a checkpoint, a diffusers folder, a shipped model, or images"),
        ("evaluate nowhere", "say what with --against"),
        ("evaluate nowhere --against glyphs", "there is no data set, file or folder 'nowhere'"),
        ("evaluate DIGITS --against glyphs --network vgg", "vgg"),
        ("evaluate DIGITS --against glyphs --metrics fid", "fid"),
        ("evaluate EMPTY --against glyphs", "holds no images"),
        ("evaluate MIXED --against glyphs", "the images differ in size"),
        (
            "evaluate DIGITS --against LARGE",
            "64x64, those to measure of 32x32: scale them with --size",
        ),
        ("evaluate FEW --against glyphs", "3 images cannot be measured: give at least 10"),
        ("evaluate FLOAT --against glyphs", "round them to uint8, 0 to 255"),
        ("evaluate WIDE --against glyphs", "values from 0 to 300: give uint8, 0 to 255"),
        ("evaluate DIGITS --against WEIGHTS", "is no reference that mezzotint wrote"),
        ("evaluate RUN --samples some", "--samples is 'some': give 1k, 5k"),
        ("evaluate RUN --samples 5", "5 images cannot be measured: give at least 10"),
        ("train glyphs-ddpm --evaluate-samples 9", "evaluate_samples: input should be greater"),
        ("evaluate RUN --batch 0", "--batch is 0: make at least one image at once"),
        ("evaluate RUN --seed -1", "seed is -1: choose 0 or more"),
        ("evaluate RUN --steps 1001", "1 to 1000"),
        ("evaluate RUN --against glyphs --size 0", "size is 0: give a side of at least 1 pixel"),
        ("evaluate DIGITS --against glyphs --split test", "has no split 'test'"),
        ("evaluate RUN --against nowhere", "there is no data set, file or folder 'nowhere'"),
        ("evaluate RUN --nfe 1 --sampler heun", "a budget of 1 denoiser calls is below what"),
        ("evaluate RUN --sampler nonsense", "unknown sampler 'nonsense': choose one of ddpm, ddim"),
        ("evaluate RUN --weaker nowhere", "there is no folder nowhere"),
        ("evaluate RUN --stepps 3", "unknown field --stepps; did you mean --steps"),
        (
            "evaluate RUN --against LARGE",
            "64x64, those to measure of 32x32: scale them with --size",
        ),
    ],
)
def test_bad_input_is_one_clear_line(
    trained, tmp_path, capsys, monkeypatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    digits(tmp_path / "digits", 12)
    digits(tmp_path / "few", 3)
    mixed = digits(tmp_path / "mixed", 12)
    Image.fromarray(glyphs.draw("test", 0)).resize((16, 16)).save(mixed / "900.png")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "float.npy", np.zeros((12, 32, 32, 3), np.float32))
    np.save(
        tmp_path / "wide.npy", np.linspace(0, 300, 12 * 3072).astype(int).reshape(12, 32, 32, 3)
    )
    np.save(tmp_path / "large.npy", np.zeros((12, 64, 64, 3), np.uint8))
    places = {
        **{name.upper(): name for name in ("digits", "few", "mixed", "empty")},
        **{name.upper(): f"{name}.npy" for name in ("float", "wide", "large")},
        "RUN": str(trained),
        "WEIGHTS": str(next(trained.glob("checkpoints/*/ema.safetensors"))),
    }
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    capsys.readouterr()
    words = [places.get(word, word) for word in arguments.split()]
    code, out, err = call(capsys, *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert message in err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "error",
    [ConnectionError("no route"), errors.RepositoryNotFoundError("404", response=MagicMock())],
)
def test_a_name_of_the_hub_is_an_autoencoder_or_asks_for_against(capsys, monkeypatch, error):
    kinds = []

    def fetch(name: str, repo_type: str, **more: object) -> str:
        kinds.append(repo_type)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    code, out, err = call(capsys, "evaluate", "hub:ours/net")
    assert (code, out, set(kinds)) == (2, "", {"model"})
    assert err == (
        "mezzotint: hub:ours/net is no autoencoder, or none that can be fetched: correct the name, "
        "or connect; to measure the data set of that name, say what with --against\n"
    )


def test_changed_training_data_is_refused(trained, tiny, capsys, monkeypatch) -> None:
    monkeypatch.setitem(glyphs.COUNTS, "train", 90)
    code, _, err = call(capsys, "evaluate", str(trained), "--samples", "10")
    assert code == 2
    assert "glyphs is not what" in err


def test_jpeg_files_are_warned_of(few_glyphs, tmp_path, capsys) -> None:
    folder = digits(tmp_path / "a", 12, "jpg")
    flags = ["--against", "glyphs", "--metrics", "fd", "--out", str(tmp_path / "out")]
    with pytest.warns(UserWarning, match=f"12 of the images in {folder} are JPEG files"):
        assert call(capsys, "evaluate", str(folder), *flags)[0] == 0


def test_pictures_of_an_optimised_grid_are_kept_by_the_grid(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimised_grid, "FINE", 12)
    pipe = mz.load(trained)
    how = replace(pipe.defaults, spacing="optimised", steps=3)
    first = evaluation.kept(pipe, how, 0, 4)
    (grid,) = (trained / "grids").iterdir()
    assert evaluation.kept(pipe, how, 0, 4) == first
    grid.write_text('{"sigma/alpha": [50, 5, 0.5]}')  # as another way of measuring might find
    assert evaluation.kept(pipe, how, 0, 4) != first
