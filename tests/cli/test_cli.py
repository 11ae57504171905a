"""What the command line prints, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint import cli
from mezzotint.cli.flags import parsed_labels
from mezzotint.config import recipes
from mezzotint.config.experiment import Experiment
from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.data import find_source
from mezzotint.diffusion import optimised_grid
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.drawing import figures
from mezzotint.evaluation import writing
from mezzotint.pipeline import loading, tuned
from mezzotint.run import run
from mezzotint.storage import checkpoint
from spoil import spoil

from commands import CapSys, call

FEW = pytest.mark.filterwarnings("ignore:.*images are fewer than")


@pytest.fixture
def weaker(trained: Path, tmp_path: Path) -> Path:
    """An earlier checkpoint of the run."""
    return Path(shutil.copytree(trained / "checkpoints" / "step-8", tmp_path / "weaker"))


def test_a_recipe_is_trained_and_sampled(few_glyphs, tmp_path: Path, capsys: CapSys) -> None:
    out = str(tmp_path / "run")
    flags = "--images 32 --batch 8 --channels 8 16 --blocks 1 --groups 4 --steps 2 --warmup 0"
    code, said, _ = call(capsys, "train", "glyphs-ddpm", "--out", out, *flags.split())
    assert (code, said) == (0, f"the trained model is in {out}\n")

    code, said, _ = call(capsys, "sample", out, "-n", "20", "--seed", "1", "--guidance", "3")
    assert code == 0
    assert said.splitlines()[-1] == (
        f"wrote 20 samples to {out}/images, and a grid of them to {out}/images.png"
    )
    assert "channels of the samples" in said
    assert "channels of the training set" in said
    files = sorted(p.name for p in (tmp_path / "run" / "images").iterdir())
    assert files == [f"{i:06d}.png" for i in range(20)]
    assert (tmp_path / "run" / "images.png").is_file()
    with Image.open(tmp_path / "run" / "images" / "000019.png") as picture:
        assert (picture.size, picture.mode) == ((32, 32), "RGB")


def test_resuming_a_finished_run_ends_well(trained, tiny, capsys, monkeypatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    code, _, said = call(capsys, "train", "tiny", "--out", str(trained), "--resume")
    assert code == 0
    assert "resumed from" in said


def test_help_and_version(capsys: CapSys) -> None:
    assert "usage: mezzotint" in call(capsys)[1]
    assert call(capsys, "--version")[1].startswith("mezzotint 0.")
    code, said, _ = call(capsys, "train", "glyphs-ddpm", "--help-all")
    assert code == 0
    for flag in ("--images", "--batch", "--skip-bad", "--resume", "--data"):
        assert flag in said


def test_a_reader_that_has_gone_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "mezzotint", "train", "glyphs-ddpm", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_saved_tile_is_the_default(trained_ldm: Path, tmp_path: Path, capsys) -> None:
    mz.load(trained_ldm).tiled(8).save(tmp_path / "tiled")
    with pytest.raises(SystemExit):
        cli.main(["sample", str(tmp_path / "tiled"), "--help-all"])
    assert "(default: 8)" in capsys.readouterr().out.split("--tile")[1].split("--")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian glyphs-ddpm", "unknown verb 'trian'; did you mean train?"),
        ("train", "give a recipe: glyphs-ddpm, cifar10-ddpm, cifar10-ddpm-small"),
        ("train glyph-ddpm", "; did you mean glyphs-ddpm"),
        ("train zzz", "unknown recipe 'zzz': choose one of glyphs-ddpm"),
        ("train glyphs-ddpm --bach 3", "unknown option --bach; did you mean --batch"),
        ("train glyphs-ddpm --batch many", "--batch"),
        ("train glyphs-ddpm --batch 0", "batch: input should be greater than 0, not 0"),
        (
            "train glyphs-ddpm --schedule cosin",
            "laplace; did you mean cosine?",
        ),
        (
            "train glyphs-ddpm --schedule linear --s 0",
            "--s is only for the schedule cosine: leave it out",
        ),
        (
            "train glyphs-ddpm --prediction eps --zero-terminal-snr",
            "eps cannot be learned with --zero-terminal-snr",
        ),
        ("train glyphs-ddpm --channels 30", "--groups is 8, which does not divide 30: choose"),
        (
            "train glyphs-ddpm --channels 9 --groups 3",
            "--channels is (9,): choose an even number of 4",
        ),
        ("train glyphs-ddpm --dropout 2", "dropout: input should be less than 1"),
        ("train glyphs-ddpm --lr inf", "lr: input should be a finite number"),
        ("train glyphs-ddpm --ema-halflife 0.9999", "ema_halflife: input should be greater than"),
        ("train glyphs-ddpm --steps 1001", "--steps is 1001: choose 1 to 1000"),
        (
            "train glyphs-ddpm --sampler ddpm --eta 0.5",
            "--eta is for ddim, hybrid, consistency: leave it out",
        ),
        ("train glyphs-ddpm --seed -1", "seed: input should be greater than"),
        ("train glyphs-ddpm --data ~nobody/pictures", "there is no data set, file or folder"),
        ("train glyphs-ddpm --data nowhere", "there is no data set, file or folder 'nowhere'"),
        ("train glyphs-ddpm --size 30x", "--size is '30x': give a side of at least 1 pixel, or"),
        ("train glyphs-ddpm --mode blue", "--mode is 'blue': choose "),
        ("train glyphs-ddpm --batch 1.5", "--batch is '1.5': give a whole number"),
        ("train glyphs-ddpm --lr fast", "--lr is 'fast': give a number"),
        ("train glyphs-ddpm --interval 1", "--interval is '1': give two numbers"),
        ("train glyphs-ddpm --batch", "--batch has no value: give a value, or see mezzotint train"),
        ("train glyphs-ddpm --epochs 3", ": give the length of the training as a number of images"),
        ("train glyphs-ddpm --range 1 0", "--range is (1.0, 0.0): give the values of black and"),
        ("train glyphs-ddpm --range 0 1", "is known: leave out --range"),
        ("sample nowhere", "there is no folder nowhere"),
        ("sample RUN --steps 0", "steps: input should be greater than 0"),
        ("sample RUN --steps 1001", "--steps is 1001: choose 1 to 1000"),
        ("sample RUN --labels 10", "there is no class 10: choose labels from 0 to 9"),
        ("sample RUN --labels ship", "no class 'ship': choose 0 to 9, or a name such as 0"),
        (
            "sample RUN --sampler nonsense",
            f"unknown sampler 'nonsense': choose one of {', '.join(SAMPLERS)}",
        ),
        ("sample RUN --nfe 3 --steps=5", "--nfe and --steps are both given: give one of them"),
        ("sample RUN --nfe 1 --sampler heun", "a budget of 1 denoiser calls is too small"),
        (
            "sample RUN --eta 0.5 --sampler heun",
            "--eta is for ddim, hybrid, consistency: leave it out",
        ),
        ("sample RUN --interval 5 0.2", "give the lower end first"),
        ("sample RUN --interval 1e6 1e7", "no level of the grid has 1e+06 <= sigma / alpha"),
        ("sample RUN --knots 3 1", "--knots and --spacing knots belong together"),
        ("sample RUN --spacing knots --knots 1 3", "--knots has 1, 3: give finite"),
        ("sample RUN --sampler ddpm --variance learned", "this model has not learned a variance"),
        ("sample RUN --spacing optimised --steps 25", "an optimised grid has at most 24 steps"),
        ("sample RUN --clipping soft", "unknown clipping 'soft': choose one of none, static, dyn"),
        (
            "sample RUN --weaker RUN --guidance 1",
            "--weaker has no effect with --guidance 1: leave out --weaker",
        ),
        ("sample RUN --interval 1 2 --guidance 1", "--interval has no effect with --guidance 1"),
        ("sample RUN --weaker nowhere", "there is no folder nowhere"),
        ("sample RUN --stepps 3", "unknown option --stepps; did you mean --steps"),
        ("sample RUN --seed -1", "--seed is -1: choose 0 or more"),
        ("sample RUN --guidance inf", "guidance: input should be a finite number"),
        ("sample RUN --out RUN/config.json", "config.json"),
    ],
)
def test_bad_input_is_one_clear_line(
    trained: Path, tmp_path: Path, capsys: CapSys, monkeypatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    capsys.readouterr()
    code, out, err = call(capsys, *arguments.replace("RUN", str(trained)).split())
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("mezzotint: ")
    assert message in err
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def spoil_weights(folder: Path) -> None:
    weights = next(folder.glob("checkpoints/*/ema.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-5])


def spoil_config(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(re.sub('"version": [0-9]+', '"version": 3', config.read_text()))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_config, "has version 3, but this version of mezzotint reads only versions 4 to 6"),
        (lambda f: shutil.rmtree(f / "checkpoints"), "has no checkpoint yet: continue training"),
        (
            spoil_weights,
            "no other checkpoint is undamaged: restore a checkpoint from a backup, or train again",
        ),
    ],
)
def test_a_spoilt_run_is_one_clear_line(trained, tmp_path, capsys, spoil, message) -> None:
    for old in checkpoint.listed(trained / "checkpoints")[:-1]:
        shutil.rmtree(old)
    spoil(trained)
    code, _, err = call(capsys, "sample", str(trained), "--out", str(tmp_path / "out"))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert message in err
    assert not (tmp_path / "out").exists()


def pictures(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("0*.png"))]


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (
            "--sampler unipc --nfe 7 --spacing karras",
            {"sampler": "unipc", "steps": 7, "spacing": "karras"},
        ),
        ("--nfe 7 --sampler heun", {"sampler": "heun", "steps": 4}),
        ("--interval 0.2 5 --steps 8", {"interval": (0.2, 5.0), "steps": 8}),
        ("--spacing knots --knots 40 1 0.05", {"spacing": "knots", "knots": (40.0, 1.0, 0.05)}),
        (
            "--guidance-shape cfg++ --guidance 0.6 --rescale 0.5 --clipping dynamic",
            {"guidance_shape": "cfg++", "guidance": 0.6, "rescale": 0.5, "clipping": "dynamic"},
        ),
        ("--sampler edm --churn 10 --steps 4", {"sampler": "edm", "churn": 10.0, "steps": 4}),
    ],
)
def test_flags_are_the_settings_of_the_pipeline(
    trained: Path, tmp_path: Path, capsys: CapSys, flags: str, settings: dict
) -> None:
    out = tmp_path / "out"
    code, said, _ = call(
        capsys, "sample", str(trained), "-n", "3", "--out", str(out), *flags.split()
    )
    assert code == 0
    assert said.splitlines()[-1] == f"wrote 3 samples to {out}, and a grid of them to {out}.png"
    wanted = tmp_path / "wanted"
    wanted.mkdir()
    for i, image in enumerate(mz.load(trained).sample(3, **settings)):
        figures.to_pil(image).save(wanted / f"{i:06d}.png")
    assert pictures(out) == pictures(wanted)


def test_a_weaker_model_guides_away_from_itself(trained, weaker, tmp_path, capsys) -> None:
    made = []
    for name, more in (("a", []), ("b", ["--weaker", str(weaker)]), ("c", ["--weaker", "RUN"])):
        arguments = ["-n", "3", "--out", str(tmp_path / name), "--guidance", "4"]
        words = [str(trained) if word == "RUN" else word for word in more]
        assert call(capsys, "sample", str(trained), *arguments, *words)[0] == 0
        made.append(pictures(tmp_path / name))
    unguided = ["-n", "3", "--out", str(tmp_path / "d"), "--guidance", "1"]
    assert call(capsys, "sample", str(trained), *unguided)[0] == 0
    made.append(pictures(tmp_path / "d"))
    assert made[0] != made[1] != made[3]
    assert made[0] != made[3]
    assert made[2] == made[3]  # guided away from itself a model stays where it is


def test_a_weaker_model_of_another_schedule_is_one_clear_line(
    trained, tiny, tmp_path, capsys
) -> None:
    other = replace(tiny, noise=replace(tiny.noise, schedule="linear"))
    for _ in run(other, tmp_path / "other"):
        pass
    capsys.readouterr()
    code, out, err = call(capsys, "sample", str(trained), "--weaker", str(tmp_path / "other"))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "the weaker model differs from this model in shape, condition, codec or schedule" in err


def test_an_optimised_grid_is_kept_in_the_run(trained, capsys, monkeypatch) -> None:
    monkeypatch.setattr(optimised_grid, "FINE", 8)
    flags = ["-n", "2", "--spacing", "optimised", "--steps", "3"]
    assert call(capsys, "sample", str(trained), *flags)[0] == 0
    (kept,) = (trained / "grids").glob("*.json")
    kept.write_text("")
    code, _, err = call(capsys, "sample", str(trained), *flags)
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"{kept} is damaged: delete it" in err


def test_weights_that_are_not_finite_are_one_clear_line(trained, capsys) -> None:
    spoil(trained, "ema", lambda weights: {k: v * float("nan") for k, v in weights.items()})
    newest = checkpoint.listed(trained / "checkpoints")[-1]
    code, _, err = call(capsys, "sample", str(newest), "-n", "2")
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith(" in ema.safetensors is not finite\n")


@pytest.mark.parametrize("verb", ["sample", "evaluate"])
def test_help_shows_what_can_be_chosen(trained: Path, capsys: CapSys, verb: str) -> None:
    code, said, _ = call(capsys, verb, str(trained), "--help-all")
    assert code == 0
    for field in SampleConfig.__dataclass_fields__:
        assert f"--{field.replace('_', '-')} " in said, field
    for flag in ("--nfe", "--weaker", "--precision"):
        assert flag in said
    for choice in ("optimised", "karras", "cfg++", "dynamic", "learned", "bh1"):
        assert choice in said


@pytest.mark.parametrize(
    ("verb", "subject", "flags"),
    [
        ("sample", "sample RUN [-h]", ["-n INT", "--sampler", "--out"]),
        (
            "evaluate",
            "evaluate RUN [-h]",
            ["--against", "--sampler", "mezzotint evaluate NAME --help"],
        ),
        ("sweep", "sweep RUN [-h]", ["--minutes", "--nfe"]),
        ("report", "report RUN... [-h]", ["--samples", "--out"]),
        ("doctor", "doctor RUN [-h]", ["--samples"]),
        ("average", "average RUN [-h]", ["--length"]),
        ("reproduce", "reproduce [-h]", ["--scale"]),
        ("train", "a recipe", ["glyphs-ddpm"]),
    ],
)
def test_help_needs_no_model(capsys: CapSys, verb: str, subject: str, flags: list[str]) -> None:
    code, said, err = call(capsys, verb, "--help")
    assert (code, err) == (0, "")
    assert subject in said
    for flag in flags:
        assert flag in " ".join(said.replace("│", " ").split())


def test_guidance_on_an_unconditional_model_is_one_clear_line(tiny, tmp_path, capsys) -> None:
    data = replace(tiny.data, conditional=False)
    for _ in run(replace(tiny, data=data), tmp_path / "run"):
        pass
    capsys.readouterr()
    code, _, err = call(capsys, "sample", str(tmp_path / "run"), "--guidance", "2")
    assert code == 2
    assert "unconditional: leave out --guidance" in err
    assert call(capsys, "sample", str(tmp_path / "run"), "-n", "2")[0] == 0


def test_samples_of_an_earlier_request_are_never_removed(trained, tmp_path, capsys) -> None:
    flags = ["sample", str(trained), "--out", str(tmp_path / "sp")]
    assert call(capsys, *flags, "-n", "8")[0] == 0
    before = {p: p.read_bytes() for p in (tmp_path / "sp").iterdir()}
    code, said, err = call(capsys, *flags, "-n", "3", "--seed", "9", "--labels", "3")
    assert (code, said) == (2, "")
    assert err == (
        f"mezzotint: {tmp_path}/sp holds 8 samples made with --seed 0, not 9: choose another "
        "--out\n"
    )
    assert call(capsys, *flags, "-n", "3")[0] == 0  # the same request, of fewer
    assert {p: p.read_bytes() for p in (tmp_path / "sp").iterdir()} == before


def test_a_request_that_was_stopped_continues(trained, tmp_path, capsys, monkeypatch) -> None:
    sample, asked = writing.sample, []

    def struck(pipe, how, request, given, on_step, on_images):
        def half(first: int, made: torch.Tensor) -> None:
            if first:
                raise KeyboardInterrupt
            on_images(first, made)

        return sample(pipe, how, request, given, on_step, half)

    def counted(pipe, how, request, *rest):
        asked.append((request.n, request.first))
        return sample(pipe, how, request, *rest)

    flags = ["sample", str(trained), "-n", "5", "--batch", "3"]
    monkeypatch.setattr(writing, "sample", struck)
    assert call(capsys, *flags)[0] == 130
    assert len(list((trained / "images").iterdir())) == 3
    monkeypatch.setattr(writing, "sample", counted)
    assert call(capsys, *flags)[0] == 0
    assert asked == [(2, 3)]
    assert call(capsys, *flags, "--out", str(tmp_path / "whole"))[0] == 0
    for i in range(5):
        one, other = (f / f"{i:06d}.png" for f in (trained / "images", tmp_path / "whole"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("verb", ["sample", "evaluate", "train"])
def test_an_out_that_is_a_files_name_is_one_clear_line(trained, tmp_path, capsys, verb) -> None:
    subject = "glyphs-ddpm" if verb == "train" else str(trained)
    code, said, err = call(capsys, verb, subject, "--out", str(tmp_path / "x.png"))
    assert (code, said) == (2, "")
    assert err == (
        f"mezzotint: --out is {tmp_path}/x.png, the name of a file: give a folder, such as "
        f"{tmp_path}/x\n"
    )
    assert not (tmp_path / "x.png").exists()


@pytest.mark.filterwarnings("ignore:.* is taken as the name of class")
def test_a_class_called_by_a_number_is_asked_for_by_its_name(trained, capsys, monkeypatch) -> None:
    asked = []

    def sample(pipe, how, request, given, *rest):
        asked.append(given["label"].tolist())
        raise KeyboardInterrupt

    load = loading.load
    named = [str(k) for k in (3, 1, 2, 0, *range(4, 10))]
    monkeypatch.setattr(writing, "sample", sample)
    monkeypatch.setattr(
        loading, "load", lambda path, **how: replace(load(path, **how), classes=tuple(named))
    )
    for words in (["1"], ["0", "2"]):
        assert call(capsys, "sample", str(trained), "-n", "2", "--labels", *words)[0] == 130
    assert asked == [[1, 1], [3, 2]]  # the places of their names


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), 2),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."), 2),
        (RuntimeError("could not create a primitive"), 2),  # oneDNN's
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), 2),
        (torch.OutOfMemoryError("CUDA out of memory"), 2),
        (RuntimeError("a bug"), None),
    ],
)
def test_too_little_memory_is_one_clear_line(capsys, monkeypatch, error, code: int | None) -> None:
    def fail(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr("mezzotint.cli.sample.sample", fail)
    if code is None:
        with pytest.raises(RuntimeError, match="a bug"):
            call(capsys, "sample")
    else:
        assert call(capsys, "sample") == (
            *(code, ""),
            "mezzotint: out of memory: lower --batch, or for training raise --accumulate\n",
        )


def test_a_full_disk_says_what_to_do(capsys, monkeypatch) -> None:
    def fail(arguments: list[str]) -> None:
        raise OSError(28, "No space left on device", "here/grid.png")

    monkeypatch.setattr("mezzotint.cli.sample.sample", fail)
    assert call(capsys, "sample", "x") == (
        *(2, ""),
        "mezzotint: [Errno 28] No space left on device: 'here/grid.png': free space on the disk, "
        "and give the command again\n",
    )


@pytest.mark.parametrize(("count", "level"), [("1", None), ("2", "ERROR")])
def test_torch_does_not_warn_of_its_search_for_unused_weights(
    capsys, monkeypatch, count: str, level: str | None
) -> None:
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "")  # so that what the command sets is undone
    monkeypatch.delenv("TORCH_CPP_LOG_LEVEL")
    monkeypatch.setenv("WORLD_SIZE", count)
    call(capsys, "--version")
    assert os.environ.get("TORCH_CPP_LOG_LEVEL") == level


def test_what_is_not_shared_is_refused(capsys, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(cli, "speaks", lambda: True)
    line = "mezzotint: edit runs in a single process: start it without torchrun\n"
    assert call(capsys, "edit", "RUN") == (2, "", line)


@pytest.mark.parametrize("names", [["out/000007.png", "out.png"], ["out/000000.png"], ["out.png"]])
def test_pictures_of_somebody_else_stay(trained, tmp_path, capsys, names: list[str]) -> None:
    (tmp_path / "out").mkdir()
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    code, out, err = call(capsys, "sample", str(trained), "-n", "2", "--out", str(tmp_path / "out"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "choose another --out" in err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_pictures_put_beside_an_earlier_requests_stay(trained, capsys) -> None:
    flags = ["sample", str(trained), "-n", "2"]
    assert call(capsys, *flags)[0] == 0
    other = trained / "images" / "000002.png"
    other.write_bytes(b"another's")
    code, _, err = call(capsys, *flags)
    said = f"{trained}/images holds other images, such as 000002.png: choose another --out"
    assert (code, err) == (2, f"mezzotint: {said}\n")
    assert other.read_bytes() == b"another's"


@pytest.mark.parametrize("out", ["afile", "afile/more", "taken"])
@pytest.mark.parametrize("verb", ["run", "vae", "pictures", "report"])
def test_an_out_that_cannot_be_written_is_refused_before_the_work(
    trained_vae, trained, tmp_path, capsys, monkeypatch, verb: str, out: str
) -> None:
    def worked(*_: object, **more: object) -> None:
        raise AssertionError("the work was begun")

    for name in ("against.prepare", "autoencoder._held_out"):
        monkeypatch.setattr(f"mezzotint.evaluation.{name}", worked)
    monkeypatch.setattr("mezzotint.pages.page", worked)
    (tmp_path / "afile").write_text("mine")
    (tmp_path / "taken" / "figures.jsonl").mkdir(parents=True)
    place = tmp_path / out
    words = {
        "run": ["evaluate", str(trained), "--out", str(place)],
        "vae": ["evaluate", str(trained_vae), "--out", str(place)],
        "pictures": ["evaluate", "glyphs", "--against", "glyphs", "--out", str(place)],
        "report": ["report", str(trained), "--out", str(place / "figures.jsonl")],
    }
    code, said, err = call(capsys, *words[verb])
    assert (code, said, err.count("\n")) == (2, "", 1)
    if out == "afile" and verb != "report":
        assert err == f"mezzotint: {place} is a file: give --out a folder\n"
    else:
        assert err.startswith(f"mezzotint: {place}/figures.jsonl ")
        assert re.search(": (choose another --out|give (--out|a file as --out))", err)
    assert (tmp_path / "afile").read_text() == "mine"


@FEW
def test_what_was_sampled_is_measured_as_a_folder(trained, tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "v1.0").mkdir()
    monkeypatch.chdir(tmp_path / "v1.0")
    code, said, _ = call(capsys, "sample", str(trained), "-n", "12", "--out", ".")
    assert code == 0
    assert said.splitlines()[-1] == (
        f"wrote 12 samples to ., and a grid of them to {tmp_path}/v1.0.png"
    )
    assert find_source(".").count == 12
    flags = ["--against", "glyphs", "--network", "glyphs", "--metrics", "fd"]
    code, said, _ = call(capsys, "evaluate", ".", *flags, "--out", str(tmp_path / "figures"))
    assert code == 0
    assert "N = 12 " in said


def recommend(folder: Path, **fields: Any) -> SampleConfig:
    """Give a run other defaults, as a sweep does."""
    how = SampleConfig(steps=2, guidance=2.0, **fields)
    best = tuned.BestSettings(how, 2, 1.25, (1.0, 1.5))
    digest = mz.load(folder).digest
    found = tuned.Recommended("fd", 10, 0, "float32", digest, {"2": best}, best)
    tuned.write(folder, found)
    return how


@FEW
@pytest.mark.parametrize(
    ("own", "flags", "settings"),
    [
        ({"eta": 0.5}, "--sampler dpmpp_2m", {"sampler": "dpmpp_2m"}),
        ({"eta": 0.5}, "--sampler=ddpm --variance large", {"sampler": "ddpm", "variance": "large"}),
        ({"eta": 0.5}, "--steps 3", {"steps": 3}),
        ({"spacing": "knots", "knots": (9.0, 0.1)}, "--spacing karras", {"spacing": "karras"}),
        (
            {"spacing": "knots", "knots": (9.0, 0.1), "eta": 0.5},
            "--spacing logsnr --sampler heun",
            {"spacing": "logsnr", "sampler": "heun"},
        ),
    ],
)
def test_what_only_the_old_choice_took_goes_with_it(
    trained: Path, capsys: CapSys, own: dict, flags: str, settings: dict
) -> None:
    defaults = recommend(trained, **own)
    assert call(capsys, "sample", str(trained), "-n", "2", *flags.split())[0] == 0
    wanted = mz.load(trained).sample(2, **settings)
    for path, image in zip(sorted((trained / "images").iterdir()), wanted, strict=True):
        with Image.open(path) as made:
            assert made.tobytes() == figures.to_pil(image).tobytes()

    few = ["--samples", "12", "--metrics", "fd", "--network", "glyphs"]
    assert call(capsys, "evaluate", str(trained), *few, *flags.split())[0] == 0
    row = json.loads((trained / "evaluation" / "figures.jsonl").read_text().splitlines()[0])
    how = SampleConfig(**{name: row[name] for name in SampleConfig.__dataclass_fields__})
    assert how == chosen(defaults, settings)


def test_what_is_asked_for_beside_another_choice_must_still_fit_it(trained, capsys) -> None:
    recommend(trained, eta=0.5, spacing="knots", knots=(9.0, 0.1))
    for flags, message in (
        (
            "--sampler heun --eta 0.5",
            "--eta is for ddim, hybrid, consistency: leave it out with heun",
        ),
        ("--spacing karras --knots 9 0.1", "--knots and --spacing knots belong together"),
        ("--sampler", "--sampler"),
        ("--spacing round", "choose one of leading, trailing"),
    ):
        code, _, err = call(capsys, "sample", str(trained), *flags.split())
        assert (code, len(err.splitlines())) == (2, 1)
        assert message in err


def test_a_default_can_be_taken_back(trained: Path, capsys: CapSys) -> None:
    recommend(trained, interval=(0.2, 5.0))
    made = []
    for i, flags in enumerate(([], ["--interval", "None"], ["--interval", "1e-9", "1e9"])):
        out = ["--out", str(trained / f"{i}"), "-n", "2", "--guidance", "40"]
        assert call(capsys, "sample", str(trained), *out, *flags)[0] == 0
        made.append(pictures(trained / f"{i}"))
    assert made[0] != made[1] == made[2]


def test_pictures_that_cannot_be_read_are_all_named_or_left_out(
    tiny: Experiment, tmp_path: Path, capsys: CapSys, monkeypatch
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (16, 16), (i * 40, 0, 0)).save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "data" / "cat" / "notes.png").write_text("not an image")
    (tmp_path / "data" / "dog" / "empty.png").write_bytes(b"")
    monkeypatch.setitem(recipes.RECIPES, "tiny", replace(tiny, recipe="tiny"))
    arguments = ["train", "tiny", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "cat/notes.png" in err
    assert "dog/empty.png" in err
    assert "--skip-bad" in err
    assert not (tmp_path / "run").exists()
    code, _, err = call(capsys, *arguments, "--skip-bad")
    assert code == 0
    assert "without 2 images that cannot be read" in err


def test_a_resumed_command_with_other_flags_is_refused(trained, tiny, capsys, monkeypatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    flags = ["--out", str(trained), "--resume", "--lr", "0.1"]
    code, _, err = call(capsys, "train", "tiny", *flags)
    assert code == 2
    assert "was begun with --lr 0.001, not 0.1" in err


def test_every_recipe_is_whole() -> None:
    for name, recipe in recipes.RECIPES.items():
        assert recipe.recipe == name
        assert 32 % recipe.net.factor == 0
    paper = recipes.RECIPES["cifar10-ddpm"]
    assert paper.train.steps == 61_000
    assert (paper.train.batch, paper.train.lr, paper.train.weight_decay) == (128, 2e-4, 0)
    assert (paper.noise.schedule, paper.noise.prediction) == ("linear", "eps")


def test_a_number_that_is_a_name_too_is_said_to_be_the_name() -> None:
    with pytest.warns(UserWarning, match="1 is taken as the name of class number 0"):
        assert parsed_labels(["1"], ("1", "2", "10")) == "1"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parsed_labels(["10"], ("1", "2", "10")) == "10"
        assert parsed_labels(["1", "2", "cat"], ("0", "1", "cat")) == ["1", 2, "cat"]
        assert parsed_labels(["²"], ("0", "1")) == "²"  # not a decimal digit
