"""Leftovers of killed processes, and unfinished files of others (issue 23, e and p)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mezzotint.errors import UserError
from mezzotint.storage import files, leftovers
from mezzotint.storage.cache import begun, check_room, commit, kept
from together import together


def days_ago(path: Path, days: float) -> None:
    then = time.time() - 86_400 * days
    os.utime(path, (then, then))


@pytest.mark.parametrize("days", [-30, 0, 30])
def test_what_nobody_will_finish_goes_at_once_whatever_the_clock_says(tmp_path, days) -> None:
    dead = tmp_path / "set-1.partial-abc"
    dead.mkdir()
    (dead / "images.npy").write_bytes(b"x")
    (tmp_path / ".ref.partial-def.safetensors").write_bytes(b"x")
    (tmp_path / "set-1").mkdir()
    days_ago(dead, days)
    with begun(tmp_path, "set-2") as alive, files.beside(tmp_path / "ref.json") as written:
        days_ago(alive, 30)
        days_ago(written, 30)
        written.write_text("x")
        leftovers.remove(tmp_path)
        check_room(tmp_path, 1, "things")
        assert {p.name for p in tmp_path.iterdir()} == {alive.name, written.name, "set-1"}
    assert {p.name for p in tmp_path.iterdir()} == {"ref.json", "set-1"}


def test_a_process_that_is_killed_leaves_what_the_next_one_removes(tmp_path) -> None:
    """Its lock ends with it. The process imports only one module, to be fast."""
    code = (
        "import sys, time, pathlib, importlib.util as u\n"
        f"s = u.spec_from_file_location('leftovers', {leftovers.__file__!r})\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m)\n"
        f"with m.unfinished(pathlib.Path({str(tmp_path)!r}), 'set', '', pathlib.Path.mkdir):\n"
        "    print('made', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"made\n"
        leftovers.remove(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
        other.kill()
        other.wait()
    leftovers.remove(tmp_path)
    assert not list(tmp_path.iterdir())


def test_only_leftovers_of_the_same_file_go_when_it_is_written_again(tmp_path) -> None:
    for name in (".a.partial-1.png", ".b.partial-1.png", ".a.partial-1.json"):
        (tmp_path / name).write_bytes(b"x")
    files.replace(tmp_path / "a.png", b"new")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.png", ".b.partial-1.png", ".a.partial-1.json"}


def test_where_there_are_no_locks_nothing_is_removed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(leftovers, "_lock", lambda descriptor, wait: False)
    (tmp_path / "set.partial-1").mkdir()
    leftovers.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["set.partial-1"]
    with begun(tmp_path, "set") as building:
        (building / "x").write_text("x")
        assert commit(building, tmp_path / "set", lambda entry: (entry / "x").read_text()) == "x"


def test_an_entry_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch) -> None:
    synced = []
    monkeypatch.setattr("mezzotint.storage.cache.sync", lambda path: synced.append(path.name))
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda a, b: (synced.append("renamed"), rename(a, b))[1])
    with begun(tmp_path, "set") as building:
        (building / "x").write_text("x")
        commit(building, tmp_path / "set", Path.exists)
    assert synced == ["x", building.name, "renamed", tmp_path.name]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_an_entry_may_be_read_by_whom_the_umask_lets(tmp_path, umask) -> None:
    """Once, a second user of a shared cache could not read it (issue 23, m)."""
    before = os.umask(umask)
    try:
        with begun(tmp_path, "set") as building:
            (building / "x").write_text("x")
            commit(building, tmp_path / "set", Path.exists)
        files.replace(tmp_path / "ref", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / "set" / "x").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "ref").stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_entry_that_another_process_builds_is_waited_for(tmp_path) -> None:
    """It is built once. If the other process fails, it is built again."""
    entry, built = tmp_path / "cache" / "set", tmp_path / "built"
    entry.parent.mkdir()

    def load(folder: Path) -> str | None:
        return (folder / "x").read_text() if (folder / "x").exists() else None

    def build(rank: int, folder: Path) -> None:
        with built.open("a") as file:
            file.write(".")
        time.sleep(0.2)
        if rank == 9:
            raise UserError("cannot be built: give another")
        (folder / "x").write_text(f"{rank}")

    def work(rank: int) -> None:
        time.sleep(0.05 * (rank != 9))
        made = kept(entry, load, lambda folder: build(rank, folder))
        (tmp_path / f"made-{rank}").write_text(made)

    log = tmp_path / "log"
    assert together(3, work, log) == [0, 0, 0]
    assert built.read_text() == "."
    assert len({(tmp_path / f"made-{rank}").read_text() for rank in range(3)}) == 1
    shutil.rmtree(entry)
    assert sorted(together(2, lambda rank: work(9 if rank == 0 else rank), log)) == [0, 2]
    assert built.read_text() == "..."
    assert [path.name for path in entry.parent.iterdir()] == ["set"]


def test_an_entry_that_another_user_keeps_to_himself_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "set").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(
        UserError,
        match=r"set belongs to another user and cannot be read: ask that user to run `chmod",
    ):
        kept(tmp_path / "set", lambda entry: None, lambda folder: None)
