import numpy as np
import pytest

from mezzotint.data import find_source, prepare
from mezzotint.data.images import Wanted
from mezzotint.data.sources.glyphs import COUNTS, draw
from mezzotint.errors import UserError


@pytest.fixture(scope="module")
def drawn():
    return np.stack([draw("train", i) for i in range(400)])


def test_a_picture_depends_on_its_split_and_index_alone():
    again = draw("train", 7)
    np.testing.assert_array_equal(draw("train", 7), again)
    assert (draw("test", 7) != again).any()
    assert (draw("train", 17) != again).any()  # the same digit in another pose


def test_source_counts_and_balance():
    source = find_source("glyphs", "test")
    labels = [item.label for item in source.items()]
    assert source.count == len(labels) == COUNTS["test"] == 2_000
    assert np.bincount(labels).tolist() == [200] * 10
    assert source.classes == tuple("0123456789")
    assert find_source("glyphs").count == 20_000


def test_source_draws_what_draw_draws():
    item = next(iter(find_source("glyphs").items()))
    np.testing.assert_array_equal(item.decode(Wanted()), draw("train", 0))


def test_light_ink_on_dark_ground_and_never_cut(drawn):
    light = drawn.min(axis=3)
    border = np.ones((32, 32), bool)
    border[1:-1, 1:-1] = False
    assert light[:, border].max() < 128
    ink = light > 160
    rows = ink.any(axis=2)
    height = 32 - rows.argmax(axis=1) - rows[:, ::-1].argmax(axis=1)
    assert height.min() >= 17
    assert height.max() <= 30
    assert ink.mean() > 0.08


def test_digits_can_be_told_apart(drawn):
    """The nearest class mean of the ink is right far more often than 1 in 10."""
    ink = (drawn.min(axis=3) > 140).astype(float)
    labels = np.arange(len(ink)) % 10
    means = np.stack([ink[:200][labels[:200] == k].mean(axis=0) for k in range(10)])
    distance = ((ink[200:, None] - means) ** 2).sum(axis=(2, 3))
    assert (distance.argmin(axis=1) == labels[200:]).mean() > 0.4


def test_prepared(monkeypatch):
    monkeypatch.setitem(COUNTS, "train", 30)
    prepared = prepare("glyphs")
    assert prepared.images.shape == (30, 32, 32, 3)
    np.testing.assert_array_equal(prepared.images[29], draw("train", 29))


def test_no_such_split():
    with pytest.raises(UserError, match="no split 'validation': choose train, test"):
        find_source("glyphs", "validation")
