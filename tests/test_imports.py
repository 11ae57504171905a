"""The direction of imports, as the design draws it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mezzotint

ROOT = Path(mezzotint.__file__).parent
EVERYONES = {"errors", "cache", "progress"}
# room -> the rooms it may import beside itself and those that are everyone's
MAY = {
    "noise": set(),
    "predict": {"noise"},
    "guidance": {"noise", "predict"},
    "samplers": {"noise", "predict"},
    "optimised": {"noise", "predict", "samplers"},
    "training": {"noise", "predict"},
    "nets": set(),
    "data": set(),
    "metrics": set(),
    "codec": set(),
    "interop": {"noise"},
    "report": set(),
    "experiment": {"noise", "samplers", "training", "nets"},
    "recipes": {"experiment", "nets", "training"},
    "pipeline": {"experiment", "noise", "predict", "guidance", "samplers", "optimised"}
    | {"nets", "codec"},
    "loading": {"experiment", "pipeline", "training", "nets", "interop"},
    "samples": {"experiment", "pipeline"},
    "evaluate": {"experiment", "pipeline", "report", "samples", "data", "metrics"},
    "watch": {"experiment", "pipeline", "training", "report", "evaluate", "data", "metrics"},
    "run": {"experiment", "pipeline", "training", "report", "watch", "nets", "data", "codec"},
    "cli": {"experiment", "loading", "run", "evaluate", "recipes", "report", "allocator"},
    "errors": set(),
    "progress": set(),
    "cache": set(),
    "allocator": set(),
}


def imports(path: Path) -> set[str]:
    """The rooms that a file imports, wherever in it the import stands."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("mezzotint.")}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            if node.module == "mezzotint":
                rooms |= {alias.name for alias in node.names}
            elif node.module.startswith("mezzotint."):
                rooms.add(node.module.split(".")[1])
    return rooms


FILES = sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT or not p.stem.startswith("__"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_the_design_allows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert imports(path) <= MAY[room] | {room} | EVERYONES


def test_betas_never_leave_noise() -> None:
    """Only the reader of diffusers' settings may say the word."""
    for path in FILES:
        if path.name == "diffusers.py" or path.parent.name == "noise":
            continue
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        assert not any("beta" in name for name in names), path
