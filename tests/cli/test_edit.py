"""The command `mezzotint edit`: the files that it writes, and its errors before the work begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mezzotint as mz
from mezzotint.evaluation.edited import read_images, write_edited

from commands import CapSys, call


def succeeds(words: str, capsys: CapSys) -> str:
    code, out, error = call(capsys, *words.split())
    assert code == 0, error
    return out


def refused(words: str, capsys: CapSys) -> str:
    code, _, error = call(capsys, *words.split())
    assert code == 2
    assert error.count("\n") == 1
    return error


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, two images of the model's size, a smaller image and a mask."""
    monkeypatch.chdir(tmp_path)
    for name, side in (("a.png", 32), ("b.png", 32), ("small.png", 16)):
        pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(name)
    mask = Image.new("L", (32, 32), 0)
    mask.paste(255, (8, 8, 24, 24))
    mask.save("mask.png")
    Image.new("RGB", (64, 48), "red").save("photo.jpg")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("vary a.png --strength 0.5 --labels 3 --n 2", 2),
        ("vary photo.jpg --fit --strength 0.5", 1),
        ("inpaint a.png b.png --mask mask.png --labels 1 2 --method ddnm", 2),
        ("outpaint photo.jpg --fit --border 4 --labels 1 --method ddnm", 1),
        ("enlarge small.png 2 --labels 1 --method ddnm", 1),
        ("interpolate a.png b.png --n 3 --labels 1 2 --corrections 1", 3),
        ("invert a.png --labels 1 --corrections 2", 1),
    ],
)
def test_each_kind_writes_images_and_a_strip(here: Path, words: str, count: int, capsys) -> None:
    said = succeeds(f"edit run {words} --out made", capsys)
    assert f"{count} image" in said
    assert sorted(p.name for p in Path("made").glob("*.png")) == [
        f"{i:06d}.png" for i in range(count)
    ]
    assert Image.open("made.png").width > 32
    assert Path("made.webp").exists() is words.startswith("interpolate")
    assert Path("made/noise.npy").exists() is words.startswith("invert")


