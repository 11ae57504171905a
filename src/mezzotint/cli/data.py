"""The verb ``data``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mezzotint.cli.flags import parse, subject
from mezzotint.data.describing import describe
from mezzotint.errors import as_flags


@dataclass(frozen=True)
class DataFlags:
    """Print how a data set is understood: splits, classes, images, and what is left out and why.

    Nothing is trained or prepared.
    """

    conditional: bool = True
    """Whether labels are wanted; --no-conditional takes all images, with or without classes."""
    json: bool = False
    """Print JSON, for a program."""


def data(arguments: list[str]) -> None:
    """Describe a data set."""
    what = "a folder, an archive, a file or the name of a data set"
    name, rest = subject(arguments, what, "mezzotint data PATH", DataFlags())
    flags = parse(DataFlags(), rest, f"mezzotint data {name}")
    found = describe(name, conditional=flags.conditional)
    print(json.dumps(found.as_json(), indent=1) if flags.json else as_flags(str(found)))
