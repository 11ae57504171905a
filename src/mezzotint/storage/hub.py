"""Repositories of the Hugging Face Hub, in the hub's own cache."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Literal

from mezzotint.errors import UserError


def snapshot(
    name: str,
    kind: Literal["dataset", "model"],
    patterns: list[str],
    ignore: Sequence[str] = (),
    needs: str = "*",
) -> Path:
    """Return the folder in the hub's cache with a repository's files; download missing ones.

    Cached files are used without asking the hub for newer ones, unless they are visibly
    `incomplete`.

    Args:
        name: `OWNER/NAME`.
        kind: the kind of repository.
        patterns: fnmatch patterns of the files to download; `*` also matches slashes. There may be
            no match.
        ignore: patterns of files to leave out.
        needs: a pattern that a cached file must match; otherwise the repository is downloaded.

    Raises:
        UserError: If there is no such repository, permission is missing, or the download fails.
    """
    # Imported here: it takes a quarter of a second.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    fetch = partial(
        snapshot_download,
        name,
        repo_type=kind,
        allow_patterns=patterns,
        ignore_patterns=list(ignore),
    )
    try:
        if name.count("/") != 1:
            raise HFValidationError
        with suppress(LocalEntryNotFoundError):
            folder = Path(fetch(local_files_only=True))
            # The hub cannot always tell that an earlier call fetched other files only.
            files = [file for file in folder.rglob("*") if file.is_file()]
            names = [file.relative_to(folder).as_posix() for file in files]
            found = [file for file in names if _match(file, patterns) and not _match(file, ignore)]
            if any(fnmatch(file, needs) for file in found) and not incomplete(found):
                return folder
        return Path(fetch())
    except HFValidationError:
        raise UserError(f"{name!r} names no repository: write hub:OWNER/NAME") from None
    except GatedRepoError:
        page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}"
        raise UserError(
            f"hub:{name} is gated: accept its terms at {page} and log in with `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"the hub has no {kind} {name}, or it is private: correct the name, "
            "or log in with `hf auth login`"
        ) from None
    except Exception as error:  # each release of the hub has other errors of transport
        reason = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise UserError(
            f"cannot fetch hub:{name} ({reason}): connect, or download it yourself and give its "
            "folder"
        ) from None


def incomplete(files: Iterable[str]) -> str | None:
    """Describe which numbered parts `NAME-00000-of-00017` are present; None if all are."""
    parts: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for file in files:
        if match := re.match(r"(.*)-(\d{5})-of-(\d{5})", file):
            parts[match[1], match[3]].add(match[2])
    for (name, count), there in parts.items():
        if len(there) < int(count):
            return f"{len(there)} of the {int(count)} files {name}-*-of-{count}"
    return None


def _match(file: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(file, pattern) for pattern in patterns)
