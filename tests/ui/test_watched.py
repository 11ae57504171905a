"""Work in a thread: the items that it emits, and how it ends."""

from __future__ import annotations

from threading import Event

import pytest

from mezzotint.ui.watched import Emit, Stopped, watched


def test_what_the_work_returns_comes_last() -> None:
    def work(emit: Emit[int]) -> int:
        for i in range(5):
            emit(i)
        return 99

    found = list(watched(work))
    assert found[-1] == 99
    assert found == sorted(found)


def test_a_busy_reader_gets_the_newest_alone() -> None:
    all_told = Event()

    def work(emit: Emit[int]) -> int:
        emit(0)
        all_told.wait(5)
        return 99

    found = watched(work)
    assert next(found) == 0
    all_told.set()
    assert list(found) == [99]


def test_an_error_of_the_work_reaches_the_reader() -> None:
    def work(emit: Emit[int]) -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(watched(work))


def test_the_work_ends_when_nobody_watches() -> None:
    ended = []

    def work(emit: Emit[int]) -> int:
        try:
            while True:
                emit(1)
        except Stopped:
            ended.append(True)
            raise

    found = watched(work)
    next(found)
    found.close()
    assert ended == [True]
