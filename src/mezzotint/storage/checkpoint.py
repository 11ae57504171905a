"""Checkpoints that a crash cannot harm.

A checkpoint is a folder, ``step-N`` or ``best``, of safetensors and JSON files. It is written
beside under a hidden name, synced, given a ``manifest.json`` with the SHA-256 of each file, and
renamed into place; only then are older ones pruned. So a folder of such a name is complete, unless
it was damaged later, which its manifest shows.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.storage.files import sync

MANIFEST = "manifest.json"
FULL = (errno.ENOSPC, errno.EDQUOT)


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    facts: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write ``folder/step-N``, as `write` does.

    Then all are removed but this and the ``keep - 1`` before it; one of a later step is a damaged
    one, or the run would stand there. Returns the new folder.
    """
    final = write(folder / f"step-{step}", tensors, facts)
    found = listed(folder)
    at = found.index(final)
    for old in found[: max(0, at + 1 - keep)] + found[at + 1 :]:
        shutil.rmtree(old)
    return final


def write(
    final: Path, tensors: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]
) -> Path:
    """Write a checkpoint: NAME.safetensors for each of ``tensors``, NAME.json for ``facts``.

    It replaces one of the same name only when it is complete. Raises UserError on a full disk, and
    leaves nothing behind then.
    """
    folder = final.parent
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, final.name)
    partial, old = folder / f".new-{final.name}", folder / f".old-{final.name}"
    try:
        partial.mkdir()
        _fill(partial, tensors, facts)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{final} cannot be saved ({error.strerror}): free space on its disk, and go on with "
            "`resume=True` from what was saved before, which is whole"
        ) from None
    if final.exists():
        final.rename(old)
    partial.rename(final)
    sync(folder)
    _sweep(folder, final.name)
    return final


def _fill(
    partial: Path, tensors: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]
) -> None:
    """Write the files of a checkpoint, the manifest last, and wait until they are on the disk."""
    sums = {}
    files = {
        f"{name}.safetensors": safetensors.torch.save(_apart(t)) for name, t in tensors.items()
    }
    files |= {f"{name}.json": json.dumps(fact, indent=1).encode() for name, fact in facts.items()}
    for name, data in files.items():
        _write(partial / name, data)
        sums[name] = hashlib.sha256(data).hexdigest()
    _write(partial / MANIFEST, json.dumps({"sha256": sums}, indent=1).encode())
    sync(partial)


def listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder by rising step, damaged ones too."""
    found = [p for p in folder.glob("step-*") if p.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def verify(checkpoint: Path) -> None:
    """Raises UserError, naming the file, unless every file has the sum that the manifest gives."""
    try:
        sums = json.loads((checkpoint / MANIFEST).read_text())["sha256"]
        wanted = {str(name): str(digest) for name, digest in sums.items()}
        wanted["state.json"]  # every checkpoint has one
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise UserError(
            f"{checkpoint} is no whole checkpoint: its {MANIFEST} is unreadable"
        ) from None
    for name, digest in wanted.items():
        path = checkpoint / name
        if not path.is_file():
            raise UserError(f"{checkpoint} is damaged: {name} is missing")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise UserError(f"{checkpoint} is damaged: {name} does not match its SHA-256")


def newest(folder: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint of a folder that is not damaged; None if there is no checkpoint.

    ``warn`` is called with a line for each damaged one that is newer. Raises UserError if all are
    damaged.
    """
    problems: list[str] = []
    for checkpoint in reversed(listed(folder)):
        try:
            verify(checkpoint)
        except UserError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warn(f"{problem}; using {checkpoint.name} instead")
        return checkpoint
    if problems:
        raise UserError(f"{problems[0]}, and no other is whole: restore one, or train again")
    return None


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, as their format asks: tied weights are copied."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place and place in seen else tensor
        seen.add(place)
    return apart


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    sync(path)


def _sweep(folder: Path, name: str) -> None:
    """Remove what an interrupted save left behind; what it had only put aside comes back.

    Of checkpoints of this name, or of all of a training: another process may be at others.
    """
    kind = "step-*" if name.startswith("step-") else name
    for leftover in folder.glob(f".new-{kind}"):
        shutil.rmtree(leftover)
    for old in folder.glob(f".old-{kind}"):
        final = folder / old.name.removeprefix(".old-")
        if final.exists():
            shutil.rmtree(old)
        else:
            old.rename(final)
