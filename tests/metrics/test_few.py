"""Few images: possible metrics are measured, and the others are left out by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint.evaluation.against import Against
from mezzotint.metrics import NETWORKS, FeatureNetwork
from mezzotint.metrics.classifier import Seen

from commands import CapSys, call

FEW = pytest.mark.filterwarnings("ignore:.*images are fewer than", "ignore:.*is left out")


def images(count: int, seed: int = 0) -> mz.Prepared:
    draw = np.random.default_rng(seed)
    return mz.prepare(draw.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8))


def tiny_network(name: str = "plain", features: int = 3) -> FeatureNetwork:
    """Make a network with the mean of each channel, or ``features`` numbers, as features."""

    def net(x: torch.Tensor) -> Seen:
        mean = x.float().mean((2, 3)) / 255
        pool = mean if features == 3 else torch.zeros(len(x), features) + mean[:, :1]
        return Seen(pool, mean, mean)

    return FeatureNetwork(name, net, "0" * 64, "not at all", (), torch.device("cpu"))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(NETWORKS, "plain", lambda device: tiny_network())
    return "plain"


@pytest.mark.parametrize(
    ("count", "left_out"),
    [
        (1, {"fd", "sfd", "kd", "prdc", "memorised"}),
        (2, {"prdc"}),
        (5, {"prdc"}),
        (6, set()),
    ],
)
@pytest.mark.filterwarnings("ignore:.*images are fewer than")
def test_what_few_references_do_not_allow_is_left_out_by_name(
    plain: str, count: int, left_out: set[str]
) -> None:
    with pytest.warns(UserWarning, match=".") as said:
        found = mz.compare(images(12), images(count, 1), network=plain)
    told = [str(w.message) for w in said]
    assert {m.split()[0] for m in told if "is left out: " in m} == left_out
    names = {"fd-plain", "sfd-plain", "kd-plain", "precision", "memorised"}
    gone = {{"prdc": "precision"}.get(m, m) for m in left_out}
    assert {n for n in names if n in found} == {n for n in names if n.split("-")[0] not in gone}
    assert "cs-plain" in found


def test_few_references_warn_as_few_samples_do(plain: str, monkeypatch) -> None:
    monkeypatch.setattr("mezzotint.evaluation.measuring.ENOUGH", 30)
    with pytest.warns(UserWarning, match="5 reference images are fewer than 30"):
        mz.compare(images(40), images(5, 1), network=plain, metrics="fd")
    with pytest.warns(UserWarning, match="^20 images are fewer than 30"):
        mz.compare(images(20), images(40, 1), network=plain, metrics="fd")


@FEW
@pytest.mark.parametrize(
    ("made", "real", "limit"), [(16, 16, True), (16, 15, False), (15, 16, False)]
)
def test_few_references_give_no_limit_either(plain: str, made, real, limit: bool) -> None:
    """Three features need 4 (3 + 1) images in each set."""
    found = mz.compare(images(made), images(real, 1), network=plain, metrics="fd")
    assert ("fd-plain-inf" in found) == limit


@FEW
@pytest.mark.parametrize("part", [False, True])
def test_a_set_against_itself_has_a_limit_of_0_within_its_interval(plain: str, part) -> None:
    whole = images(200)
    found = mz.compare(whole.some(100) if part else whole, whole, network=plain, metrics="fd")
    limit = found["fd-plain-inf"]
    assert limit.value == pytest.approx(0, abs=1e-9)
    assert limit.low <= 0 <= limit.high
    if not part:
        assert found["fd-plain"].value == pytest.approx(0, abs=1e-9)


@FEW
def test_ten_classes_called_0_to_9_are_measured_as_photographs(cache: Path) -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    ten = mz.prepare(pixels, np.arange(40) % 10, classes=[str(k) for k in range(10)])
    assert Against("ten", ten).network == Against("ten", ten.some(5)).network == "cifar10"
    assert "fd-cifar10" in mz.compare(ten, ten, metrics="fd")


def test_the_digits_of_the_package_are_measured_by_their_own_network(few_glyphs) -> None:
    digits = mz.prepare("glyphs")
    assert Against("glyphs train", digits).network == "glyphs"
    assert Against("some", digits.some(20)).network == "glyphs"


# Statistics that other tools wrote.


@pytest.fixture
def inception(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("mezzotint.metrics.reference")  # which a function of that name hides
    monkeypatch.setattr(module, "FEATURES", 3)
    for name in ("inception", "inception-pytorch-fid"):
        monkeypatch.setitem(NETWORKS, name, lambda device, n=name: tiny_network(n))


@FEW
@pytest.mark.filterwarnings("ignore:.*does not record how its images were resized")
def test_a_file_of_mu_and_sigma_is_a_reference_for_inception(inception, tmp_path: Path) -> None:
    a, b = images(50), images(60, 1)
    x = torch.from_numpy(np.array(b.images)).float().mean((1, 2)).double() / 255
    np.savez(tmp_path / "st.npz", mu=x.mean(0).numpy(), sigma=np.cov(x.numpy().T))
    found = mz.compare(a, tmp_path / "st.npz")
    assert set(found) == {"fid", "fid-inf", "is"}
    assert found["fid"].value == pytest.approx(
        mz.compare(a, b, network="inception", metrics="fd")["fid"].value, rel=1e-6
    )
    assert found["fid"].against == str(tmp_path / "st.npz")


def test_what_they_do_not_hold_is_left_out_by_name(inception, tmp_path: Path) -> None:
    np.savez(tmp_path / "st.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.warns(UserWarning, match=".") as said:
        mz.compare(images(12), tmp_path / "st.npz")
    told = " ".join(str(w.message) for w in said)
    for name in ("sfd", "kd", "prdc", "memorised"):
        assert f"{name} is left out: {tmp_path}/st.npz holds only means and" in told
    assert "does not record how its images were resized" in told


@pytest.mark.parametrize(
    ("arrays", "options", "said"),
    [
        ({"mu": np.zeros(3), "sigma": np.eye(3)}, {"network": "plain"}, "of Inception's features"),
        ({"mu": np.zeros(2), "sigma": np.eye(2)}, {}, r"shapes \(2,\), \(2, 2\): give a file with"),
        ({"mu": np.zeros(3), "sigma": np.eye(2)}, {}, r"shapes \(3,\), \(2, 2\)"),
        ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, {}, "values that are not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not record how its images were resized")
def test_statistics_that_do_not_fit_are_one_clear_line(
    inception, plain, tmp_path: Path, arrays: dict, options: dict, said: str
) -> None:
    np.savez(tmp_path / "st.npz", **arrays)
    with pytest.raises(mz.UserError, match=said):
        mz.compare(images(12), tmp_path / "st.npz", **options)


@pytest.mark.filterwarnings("ignore:.*images are fewer than")
def test_the_command_measures_what_it_can_and_ends_well(tmp_path, capsys: CapSys) -> None:
    draw = np.random.default_rng(0)
    for name, count in (("many", 20), ("few", 5)):
        np.save(tmp_path / f"{name}.npy", draw.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8))
    words = [str(tmp_path / "many.npy"), "--against", str(tmp_path / "few.npy")]
    left_out = "prdc is left out: precision, recall, density and coverage need 6 images of each set"
    with pytest.warns(UserWarning, match=left_out):
        code, said, _ = call(capsys, "evaluate", *words, "--out", str(tmp_path / "e"))
    assert code == 0
    assert "fd-cifar10" in said
