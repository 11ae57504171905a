"""The direction of imports, as the design draws it."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import mezzotint

ROOT = Path(mezzotint.__file__).parent
HOME = Path(__file__).parents[1]
EVERYONES = {"errors", "cache", "progress", "hub", "jsonl"}
# room -> the rooms it may import beside itself and those that are everyone's
MAY = {
    "noise": set(),
    "predict": {"noise"},
    "guidance": {"noise", "predict"},
    "samplers": {"noise", "predict"},
    "optimised": {"noise", "predict", "samplers"},
    "training": {"noise", "predict", "nets"},
    "nets": set(),
    "data": set(),
    "metrics": set(),
    "codec": set(),
    "interop": {"noise"},
    "report": set(),
    "experiment": {"noise", "samplers", "training", "nets", "data"},
    "recipes": {"experiment", "nets", "training"},
    "asked": {"experiment", "samplers"},
    "pipeline": {"asked", "experiment", "noise", "predict", "guidance", "samplers", "optimised"}
    | {"nets", "codec"},
    "recommended": {"experiment", "pipeline", "training"},
    "shipped": {"training"},
    "loading": {"recommended", "experiment", "pipeline", "training", "nets", "interop", "codec"}
    | {"shipped"},
    "samples": {"experiment", "pipeline"},
    "evaluate": {"experiment", "pipeline", "report", "samples", "data", "metrics", "machine"}
    | {"shipped"},
    "machine": set(),
    "reproduce": {"experiment", "recipes", "nets", "training", "run", "data", "loading", "pipeline"}
    | {"samples", "samplers", "evaluate", "metrics", "report", "reporting", "asked", "machine"},
    "sweep": {"experiment", "asked", "guidance", "samplers", "pipeline", "samples", "evaluate"}
    | {"recommended", "metrics", "report", "machine"},
    "reconstruct": {"evaluate", "codec", "nets", "data", "metrics"},
    "run": {"experiment", "asked", "pipeline", "loading", "evaluate", "reconstruct", "report"}
    | {"training", "nets", "data", "metrics", "codec"},
    "reporting": {"experiment", "asked", "noise", "guidance", "samplers", "pipeline", "loading"}
    | {"data", "evaluate", "report", "training", "machine"},
    "doctor": {"experiment", "noise", "samplers", "training", "nets", "data", "metrics", "codec"}
    | {"pipeline", "loading", "evaluate", "run"},
    "cli": {"doctor", "experiment", "loading", "run", "evaluate", "reporting", "recipes", "report"}
    | {"sweep", "recommended", "reconstruct", "reproduce", "shipped", "allocator", "asked"},
    "errors": set(),
    "progress": set(),
    "cache": set(),
    "hub": set(),
    "jsonl": set(),
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


SCRIPTS = sorted(p for room in ("benchmarks", "scripts") for p in HOME.glob(f"{room}/*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_what_scripts_import_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mezzotint"):
            room = import_module(str(node.module))
            for alias in node.names:
                if not hasattr(room, alias.name):
                    import_module(f"{node.module}.{alias.name}")


def test_betas_never_leave_noise() -> None:
    """Only the reader of diffusers' settings may say the word."""
    for path in FILES:
        if path.name == "diffusers.py" or path.parent.name == "noise":
            continue
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        assert not any("beta" in name for name in names), path
