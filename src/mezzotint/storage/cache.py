"""The cache of downloaded files and prepared data."""

import hashlib
import http.client
import io
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from rich.progress import DownloadColumn

from mezzotint.drawing.bars import progress
from mezzotint.errors import UserError
from mezzotint.storage import leftovers
from mezzotint.storage.files import Unwritable, beside, sync, written

T = TypeVar("T")
_ELSEWHERE = (
    ", or set MEZZOTINT_CACHE to another disk; the earlier entries of the cache are undamaged"
)


def cache_folder(part: str) -> Path:
    """Return the folder ``part`` of the cache, and create it if it is missing.

    The cache is `$MEZZOTINT_CACHE`, else `$XDG_CACHE_HOME/mezzotint`, else `~/.cache/mezzotint`.
    Raises `UserError` if the folder cannot be created, its path is not UTF-8, or no home folder is
    known.
    """
    if own := os.environ.get("MEZZOTINT_CACHE"):
        cache = Path(os.path.expanduser(own)).absolute()
    else:
        shared = os.environ.get("XDG_CACHE_HOME")
        cache = (Path(shared) if shared else _home() / ".cache") / "mezzotint"
    try:
        str(cache).encode()
        (cache / part).mkdir(parents=True, exist_ok=True)
    except UnicodeEncodeError:  # the library that reads references cannot open such a path
        raise UserError(
            f"the path of the cache is not UTF-8, {os.fsencode(cache)!r}: set MEZZOTINT_CACHE to "
            "another folder"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot make the cache folder {cache / part} ({error.strerror}): "
            "set MEZZOTINT_CACHE to a folder that can be written"
        ) from None
    return cache / part


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # for example, in a container whose user has no name
        raise UserError(
            "there is no home folder for the cache (this user has no entry in the list of users, "
            "and HOME is not set): set MEZZOTINT_CACHE to a folder that can be written"
        ) from None


def download(url: str, sha256: str, name: str, instead: str) -> Path:
    """Return the path of a downloaded file in the cache; download the file if it is missing.

    The file gets its name only when it is complete and has the given SHA-256 (64 hex digits), so an
    existing file is not checked again.

    Raises `UserError` if the download fails or the SHA-256 is wrong; the message ends with "try
    again, or" and the text ``instead``. Raises `Unwritable` if the file cannot be written.
    """
    target = cache_folder("downloads") / name
    if target.exists():
        return target
    try:
        with writing(target.parent), beside(target) as partial:
            with partial.open("wb") as file:
                digest = _fetch(url, file, name)
            if digest != sha256:
                raise UserError(
                    f"{url} gave a file with the wrong SHA-256 ({digest[:12]}..., not "
                    f"{sha256[:12]}...): try again, or {instead}"
                )
    except Unwritable:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"cannot download {url} ({error}): try again, or {instead}") from None
    return target


def _fetch(url: str, file: io.BufferedWriter, name: str) -> str:
    """Download a URL into a file and return its SHA-256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as response, progress(DownloadColumn()) as bar:
        length = response.headers.get("Content-Length")
        task = bar.add_task(f"downloading {name}", total=int(length) if length else None)
        while block := response.read(1 << 20):
            file.write(block)
            digest.update(block)
            bar.advance(task, len(block))
    return digest.hexdigest()


def kept(entry: Path, load: Callable[[Path], T | None], build: Callable[[Path], object]) -> T:
    """Load an entry from a folder of the cache; build it first if it is missing.

    If another process is building the entry, this process waits, and builds the entry only if the
    other process fails.

    Args:
        entry: The folder of the entry.
        load: A function that reads an entry; it returns None if the entry is missing or damaged.
        build: A function that fills an empty folder with an entry.

    Raises:
        UserError: If the entry belongs to another user and cannot be read, the cache cannot be
            written, or the disk is full.
    """
    found = load(entry)
    if found is not None:
        return found
    if entry.exists() and not os.access(entry, os.R_OK | os.X_OK):
        raise UserError(
            f"{entry} belongs to another user and cannot be read: ask that user to run "
            "`chmod -R g+rX` on it, or set MEZZOTINT_CACHE to a folder of your own"
        )
    with ExitStack() as stack:
        while True:
            with leftovers.one_at_a_time(entry.parent):
                other = leftovers.written(entry.parent, entry.name)
                if other is None:
                    building = stack.enter_context(begun(entry.parent, entry.name))
                    break
            leftovers.wait_for(other)
            if (found := load(entry)) is not None:
                return found
        build(building)
        return commit(building, entry, load)


@contextmanager
def begun(cache: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder of the cache to build an entry in.

    The folder is removed at the end unless `commit` has given it the name of an entry. So an
    unfinished folder cannot be mistaken for an entry. Leftovers of killed processes are also
    removed. Raises UserError if the cache cannot be written or the disk is full.
    """
    leftovers.remove(cache)
    with writing(cache), leftovers.unfinished(cache, name, "", Path.mkdir) as building:
        try:
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Run a block that writes to a cache folder; a failure of the disk raises `Unwritable`."""
    try:
        with written(folder):
            yield
    except Unwritable as error:
        raise Unwritable(folder, error.cause, _ELSEWHERE) from None


def commit(building: Path, entry: Path, load: Callable[[Path], T | None]) -> T:
    """Rename the finished folder ``building`` to ``entry``, and return the loaded entry.

    Everything is synced to the disk before the entry gets its name. If two processes build the same
    entry, the process that finishes second discards its own copy and loads the other's.
    """
    for file in building.iterdir():
        sync(file)
    sync(building)
    try:
        building.rename(entry)
    except OSError:  # the entry exists already: another process made it, or it is damaged
        found = load(entry)
        if found is not None:
            return found
        shutil.rmtree(entry)
        building.rename(entry)
    sync(entry.parent)
    found = load(entry)
    assert found is not None, f"{entry} was built but cannot be read"
    return found


def check_room(folder: Path, needed: int, what: str, instead: str = "") -> None:
    """Raise UserError unless the disk of a cache folder has room for ``needed`` bytes.

    Leftovers of killed processes in the folder are removed first.

    Args:
        folder: The folder to write to.
        needed: The size in bytes.
        what: The name of the data to write in the message, a plural noun such as "the latents".
        instead: What the message advises besides a larger disk, such as "pass `size`".
    """
    leftovers.remove(folder)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what} take {_size(needed)}, but only {_size(free)} are free in {folder}: "
            f"set MEZZOTINT_CACHE to a folder on a larger disk{instead and f', or {instead}'}"
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
