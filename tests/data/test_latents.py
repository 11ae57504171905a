from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import PartialState
from torch import Tensor

from mezzotint.data import Prepared, PreparedLatents, encoding, prepare_latents
from mezzotint.data.encoding import Encoding, LatentMoments, channel_moments
from mezzotint.errors import UserError
from mezzotint.processes import Share, share_of, watched
from mezzotint.storage import leftovers
from together import together


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """A stand-in for an encoder: linear, exact in float32, on pairs of neighbours in a row."""
    left, right = images[..., ::2].float(), images[..., 1::2].float()
    return (3 * left - right) / 64, (left + 2 * right) / 512


class Spy:
    """The function `moments`, which also records the number of images in each call."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        assert images.dtype == torch.uint8
        self.asked.append(len(images))
        return moments(images)


@pytest.fixture
def data(noise: Callable[..., np.ndarray], tmp_path: Path) -> Prepared:
    """Five images, 6 high and 8 wide."""
    labels = np.full(5, -1, np.int64)
    return Prepared(noise(0, 5, 6, 8, 3), labels, (), "fingerprint", tmp_path, 0)


def raw(data: Prepared, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the moments of each image, or of its mirror image: (N, C, h, w)."""
    images = data.images[:, :, ::-1] if mirrored else data.images
    mean, std = moments(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    return mean.numpy(), std.numpy()


def made(
    data: Prepared,
    by: Callable[[Tensor], tuple[Tensor, Tensor]] = moments,
    made_by: str = "digest",
    flip: bool = True,
    deviations: bool = True,
) -> PreparedLatents:
    return prepare_latents(data, by, made_by, flip, deviations)


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "latents").iterdir())


