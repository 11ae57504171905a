from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from metrics.pixels import pixel_network
from mezzotint.data import Prepared
from mezzotint.errors import UserError
from mezzotint.metrics import inception, network
from mezzotint.metrics.classifier import PACKAGED, Classifier, Seen, weights_file
from mezzotint.metrics.inception import Taps
from mezzotint.metrics.networks import NETWORKS, check, choose, figure_name

OURS = ["cifar10", "glyphs"]


def tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)


def logits(name: str, images: np.ndarray) -> Tensor:
    net = network(name)
    return torch.cat([net(part).logits for part in tensor(images).split(50)])


def assert_same(seen: Seen, wanted: Seen, tolerance: float = 1e-5) -> None:
    """Check equality to a share of the largest value, because sums differ in order."""
    for a, b in zip(seen, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * float(b.abs().max()))


def test_the_glyphs_network_reads_digits_that_it_never_saw(digits: np.ndarray) -> None:
    right = logits("glyphs", digits).argmax(1) == torch.arange(len(digits)) % 10
    assert right.double().mean() >= 0.99


@pytest.mark.shared
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_cifar10_network_knows_the_test_sets_classes(
    cifar10_test: Prepared, count: int
) -> None:
    assert cifar10_test.classes == PACKAGED["cifar10"].classes
    right = logits("cifar10", cifar10_test.images[:count]).argmax(1).numpy()
    assert (right == cifar10_test.labels[:count]).mean() >= 0.92


@pytest.mark.parametrize("name", OURS)
def test_a_wheel_has_room_for_the_weights(name: str) -> None:
    assert weights_file(name).stat().st_size <= 4_000_000


@pytest.mark.parametrize("name", OURS)
def test_every_weight_is_in_the_file(name: str) -> None:
    needed = Classifier(PACKAGED[name].widths, len(PACKAGED[name].classes)).state_dict()
    there = load_file(weights_file(name))
    assert {key for key in needed if not key.endswith("num_batches_tracked")} == set(there)


@pytest.mark.parametrize("name", OURS)
def test_an_image_has_the_same_features_alone_and_among_others(
    name: str, digits: np.ndarray
) -> None:
    net, images = network(name), tensor(digits[:8])
    wanted = net(images)
    for i in range(0, 8, 3):
        assert_same(net(images[i : i + 1]), Seen(*(part[i : i + 1] for part in wanted)))
    assert [part.dtype for part in wanted] == [torch.float32] * 3
    assert not any(part.requires_grad for part in wanted)


