"""The configuration of a run, and the differences between the configurations of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from mezzotint.config.experiment import Configuration
from mezzotint.drawing.page import Cell, Faint, Section, Table
from mezzotint.pages.runs import Run


def configuration(run: Run) -> Section:
    """Return a section with all settings of a run, in a table for each group of settings."""

    def row(name: str, value: Any, default: bool) -> tuple[Cell, Cell]:
        cells = name.replace("_", " "), _in_words(value)
        return (Faint(cells[0]), Faint(cells[1])) if default else cells

    tables = [
        Table([row(name, *setting) for name, setting in settings.items()], caption=section)
        for section, settings in _settings(run.config).items()
    ]
    return Section("Configuration", "Default values are faint.", tables=tables)


def differences(runs: Sequence[Run]) -> Section:
    """Return a section with the settings in which runs differ, side by side."""
    flat = [
        {
            f"{section}.{name}".removeprefix("run."): _in_words(value)
            for section, settings in _settings(run.config).items()
            for name, (value, _) in settings.items()
        }
        for run in runs
    ]
    names = dict.fromkeys(name for settings in flat for name in settings)
    rows = [(name, *(settings.get(name, "–") for settings in flat)) for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        return Section("Differences", "The runs have the same configuration.")
    table = Table(rows, ["", *(run.name for run in runs)])
    return Section("Differences", "The settings in which the runs differ.", tables=[table])


def _settings(config: Configuration) -> dict[str, dict[str, tuple[Any, bool]]]:
    """Return {section: {field: (value, whether it is the default)}} of a configuration."""
    found: dict[str, dict[str, tuple[Any, bool]]] = {"run": {}}
    whole = type(config)(recipe=config.recipe)
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            kind: Any = type(value)
            default = kind()
            found[field.name] = {
                f.name: (own := getattr(value, f.name), own == getattr(default, f.name))
                for f in fields(value)
            }
        else:
            default = None if field.name == "recipe" else getattr(whole, field.name)
            found["run"][field.name] = value, value == default
    return found


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(_in_words(part) for part in value) or "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value or "–")