def test_what_a_mask_leaves_alone_is_the_files_own(here: Path, capsys) -> None:
    succeeds("edit run inpaint a.png --mask mask.png --method ddnm --out made", capsys)
    before, after = np.asarray(Image.open("a.png")), np.asarray(Image.open("made/000000.png"))
    assert np.array_equal(before[:8], after[:8])
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give a model"),
        ("run", "give the kind of edit after run: vary, inpaint"),
        ("run vray a.png", "unknown kind of edit 'vray'; did you mean vary?"),
        ("run vary", "give the image files after vary"),
        ("run vary none.png", "there is no file none.png: give the path of an existing file"),
        ("run vary photo.jpg", "photo.jpg is 48x64, but the model's images are 32x32"),
        ("run vary photo.jpg", "pass --fit to scale and crop it"),
        ("run vary a.png --strength 2", "--strength is 2: choose 0 to 1"),
        ("run vary a.png --labels z", "there is no class 'z'"),
        ("run inpaint a.png", "inpaint needs --mask: give an image"),
        ("run inpaint a.png --method repaint --sampler heun", "--sampler has no effect with"),
        ("run enlarge small.png", "enlarge needs image files and then a factor"),
        ("run enlarge a.png 64 --fit", "the factor is 64: choose 2 to 32"),
        ("run enlarge a.png 2", "a.png is 32x32, but the model's images are 16x16"),
        ("run interpolate a.png", "interpolate needs two images, not 1"),
        ("run interpolate a.png b.png --sampler heun", "interpolate always uses the sampler ddim"),
        ("run invert a.png --eta 1", "inversion needs a deterministic sampler"),
        ("run vary a.png --guidance 3", "--guidance has no effect without a condition: give"),
        ("run invert a.png --labels 1 --rescale 0.5", "--rescale has no effect with --guidance 1"),
        ("run vary a.png --n -1", "--n is -1: choose 1 or more"),
        ("run vary a.png --out b.png", "give --out a folder"),
        ("run vary a.png --out full", "full is not empty: choose another --out"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(here: Path, words: str, message: str, capsys):
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    before = sorted(here.rglob("*"))
    assert message in refused(f"edit {words}", capsys)
    assert sorted(here.rglob("*")) == before


def test_images_are_read_in_the_models_size(here: Path) -> None:
    assert read_images(["a.png", "b.png"], (32, 32)).shape == (2, 3, 32, 32)
    fitted = read_images(["photo.jpg"], (32, 16), fit=True)
    assert fitted.shape == (1, 3, 32, 16)
    assert fitted[0, 0].float().mean() > 200  # red
    with pytest.raises(mz.UserError, match="there are no `paths`: give"):
        read_images([], (32, 32))
    np.savez("several.npz", np.zeros((32, 32, 3), np.uint8))
    Path("several.npz").rename("several.npy")
    Path("damaged.npy").write_bytes(b"PK\x03\x04")
    for name, message in {
        "several.npy": "several.npy: not an array of numbers",
        "damaged.npy": "damaged.npy: not an array of numbers",
        "none.npy": "there is no file none.npy",
    }.items():
        with pytest.raises(mz.UserError, match=message):
            read_images([name], (32, 32))


def test_an_animation_shows_the_way_from_noise_to_image(here: Path, trained: Path, capsys) -> None:
    said = succeeds("sample run --n 3 --steps 2 --film film.webp --out samples", capsys)
    assert "wrote an animation to film.webp" in said
    with Image.open("film.webp") as film:
        first = np.asarray(film.convert("RGB"), float)
        film.seek(film.n_frames - 1)
        last = np.asarray(film.convert("RGB"), float)
    with Image.open("samples.png") as grid:
        width = min(grid.width, last.shape[1])  # the grid has class names at its left
        made = np.asarray(grid.convert("RGB"), float)[: last.shape[0], -width:]
    assert np.abs(first - last).mean() > np.abs(last.mean() - made.mean())
    assert "film.webp exists" in refused("sample run --n 3 --film film.webp --out other", capsys)
    assert ".webp or .gif" in refused("sample run --n 3 --film film.mp4 --out other", capsys)
    Path("a-file").touch()
    said = refused("sample run --n 3 --film a-file/film.webp --out other", capsys)
    assert "choose another --film" in said
    with pytest.raises(mz.UserError, match="choose 64 or fewer"):
        mz.animate(trained, "many.gif", 65)


def test_nothing_is_overwritten(here: Path) -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    write_edited("out", images, animate=True)
    for again in ("out", "a"):  # a.png lies beside it
        with pytest.raises(mz.UserError, match="choose another `out`"):
            write_edited(again, images)


def test_images_that_cannot_be_written_are_refused_before_the_work(here: Path) -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    for wrong in (images / 255, images.numpy(), images[0], images[:0], images.int()):
        with pytest.raises(mz.UserError, match=r"`images` is .* give a tensor of uint8 images"):
            write_edited("out", wrong)
    with pytest.raises(mz.UserError, match=r"`given` is .* images \(N, 3, 8, 8\)"):
        write_edited("out", images, images[:, :, :4])
    with pytest.raises(mz.UserError, match="`mask` is not a tensor"):
        write_edited("out", images, mask=np.zeros((8, 8)))
    for shape in ((3, 8, 8), (2, 1, 8, 8)):
        with pytest.raises(mz.UserError, match=r"give \(H, W\), or \(N, H, W\) for N images"):
            write_edited("out", images, mask=torch.zeros(shape))
    assert not Path("out").exists()
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    mask[2:6] = 255
    white = np.asarray(Image.open(write_edited("out", images, mask=mask)))[2:98, -100:] == 255
    bools = np.asarray(Image.open(write_edited("bool", images, mask=mask > 0)))[2:98, -100:] == 255
    assert (white == bools).all()


def test_conditions_are_those_of_python(here: Path, capsys: CapSys) -> None:
    heat = mz.NumbersCondition("heat", (300.0,), (20.0,), (240.0,), (360.0,))
    shape = mz.UNetConfig(channels=(8,), blocks=1, attention=(), groups=4)
    net = mz.UNet(shape, 3, 0, conditions=(heat,)).eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    how = mz.SampleConfig(steps=3, guidance=2.0)
    model = (net, mz.cosine(1000), "v", (3, 32, 32))
    mz.Pipeline(*model, conditions=(heat,), defaults=how).save(here / "hot")
    pipe, images = mz.load(here / "hot"), read_images(["a.png", "b.png"], (32, 32))
    words = "hot vary a.png b.png --condition heat=260,340 --n 2 --out made"
    assert "4 images" in succeeds(f"edit {words}", capsys)
    made = read_images([f"made/{i:06d}.png" for i in range(4)], (32, 32))
    given = images.repeat_interleave(2, 0)
    wanted = pipe.vary(given, condition=[260, 260, 340, 340], guidance=2.0)
    assert torch.equal(made, wanted)
    assert not torch.equal(made, pipe.vary(given, condition=300, guidance=2.0))
    assert "no condition 'hea'" in refused("edit hot invert a.png --condition hea=1", capsys)
    succeeds("edit hot invert a.png --condition heat=300 --corrections 1 --out noise", capsys)
