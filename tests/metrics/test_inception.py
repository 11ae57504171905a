from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metrics.peers import fidelity_inception, pytorch_fid_inception, random_weights
from mezzotint.errors import UserError
from mezzotint.metrics import inception
from mezzotint.metrics.inception import Inception, Taps, bilinear, load, weights_path

SIZES = [(32, 32), (64, 64), (128, 128), (299, 299), (31, 47), (301, 257)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of random weights, which other libraries can read too."""
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    weights = random_weights(0)
    torch.save({k: w for k, w in weights.items() if not k.endswith("num_batches_tracked")}, path)
    yield path
    path.unlink()


def build(file: Path, variant: inception.Variant = "tf1") -> Inception:
    net = Inception(variant)
    net.load_state_dict(torch.load(file))
    return net.fold()


@pytest.fixture(scope="module")
def net(file: Path) -> Inception:
    return build(file)


@pytest.fixture(scope="module")
def fidelity(file: Path) -> nn.Module:
    return fidelity_inception(file)


@pytest.fixture
def official(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the random weights pass as the official ones, and empty the cache."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "SHA256", digest)
    monkeypatch.setattr(inception, "URL", file.as_uri())
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEZZOTINT_INCEPTION", raising=False)
    return file


def pictures(n: int, height: int, width: int) -> Tensor:
    draw = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (n, 3, height, width), generator=draw, dtype=torch.uint8)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """Check equality to 1e-5 of the largest value, because float32 sums differ in order."""
    assert ours.dtype == theirs.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def by_name(taps: Taps) -> tuple[Tensor, ...]:
    """Return the taps that torch-fidelity has, in the order of `peers.TAPS`."""
    return (*taps[:4], taps.logits_unbiased, taps.logits)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_tap_is_torch_fidelitys(
    net: Inception, fidelity: nn.Module, height: int, width: int
) -> None:
    images = pictures(2 if height == 32 else 1, height, width)
    spatial = []
    # ADM's evaluator takes the first 7 channels of what TensorFlow calls mixed_6/conv
    hook = fidelity.Mixed_6d.branch1x1.register_forward_hook(lambda _, __, x: spatial.append(x))
    theirs = fidelity(images)
    hook.remove()
    ours = net(images)
    assert [t.shape[1] for t in ours] == [64, 192, 768, 2048, 2023, 1008, 1008]
    for a, b in zip(by_name(ours), theirs, strict=True):
        assert_same(a, b)
    assert_same(ours.spatial, spatial[0][:, :7].flatten(1))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (299, 299), (301, 257)])
def test_the_pools_of_the_variant_are_pytorch_fids(file: Path, height: int, width: int) -> None:
    images = pictures(1, height, width)
    theirs = pytorch_fid_inception(file)(images / 255)
    for a, b in zip(build(file, "pytorch-fid")(images), theirs, strict=False):
        assert_same(a, b.mean((2, 3)))


def test_folding_the_norms_changes_nothing(net: Inception) -> None:
    plain = Inception()
    plain.load_state_dict(random_weights(0))
    for a, b in zip(net(pictures(1, 32, 32)), plain(pictures(1, 32, 32)), strict=True):
        assert_same(a, b)


@pytest.mark.parametrize(("height", "width"), [(1, 5), (32, 31), (299, 598), (301, 1000)])
def test_two_matrices_resize_as_tensorflow_1(height: int, width: int) -> None:
    """Its kernel (resize_bilinear_op.cc), pixel by pixel, in float32."""
    image = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    wanted = np.empty((299, 299), np.float32)
    scales = [np.float32(side) / np.float32(299) for side in image.shape]
    for y in range(299):
        for x in range(299):
            v, u = np.float32(y) * scales[0], np.float32(x) * scales[1]
            top, left = int(v), int(u)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            dv, du = v - top, u - left
            upper = image[top, left] + (image[top, right] - image[top, left]) * du
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * du
            wanted[y, x] = upper + (lower - upper) * dv
    resized = bilinear(height) @ torch.from_numpy(image) @ bilinear(width).T
    np.testing.assert_allclose(resized, wanted, rtol=0, atol=1e-4)
    assert bilinear(299).equal(torch.eye(299))


def test_it_never_trains_and_never_rounds(net: Inception) -> None:
    nn.Sequential(net, nn.Dropout()).train()
    assert not any(module.training for module in net.modules())
    assert not any(p.requires_grad for p in net.parameters())
    wanted = net(pictures(1, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        seen = net(pictures(1, 32, 32))
    assert all(a.equal(b) for a, b in zip(seen, wanted, strict=True))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 32, 32), r"torch\.float32 \(1, 3, 32, 32\): give uint8"),
        (torch.zeros(1, 1, 32, 32, dtype=torch.uint8), r"\(1, 1, 32, 32\): give uint8"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"\(3, 32, 32\): give uint8"),
    ],
)
def test_what_is_no_picture_is_refused(net: Inception, images: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        net(images)


def test_another_variant_is_refused() -> None:
    with pytest.raises(UserError, match="no Inception variant 'tf2': choose tf1, pytorch-fid"):
        load(variant="tf2")


def test_weights_are_fetched_once(official: Path, net: Inception, tmp_path: Path) -> None:
    assert weights_path() is None
    loaded = load()
    assert weights_path() == tmp_path / "cache" / "downloads" / inception.NAME
    assert loaded(pictures(1, 32, 32)).logits.equal(net(pictures(1, 32, 32)).logits)


def test_weights_of_ones_own_go_first(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEZZOTINT_INCEPTION", str(official))
    assert weights_path() == official
    load()
    monkeypatch.setenv("MEZZOTINT_INCEPTION", str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match=r"MEZZOTINT_INCEPTION is .*none\.pth, but no file is"):
        weights_path()
    load(official, variant="pytorch-fid")  # what is given goes before what is set
    assert not (tmp_path / "cache").exists()


def test_missing_weights(official: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no Inception weights at .*none\.pth: download file:"):
        load(tmp_path / "none.pth")


def test_other_weights(official: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(official.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"weights of 2015.*it has 5,000 bytes.*: download "):
        load(other)


def test_failed_download(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "URL", official.with_name("nowhere").as_uri())
    with pytest.raises(UserError, match=r"cannot download .*nowhere .*set MEZZOTINT_INCEPTION"):
        load()
    monkeypatch.setattr(inception, "URL", official.as_uri())
    monkeypatch.setattr(inception, "SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"wrong SHA-256 .*set MEZZOTINT_INCEPTION"):
        load()
    assert weights_path() is None


@pytest.mark.parametrize("variant", inception.PREPARE)
def test_torchs_default_type_does_not_matter(variant: str) -> None:
    images = pictures(1, 33, 35)
    torch.set_default_dtype(torch.float64)
    try:
        other = inception.PREPARE[variant](images)
    finally:
        torch.set_default_dtype(torch.float32)
        bilinear.cache_clear()
        inception._resizing.cache_clear()
    assert other.dtype == torch.float32
    assert torch.equal(other, inception.PREPARE[variant](images))
