"""The command `mezzotint evaluate` on models and on images."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args
from unittest.mock import MagicMock

import huggingface_hub
import numpy as np
import pytest
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from huggingface_hub import errors
from PIL import Image

from mezzotint import evaluation
from mezzotint.cli.table import Distance, Metric, Network
from mezzotint.data.sources import glyphs
from mezzotint.metrics import METRICS, NETWORKS, interval
from mezzotint.metrics.pairs import DISTANCES

from commands import CapSys, call

# Said of every evaluation here.
pytestmark = pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")


def test_the_command_offers_what_there_is() -> None:
    for literal, names in ((Metric, METRICS), (Network, NETWORKS), (Distance, DISTANCES)):
        assert get_args(literal) == tuple(names)


def test_the_command_measures_a_run(trained: Path, capsys: CapSys) -> None:
    with pytest.warns(UserWarning, match="30 images are fewer than 2,049: the Frechet distance"):
        code, said, _ = call(capsys, "evaluate", str(trained), "--samples", "30", "--steps", "3")
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == (
        "features of the glyphs network; resize: bilinear with antialias to 32x32; "
        "compared with 100 images of glyphs (split train); [95 % interval]"
    )
    names = [line.split()[0] for line in lines[1:-1]]
    assert names == [
        *("fd-glyphs", "sfd-glyphs", "cs-glyphs", "kd-glyphs"),
        *("precision", "recall", "density", "coverage", "accuracy", "memorised"),
    ]
    assert all("N = 30" in line for line in lines[2:-1])

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("RUN --network cifar10 --metrics accuracy", "accuracy needs a network that knows"),
        ("RUN --network glyphs cifar10 --metrics accuracy", "that knows the classes of the images"),
        ("RUN --metrics", "--metrics is empty: choose from"),
        (
            "DIGITS --against glyphs --metrics accuracy",
            "knows the classes of the images: choose another metric, such as fd",
        ),
        ("DIGITS --against glyphs --metrics", "--metrics is empty"),
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


@pytest.mark.filterwarnings("ignore:accuracy is left out")
def test_two_networks_look_at_the_same_samples(trained: Path, capsys: CapSys) -> None:
    flags = ["--samples", "12", "--metrics", "fd", "accuracy", "--network", "glyphs", "cifar10"]
    code, said, _ = call(capsys, "evaluate", str(trained), *flags)
    assert code == 0
    heads = [line.split(" network; ")[0].split("; ")[0].strip() for line in said.splitlines()]
    assert [head.split()[0] for head in heads] == [
        *("features", "fd-glyphs", "accuracy"),
        *("features", "fd-cifar10", "appended"),
    ]
    assert (heads[0], heads[3]) == ("features of the glyphs", "features of the cifar10")


@pytest.mark.slow
def test_torchrun_gives_the_figures_of_one_process(
    trained: Path, tmp_path, monkeypatch, capsys: CapSys
) -> None:
    monkeypatch.setattr(interval, "HALVINGS", 50)  # as the other processes have it
    command = ["evaluate", str(trained), "--samples", "40", "--batch", "8"]
    command += ["--against", str(digits(tmp_path / "digits", 30)), "--metrics", "fd", "prdc"]
    command += ["--precision", "float32"]  # as the other processes would not have it by themselves
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
    assert said.count("fd-cifar10") == done.stdout.count("fd-cifar10") == 1
    lines = (trained / "evaluation" / "figures.jsonl").read_text().splitlines()
    one, two = (json.loads(line)["figures"] for line in lines)
    assert one == two


def digits(folder: Path, count: int, suffix: str = "png") -> Path:
    """Write glyphs to a folder, without class folders."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.fromarray(glyphs.draw("test", i)).save(folder / f"{i:03d}.{suffix}")
    return folder


def test_images_are_measured_against_images(few_glyphs, tmp_path, capsys, monkeypatch) -> None:
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


