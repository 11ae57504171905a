"""Limits on the images of a request, and files that can be a reference (issue 23, i)."""

import os
import zipfile

import numpy as np
import pytest

from mezzotint.errors import UserError
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.record import number_of
from mezzotint.metrics.reference import statistics
from mezzotint.pipeline.sampling import MOST, SampleRequest


@pytest.mark.parametrize("n", [MOST + 1, 1 << 40])
def test_a_request_has_a_most(n) -> None:
    assert SampleRequest(MOST, 0, 0, 1).n == MOST
    with pytest.raises(UserError, match=r"`n` is [\d,]+: make at most 10,000,000 images at a time"):
        SampleRequest(n, 0, 0, 1)


@pytest.mark.parametrize("samples", [MOST + 1, "1099511627776", "99999999k", "9" * 5000])
def test_samples_have_a_most(samples) -> None:
    assert number_of("10000k") == number_of(MOST) == MOST
    assert number_of(np.int64(20)) == 20  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"`samples` is [0-9k]+: give 10,000,000 or fewer"):
        number_of(samples)


@pytest.mark.parametrize("name", ["x.npz", "x.safetensors"])
def test_a_pipe_for_a_reference_is_not_waited_for(tmp_path, name) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError):
        print(Against.of(tmp_path / name).network)


def test_statistics_that_unpack_to_gigabytes_or_are_objects(tmp_path, monkeypatch) -> None:
    inception = type("Inception", (), {"name": "inception-pytorch-fid", "identity": {}})()
    with zipfile.ZipFile(tmp_path / "s.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("mu.npy", "sigma.npy"):
            with archive.open(name, "w") as file:
                np.lib.format.write_array(file, np.zeros((300, 300)))
    monkeypatch.setitem(statistics.__globals__, "LARGEST", 1000)
    with pytest.raises(UserError, match="holds arrays of more than 1,000 bytes"):
        statistics(tmp_path / "s.npz", inception)
    monkeypatch.undo()
    np.savez(tmp_path / "o.npz", mu=np.array([None]), sigma=np.array([None]))
    with pytest.raises(UserError, match=r"o\.npz cannot be read \(Object arrays"):
        statistics(tmp_path / "o.npz", inception)


def test_statistics_beside_images_are_read(tmp_path, monkeypatch) -> None:
    """The references of guided-diffusion hold images beside the statistics."""
    inception = type("Inception", (), {"name": "inception-pytorch-fid", "identity": {}})()
    inception.identity = {"network": inception.name, "weights": "", "resize": ""}
    given = {"mu": np.zeros(2), "sigma": np.eye(2), "arr_0": np.zeros((9, 32, 32, 3), np.uint8)}
    np.savez(tmp_path / "s.npz", **given)
    for name, value in {"LARGEST": 1000, "FEATURES": 2}.items():
        monkeypatch.setitem(statistics.__globals__, name, value)
    assert statistics(tmp_path / "s.npz", inception).distance(np.ones(2), np.eye(2)) == 2
