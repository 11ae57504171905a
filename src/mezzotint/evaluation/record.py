"""Counts of samples, and the file that keeps measured figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mezzotint.errors import UserError
from mezzotint.metrics import Figure
from mezzotint.storage import jsonl
from mezzotint.storage.machine import commit, processor

TIERS = (1_000, 5_000, 10_000, 50_000)


def tiers(samples: str) -> list[int]:
    """1k, 5k, 10k, 50k or any number, with the tiers below it: "5k" -> [1000, 5000]."""
    text = samples.lower().removesuffix("k")
    if not text.isdecimal() or not int(text):
        raise UserError(f"samples is {samples!r}: give 1k, 5k, 10k, 50k or a number")
    count = int(text) * (1000 if text != samples.lower() else 1)
    return [*(tier for tier in TIERS if tier < count), count]


def record(path: Path, found: Sequence[Figure], facts: dict[str, Any]) -> None:
    """Append figures to a file of JSON lines, with how they came about."""
    row = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor(),
        "mezzotint": commit(),
        "torch": torch.__version__,
        **facts,
        "figures": [figure.row for figure in found],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonl.append(path, row)
