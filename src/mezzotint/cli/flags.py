"""From the words after a verb to its flags, with whatever is wrong as one line."""

from __future__ import annotations

import contextlib
import io
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import dropwhile, takewhile
from typing import Any, TypeVar

import tyro

from mezzotint.config.sampling import SampleConfig, freed
from mezzotint.errors import UserError, nearest

T = TypeVar("T")


def subject(
    arguments: list[str], what: str, program: str = "", default: object = None
) -> tuple[str, list[str]]:
    """The first word, which says what a verb is about, and the rest.

    Asked for help in its place, the flags of ``default`` are shown, if those are the same whatever
    the verb is about.
    """
    if arguments and arguments[0] in ("-h", "--help"):
        if default is not None:
            parse(default, ["--help"], program)
        print(f"Give {what}.\nIts fields: put its name before --help.")
        sys.exit(0)
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"give {what}")
    return arguments[0], arguments[1:]


def parse(default: T, arguments: list[str], program: str) -> T:
    """The flags of ``default``'s fields, nested ones flat; whatever is wrong as one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            flags, unknown = tyro.cli(
                type(default),
                prog=program,
                default=default,
                args=arguments,
                return_unknown_args=True,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        cause: BaseException | None = stop
        while cause:
            if isinstance(cause, UserError):  # a configuration refused the values
                raise UserError(str(cause)) from None
            cause = cause.__context__
        # tyro draws a box, of lines or of ASCII: under its title the first paragraph says what is
        # wrong, the rest repeats the help.
        lines = [line.strip("│| ") for line in said.getvalue().splitlines()[1:]]
        words = takewhile(_is_text, dropwhile(lambda line: not _is_text(line), lines))
        raise UserError(f"{' '.join(words)} (see {program} --help)") from None
    if unknown:
        names = [f"--{name.replace('_', '-')}" for name in _leaves(asdict(default))]  # type: ignore[call-overload]
        hint = nearest(unknown[0], names) or f"; see {program} --help"
        raise UserError(f"unknown field {unknown[0]}{hint}")
    return flags


def settings(defaults: SampleConfig, arguments: list[str]) -> SampleConfig:
    """Defaults for flags that may ask for another sampler or spacing, as `Pipeline.sample` has it.

    To be had before the flags are parsed, which refuses what does not fit together.
    """
    words = ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("sampler", "spacing"):
        words.add_argument(f"--{name}", nargs="?")  # a value that is missing is for `parse` to say
    return freed(defaults, **vars(words.parse_known_args(arguments)[0]))


def labels_of(words: Sequence[str], classes: Sequence[str]) -> int | str | list[int | str] | None:
    """Return the labels that words stand for: classes by name, else by number; None for none."""
    found: list[int | str] = []
    for word in words:
        number = word.removeprefix("-").isdigit() and word not in classes
        found.append(int(word) if number else word)
    return found[0] if len(found) == 1 else found or None


@contextlib.contextmanager
def flags_called(**flags: str) -> Iterator[None]:
    """Let errors name arguments by the flags that they have here: ``data="against"``."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for argument, flag in flags.items():
            text = text.replace(f"`{argument}`", f"`{flag}`")
        raise UserError(text) from None


def _is_text(line: str) -> bool:
    return bool(line.strip("─-"))


def _leaves(tree: dict[str, Any]) -> list[str]:
    return [
        leaf
        for name, value in tree.items()
        for leaf in (_leaves(value) if isinstance(value, dict) else [name])
    ]