@pytest.mark.filterwarnings("ignore:their values, float32 from .* are scaled to 0..255")
def test_floats_are_measured_with_their_ranges(few_glyphs, trained, tmp_path, capsys) -> None:
    images = np.stack([glyphs.draw("train", i) for i in range(30)])
    np.save(tmp_path / "a.npy", images)
    np.save(tmp_path / "unit.npy", images / np.float32(255))
    np.save(tmp_path / "centred.npy", images / np.float32(127.5) - 1)
    out = tmp_path / "out"

    def figures(*words: object) -> list[dict[str, object]]:
        flags = ["--network", "glyphs", "--metrics", "fd", "--out", str(out)]
        assert call(capsys, "evaluate", *map(str, words), *flags)[0] == 0
        rows = (out / "figures.jsonl").read_text().splitlines()
        return [{**f, "against": ""} for f in json.loads(rows[-1])["figures"]]

    unit = (tmp_path / "unit.npy", "--range", 0, 1)
    centred = ("--against", tmp_path / "centred.npy", "--against-range", -1, 1)
    plain = ("--against", tmp_path / "a.npy")
    assert figures(*unit, *centred) == figures(tmp_path / "a.npy", *plain)
    run = (trained, "--samples", 12)
    assert figures(*run, *centred) == figures(*run, *plain)


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
    assert "with the network glyphs, but the images are measured with cifar10" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluate", "give a run, a checkpoint, a diffusers folder, a shipped model, or images"),
        ("evaluate nowhere", "set --against to the images to compare with"),
        ("evaluate nowhere --against glyphs", "there is no data set, file or folder 'nowhere'"),
        ("evaluate DIGITS --against glyphs --network vgg", "vgg"),
        ("evaluate DIGITS --against glyphs --metrics fid", "fid"),
        ("evaluate EMPTY --against glyphs", "holds no images"),
        ("evaluate MIXED --against glyphs", "the images differ in size"),
        (
            "evaluate DIGITS --against LARGE",
            "but the images to measure have 32x32 (height x width): scale the reference",
        ),
        (
            "evaluate FLOAT --against glyphs",
            "give the values of black and white, such as --range 0 1",
        ),
        (
            "evaluate WIDE --against glyphs",
            "from 0 to 300: give the values of black and white, such as",
        ),
        ("evaluate FLOAT --against glyphs --range 1 0", "--range is (1.0, 0.0): give the values"),
        ("evaluate FLOAT --against glyphs --range 0.5 1", "outside --range 0.5 1: clip them"),
        ("evaluate DIGITS --against FLOAT", "black and white, such as --against-range 0 1 or"),
        ("evaluate RUN --against FLOAT", "black and white, such as --against-range 0 1 or"),
        ("evaluate DIGITS --against glyphs --against-split half", "has no split 'half'"),
        ("evaluate RUN --against-range 0 1", "--against-range describe --against, which is"),
        (
            "evaluate RUN --against WEIGHTS --against-split test",
            "--against-split cannot be used with",
        ),
        ("evaluate RUN --against WEIGHTS --size 64", "--size cannot be used with"),
        (
            "evaluate DIGITS --against WEIGHTS",
            "is not a reference: give a file that mezzotint wrote",
        ),
        ("evaluate RUN --samples some", "--samples is 'some': give 1k, 5k"),
        ("evaluate RUN --samples 5", "5 images cannot be measured: give at least 10"),
        ("train glyphs-ddpm --evaluate-samples 9", "evaluate_samples: input should be greater"),
        ("evaluate RUN --batch 0", "--batch is 0: choose 1 or more"),
        ("evaluate RUN --seed -1", "seed is -1: choose 0 or more"),
        ("evaluate RUN --steps 1001", "1 to 1000"),
        (
            "evaluate RUN --against glyphs --size 0",
            "--size is '0': give a side of at least 1 pixel",
        ),
        ("evaluate DIGITS --against glyphs --split test", "has no split 'test'"),
        ("evaluate RUN --against nowhere", "there is no data set, file or folder 'nowhere'"),
        ("evaluate RUN --nfe 3 --steps 5", "--nfe and --steps are both given: give one of them"),
        ("evaluate RUN --nfe 1 --sampler heun", "a budget of 1 denoiser calls is too small"),
        ("evaluate RUN --sampler nonsense", "unknown sampler 'nonsense': choose one of ddpm, ddim"),
        ("evaluate RUN --weaker nowhere", "there is no folder nowhere"),
        ("evaluate RUN --stepps 3", "unknown option --stepps; did you mean --steps"),
        (
            "evaluate RUN --against LARGE --size 64",
            "but the images to measure have 32x32 (height x width): scale the reference",
        ),
    ],
)
def test_bad_input_is_one_clear_line(
    trained, tmp_path, capsys, monkeypatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    digits(tmp_path / "digits", 12)
    mixed = digits(tmp_path / "mixed", 12)
    Image.fromarray(glyphs.draw("test", 0)).resize((16, 16)).save(mixed / "900.png")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "float.npy", np.zeros((12, 32, 32, 3), np.float32))
    np.save(
        tmp_path / "wide.npy", np.linspace(0, 300, 12 * 3072).astype(int).reshape(12, 32, 32, 3)
    )
    np.save(tmp_path / "large.npy", np.zeros((12, 64, 64, 3), np.uint8))
    places = {
        **{name.upper(): name for name in ("digits", "mixed", "empty")},
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
def test_a_name_of_the_hub_is_a_model_or_asks_for_against(capsys, monkeypatch, error):
    kinds = []

    def fetch(name: str, repo_type: str, **more: object) -> str:
        kinds.append(repo_type)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    code, out, err = call(capsys, "evaluate", "hub:ours/net")
    assert (code, out, set(kinds)) == (2, "", {"model"})
    assert err == (
        "mezzotint: hub:ours/net is not a model, or cannot be fetched: correct the name, "
        "or check the connection; to measure the data set of that name, "
        "give the reference as --against\n"
    )


def test_a_model_of_the_hub_is_measured_unless_a_split_is_given(
    trained, few_glyphs, tmp_path, capsys, monkeypatch
) -> None:
    net = UNet2DModel(
        sample_size=32,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    DDPMPipeline(net, DDPMScheduler()).save_pretrained(tmp_path / "net")
    kinds = []

    def fetch(name: str, repo_type: str, **more: object) -> str:
        kinds.append(repo_type)
        if repo_type == "model":
            return str(tmp_path / "net")
        raise errors.RepositoryNotFoundError("404", response=MagicMock())

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    flags = ["--against", "glyphs", "--metrics", "fd", "--out", str(tmp_path / "out")]
    more = ["--samples", "12", "--steps", "1"]
    code, out, _ = call(capsys, "evaluate", "hub:ours/net", *flags, *more)
    assert code == 0
    assert "fd-glyphs" in out
    kinds.clear()
    code, _, err = call(capsys, "evaluate", "hub:ours/net", *flags, "--split", "test")
    assert (code, set(kinds)) == (2, {"dataset"})
    assert "the hub has no dataset ours/net" in err


def test_changed_training_data_is_refused(trained, tiny, capsys, monkeypatch) -> None:
    monkeypatch.setitem(glyphs.COUNTS, "train", 90)
    code, _, err = call(capsys, "evaluate", str(trained), "--samples", "10")
    assert code == 2
    assert "glyphs is not the data that" in err


def test_jpeg_files_are_warned_of(few_glyphs, tmp_path, capsys) -> None:
    folder = digits(tmp_path / "a", 12, "jpg")
    flags = ["--against", "glyphs", "--metrics", "fd", "--out", str(tmp_path / "out")]
    with pytest.warns(UserWarning, match=f"12 of the images in {folder} are JPEG files"):
        assert call(capsys, "evaluate", str(folder), *flags)[0] == 0
