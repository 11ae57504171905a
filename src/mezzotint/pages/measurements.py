"""The measured figures of a run, as `mezzotint evaluate` stored them in its folder."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mezzotint.config.experiment import Autoencoder
from mezzotint.config.paths import named
from mezzotint.drawing.page import Section, Table
from mezzotint.errors import UserError
from mezzotint.metrics import Figure
from mezzotint.pages.runs import Run
from mezzotint.pipeline import loading
from mezzotint.storage import jsonl

Key: TypeAlias = tuple[str, str]
"""The name of a figure, and its feature network."""
OTHER = ", of other weights"


def figures(run: Run) -> Section | None:
    """Return a section with the newest value of each figure of a run; None if none was measured."""
    rows = []
    found = _newest(run.folder)
    identity = _identity(run) if found else ""
    for (figure, row), name in zip(found.values(), _names(found), strict=True):
        interval = f"{figure.low:.4g} to {figure.high:.4g}"
        value, day = f"{figure.value:.4g}", str(row.get("time", "–"))[:10]
        day += OTHER * _is_other(row, identity)
        sampling, against = _sampling(row) or "–", figure.against or "–"
        rows.append((name, value, interval, f"{figure.count:,}", against, sampling, day))
    head = ("figure", "value", "95 % interval", "images", "against", "sampling", "measured on")
    text = "The newest value of each figure."
    return Section("Figures", text, tables=[Table(rows, head)]) if rows else None


def compared(runs: Sequence[Run]) -> Section | None:
    """Return a section with the newest value of each figure, and a column for each run.

    Returns None if no figure was measured.
    """
    found = [_newest(run.folder) for run in runs]
    identities = [
        _identity(run) if figures else "" for run, figures in zip(runs, found, strict=True)
    ]
    keys = list(dict.fromkeys(key for figures in found for key in figures))

    def cells(key: Key) -> Iterator[str]:
        references = {figures[key][0].against for figures in found if key in figures}
        for figures, identity in zip(found, identities, strict=True):
            if key not in figures:
                yield "–"
                continue
            f, row = figures[key]
            more = f"; against {f.against}" * (len(references) > 1)
            more += OTHER * _is_other(row, identity)
            yield f"{f.value:.4g} ({f.low:.4g} to {f.high:.4g}; N = {f.count:,}{more})"

    rows = [(name, *cells(key)) for key, name in zip(keys, _names(keys), strict=True)]
    head = ["", *(run.name for run in runs)]
    text = "The newest value of each figure with its 95 % interval; each run's section says more."
    return Section("Figures", text, tables=[Table(rows, head)]) if rows else None


def _names(keys: Collection[Key]) -> list[str]:
    """Return the names of figures, with the feature network where several figures share a name."""
    often = Counter(name for name, _ in keys)
    return [name if often[name] == 1 else f"{name}-{network}" for name, network in keys]


def _newest(folder: Path) -> dict[Key, tuple[Figure, dict[str, Any]]]:
    """Return the newest figure for each name and feature network, and its row in figures.jsonl."""
    found: dict[Key, tuple[Figure, dict[str, Any]]] = {}
    for row in jsonl.read(folder / "evaluation" / "figures.jsonl"):
        with contextlib.suppress(KeyError, TypeError):  # a row that another program wrote
            figures = [Figure.read(figure) for figure in row["figures"]]
            found |= {(figure.name, figure.network): (figure, row) for figure in figures}
    return found


def _identity(run: Run) -> str:
    """Return the `Pipeline.identity` of a run's newest weights; "" if it is not known."""
    if isinstance(run.config, Autoencoder):  # figures.jsonl has its digest in any precision
        return ""
    with warnings.catch_warnings(), contextlib.suppress(UserError):
        warnings.simplefilter("ignore")  # the samples on the page repeat these warnings
        return loading.load(run.folder, precision="float32", recommended=False).identity
    return ""


def _is_other(row: dict[str, Any], identity: str) -> bool:
    """Return whether a row of figures.jsonl comes from weights other than those of ``identity``.

    ``identity`` is a digest of the weights, and a row records such a digest too. With a weaker
    model (autoguidance), the recorded digest covers both models and cannot be compared, so the
    result is False.
    """
    return bool(identity and not row.get("weaker") and row.get("digest", identity) != identity)


def _sampling(row: dict[str, Any]) -> str:
    """Return the sampling settings in a row of figures.jsonl, in words; "" if the row has none."""
    scale, weaker = row.get("guidance"), row.get("weaker")
    parts = [
        f"{row['sampler']}" if row.get("sampler") else "",
        f"{row['steps']} steps" if row.get("steps") else "",
        f"guidance {scale:g}" if isinstance(scale, int | float) else "",
        f"away from {named(str(weaker))}" if weaker else "",
    ]
    return ", ".join(filter(None, parts))
