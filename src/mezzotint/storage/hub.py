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
    """Return the folder with a repository's files in the hub's cache; download missing files.

    Nothing is downloaded if a cached file matches ``needs`` and no shard of a file is missing (see
    `incomplete`). In this case the hub is not asked for newer files either.

    Args:
        name: `OWNER/NAME`.
        kind: "dataset" or "model".
        patterns: The fnmatch patterns of the files to download; `*` also matches slashes. If no
            file matches, the folder is returned without files.
        ignore: The patterns of the files to leave out.
        needs: The fnmatch pattern of the files that are needed; by default any file.

    Raises:
        UserError: If ``name`` is not of the form `OWNER/NAME`, there is no such repository,
            permission is missing, or the download fails.
    """
    # imported here, because it takes a quarter of a second
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
            # The hub does not always notice that an earlier call fetched other files.
            files = [file for file in folder.rglob("*") if file.is_file()]
            names = [file.relative_to(folder).as_posix() for file in files]
            found = [file for file in names if _match(file, patterns) and not _match(file, ignore)]
            if any(fnmatch(file, needs) for file in found) and not incomplete(found):
                return folder
        return Path(fetch())
    except HFValidationError:
        raise UserError(f"{name!r} is not the name of a repository: write hub:OWNER/NAME") from None
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
    except Exception as error:  # the errors of transport differ between releases of the hub
        reason = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise UserError(
            f"cannot fetch hub:{name} ({reason}): check the connection, or download the {kind} "
            "yourself and give its folder"
        ) from None


def incomplete(files: Iterable[str]) -> str | None:
    """Return how many shards of a file are present, in words; None if no shard is missing.

    The shards of a file are called NAME-00000-of-00017 and so on. The answer is, for example,
    "16 of the 17 files NAME-*-of-00017".
    """
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
