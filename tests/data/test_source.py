from pathlib import Path

import pytest

from mezzotint.data.source import cache_folder
from mezzotint.errors import UserError


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert cache_folder("a") == tmp_path / "own" / "a"
    monkeypatch.delenv("MEZZOTINT_CACHE")
    assert cache_folder("a") == tmp_path / "xdg" / "mezzotint" / "a"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("a") == tmp_path / "home" / ".cache" / "mezzotint" / "a"
    assert cache_folder("a").is_dir()


def test_cache_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set MEZZOTINT_CACHE"):
        cache_folder("a")
