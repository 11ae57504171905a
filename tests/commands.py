"""Call the command line in this process."""

from __future__ import annotations

import pytest

from mezzotint import cli

CapSys = pytest.CaptureFixture[str]


def call(capsys: CapSys, *arguments: str) -> tuple[int, str, str]:
    """Return the exit code, the standard output and the standard error of a command."""
    try:
        cli.main(list(arguments))
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err
