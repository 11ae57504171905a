"""Checkpoints that survive crashes.

A checkpoint is a folder, ``step-N`` or ``best``, of safetensors and JSON files. It is first written
under a hidden name, synced, and given a ``manifest.json`` with the SHA-256 of each file. Then it is
renamed into place, and only then are older checkpoints removed. So a folder called ``step-N`` or
``best`` is complete, and the manifest shows any later damage.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from mezzotint.errors import Damaged, UserError, warn
from mezzotint.storage.files import is_utf8, sync, written
from mezzotint.storage.parse import content, parsed

T = TypeVar("T")
MANIFEST = "manifest.json"
# The files that are read besides the weights and state.json.
READ = ("config.json", "pipeline.json")


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    facts: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint ``folder/step-N`` (see `write`), remove old ones, and return the path.

    Of the older checkpoints, the newest ``keep - 1`` are kept. All checkpoints of later steps are
    removed, because a resumed run repeats these steps.
    """
    final = write(folder / f"step-{step}", tensors, facts)
    found = listed(folder)
    at = found.index(final)
    for old in found[: max(0, at + 1 - keep)] + found[at + 1 :]:
        _remove(old)
    return final


def write(
    final: Path, tensors: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]
) -> Path:
    """Write a checkpoint to the folder at the path ``final``, and return this path.

    Each entry NAME of ``tensors`` becomes the file NAME.safetensors, and each entry NAME of
    ``facts`` the file NAME.json. A checkpoint of the same name is replaced only after the new
    checkpoint is complete. Raises Unwritable if writing fails, and then leaves nothing behind.
    Raises UserError, before anything is written, for tensors that are not finite.
    """
    for name, found in tensors.items():
        if wrong := _not_finite(found):
            raise UserError(
                f"{final} is not saved, because {wrong} in {name}.safetensors is not finite: train "
                "again with a lower `lr`; earlier checkpoints are unaffected"
            )
    folder = final.parent
    partial, old = folder / f".new-{final.name}", folder / f".old-{final.name}"
    with written(final):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder, final.name)
        try:
            partial.mkdir()
            _fill(partial, tensors, facts)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if final.exists() or final.is_symlink():
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
    """Return the checkpoints of a folder in the order of their steps, damaged ones too."""
    found = [
        path
        for path in folder.glob("step-*")
        if path.name.removeprefix("step-").isdecimal() and (path.is_dir() or path.is_symlink())
    ]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def sums(checkpoint: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a checkpoint, as its manifest states it.

    Raises Damaged if the manifest cannot be read, has an entry that is not a file name, or has no
    entry for a file that will be read when the checkpoint is loaded.
    """
    try:
        found = parsed(content(checkpoint / MANIFEST))["sha256"]
        wanted = {str(name): str(digest) for name, digest in found.items()}
        there = [path.name for path in checkpoint.iterdir()]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        unreadable = f"{checkpoint} is damaged: its {MANIFEST} cannot be read"
        raise Damaged(unreadable) from None
    read = ["state.json", *(name for name in there if name in READ or name[-12:] == ".safetensors")]
    if left_out := sorted({name for name in read if name not in wanted}):
        raise Damaged(f"{checkpoint} is damaged: its {MANIFEST} does not name {left_out[0]}")
    if outside := [name for name in wanted if name != Path(name).name]:
        raise Damaged(
            f"{checkpoint} is damaged: its {MANIFEST} names {outside[0]}, which is not a file name"
        )
    return wanted


def verify(checkpoint: Path) -> None:
    """Raise Damaged, naming the first file that is missing or does not match the manifest."""
    for name, digest in sums(checkpoint).items():
        path = checkpoint / name
        if not path.is_file():
            raise Damaged(f"{checkpoint} is damaged: {name} is missing")
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Damaged(f"{path} cannot be read ({error.strerror})") from None
        if found != digest:
            raise Damaged(f"{checkpoint} is damaged: {name} does not match its SHA-256")


def usable(folder: Path, use: Callable[[Path], T], warn: Callable[[str], None]) -> T | None:
    """Call ``use`` with the newest undamaged checkpoint of a folder, and return its result.

    If a checkpoint is damaged, or if ``use`` raises Damaged, ``warn`` is called with a line about
    it, and the previous checkpoint is tried. If a training in the folder saves or removes
    checkpoints meanwhile, the search starts again. Returns None if the folder has no checkpoints.
    Raises Damaged if all are damaged.
    """
    while True:
        found, problems = listed(folder), list[str]()
        for checkpoint in reversed(found):
            try:
                verify(checkpoint)
                result = use(checkpoint)
            except Damaged as error:
                if listed(folder) != found:
                    break
                problems.append(str(error))
                continue
            for problem in problems:
                warn(f"{problem}; using {checkpoint.name} instead")
            return result
        else:
            if problems:
                raise Damaged(
                    f"{problems[0]}, and no other checkpoint is undamaged: restore a "
                    "checkpoint from a backup, or train again"
                )
            return None


def newest(folder: Path, warn: Callable[[str], None]) -> Path | None:
    """Return the newest undamaged checkpoint of a folder; see `usable`."""
    return usable(folder, lambda checkpoint: checkpoint, warn)


def tensors(checkpoint: Path, name: str, finite: bool = True) -> dict[str, Tensor]:
    """Read the tensors in the file NAME.safetensors of a checkpoint.

    Raises Damaged if the file cannot be read or, if ``finite`` is set, has values that are not
    finite.
    """
    path = checkpoint / f"{name}.safetensors"
    try:
        if is_utf8(path):
            found = safetensors.torch.load_file(path)
        else:  # safetensors cannot open a path that is not UTF-8
            found = safetensors.torch.load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise Damaged(f"{checkpoint} is damaged: {path.name} cannot be read ({error})") from None
    if finite and (wrong := _not_finite(found)):
        raise Damaged(f"{checkpoint} is damaged: {wrong} in {path.name} is not finite")
    return found


def _not_finite(found: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with NaN or infinity; None if all values are finite."""
    floats = (key for key, tensor in found.items() if tensor.is_floating_point())
    # The sum is checked first, because it is faster. If it is finite, all terms are; but finite
    # terms can have an infinite sum.
    suspects = (key for key in floats if not found[key].sum().isfinite())
    return next((key for key in suspects if not found[key].isfinite().all()), None)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that share no memory, as safetensors requires; shared weights are copied."""
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
    """Clean up after an interrupted save of the checkpoint ``name``.

    Unfinished folders are removed, and folders that were moved aside are restored. If ``name``
    begins with ``step-``, this cleans up after interrupted saves of all steps. Other checkpoints,
    such as ``best``, are not touched, because another process may be writing them.
    """
    kind = "step-*" if name.startswith("step-") else name
    for leftover in folder.glob(f".new-{kind}"):
        _remove(leftover)
    for old in folder.glob(f".old-{kind}"):
        final = folder / old.name.removeprefix(".old-")
        if final.exists():
            _remove(old)
        else:
            old.rename(final)


def _remove(path: Path) -> None:
    """Remove a folder, or a link but not its target; warn if that fails."""
    try:
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path)
    except OSError as error:
        warn(
            f"{path} is no longer needed and cannot be removed ({error.strerror}): remove it "
            "yourself"
        )
