"""Whole figures: their contents, what changes them, and the width of their intervals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from metrics.pixels import pictures, pixel_network, seen
from mezzotint.data import Prepared
from mezzotint.errors import UserError
from mezzotint.metrics import (
    METRICS,
    Comparison,
    Figure,
    Reference,
    features,
    measure,
    network,
    reference,
)
from mezzotint.metrics.moments import Moments
from mezzotint.metrics.scores import distance_to

DIM = 4
CLASSES = tuple("abcd")
NAMES = {
    "fd": ["fd-pixels", "fd-pixels-inf"],
    "sfd": ["sfd-pixels"],
    "cs": ["cs-pixels"],
    "kd": ["kd-pixels"],
    "prdc": ["precision", "recall", "density", "coverage"],
    "accuracy": ["accuracy"],
    "memorised": ["memorised"],
}


def gaussian(count: int, seed: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim))


def against(x: np.ndarray, name: str = "made up") -> Reference:
    return reference(pixel_network(), pictures(x), f"{hash(x.tobytes())}", name)


def figures(made: np.ndarray, real: np.ndarray, *metrics: str) -> dict[str, Figure]:
    return {f.name: f for f in measure(seen(made), against(real), metrics or None)}


@pytest.mark.parametrize("metric", NAMES)
def test_every_figure_says_what_it_comes_from(metric: str) -> None:
    net = pixel_network(classes=CLASSES, resize="none at all")
    made, real = (pictures(gaussian(count, seed)) for seed, count in enumerate((40, 60)))
    labels = [i % 4 for i in range(40)]
    origin = reference(net, real, "abc", "made up")
    found = list(measure(features(net, made), origin, [metric], labels, CLASSES))
    assert [f.name for f in found] == NAMES[metric]
    for f in found:
        assert (f.count, f.network, f.resize) == (40, "pixels", "none at all")
        assert f.against == ("" if metric in ("cs", "accuracy") else "60 images of made up")
        assert f.low <= f.value <= f.high
        assert np.isfinite([f.low, f.value, f.high]).all()
        for part in (
            f.name,
            "40 images",
            f.against,
            "pixels network; resize: none at all",
            f.note,
        ):
            assert part in str(f)


def test_figures_do_not_depend_on_the_day() -> None:
    assert figures(gaussian(40, 0), gaussian(60, 1)) == figures(gaussian(40, 0), gaussian(60, 1))


def test_what_too_few_images_allow_is_measured_and_the_rest_left_out_by_name() -> None:
    assert "fd-pixels" in figures(gaussian(10, 0), gaussian(60, 1))
    with pytest.warns(UserWarning, match="left out") as said:
        found = figures(gaussian(4, 0), gaussian(60, 1))
    assert [*found] == ["kd-pixels", "memorised"]
    assert "fd is left out: 4 images are too few: give at least 10" in {
        str(w.message) for w in said
    }
    left_out = [str(w.message).split(" is left out")[0] for w in said]
    assert left_out == ["fd", "sfd", "cs", "prdc"]


def test_images_too_few_for_every_metric_are_refused() -> None:
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(UserError, match=r"9 images cannot be measured: .* at least 10"),
    ):
        figures(gaussian(9, 0), gaussian(60, 1), "fd", "cs")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["fd", "fid"], "unknown metric 'fid': choose one of fd, sfd"),
        (["beauty"], f"unknown metric 'beauty': choose one of {', '.join(METRICS)}"),
        ([], f"`metrics` is empty: choose from {', '.join(METRICS)}"),
    ],
)
def test_metrics_that_do_not_exist_are_refused(metrics: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        next(measure(seen(gaussian(20, 0)), against(gaussian(60, 1)), metrics))


def shift(seen: Comparison) -> Iterator[Figure]:
    """Yield the distance between the mean features, with an interval from 200 bootstraps."""
    random, real = np.random.default_rng(0), seen.against.pool.mean(0)
    draws = [seen.pool[random.integers(0, seen.count, seen.count)].mean(0) for _ in range(200)]
    far = torch.stack([(draw - real).norm() for draw in draws])
    value, error = float((seen.pool.mean(0) - real).norm()), 1.96 * float(far.std())
    yield seen.figure(seen.named("shift"), value, (value - error, value + error))


def test_a_metric_of_ones_own_is_measured_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "shift", shift)
    found = figures(1.0 + gaussian(400, 0), gaussian(4000, 1), "shift", "sfd")
    assert list(found) == ["sfd-pixels", "shift-pixels"]
    figure = found["shift-pixels"]
    assert figure.low < DIM**0.5 < figure.high
    assert (figure.count, figure.against) == (400, "4,000 images of made up")
    assert "shift-pixels" in figures(gaussian(40, 0), gaussian(60, 1))


def test_a_figure_of_a_numpy_or_torch_number_can_be_stored(monkeypatch) -> None:
    def mean(seen: Comparison) -> Iterator[Figure]:
        yield seen.figure("mean", np.float32(2), (torch.tensor(1.0), np.float32(3)))

    monkeypatch.setitem(METRICS, "mean", mean)
    row = figures(gaussian(20, 0), gaussian(60, 1), "mean")["mean"].row
    assert json.loads(json.dumps(row))["value"] == 2


def test_the_limit_comes_where_a_halfs_covariance_is_good() -> None:
    names = [list(figures(gaussian(n, 0, 8), gaussian(60, 1, 8), "fd")) for n in (35, 36)]
    assert names == [["fd-pixels"], ["fd-pixels", "fd-pixels-inf"]]


def test_accuracy_is_the_share_of_the_asked_classes() -> None:
    x = np.eye(4)[np.arange(40) % 4]
    labels = [i % 4 for i in range(40)]
    labels[:10] = [3 - label for label in labels[:10]]  # none is its own
    real = against(gaussian(60, 1))
    known = features(pixel_network(classes=CLASSES), pictures(x))
    (figure,) = measure(known, real, ["accuracy"], labels, CLASSES)
    assert figure.value == 0.75
    assert not list(measure(known, real, ["accuracy"]))
    assert not list(measure(known, real, ["accuracy"], labels, tuple("abcx")))  # others
    with pytest.raises(
        UserError, match="there are 39 labels for 40 images: give one label for each"
    ):
        list(measure(known, real, ["accuracy"], labels[1:], CLASSES))


def test_accuracy_leaves_classes_out_that_only_the_network_has() -> None:
    x = 0.1 * np.eye(4)[np.arange(40) % 4] + np.array([9.0, 0, 0, 0])  # most like "a"
    known = features(pixel_network(classes=CLASSES), pictures(x))
    labels = [0 if i % 4 == 3 else 1 for i in range(40)]  # d, b
    kept = [i for i in range(40) if i % 4 in (1, 3)]
    best = known.probabilities[:, [3, 1]].argmax(1)
    assert best[kept].tolist() == [labels[i] for i in kept]
    (figure,) = measure(known, against(gaussian(60, 1)), ["accuracy"], best, ("d", "b"))
    assert figure.value == 1


def test_a_reference_of_another_network_is_refused() -> None:
    real = against(gaussian(60, 1))
    other = features(pixel_network(resize="another"), pictures(gaussian(40, 0)))
    with pytest.raises(
        UserError,
        match=r"was computed with the resize .*, but the images are measured with another",
    ):
        list(measure(other, real, ["fd"]))


def test_the_distance_is_the_gaussians() -> None:
    """For means that differ by a on each axis, and deviations 1 and b: D (a^2 + (b - 1)^2)."""
    found = figures(0.5 + 1.5 * gaussian(4000, 0), gaussian(4000, 1), "fd", "sfd")
    wanted = {"fd-pixels": DIM * 0.5, "fd-pixels-inf": DIM * 0.5, "sfd-pixels": 4 * DIM * 0.5}
    for name, figure in found.items():
        assert figure.value == pytest.approx(wanted[name], rel=0.1)
        assert figure.low < wanted[name] < figure.high


def test_a_set_is_no_distance_from_itself() -> None:
    found = figures(gaussian(200, 0), gaussian(200, 0), "fd", "sfd", "prdc", "memorised")
    assert found["fd-pixels"].value == pytest.approx(0, abs=1e-9)
    assert found["sfd-pixels"].value == pytest.approx(0, abs=1e-9)
    for name in ("precision", "recall", "coverage", "memorised"):
        assert found[name].value == 1


def test_two_halves_of_one_set_are_at_a_kernel_distance_about_zero() -> None:
    x = gaussian(600, 0)
    kernel = figures(x[::2], x[1::2], "kd")["kd-pixels"]
    assert kernel.low < 0 < kernel.high


@pytest.mark.parametrize(("made", "real"), [(90, 90), (90, 400), (400, 90)])
def test_the_kernel_distances_interval_is_as_wide_as_fresh_samples_spread(
    made: int, real: int
) -> None:
    """Also if a subset is a whole set. The half width is the mean over figures of one reference."""
    origin = against(gaussian(real, 1))
    found = [
        next(measure(seen(0.5 + gaussian(made, seed)), origin, ["kd"])) for seed in range(2, 42)
    ]
    spread = 1.96 * np.std([f.value for f in found])
    half = np.mean([(f.high - f.low) / 2 for f in found])
    assert 0.65 * spread < half < 1.8 * spread


def test_classes_in_order_change_no_figure_much() -> None:
    """A folder with a folder for each class has such an order."""
    centres = 4 * np.eye(DIM)
    made, real = (centres[np.arange(400) % DIM] + 0.5 * gaussian(400, seed) for seed in (0, 1))
    in_order = made[np.argsort(np.arange(400) % DIM, kind="stable")]
    apart, ordered = (figures(x, real[:100], "cs", "prdc") for x in (made, in_order))
    assert apart["cs-pixels"].value > 2
    for name in ("cs-pixels", "precision", "recall", "coverage"):
        assert ordered[name].value == pytest.approx(apart[name].value, rel=0.15)


def test_few_of_many_images_are_told_for_precision() -> None:
    found = figures(gaussian(90, 0), gaussian(40, 1), "prdc", "memorised")
    assert found["precision"].count == 40
    assert found["memorised"].count == 90


def test_copies_are_memorised_and_fresh_images_seem_so_as_often_as_held_out_ones() -> None:
    training = gaussian(1000, 0)
    copies, fresh, held_out = (
        figures(x, training, "memorised")["memorised"].value
        for x in (training[:200], gaussian(500, 1), gaussian(500, 2))
    )
    assert copies > 0.95  # on the 8-bit grid some training images are alike
    assert fresh < 0.7
    assert fresh == pytest.approx(held_out, abs=0.1)


def blur(images: np.ndarray, radius: float) -> np.ndarray:
    kernel = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(image).filter(kernel)) for image in images])


def noise(images: np.ndarray, std: float) -> np.ndarray:
    return rounded(images + std * np.random.default_rng(0).standard_normal(images.shape))


def colour(images: np.ndarray, shift: float) -> np.ndarray:
    return rounded(images + np.array([shift, 0, -shift]))


def rounded(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


Corrupt = Callable[[np.ndarray, float], np.ndarray]
corruptions = pytest.mark.parametrize(
    ("corrupt", "levels"),
    [(blur, (0.5, 0.75, 1, 2)), (noise, (2, 5, 10, 20)), (colour, (5, 10, 20, 40))],
)


def assert_grows(name: str, images: np.ndarray, corrupt: Corrupt, levels: tuple) -> None:
    """Check that the distance to the original images grows with the level of corruption."""
    net = network(name)

    def moments(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        found = Moments.of(features(net, x).pool)
        return found.mean, found.covariance

    distance = distance_to(*moments(images))
    distances = [distance(*moments(corrupt(images, level))) for level in levels]
    assert [0, *distances] == sorted({0, *distances})


@corruptions
def test_the_distance_grows_with_what_is_done_to_digits(
    corrupt: Corrupt, levels: tuple, digits: np.ndarray
) -> None:
    assert_grows("glyphs", digits, corrupt, levels)


@pytest.mark.shared
@corruptions
def test_the_distance_grows_with_what_is_done_to_photographs(
    corrupt: Corrupt, levels: tuple, cifar10_test: Prepared
) -> None:
    assert_grows("cifar10", cifar10_test.images[:200], corrupt, levels)


@pytest.mark.parametrize(
    ("labels", "classes", "why"),
    [
        ([0] * 40, ("e", "f"), "it needs a network that knows the classes"),
        (None, CLASSES, "the images have no labels"),
    ],
)
def test_accuracy_that_was_chosen_is_not_left_out_in_silence(
    labels: list[int] | None, classes: tuple[str, ...], why: str, recwarn: pytest.WarningsRecorder
) -> None:
    net = pixel_network(classes=CLASSES)
    made, real = (pictures(gaussian(40, seed)) for seed in (0, 1))
    origin, found = reference(net, real, "abc", "made up"), features(net, made)
    with pytest.warns(UserWarning, match=f"^accuracy is left out: {why}"):
        assert len(list(measure(found, origin, ["cs", "accuracy"], labels, classes))) == 1
    list(measure(found, origin, None, labels, classes))
    assert not [each for each in recwarn if "accuracy" in str(each.message)]
