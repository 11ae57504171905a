import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.data import rows


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 50),
    start=st.integers(0, 300),
    counts=st.lists(st.integers(0, 120), max_size=5),
)
def test_any_partition_of_a_range_gives_the_same_rows(seed, n, start, counts):
    whole = rows(seed, start, sum(counts), n)
    starts = start + np.cumsum([0, *counts])
    parts = [rows(seed, int(at), count, n) for at, count in zip(starts, counts, strict=False)]
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(np.concatenate([np.empty(0, np.int64), *parts]), whole)


@given(seed=st.integers(0, 1000), epoch=st.integers(0, 10), n=st.integers(1, 200))
def test_every_epoch_sees_every_row_once(seed, epoch, n):
    assert sorted(rows(seed, epoch * n, n, n)) == list(range(n))


def test_epoch_is_the_permutation_of_its_seed_and_number():
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence((5, 2)))).permutation(100)
    np.testing.assert_array_equal(rows(5, 200, 100, 100), expected)


def test_seeds_and_epochs_differ():
    first = rows(0, 0, 100, 100)
    assert (first != rows(1, 0, 100, 100)).any()
    assert (first != rows(0, 100, 100, 100)).any()


def test_the_caller_may_write_into_the_answer():
    first = rows(3, 0, 10, 10)
    expected = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(rows(3, 0, 10, 10), expected)
