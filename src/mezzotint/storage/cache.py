"""The cache: what was downloaded or prepared once, and how a file gets there."""

import hashlib
import http.client
import io
import os
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

from rich.progress import DownloadColumn

from mezzotint.errors import UserError
from mezzotint.storage.progress import progress


def cache_folder(part: str) -> Path:
    """One part of the cache, made if it is not there.

    The cache is `$MEZZOTINT_CACHE`, else `$XDG_CACHE_HOME/mezzotint`, else `~/.cache/mezzotint`.
    Raises `UserError` where it cannot be written.
    """
    if own := os.environ.get("MEZZOTINT_CACHE"):
        cache = Path(own).expanduser().absolute()
    else:
        shared = os.environ.get("XDG_CACHE_HOME")
        cache = (Path(shared) if shared else Path.home() / ".cache") / "mezzotint"
    try:
        (cache / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the cache folder {cache / part} ({error.strerror}): "
            "set MEZZOTINT_CACHE to a folder that can be written"
        ) from None
    return cache / part


def download(url: str, sha256: str, name: str, instead: str) -> Path:
    """The file at a URL, in the cache's downloads as `name`, fetched if it is not there.

    It comes under its own name only when whole and of the SHA-256 given (64 hex digits); what is
    already there under that name was, and is not summed again. `instead` says, after "try again,
    or", what else a person may do. Raises `UserError` where the download fails.
    """
    target = cache_folder("downloads") / name
    if target.exists():
        return target
    handle, partial_name = tempfile.mkstemp(dir=target.parent, prefix=f"{name}.partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _fetch(url, file, name)
        if digest != sha256:
            raise UserError(
                f"{url} gave a file with the wrong SHA-256 ({digest[:12]}..., not {sha256[:12]}...)"
                f": try again, or {instead}"
            )
        os.replace(partial_name, target)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"cannot download {url} ({error}): try again, or {instead}") from None
    finally:
        Path(partial_name).unlink(missing_ok=True)
    return target


def _fetch(url: str, file: io.BufferedWriter, name: str) -> str:
    """Copy what a URL gives into a file and return its SHA-256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as response, progress(DownloadColumn()) as bar:
        length = response.headers.get("Content-Length")
        task = bar.add_task(f"downloading {name}", total=int(length) if length else None)
        while block := response.read(1 << 20):
            file.write(block)
            digest.update(block)
            bar.advance(task, len(block))
    return digest.hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove from a folder of the cache what processes that were killed had begun, a week ago.

    Not sooner: what is written through a memory map leaves the folder's time as it was.
    """
    for left in folder.glob("*.partial-*"):
        if time.time() - left.stat().st_mtime > 7 * 86_400:
            shutil.rmtree(left, ignore_errors=True)
