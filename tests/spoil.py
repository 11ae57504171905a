"""Damage runs on purpose, and update the checksums of their checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from mezzotint.doctor import Finding


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("step-*"), key=lambda p: int(p.name[5:]))


def spoil(run: Path, name: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Change the tensors of a file of the newest checkpoint."""
    file = newest(run) / f"{name}.safetensors"
    save_file({k: v.contiguous() for k, v in change(load_file(file)).items()}, file)
    seal(newest(run))


def configure(run: Path, section: str, **fields: object) -> None:
    """Change a section of the configuration, in the run and in its newest checkpoint."""
    for folder in (run, newest(run)):
        config = json.loads((folder / "config.json").read_text())
        config[section] |= fields
        (folder / "config.json").write_text(json.dumps(config))
    seal(newest(run))


def seal(checkpoint: Path) -> None:
    """Update the checksums in the manifest to match the files."""
    files = [p for p in checkpoint.iterdir() if p.name != "manifest.json"]
    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    (checkpoint / "manifest.json").write_text(json.dumps({"sha256": sums}))


def rows(loss: list[float], **figures: float | list[float]) -> list[dict[str, Any]]:
    """Return a log with a row for every 100 images; values that are not given are healthy."""
    told = {"grad_norm": 0.5, "lr": 1e-3, "images_per_second": 100.0} | figures
    return [
        {"step": 10 * i, "images": 100 * i, "loss": value}
        | {k: v[i - 1] if isinstance(v, list) else v for k, v in told.items()}
        for i, value in enumerate(loss, 1)
    ]


def accused(found: Iterable[Finding | None]) -> dict[str, str]:
    """Return the severity of each fault by its title."""
    return {f.title: f.severity for f in found if f and f.severity != "well"}
