"""The modules that a command imports before it prints anything."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from mezzotint import cli

LATE = {"accelerate", "huggingface_hub", "jinja2", "kornia", "matplotlib", "pyarrow", "scipy"}
PROBE = """
import sys
try:
    {code}
finally:
    print(" ".join(sys.modules))
"""


def imported(code: str) -> set[str]:
    """Return the modules that are imported after ``code`` has run in a fresh Python."""
    command = [sys.executable, "-c", PROBE.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["help"], ["help", "trian"], ["-V"], ["--version"], ["trian"]]
)
def test_help_version_and_a_mistyped_verb_do_not_wait_for_torch(arguments: list[str]) -> None:
    found = imported(f"from mezzotint.cli import main; main({arguments})")
    assert "mezzotint.cli" in found
    assert not found & {"torch", "numpy", "pydantic", "tyro", "rich", *LATE}


def test_the_public_names_import_little_beside_torch() -> None:
    found = imported("import mezzotint as mz; mz.load")
    assert {"torch", "mezzotint.api"} <= found
    assert not found & LATE


@pytest.mark.parametrize("verb", cli.VERBS)
def test_a_verb_is_a_function_in_a_module_of_its_name(verb: str) -> None:
    assert callable(getattr(import_module(f"mezzotint.cli.{verb}"), verb))
    assert f"\n  {verb} " in cli.usage()


def test_the_usage_fits_a_terminal() -> None:
    assert max(map(len, cli.usage().splitlines())) <= 80
