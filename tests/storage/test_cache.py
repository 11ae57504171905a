import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from mezzotint.errors import UserError
from mezzotint.storage.cache import cache_folder, check_room, download


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


CONTENT = bytes(range(256)) * 10_000  # of more than one block
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A file that can be downloaded, and an empty cache."""
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "site.bin"
    path.write_bytes(CONTENT)
    return path


def test_download_once(site, tmp_path):
    target = download(site.as_uri(), SHA256, "name.bin", "x")
    assert target.read_bytes() == CONTENT
    assert list((tmp_path / "cache" / "downloads").iterdir()) == [target]
    site.unlink()
    assert download(site.as_uri(), SHA256, "name.bin", "x") == target


def test_download_with_the_wrong_sum_is_thrown_away(site, tmp_path):
    with pytest.raises(UserError, match=r"wrong SHA-256 .*: try again, or dance$"):
        download(site.as_uri(), "0" * 64, "name.bin", "dance")
    assert not any((tmp_path / "cache" / "downloads").iterdir())


def test_failed_download(site, tmp_path):
    with pytest.raises(UserError, match=r"cannot download .*nowhere.*: try again, or dance$"):
        download((tmp_path / "nowhere").as_uri(), SHA256, "name.bin", "dance")
    assert not any((tmp_path / "cache" / "downloads").iterdir())


def test_a_user_without_a_home_gets_one_line(monkeypatch) -> None:
    """For example in a container: HOME is not set, and the user is not in the list."""

    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "MEZZOTINT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(UserError, match=r"no home folder .* set MEZZOTINT_CACHE to a folder") as no:
        cache_folder("a")
    assert "\n" not in str(no.value)


def test_room_is_told_in_sizes_that_can_be_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100_000))
    expected = r"features take 2\.5 MB, but only 0\.1 MB are free in .*: set MEZ"
    with pytest.raises(UserError, match=expected):
        check_room(tmp_path, 2_500_000, "features")
    with pytest.raises(UserError, match=r"take 3\.0 GB"):
        check_room(tmp_path, 3_000_000_000, "features")