def test_the_array_holds_the_moments_of_each_picture_and_of_its_mirror_image(
    data: Prepared,
) -> None:
    found = made(data).moments
    assert found.dtype == np.float16
    assert found.shape == (5, 2, 2, 3, 6, 4)
    for copy in (0, 1):
        for part, wanted in enumerate(raw(data, mirrored=bool(copy))):
            np.testing.assert_array_equal(found[:, copy, part], wanted.astype(np.float16))
    assert not np.array_equal(found[:, 1, 0], found[:, 0, 0, :, :, ::-1])  # no mere mirror
    assert isinstance(found, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("deviations", [False, True])
def test_mean_and_std_are_those_of_all_raw_latents(
    data: Prepared, flip: bool, deviations: bool
) -> None:
    """The law of total variance for z ~ N(mean, std^2): ``E std^2 + Var mean``."""
    result = made(data, flip=flip, deviations=deviations)
    assert result.moments.shape[1:3] == (1 + flip, 1 + deviations)
    parts = [raw(data, mirrored) for mirrored in (False, True)[: 1 + flip]]
    mean, std = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    axes = (0, 2, 3)
    variance = mean.var(axes) + deviations * (std**2).mean(axes)
    np.testing.assert_allclose(result.mean, mean.mean(axes), rtol=1e-6)
    np.testing.assert_allclose(result.std, np.sqrt(variance), rtol=1e-6)
    assert result.mean.dtype == result.std.dtype == torch.float32


def test_more_pictures_than_are_encoded_at_once(
    data: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, spy = made(data, made_by="whole"), Spy()
    monkeypatch.setattr(encoding, "PART", 2)
    parts = made(data, spy)
    assert spy.asked == [2, 2, 2, 2, 1, 1]
    np.testing.assert_array_equal(parts.moments, whole.moments)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.std, whole.std)


def test_images_of_16_bits_are_mirrored_too(data: Prepared) -> None:
    data = replace(data, images=data.images.astype(np.uint16) * 16, fingerprint="16")
    for i, mirrored in enumerate((False, True)):
        mean = raw(data, mirrored)[0].astype(np.float16)
        assert np.array_equal(made(data).moments[:, i, 0], mean)


def test_what_is_there_is_not_encoded_again_and_nothing_else_is_taken_for_it(
    data: Prepared, cache: Path
) -> None:
    spy = Spy()
    first = made(data, spy)
    assert len(spy.asked) == 2
    again = made(data, spy)
    assert len(spy.asked) == 2
    np.testing.assert_array_equal(again.moments, first.moments)
    assert torch.equal(again.mean, first.mean)
    assert torch.equal(again.std, first.std)
    made(data, spy, made_by="another")
    made(data, spy, deviations=False)
    made(data, spy, flip=False)
    made(replace(data, fingerprint="other images"), spy)
    assert len(spy.asked) == 2 + 2 + 2 + 1 + 2
    assert len(entries(cache)) == 5


@pytest.mark.parametrize("name", ["moments.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_a_damaged_entry_is_built_anew(data: Prepared, cache: Path, name: str, damage: str) -> None:
    first = made(data)
    wanted = first.moments.copy()
    (entry,) = entries(cache)
    file = cache / "latents" / entry / name
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:-5] if damage == "short" else b"")
    again = made(data)
    np.testing.assert_array_equal(again.moments, wanted)
    assert torch.equal(again.std, first.std)
    assert entries(cache) == [entry]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_crash_in_the_middle_leaves_nothing(
    data: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(encoding, "PART", 2)
    spy = Spy()

    def crash(images: Tensor) -> tuple[Tensor, Tensor]:
        if len(spy.asked) == 3:
            raise error("pulled the plug")
        return spy(images)

    with pytest.raises(error, match="pulled the plug"):
        made(data, crash)
    assert entries(cache) == []
    assert len(made(data).moments) == 5


def test_what_a_killed_process_leaves_is_not_taken_for_data(
    data: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killed process does not clean up."""
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        patch.setattr(Path, "write_text", None)  # all is encoded, the last file not yet written
        with pytest.raises(TypeError):
            made(data)
    (left,) = entries(cache)
    assert (cache / "latents" / left / "moments.npy").exists()
    spy = Spy()
    assert len(made(data, spy).moments) == 5
    assert spy.asked == [5, 5]


def test_the_slower_of_two_processes_discards_its_own(
    data: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, faster = Encoding.build, []

    def overtaken(work: Encoding, building: Path) -> None:
        build(work, building)
        monkeypatch.setattr(Encoding, "build", build)
        made(data)  # meanwhile, another process finishes the same entry, and reads it from now on
        faster.extend((cache / "latents" / name).stat().st_ino for name in entries(cache)[:1])

    monkeypatch.setattr(Encoding, "build", overtaken)
    monkeypatch.setattr(leftovers, "written", lambda folder, name: None)  # a disk without locks
    assert len(made(data).moments) == 5
    (entry,) = entries(cache)
    assert (cache / "latents" / entry).stat().st_ino == faster[0]


@pytest.mark.parametrize("part", [0, 1], ids=["mean", "std"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 70_000.0])
def test_latents_that_cannot_be_kept_are_refused(
    data: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch, part: int, value: float
) -> None:
    """One number of the last image, which is encoded last, is out of range."""
    monkeypatch.setattr(encoding, "PART", 2)

    def spoilt(images: Tensor) -> tuple[Tensor, Tensor]:
        parts = moments(images)
        if len(images) == 1:
            parts[part][0, 2, 5, 3] = value
        return parts

    with pytest.raises(UserError, match="latents are not finite in float16"):
        made(data, spoilt)
    assert entries(cache) == []


def test_no_room(data: Prepared, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, spy = namedtuple("usage", "free"), Spy()
    size = 2 * 5 * 2 * 2 * 3 * 6 * 4
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(size - 1))
        with pytest.raises(UserError, match="set MEZZOTINT_CACHE to a folder on a larger disk"):
            made(data, spy)
        assert entries(cache) == []
        assert spy.asked == [5, 5]  # it is refused at the first part
        patch.setattr(shutil, "disk_usage", lambda path: usage(size))
        made(data)


def test_rows_are_of_the_copy_that_is_asked_for(data: Prepared) -> None:
    index, mirrored = np.array([4, 0, 4]), torch.tensor([True, False, False])
    mean, std = made(data).rows(index, mirrored)
    for found, part in ((mean, 0), (std, 1)):
        assert found.dtype == torch.float32
        plain, mirror = (raw(data, copy)[part].astype(np.float16) for copy in (False, True))
        np.testing.assert_array_equal(found, np.stack([mirror[4], plain[0], plain[4]]))


def test_rows_where_neither_mirror_images_nor_deviations_are_kept(data: Prepared) -> None:
    mean, std = made(data, flip=False, deviations=False).rows(
        np.array([3, 1]), torch.tensor([False, False])
    )
    wanted = raw(data, mirrored=False)[0][[3, 1]].astype(np.float16)
    np.testing.assert_array_equal(mean, wanted)
    assert torch.equal(std, torch.zeros(2, 3, 6, 4))
    assert std.dtype == torch.float32


def test_moments_of_latents_in_parts_are_those_of_samples() -> None:
    """They equal the mean and deviation of drawn z, and do not depend on the parts."""
    torch.manual_seed(0)
    mean, std = torch.randn(60, 2, 4, 4) * 3 + 1, torch.rand(60, 2, 4, 4) + 0.5
    found = LatentMoments()
    for part in (slice(0, 7), slice(7, 60)):
        found.add(mean[part], std[part])
    drawn = mean + std * torch.randn(400, *mean.shape)
    torch.testing.assert_close(found.mean.float(), drawn.mean((0, 1, 3, 4)), rtol=0.01, atol=0.01)
    torch.testing.assert_close(found.std.float(), drawn.std((0, 1, 3, 4)), rtol=0.01, atol=0)
    centre, spread = channel_moments(mean, std)
    torch.testing.assert_close(centre, found.mean.float())
    torch.testing.assert_close(spread, found.std.float(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_encoding(
    data: Prepared, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The latents are those of one process, to the bit; the fourth process has nothing to do."""
    monkeypatch.setattr(encoding, "PART", 2)
    alone = made(data, made_by="alone")

    def work(rank: int) -> None:
        spy, state = Spy(), PartialState(cpu=True)
        shared = prepare_latents(data, spy, "shared", True, True, share_of(state))
        assert (
            spy.asked == {2: [[2, 2, 1, 1], [2, 2]], 4: [[2, 2], [2, 2], [1, 1], []]}[count][rank]
        )
        np.testing.assert_array_equal(shared.moments, alone.moments)
        assert torch.equal(shared.mean, alone.mean)
        assert torch.equal(shared.std, alone.std)
        again = prepare_latents(data, spy, "alone", True, True, share_of(state))
        assert len(again.moments) == 5
        assert len(spy.asked) <= 4

    log = tmp_path / "log"
    assert together(count, work, log) == [0] * count, log.read_text()
    assert len(entries(cache)) == 2
    for entry in entries(cache):
        files = {path.name for path in (cache / "latents" / entry).iterdir()}
        assert files == {"meta.json", "moments.npy"}


def test_a_helper_stops_if_the_folder_vanishes(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is removed when the first process fails, for example during an encoding."""
    monkeypatch.setattr(encoding, "PART", 1)
    (building := tmp_path / "building").mkdir()
    asked = []

    def gone(images: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(images))
        if len(asked) == 2:
            shutil.rmtree(building)
        return moments(images)

    Encoding(data, gone, 1, 1, Share(number=1, count=2)).help(building)
    assert asked == [1, 1]
    assert not building.exists()


def test_a_full_disk_ends_a_helper_with_one_line(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="set MEZZOTINT_CACHE to another disk"):
        Encoding(data, moments, 1, 1, Share(number=0, count=1)).help(tmp_path)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_fails_leaves_nothing(
    data: Prepared, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setattr(encoding, "PART", 2)

    def work(number: int) -> None:
        def spoilt(images: Tensor) -> tuple[Tensor, Tensor]:
            mean, std = moments(images)
            return mean * (float("nan") if number == rank else 1), std

        with watched(2):
            prepare_latents(data, spoilt, "digest", True, True, share_of(PartialState(cpu=True)))

    log = tmp_path / "log"
    assert together(2, work, log) == [2, 2], log.read_text()
    said = log.read_text()
    assert f"{rank}: the autoencoder's latents are not finite" in said
    assert f"{1 - rank}: another of the processes has died" in said
    assert entries(cache) == []


def test_a_machine_with_a_cache_of_its_own_cannot_help(
    data: Prepared, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "PART", 2)

    def work(rank: int) -> None:
        spy, share = Spy(), share_of(PartialState(cpu=True))
        monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / f"machine{rank}"))
        folder = encoding.Encoding.help
        unseen = tmp_path / "the other machine's disk"
        monkeypatch.setattr(encoding.Encoding, "help", lambda work, _: folder(work, unseen))
        prepare_latents(data, spy, "digest", True, True, share)
        assert spy.asked == ([2, 2, 2, 2, 1, 1] if rank else [2, 2, 1, 1, 2, 2])

    log = tmp_path / "log"
    assert together(2, work, log) == [0, 0], log.read_text()
