"""The result of a verb as a JSON document, which ``--json`` prints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

FLAG = "--json"
MEANING = f"  {FLAG}  Print one JSON document, and everything else on the error stream."


@dataclass(frozen=True)
class Answer:
    """The results of a verb, by name, and the exit code of the command.

    The names are documented in docs/programs.md.
    """

    found: Mapping[str, Any]
    code: int = 0

    def document(self) -> str:
        """Return the results as JSON in ASCII."""
        return json.dumps(_plain(self.found), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    """Convert a value for JSON: a path becomes text, an infinite or NaN number becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
