"""The direction of imports, as in the design."""

from __future__ import annotations

import ast
import inspect
import runpy
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import mezzotint
from mezzotint import api

HOME = Path(__file__).parents[1]
HOUSE = runpy.run_path(str(HOME / "docs" / "rooms.py"))
LAYER: dict[str, int] = HOUSE["LAYER"]
FILES: list[Path] = HOUSE["files"]()
ROOT: Path = HOUSE["PACKAGE"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_from_lower_layers(path: Path) -> None:
    room = HOUSE["room_of"](path)
    others = HOUSE["imported"](path) - {room}
    assert {other for other in others if LAYER[other] >= LAYER[room]} == set()


def test_every_room_has_its_layer() -> None:
    assert set(LAYER) == set(HOUSE["rooms"]())


SCRIPTS = sorted(p for room in ("benchmarks", "scripts") for p in HOME.glob(f"{room}/*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_what_scripts_import_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mezzotint"):
            room = import_module(str(node.module))
            for alias in node.names:
                if not hasattr(room, alias.name):
                    import_module(f"{node.module}.{alias.name}")


def test_betas_never_leave_diffusion() -> None:
    """Only the modules that read and write diffusers' schedulers may use the word."""
    for path in FILES:
        if path.name in ("scheduler.py", "scheduler_out.py") or path.parent.name == "diffusion":
            continue
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        assert not any("beta" in name for name in names), path


def test_the_public_names_are_sorted_and_complete() -> None:
    assert list(api.__all__) == sorted(api.__all__, key=lambda name: (_kind(name), name))
    there = {
        name
        for name, value in vars(api).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert there == set(api.__all__)
    assert set(api.__all__) <= set(dir(mezzotint))


def _kind(name: str) -> int:
    """Sort constants before classes, and classes before functions, like ruff."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2


def test_no_module_bears_the_name_of_a_public_function() -> None:
    """Otherwise the order of imports would decide which of them `mezzotint.load` is."""
    functions = {name for name in api.__all__ if inspect.isfunction(getattr(api, name))}
    modules = {
        part
        for path in FILES
        for part in path.relative_to(ROOT).with_suffix("").parts
        if path.relative_to(ROOT).parts[0] != "cli"
    }
    assert functions & modules == set()
