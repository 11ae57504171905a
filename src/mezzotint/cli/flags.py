"""Parse the arguments after a verb (subcommand); a mistake becomes a message of one line."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from argparse import ArgumentParser
from collections.abc import Collection, Sequence
from dataclasses import asdict
from itertools import dropwhile, takewhile
from typing import Any, TypeVar

import tyro

from mezzotint.cli.help import (
    DESCRIBED,
    HELP,
    HELP_ALL,
    filled,
    full,
    printed,
    short,
    without_none,
)
from mezzotint.config.sampling import UNGUIDED, SampleConfig, check_guided, freed
from mezzotint.errors import UserError, nearest, warn

T = TypeVar("T")
# Messages of tyro, which `_own_words` rewrites.
_CHOICE = re.compile(r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*)\)\.?")
_MISSING = re.compile(r"Missing value for argument '(\S+)'")
_VALUE = re.compile(r"Error parsing (\S+): (.*)")
_QUOTED = re.compile(r"'([^']*)'")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # tyro uses colours if the output is a terminal


def subject(
    arguments: list[str],
    what: str,
    program: str = "",
    default: object = None,
    first: Collection[str] = (),
) -> tuple[str, list[str]]:
    """Split off the first argument, which names a model, a run or data; return it and the rest.

    ``what`` describes this argument in messages. If --help is given without the argument, print
    help and exit. This help lists the verb's flags, which are the fields of ``default``. If the
    flags depend on the argument, ``default`` must be None. In this case the help asks for the
    argument and names the command that lists the flags.
    """
    if not arguments or arguments[0].startswith("-"):
        helps = [word for word in arguments if word in (*HELP, HELP_ALL)]
        if not helps:
            raise UserError(f"give {what}")
        if default is not None:
            parse(default, helps[:1], program, first)
        print(filled(f"Give {what}."))
        print(f"To see the options: {program} {helps[0]}")
        sys.exit(0)
    return arguments[0], arguments[1:]


def parse(default: T, arguments: list[str], program: str, first: Collection[str] = ()) -> T:
    """Parse flags for the fields of ``default``; nested fields have flags of their own.

    ``--help`` shows the options in ``first``, or all options if ``first`` is empty. ``--help-all``
    shows all options. Raises UserError, with a message of one line, for a mistake.
    """
    if {*HELP, HELP_ALL} & {*arguments}:
        whole = without_none(printed(lambda: _parsed(default, ["--help"], program)))
        some = first and HELP_ALL not in arguments
        print(short(whole, first, program) if some else full(whole))
        sys.exit(0)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            flags, unknown = _parsed(default, arguments, program)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise _mistake(stop, said.getvalue(), program) from None
    if unknown:
        names = [name.replace("_", "-") for name in _leaves(asdict(default))]  # type: ignore[call-overload]
        hint = nearest(unknown[0], names, "--") or f"; see {program} --help"
        if unknown[0] == "--epochs" and "images" in names:
            hint = ": give the length of the training as a number of images, with --images"
        raise UserError(f"unknown option {unknown[0]}{hint}")
    return flags


def _parsed(default: T, arguments: list[str], program: str) -> tuple[T, list[str]]:
    """Return the parsed flags, and the arguments that tyro does not know."""
    with DESCRIBED:
        return tyro.cli(
            type(default),
            prog=program,
            default=default,
            args=arguments,
            return_unknown_args=True,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands),
        )


def _mistake(stop: SystemExit, said: str, program: str) -> UserError:
    """Return the error that made tyro stop, as one line; ``said`` is what tyro printed."""
    cause: BaseException | None = stop
    while cause:
        if isinstance(cause, UserError):  # raised by a configuration
            return UserError(str(cause))
        cause = cause.__context__
    # tyro draws a box. The first paragraph under its title is the error, the rest repeats the help.
    lines = [line.strip("│| ") for line in _COLOUR.sub("", said).splitlines()[1:]]
    words = " ".join(takewhile(_is_text, dropwhile(lambda line: not _is_text(line), lines)))
    return UserError(_own_words(words, f"see {program} {HELP_ALL}"))


def settings(defaults: SampleConfig, arguments: list[str]) -> SampleConfig:
    """Return the default settings without the options of a sampler or spacing that flags replace.

    `Pipeline.sample` drops the same options. This function reads only the flags --sampler,
    --spacing and --guidance. `parse` reads all flags, and refuses options that do not fit the
    sampler or the spacing.
    """
    words = ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("sampler", "spacing", "guidance"):
        words.add_argument(f"--{name}", nargs="?")  # `parse` reports a missing value
    found = vars(words.parse_known_args(arguments)[0])
    scale = None
    with contextlib.suppress(TypeError, ValueError):  # `parse` reports a wrong value
        scale = float(found.pop("guidance"))
    return freed(defaults, found["sampler"], found["spacing"], scale)


def has_flag(words: Sequence[str], name: str) -> bool:
    """Return whether the command line has the flag of a field, such as ``--steps`` of "steps"."""
    flag = f"--{name.replace('_', '-')}"
    return any(word.split("=")[0].replace("_", "-") == flag for word in words)


def check_sampling(words: Sequence[str], how: SampleConfig, weaker: object) -> None:
    """Raise UserError for flags of `sample`, `evaluate` or `edit` that would be ignored.

    ``words`` are the words of the command line, and ``how`` are the settings after parsing the
    words. ``weaker`` is the model that guidance leads away from, or None.
    """
    if has_flag(words, "nfe") and has_flag(words, "steps"):
        raise UserError("`nfe` and `steps` are both given: give one of them")
    check_guided(how, [name for name in UNGUIDED if has_flag(words, name)])
    if weaker and how.guidance == 1 and how.guidance_shape != "cfg++":
        raise UserError(
            "`weaker` has no effect with `guidance=1`: leave out `weaker`, or give another "
            "`guidance`"
        )


def parsed_labels(
    words: Sequence[str], classes: Sequence[str]
) -> int | str | list[int | str] | None:
    """Convert words to labels; return None if there are no words.

    A word is the name of a class if there is such a class, else a class number. A warning is given
    if a word is the name of one class and the number of another.
    """
    found: list[int | str] = []
    for word in words:
        number = word.removeprefix("-").isdecimal()
        if number and word in classes and int(word) < len(classes) and classes[int(word)] != word:
            place = classes.index(word)
            said = f"{word} is taken as the name of class number {place}, not as a number"
            warn(said)
        found.append(int(word) if number and word not in classes else word)
    return found[0] if len(found) == 1 else found or None


def _own_words(said: str, see: str) -> str:
    """Return a message of tyro, rewritten to say what is wrong and what to do."""
    if found := _CHOICE.fullmatch(said):
        value, flag, choices = found[1], found[2], _QUOTED.findall(found[3])
        return f"{flag} is {value!r}{nearest(value, choices) or ': choose ' + ', '.join(choices)}"
    if found := _MISSING.match(said):
        return f"{found[1]} has no value: give a value, or {see}"
    if found := _VALUE.fullmatch(said):
        flag, why = found[1].split("/")[-1], found[2]
        value = " ".join(_QUOTED.findall(why))
        if "int()" in why:
            return f"{flag} is {value!r}: give a whole number"
        if "string to float" in why:
            return f"{flag} is {value!r}: give a number"
        if "{FLOAT FLOAT}" in why:
            return f"{flag} is {value!r}: give two numbers"
    return f"{said}: {see}"


def _is_text(line: str) -> bool:
    return bool(line.strip("─-"))


def _leaves(tree: dict[str, Any]) -> list[str]:
    return [
        leaf
        for name, value in tree.items()
        for leaf in (_leaves(value) if isinstance(value, dict) else [name])
    ]
