"""Measuring from Python gives the figures of the command line, also for arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mezzotint as mz
from metrics.pixels import pictures, pixel_network
from mezzotint import evaluation
from mezzotint.data.sources import glyphs
from mezzotint.metrics import NETWORKS, interval
from mezzotint.pipeline.codec import Pixels

from commands import CapSys, call

# Said of every evaluation here.
pytestmark = pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")
DIM = 4


@pytest.fixture(autouse=True)
def few_halvings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use few halvings, because each takes two eigendecompositions."""
    monkeypatch.setattr(interval, "HALVINGS", 5)


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature network whose features are the pixels."""
    monkeypatch.setitem(NETWORKS, "pixels", lambda device: pixel_network(device=device))


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """Digits (40, 32, 32, 3); the label of image i is i mod 10."""
    return np.stack([glyphs.draw("test", i) for i in range(40)])


def gaussian(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM))


def prepared(x: np.ndarray) -> mz.Prepared:
    """Return images whose features in the network `pixels` are x (N, DIM)."""
    return mz.prepare(pictures(x), layout="NHWC")


def values(figures: dict[str, mz.Figure]) -> dict[str, tuple[float, float, float, int]]:
    return {name: (f.value, f.low, f.high, f.count) for name, f in figures.items()}


def test_the_distance_of_a_translated_gaussian_is_the_square_of_the_way(pixels) -> None:
    x = np.clip(gaussian(400, 0), -3, 3)
    a, b = prepared(0.7 + x), prepared(x)  # by 14 grey levels, exactly
    found = mz.compare(a, b, network="pixels", metrics=["fd", "sfd"])
    assert list(found) == ["fd-pixels", "fd-pixels-inf", "sfd-pixels"]
    for name, wanted in (("fd-pixels", 0.49 * DIM), ("sfd-pixels", 4 * 0.49 * DIM)):
        assert found[name].low < wanted < found[name].high
        assert found[name].value == pytest.approx(wanted, rel=1e-3)
    figure = mz.fid(a, b, network="pixels")
    assert (figure.name, float(figure)) == ("fd-pixels", found["fd-pixels"].value)


def test_a_set_is_at_no_distance_from_itself(digits) -> None:
    found = mz.compare(digits, digits, network="glyphs")
    assert not [name for name in found if name == "accuracy"]  # no labels were given
    for name in ("fd-glyphs", "sfd-glyphs"):
        assert found[name].low <= 0 <= found[name].high
        assert found[name].value == pytest.approx(0, abs=1e-4)
    assert float(found["precision"]) == float(found["recall"]) == 1
    assert found["fd-glyphs"].against.startswith("40 images of array:")


def test_arrays_and_tensors_and_what_is_prepared_of_them_are_one(digits, few_glyphs) -> None:
    labels = np.arange(40) % 10
    wanted = values(mz.compare(digits, "glyphs", labels=labels))
    tensor = torch.from_numpy(digits).permute(0, 3, 1, 2)
    assert values(mz.compare(tensor, "glyphs", labels=labels)) == wanted
    data = mz.prepare(digits, labels)
    assert values(mz.compare(data, mz.prepare("glyphs"), network=["glyphs"])) == wanted
    assert wanted["accuracy"][0] == 1


def test_the_fid_is_inceptions_alone(digits, monkeypatch) -> None:
    def inception(device: torch.device):
        return replace(NETWORKS["glyphs"](device), name="inception")

    monkeypatch.setitem(NETWORKS, "inception", inception)
    figure = mz.fid(digits[:20], digits[20:])
    other = mz.fid(digits[:20], digits[20:], network="glyphs")
    assert (figure.name, other.name) == ("fid", "fd-glyphs")
    assert 0 < float(figure) == float(other)
    assert figure.low <= figure.value <= figure.high


def test_without_the_weights_the_fid_says_how_to_get_them(digits, monkeypatch) -> None:
    monkeypatch.setenv("MEZZOTINT_INCEPTION", "nowhere.pth")
    with pytest.raises(mz.UserError, match=r"no file is there: download https://github.com"):
        mz.fid(digits, digits)


def test_a_model_is_measured_as_its_samples_are(trained: Path) -> None:
    pipe = mz.load(trained)
    found = mz.evaluate(pipe, samples=30, batch=16)
    samples = mz.prepare(pipe.sample(32, batch=16)[:30], [i % 10 for i in range(30)])
    assert values(mz.compare(samples, "glyphs")) == values(found)
    assert found["fd-glyphs"].against == "100 images of glyphs (split train)"
    assert {f.count for f in found.values()} == {30}


def test_python_and_the_command_give_the_same_figures(
    trained: Path, tmp_path: Path, capsys: CapSys
) -> None:
    flags = ["--samples", "30", "--sampler", "heun", "--nfe", "6", "--seed", "3"]
    flags += ["--metrics", "fd", "prdc", "--network", "cifar10", "glyphs"]
    assert call(capsys, "evaluate", str(trained), *flags)[0] == 0
    found = mz.evaluate(
        str(trained),
        samples="30",
        sampler="heun",
        nfe=6,
        seed=3,
        metrics=["fd", "prdc"],
        network=["cifar10", "glyphs"],
        precision="float32",
        out=tmp_path / "out",
    )
    assert list(found)[:3] == ["fd-cifar10", "precision-cifar10", "recall-cifar10"]
    rows = [
        [json.loads(line) for line in (folder / "figures.jsonl").read_text().splitlines()]
        for folder in (trained / "evaluation", tmp_path / "out")
    ]
    for row in rows[0] + rows[1]:
        del row["time"]
    assert rows[0] == rows[1]
    figures = [mz.Figure.read(figure) for row in rows[0] for figure in row["figures"]]
    assert figures == list(found.values())
    assert (tmp_path / "out" / "nearest.png").exists()


def test_nothing_is_written_unless_it_is_asked_for(trained: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    seen: list[tuple[str, float, int]] = []
    follow = lambda *told: seen.append(told)  # noqa: E731
    mz.evaluate(trained, samples=12, metrics="fd", seed=91, on_progress=follow)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert {what for what, _, _ in seen} == {"samples", "features"}
    assert all(0 <= done <= total == 12 for _, done, total in seen)


def test_kept_samples_are_not_made_again(trained: Path, monkeypatch) -> None:
    pipe = mz.load(trained)
    first = mz.evaluate(pipe, samples=20, metrics="fd", seed=7)

    def made(*_: object, **more: object) -> None:
        raise AssertionError("samples were made")

    monkeypatch.setattr(mz.Pipeline, "sample", made)
    assert mz.evaluate(pipe, samples=20, metrics="fd", seed=7) == first


def test_fewer_samples_than_classes_cause_a_warning(digits) -> None:
    names = tuple(map(str, range(13)))
    pipe = mz.Pipeline(lambda x, t, labels: 0 * x, mz.cosine(10), "x0", (3, 32, 32), names)
    how = {"samples": 12, "metrics": "fd", "network": "glyphs", "steps": 1}
    with pytest.warns(UserWarning, match="12 samples are fewer than the 13 classes, so only the"):
        mz.evaluate(pipe, digits, **how)


def test_uneven_classes_cause_a_warning(digits) -> None:
    pipe = mz.Pipeline(lambda x, t, k: 0 * x, mz.cosine(10), "x0", (3, 32, 32), ("a", "b"))
    data = mz.prepare(digits, np.arange(40) // 30, classes=("a", "b"))
    with pytest.warns(UserWarning, match="have 10 to 30 images, but the samples are of all"):
        mz.evaluate(pipe, data, samples=10, metrics="fd", network="glyphs", steps=1)


def test_other_data_and_a_weaker_model_are_used(trained: Path) -> None:
    plain, other, guided = (
        mz.evaluate(trained, data, samples=20, metrics="fd", guidance=3.0, **more)["fd-glyphs"]
        for data, more in (
            (None, {}),
            (mz.prepare("glyphs").some(50), {}),
            (None, {"weaker": trained / "checkpoints" / "step-8"}),
        )
    )
    assert len({plain.value, other.value, guided.value}) == 3
    assert re.fullmatch(r"50 images of images [0-9a-f]{12}", other.against)
    assert plain.against == guided.against == "100 images of glyphs (split train)"


def test_the_reference_has_the_size_of_the_samples_by_default(
    trained: Path, tmp_path: Path, capsys: CapSys
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 40, 48, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    flags = ["--against", str(tmp_path / "images.npy"), "--samples", "12", "--metrics", "fd"]
    assert call(capsys, "evaluate", str(trained), *flags)[0] == 0
    line = json.loads((trained / "evaluation" / "figures.jsonl").read_text())
    wanted = mz.compare(mz.load(trained).sample(12, batch=64), mz.prepare(images, size=32))
    assert line["figures"][0]["value"] == wanted["fd-cifar10"].value
    found = mz.evaluate(trained, images, samples=12, metrics="fd")
    assert found["fd-cifar10"].value == wanted["fd-cifar10"].value
    with pytest.raises(mz.UserError, match="have 40x48 pixels, but the images to measure have 32x"):
        mz.evaluate(trained, mz.prepare(images), samples=12)


def test_an_autoencoder_is_measured_by_its_reconstructions(trained_vae: Path, capsys) -> None:
    assert call(capsys, "evaluate", str(trained_vae))[0] == 0
    (line,) = (trained_vae / "evaluation" / "figures.jsonl").read_text().splitlines()
    told = {f["name"]: mz.Figure.read(f) for f in json.loads(line)["figures"]}
    assert mz.evaluate(trained_vae) == told
    held_out = mz.prepare("glyphs", split="test")
    found = mz.evaluate(mz.load_codec(trained_vae), held_out)
    assert values(found) == values(told)
    assert mz.evaluate(trained_vae, samples=20, metrics=[])["psnr"].count == 20


MODEL: list[tuple[dict[str, Any], str]] = [
    ({"samples": "many"}, "`samples` is 'many': give 1k, 5k, 10k, 50k or a number"),
    ({"samples": 0}, "`samples` is 0"),
    ({"samples": 1.5}, "`samples` is 1.5"),
    ({"samples": True}, "`samples` is True"),
    ({"samples": 9}, "9 images cannot be measured: give at least 10"),
    ({"sample": 20}, "unknown keyword 'sample'; did you mean samples or sampler"),
    ({"stepps": 20}, "unknown keyword 'stepps'; did you mean steps"),
    ({"steps": 0}, "steps: input should be greater than 0"),
    ({"sampler": "nonsense"}, "unknown sampler 'nonsense'"),
    ({"metrics": "fid"}, "unknown metric 'fid': choose one of fd, sfd"),
    ({"metrics": []}, "`metrics` is empty: choose from fd"),
    ({"metrics": 3}, "`metrics` is 3: give a name, or a list of names"),
    ({"metrics": "accuracy", "network": "cifar10"}, "accuracy needs a network that knows"),
    ({"network": "glyph"}, "unknown feature network 'glyph'"),
    ({"network": torch.nn.ReLU()}, "`network` is ReLU(): give a name"),
    ({"seed": -1}, "`seed` is -1: give a whole number of at least 0"),
    ({"batch": "64"}, "`batch` is '64': give a whole number of at least 1"),
    ({"data": "nowhere"}, "there is no data set, file or folder 'nowhere'"),
    ({"data": 3}, "`data` is of type int"),
    ({"size": 16}, "`split`, `size` and `range` describe `data`, which is missing"),
    ({"range": (0, 1)}, "`split`, `size` and `range` describe `data`, which is missing"),
    ({"data": "glyphs", "size": 0}, "`size` is 0: give a side of at least 1 pixel"),
    ({"data": "glyphs", "size": 16}, "16x16 pixels, but the images to measure have 32x32"),
    ({"weaker": "nowhere"}, "there is no folder nowhere"),
    ({"weaker": "cifar10", "guidance": 1.0}, "`weaker` has no effect with `guidance=1`"),
    ({"weaker": 3}, "`weaker` is of type int: give a pipeline, a path or a name"),
    ({"precision": "half"}, "precision"),
]


@pytest.mark.parametrize(("arguments", "message"), MODEL)
def test_bad_input_names_the_argument(
    trained: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    arguments = {"samples": 12, **arguments}
    with pytest.raises(mz.UserError, match=re.escape(message)):
        mz.evaluate(trained, out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out" / "figures.jsonl").exists()


def test_an_out_that_is_no_path_is_refused(trained: Path) -> None:
    with pytest.raises(mz.UserError, match="`out` is 3: give the path of a folder"):
        mz.evaluate(trained, samples=12, out=3)


def test_an_out_that_is_a_file_is_refused_before_the_work(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(mz.UserError, match="is a file: give `out` a folder"):
        mz.evaluate(trained, samples=12, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda pipe: 3, "`pipe` is of type int: give a pipeline, a codec, a path or a name"),
        (lambda pipe: pipe.net, "`pipe` is of type UNet"),
        (lambda pipe: Pixels(), "`pipe` is of type Pixels"),
        (lambda pipe: "nowhere", "there is no folder nowhere"),
        (
            lambda pipe: replace(pipe, home=None, data=None),
            "the model does not record its training set: give the training set as `data`",
        ),
        (
            lambda pipe: replace(pipe, home=None, data="0" * 64),
            "the model does not record its training set: give the training set as `data`",
        ),
        (lambda pipe: replace(pipe, shape=(2, 32, 32)), "of 2 channels"),
    ],
)
def test_what_is_no_model_is_refused(
    trained: Path, made: Callable[[mz.Pipeline], Any], message: str
) -> None:
    with pytest.raises(mz.UserError, match=re.escape(message)):
        mz.evaluate(made(mz.load(trained)), samples=12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 3}, "`steps` does not apply to an autoencoder: leave it out"),
        ({"eta": 0.0}, "`eta` does not apply"),
        ({"seed": 3}, "`seed` does not apply"),
        ({"weaker": "cifar10"}, "`weaker` does not apply"),
        ({"batch": 3}, "`batch` does not apply"),
        ({"metrics": "prdc"}, "unknown metric of an autoencoder 'prdc': choose one of fd, sfd, kd"),
        ({"samples": 9}, "9 images cannot be measured"),
        ({"split": "test"}, "`split` and `range` need `data`: give `data`, or leave"),
        ({"range": (0, 1)}, "`split` and `range` need `data`: give `data`, or leave"),
        ({"data": "glyphs", "size": "31x"}, "`size` is '31x': give a side of at least 1 pixel"),
    ],
)
def test_what_an_autoencoder_does_not_take_is_refused(
    trained_vae: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(mz.UserError, match=re.escape(message)):
        mz.evaluate(trained_vae, **arguments)


def test_an_autoencoder_from_nowhere_needs_data(trained_vae: Path) -> None:
    codec = mz.load_codec(trained_vae)
    with pytest.raises(mz.UserError, match="the autoencoder does not record its training set"):
        mz.evaluate(codec)


@pytest.mark.filterwarnings("ignore:their values, float32 from .* are scaled to 0..255")
def test_arrays_are_compared_with_their_range_and_layout(digits) -> None:
    plain = mz.compare(digits, digits[:30], network="glyphs", metrics="fd")
    centred = digits / np.float32(127.5) - 1
    given = {"range": (-1, 1), "network": "glyphs", "metrics": "fd"}
    assert mz.compare(centred, centred[:30], **given)["fd-glyphs"].value == pytest.approx(
        plain["fd-glyphs"].value, rel=1e-12
    )
    channels = np.moveaxis(centred, 3, 1)
    found = mz.fid(channels, channels[:30], layout="NCHW", range=(-1, 1), network="glyphs")
    assert found.value == pytest.approx(plain["fd-glyphs"].value, rel=1e-12)
    # What is prepared, or a name, has its own.
    assert mz.compare(mz.prepare(digits), centred[:30], **given) == {
        **mz.compare(centred, centred[:30], **given)
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images_b": lambda x: x[:, :16]}, "`images_a` are of 32x32 and `images_b` of 16x32"),
        ({"images_a": lambda x: x[0]}, "`images_a` has the shape (32, 32, 3)"),
        ({"images_b": lambda x: x[..., :2]}, "`images_b` has the shape (40, 32, 32, 2)"),
        ({"images_a": lambda x: x / 255}, "`images_a` is float64 with values from 0.0"),
        (
            {"images_a": lambda x: x / 255, "range": (0, 1)},
            "`images_b` is uint8 with values from 2 to 254, outside",
        ),
        ({"images_b": lambda x: x, "layout": "CHW"}, "`layout` is 'CHW': choose NHW, NHWC, NCHW"),
        (
            {"images_a": mz.prepare, "images_b": "glyphs", "range": (0, 1)},
            "`layout` and `range` apply only to arrays in memory: for images from a path, pass the",
        ),
        ({"images_b": lambda x: x.astype(object)}, "`images_b` is object"),
        ({"images_a": list}, "`images_a` is of type list"),
        ({"images_b": lambda x: "nowhere"}, "there is no data set, file or folder 'nowhere'"),
        ({"labels": [0] * 39}, "`labels` has the shape (39,) for 40 images"),
        ({"images_a": mz.prepare, "labels": [0] * 40}, "leave out `labels`"),
        ({"classes": ["a"]}, "`classes` are given without `labels`"),
        ({"network": "vgg"}, "unknown feature network 'vgg'"),
        ({"metrics": ["fd", "coverag"]}, "unknown metric 'coverag'"),
        ({"metrics": "accuracy"}, "accuracy needs a network that knows"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(
    digits, arguments: dict[str, Any], message: str
) -> None:
    given = {"images_a": digits, "images_b": digits, **arguments}
    for name in ("images_a", "images_b"):
        given[name] = given[name](digits) if callable(given[name]) else given[name]
    with pytest.raises(mz.UserError, match=re.escape(message)):
        mz.compare(given.pop("images_a"), given.pop("images_b"), **given)


@pytest.mark.filterwarnings("ignore:accuracy is left out")
def test_a_network_of_ones_own_is_measured(few_glyphs: None) -> None:
    class Blank(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x: torch.Tensor, t: torch.Tensor, labels: object) -> torch.Tensor:
            return self.scale * x

    pipe = mz.Pipeline(Blank(), mz.cosine(20), "eps", (3, 32, 32))
    found = mz.evaluate(pipe, "glyphs", samples=12, steps=2, metrics=["fd", "accuracy"])
    assert {name: f.against for name, f in found.items()} == {
        "fd-glyphs": "100 images of glyphs (split train)"
    }


def test_a_network_that_is_given_twice_measures_once(digits) -> None:
    found = mz.compare(digits, digits[:30], network=["glyphs", "glyphs"], metrics="fd")
    assert [*found] == ["fd-glyphs"]


def test_metrics_that_give_nothing_are_said(digits, monkeypatch) -> None:
    monkeypatch.setitem(mz.METRICS, "nothing", lambda seen: iter(()))
    with pytest.raises(mz.UserError, match="none of the metrics applies to these images"):
        mz.compare(digits, digits, metrics="nothing", network="glyphs")


def test_the_room_exports_what_python_sees() -> None:
    assert (mz.evaluate, mz.compare, mz.fid) == (
        *(evaluation.evaluate, evaluation.compare, evaluation.fid),
    )
