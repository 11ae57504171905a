"""The cache of data: full or read-only disks, and changed contents (issue 23, e, o and q)."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint.data import columns, prepare, prepare_latents
from mezzotint.errors import UserError
from mezzotint.storage import arrays

from trees import grown, plant

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@pytest.fixture
def folder(tmp_path):
    return plant(tmp_path / "d", grown(["cat", "dog"]))


def moments(images):
    mean = images[:, :1, ::2, ::2].float()
    return mean, torch.ones_like(mean)


def refuse(number: int):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def nothing_half_made(cache: Path) -> bool:
    return not any(path.is_file() for path in cache.rglob("*"))


@pytest.mark.parametrize("number", FULL)
@pytest.mark.parametrize("where", ["allocate", "save"])
def test_a_disk_that_fills_while_images_are_prepared(folder, cache, monkeypatch, number, where):
    """Without reserved space, writing the array would end the process by SIGBUS."""
    with monkeypatch.context() as patch:
        patch.setattr(arrays, where, refuse(number))
        with pytest.raises(UserError, match=r"prepared cannot be written \(.*, or set ME") as one:
            prepare(folder)
    assert "\n" not in str(one.value)
    assert nothing_half_made(cache)
    assert len(prepare(folder)) == 4


def test_a_disk_that_fills_while_conditions_are_written(cache, monkeypatch) -> None:
    monkeypatch.setattr(columns, "create", refuse(errno.ENOSPC))
    with pytest.raises(UserError, match=r"prepared cannot be written \(No space left"):
        prepare(np.zeros((4, 8, 8, 3), np.uint8), condition=np.eye(4))
    assert nothing_half_made(cache)


def test_a_disk_that_fills_while_latents_are_made(folder, cache, monkeypatch) -> None:
    data = prepare(folder)
    with monkeypatch.context() as patch:
        patch.setattr(arrays, "allocate", refuse(errno.ENOSPC))
        with pytest.raises(UserError, match=r"latents cannot be written \(No space left"):
            prepare_latents(data, moments, "vae", False, False)
    assert nothing_half_made(cache / "latents")
    assert prepare_latents(data, moments, "vae", False, False).moments.shape == (4, 1, 1, 1, 2, 2)


def test_a_cache_that_cannot_be_written(folder, cache, monkeypatch) -> None:
    monkeypatch.setattr(Path, "mkdir", refuse(errno.EACCES))
    with pytest.raises(UserError, match=r"cannot make the cache folder .*: set MEZZOTINT_CACHE"):
        prepare(folder)


def test_a_cache_whose_path_is_no_utf_8(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", os.fsdecode(bytes(tmp_path) + b"/c\xe9"))
    with pytest.raises(UserError, match=r"the path of the cache is not UTF-8, b'.*c\\xe9'") as one:
        prepare(folder)
    assert str(one.value).isascii()


def test_an_array_has_its_bytes_before_it_is_written(tmp_path) -> None:
    array = arrays.create(tmp_path / "a.npy", np.float16, (3, 4))
    whole = (tmp_path / "a.npy").stat()
    assert whole.st_blocks * 512 >= 24
    array[:] = np.arange(12).reshape(3, 4)
    array.flush()
    read = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert read.dtype == np.float16
    assert read.ravel().tolist() == list(range(12))
    assert (tmp_path / "a.npy").stat().st_size == whole.st_size


def test_a_sum_is_of_all_bytes_however_they_lie() -> None:
    a = np.random.default_rng(0).integers(0, 256, (100, 7), dtype=np.uint8)
    assert arrays.crc(a) == arrays.crc(np.asfortranarray(a)) == arrays.crc(a.copy())
    b = a.copy()
    b[99, 6] ^= 1
    assert arrays.crc(b) != arrays.crc(a)


def change(entry: Path, what: str) -> None:
    """Change an entry so that it can still be read."""
    if what == "labels":
        labels = np.load(entry / "labels.npy")
        np.save(entry / "labels.npy", labels[::-1])
    elif what == "pixels":
        images = np.load(entry / "images.npy", mmap_mode="r+")
        images[0, 0, 0, 0] ^= 1
        images.flush()
    else:
        meta = json.loads((entry / "meta.json").read_text())
        meta[what] = {"classes": meta["classes"][::-1], "skipped": 1, "fingerprint": "0" * 64}[what]
        (entry / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize("what", ["labels", "pixels", "classes", "skipped", "fingerprint"])
def test_an_entry_that_was_changed_is_built_anew(folder, what) -> None:
    """Once, a training used reversed labels."""
    first = prepare(folder)
    images, labels = first.images.copy(), first.labels.copy()
    change(first.folder, what)
    again = prepare(folder)
    assert (again.fingerprint, again.classes, again.skipped) == (
        first.fingerprint,
        first.classes,
        0,
    )
    assert np.array_equal(again.images, images)
    assert np.array_equal(again.labels, labels)


def test_images_in_memory_that_were_changed_are_not_taken(noise) -> None:
    images = noise(0, 4, 5, 5, 3)
    data = prepare(images, [0, 1, 0, 1])
    change(data.folder, "labels")
    with pytest.raises(UserError, match="is not in the cache"):
        prepare(data.source)
    again = prepare(images, [0, 1, 0, 1])
    assert again.labels.tolist() == [0, 1, 0, 1]
    assert prepare(data.source).labels.tolist() == [0, 1, 0, 1]


def test_of_large_arrays_labels_and_facts_are_summed(folder, monkeypatch) -> None:
    first = prepare(folder)
    change(first.folder, "pixels")
    monkeypatch.setattr("mezzotint.data.prepared.SUMMED", 0)
    monkeypatch.setattr("mezzotint.data.preparing.build", None)
    prepare(folder)  # reading hundreds of gigabytes before each training would be too slow
    change(first.folder, "labels")
    with pytest.raises(TypeError):
        prepare(folder)


@pytest.mark.parametrize("what", ["moments", "mean"])
def test_latents_that_were_changed_are_made_anew(folder, what) -> None:
    data = prepare(folder)
    first = prepare_latents(data, moments, "vae", False, False)
    kept, entry = first.moments.copy(), Path(first.moments.filename).parent
    if what == "moments":
        changed = np.load(entry / "moments.npy", mmap_mode="r+")
        changed[0] += 1
        changed.flush()
    else:
        meta = json.loads((entry / "meta.json").read_text())
        (entry / "meta.json").write_text(json.dumps({**meta, "mean": [0.0]}))
    again = prepare_latents(data, moments, "vae", False, False)
    assert np.array_equal(again.moments, kept)
    assert again.mean.equal(first.mean)
