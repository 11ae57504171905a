from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from metrics.pixels import pictures, pixel_network
from mezzotint.errors import UserError
from mezzotint.metrics import FeatureNetwork, Features, Reference, frechet_distance, reference
from mezzotint.metrics.reference import fitting, read
from mezzotint.processes import Share

X = np.random.default_rng(0).standard_normal((60, 4))
IMAGES = pictures(X)


def counted(**facts: object) -> tuple[FeatureNetwork, list[int]]:
    """Return a network, and a list to which it adds the number of images of each call."""
    net, asked = pixel_network(**facts), []
    return replace(net, net=lambda images: asked.append(len(images)) or net.net(images)), asked


def of(images: np.ndarray = IMAGES, data: str = "abc", **facts: object) -> Reference:
    return reference(pixel_network(**facts), images, data, "test images")


def test_it_holds_the_features_and_their_distances() -> None:
    found = of()
    x = (IMAGES[:, 0, :, 0].astype(float) - 128) / 20
    np.testing.assert_allclose(found.pool, x, rtol=1e-6)
    other = torch.ones(4), 2 * torch.eye(4)
    for distance, y in ((found.distance, x), (found.spatial_distance, 2 * x)):
        wanted = frechet_distance(y.mean(0), np.cov(y.T), *other)
        assert distance(*other) == pytest.approx(wanted, rel=1e-6)
    assert (found.origin.count, found.origin.size) == (60, "1x4")
    assert found.origin.name == "test images"


def test_it_is_computed_once() -> None:
    net, asked = counted()
    first = reference(net, IMAGES, "abc", "test images")
    assert sum(asked) == 60
    second = reference(net, IMAGES, "abc", "test images")
    assert sum(asked) == 60
    assert (second.path, second.origin) == (first.path, first.origin)
    assert second.pool.equal(first.pool)


def test_several_processes_share_the_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = load_file(of().path)
    of().path.unlink()
    monkeypatch.setattr(sys.modules[Features.__module__], "PART", 10)
    asked = []
    for number in (2, 1, 0):
        net, seen = counted()
        path = reference(net, IMAGES, "abc", "test images", Share(number, 3)).path
        asked.append(sum(seen))
    assert asked == [20, 20, 20]
    together = load_file(path)
    assert all(together[name].equal(alone[name]) for name in alone)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "gone"])
def test_a_damaged_file_is_computed_anew(damage: str) -> None:
    whole = of()
    content = whole.path.read_bytes()
    if damage == "gone":
        whole.path.unlink()
    else:
        whole.path.write_bytes({"cut": content[:-9], "empty": b"", "text": b"no tensors"}[damage])
    again = of()
    assert again.path == whole.path
    assert again.pool.numpy().tolist() == ((IMAGES[:, 0, :, 0] - np.float32(128)) / 20).tolist()
    assert list(again.path.parent.iterdir()) == [again.path]


def test_other_data_and_other_features_have_other_files() -> None:
    files = [
        of().path,
        of(data="abd").path,
        of(IMAGES[:50]).path,
        of(pictures(X[:, :2])).path,
        of(name="other").path,
        of(weights="1" * 64).path,
        of(resize="twice").path,
    ]
    assert len(set(files)) == len(files)
    assert reference(pixel_network(), IMAGES, "abc", "by another name").path == files[0]


def test_a_file_is_read_as_it_was_written() -> None:
    written = of()
    found = read(written.path)
    assert found.origin == written.origin
    assert found.pool.equal(written.pool)


def test_what_is_no_reference_is_refused(tmp_path: Path) -> None:
    tensors = {"mean": torch.zeros(2)}
    save_file(tensors, tmp_path / "bare")
    of().path.rename(tmp_path / "other")
    origin = json.dumps(asdict(read(tmp_path / "other").origin))
    save_file(tensors, tmp_path / "other", {"kind": "checkpoint", "origin": origin})
    save_file(tensors, tmp_path / "older", {"kind": "mezzotint reference", "origin": "{}"})
    save_file(tensors, tmp_path / "broken", {"kind": "mezzotint reference", "origin": "{"})
    (tmp_path / "text").write_text("mean 0")
    (tmp_path / "folder").mkdir()
    for name in ("bare", "other", "older", "broken", "text", "folder", "missing"):
        with pytest.raises(UserError, match=f"{name} is not a reference: give a file"):
            read(tmp_path / name)


def test_it_fits_its_own_network_and_size() -> None:
    found = of()
    assert fitting(found, pixel_network(), (1, 4)) is found


@pytest.mark.parametrize(
    ("facts", "size", "message"),
    [
        (
            {"name": "glyphs"},
            (1, 4),
            "computed with the network pixels, but the images are measured with glyphs",
        ),
        (
            {"weights": "1" * 64},
            (1, 4),
            "with the weights 000000000000, but the images are measured with 111111111111:",
        ),
        (
            {"resize": "twice"},
            (1, 4),
            "with the resize none, but the images are measured with twice",
        ),
        ({}, (4, 1), "with the size 1x4, but the images are measured with 4x1"),
    ],
)
def test_what_it_does_not_fit_is_named(facts: dict, size: tuple[int, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitting(of(), pixel_network(**facts), size)


def test_a_reference_that_was_changed_is_refused() -> None:
    """Once, a changed reference moved a distance from 11.3 to 85.4 without a message."""
    whole = of()
    with safe_open(whole.path, "pt") as file:
        facts, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    other = json.dumps({**json.loads(facts["origin"]), "count": 61})
    for told, held in (
        (facts, {**tensors, "mean": tensors["mean"] + 1}),
        ({**facts, "origin": other}, tensors),
    ):
        save_file(held, whole.path, told)
        with pytest.raises(UserError, match=r"is damaged \(mean does not match .*: delete it"):
            of().distance(torch.ones(4), torch.eye(4))
    save_file(tensors, whole.path, {k: v for k, v in facts.items() if k != "sums"})
    assert of().distance(torch.ones(4), torch.eye(4)) > 0  # of an older mezzotint


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fills_while_a_reference_is_kept(monkeypatch, number) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match=r"references cannot be written \(.*, or set ME"):
            of()
    found = of()
    assert [path for path in found.path.parent.iterdir() if ".partial" in path.name] == []


def test_a_disk_that_fills_while_features_are_collected(monkeypatch) -> None:
    def full(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys.modules["mezzotint.metrics.features"], "allocate", full)
    with pytest.raises(UserError, match=r"features cannot be written \(No space left"):
        of(data="another")
