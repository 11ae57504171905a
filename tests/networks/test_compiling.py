"""Damaged libraries in the compiler's cache, which a killed compilation left there."""

from __future__ import annotations

import _ctypes
import ctypes
import shutil
from pathlib import Path

import pytest
from torch._inductor.exc import InductorError

from mezzotint.errors import UserError, out_of_memory
from mezzotint.networks.compiling import TRIES, mending


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache" / "ab").mkdir(parents=True)
    return tmp_path / "cache" / "ab"


@pytest.mark.parametrize("left", [b"\0" * 4096, b"\x7fELF", b""], ids=["no header", "cut", "empty"])
def test_a_damaged_library_is_compiled_again(cache: Path, left: bytes) -> None:
    libraries = [cache / f"c{k}.main.so" for k in range(3)]
    for library in libraries[:2]:
        library.write_bytes(left)
    written = []

    def code(x: int) -> int:
        for library in libraries:
            if not library.exists():  # as the compiler asks
                shutil.copy(_ctypes.__file__, library)
                written.append(library)
            ctypes.CDLL(str(library))  # the system's own words
        return x + 1

    assert mending(code)(1) == 2
    assert sorted(written) == sorted(libraries)


def test_other_faults_are_raised_and_nothing_is_removed(cache: Path, tmp_path: Path) -> None:
    for library in (tmp_path / "mine.so", cache / "text"):
        library.write_bytes(b"\0" * 4096)

        def code(library: Path = library) -> None:
            ctypes.CDLL(str(library))

        with pytest.raises(OSError, match="invalid ELF header"):
            mending(code)()
        assert library.exists()


def test_it_does_not_try_for_ever(cache: Path) -> None:
    tries = []

    def code() -> None:
        tries.append((cache / "x.so").write_bytes(b"\0" * 4096))
        ctypes.CDLL(str(cache / "x.so"))

    with pytest.raises(OSError, match="invalid ELF header"):
        mending(code)()
    assert len(tries) == TRIES


def test_what_cannot_be_compiled_is_one_line(cache: Path) -> None:
    def code() -> None:
        cause = OSError("C++ compile error\nld: No space left on device\ncollect2: error\n")
        raise InductorError(cause, None)

    expected = r"cannot be compiled \(ld: No space left on device; collect2: error\): check that"
    with pytest.raises(UserError, match=expected):
        mending(code)()

    def short() -> None:
        raise InductorError(RuntimeError("can't allocate memory"), None)

    with pytest.raises(InductorError) as raised:
        mending(short)()
    assert out_of_memory(raised.value)
