"""The number of samples to measure, and the file in which measured figures are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezzotint.errors import UserError
from mezzotint.metrics import Figure
from mezzotint.pipeline.sampling import MOST
from mezzotint.storage import jsonl
from mezzotint.storage.machine import commit, processor

TIERS = (1_000, 5_000, 10_000, 50_000)


def number_of(samples: int | str) -> int:
    """Parse a number of samples: 64, "64", "10k". Raises UserError for anything else."""
    given = isinstance(samples, int | np.integer | str) and not isinstance(samples, bool)
    text = str(samples).lower().removesuffix("k") if given else ""
    if not text.isdecimal() or not text.strip("0"):
        raise UserError(f"`samples` is {samples!r}: give 1k, 5k, 10k, 50k or a number")
    number = int(text[-20:]) * (1000 if text != str(samples).lower() else 1)
    if number > MOST or len(text) > 20:
        raise UserError(f"`samples` is {samples!s:.20}: give {MOST:,} or fewer")
    return number


def tiers(samples: int | str) -> list[int]:
    """Return the sample counts at which the metrics are computed, up to the final count.

    For "5k" they are [1000, 5000].
    """
    count = number_of(samples)
    return [*(tier for tier in TIERS if tier < count), count]


def record(path: Path, found: Sequence[Figure], facts: dict[str, Any]) -> None:
    """Append measured figures to a file of JSON lines, with ``facts`` about model and settings."""
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