def test_features_are_of_unit_variance_over_the_data_they_were_calibrated_on(
    digits: np.ndarray,
) -> None:
    seen = network("glyphs")(tensor(digits))
    for part in (seen.pool, seen.spatial):
        assert float(part.var(0).mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", OURS)
def test_images_of_other_sizes_are_brought_to_32(name: str) -> None:
    net = network(name)
    assert_same(
        net(torch.full((1, 3, 48, 70), 90, dtype=torch.uint8)),
        net(torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)),
    )
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pillows = Image.fromarray(noise).resize((32, 32), Image.Resampling.BILINEAR)
    rounded = 0.05  # Pillow rounds to 8 bits
    assert_same(net(tensor(noise[None])), net(tensor(np.asarray(pillows)[None])), rounded)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.linspace(-1, 1, 3 * 64).view(1, 3, 8, 8), "are float32 from -1 to 1: give uint8"),
        (
            torch.arange(301).expand(1, 3, 8, 301),
            "are int64 from 0 to 300: give uint8 images, 0 to 255",
        ),
        (torch.full((1, 3, 8, 8), torch.nan), "are float32 from nan to nan: give uint8"),
        (torch.zeros(0, 3, 8, 8), "are float32: give uint8"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), r"of shape \(1, 1, 8, 8\): give \(N, 3"),
        (torch.zeros(1, 8, 8, 3, dtype=torch.uint8), r"of shape \(1, 8, 8, 3\): give \(N, 3"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"of shape \(3, 8, 8\): give \(N, 3"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), r"of shape \(0, 3, 8, 8\): give \(N, 3"),
    ],
)
def test_what_is_no_image_is_refused(images: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(images)
    with pytest.raises(UserError, match=message):
        pixel_network()(images)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("part", ["pool", "spatial", "logits"])
def test_features_that_are_not_finite_are_refused(part: str, bad: float) -> None:
    def net(images: Tensor) -> Seen:
        x = torch.zeros(len(images), 4)
        return Seen(x, x, x)._replace(**{part: x + bad})

    broken = replace(pixel_network(), net=net)
    with pytest.raises(UserError, match="the pixels network gives features that are not finite"):
        broken(torch.zeros(2, 3, 1, 4, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("incepton", "; did you mean inception or inception-pytorch-fid?"),
        ("vgg", ""),
    ],
)
def test_another_network_is_refused_with_those_there_are(name: str, hint: str) -> None:
    every = "cifar10, glyphs, imagenet, inception, inception-pytorch-fid"
    said = f"unknown feature network {name!r}: choose one of {every}{hint}"
    with pytest.raises(UserError, match=re.escape(said)):
        network(name)


def test_a_network_of_ones_own_is_had_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "pixels", lambda device: pixel_network(device=device))
    assert network("pixels").device == torch.device("cpu")
    assert figure_name("fd", "pixels") == "fd-pixels"


@pytest.mark.parametrize(
    ("metric", "network", "name"),
    [
        ("fd", "inception", "fid"),
        ("sfd", "inception", "sfid"),
        ("cs", "inception", "is"),
        ("kd", "inception", "kid"),
        ("fd", "inception-pytorch-fid", "fid-pytorch-fid"),
        ("cs", "inception-pytorch-fid", "is-pytorch-fid"),
        ("fd", "cifar10", "fd-cifar10"),
        ("kd", "glyphs", "kd-glyphs"),
        ("cs", "glyphs", "cs-glyphs"),
        ("shift", "inception", "shift-inception"),
    ],
)
def test_only_inceptions_figures_bear_the_fields_names(
    metric: str, network: str, name: str
) -> None:
    assert figure_name(metric, network) == name


def test_the_network_is_the_one_that_was_trained_on_the_data() -> None:
    """A folder with ten classes called 0 to 9 does not hold drawn digits."""
    assert choose("glyphs") == "glyphs"
    assert choose("cifar10") == choose("") == choose("/home/me/0123456789") == "cifar10"


def test_what_features_depend_on_tells_networks_apart() -> None:
    cifar10, glyphs = (network(name) for name in OURS)
    assert cifar10.identity != glyphs.identity
    assert cifar10.identity["weights"] != glyphs.identity["weights"]
    assert len(cifar10.identity["weights"]) == 64


@pytest.mark.parametrize(
    ("name", "variant", "resize"),
    [("inception", "tf1", "TensorFlow 1"), ("inception-pytorch-fid", "pytorch-fid", "centres")],
)
def test_inceptions_features_are_those_that_its_figures_are_defined_on(
    name: str, variant: str, resize: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Numbered(nn.Module):
        def forward(self, images: Tensor) -> Taps:
            return Taps(*(torch.full((len(images), 2), float(i)) for i in range(len(Taps._fields))))

    asked = []
    monkeypatch.setattr(inception, "load", lambda variant: asked.append(variant) or Numbered())
    net = network(name)
    seen = net(torch.zeros(3, 3, 8, 8, dtype=torch.uint8))
    picked = [Taps._fields[int(part[0, 0])] for part in seen]
    assert picked == ["pool2048", "spatial", "logits_unbiased"]
    assert asked == [variant]
    assert resize in net.resize
    assert (net.name, net.weights, net.classes) == (name, inception.SHA256, ())
