"""The exceptions that end a command without a traceback, and the registries of names.

A message names an argument in Python's form, in backquotes. The command line prints the
corresponding flag instead (`as_flags`):

| in the text | the command line prints |
|---|---|
| `` `size` `` | ``--size`` |
| `` `skip_bad=True` `` | ``--skip-bad`` |
| `` `conditional=False` `` | ``--no-conditional`` |
| `` `spacing="trailing"` `` | ``--spacing trailing`` |

`as_flags` also translates warnings and other texts. It keeps the backquotes around anything that is
neither the name of an argument nor a name with its value.
"""

from __future__ import annotations

import difflib
import re
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ARGUMENT = re.compile(r"`([a-z]\w*)(?:=([^`]+))?`")


class UserError(ValueError):
    """A wrong argument, file or setting: one line that says what is wrong and what to do.

    The command line prints the message and exits with 2. Any other exception is a bug.
    """

    elsewhere = False  # whether the first process, not this process, raised and reports the error


class Damaged(UserError):
    """Raised for a damaged file; the caller may use an older file instead."""


class Interrupted(Exception):
    """Raised if a signal stopped a training. If a step was done, the training has been saved."""

    def __init__(self, number: int, begun: bool = True) -> None:
        self.number, self.name = number, signal.Signals(number).name
        done = ", all saved" if begun else " before the first step"
        go_on = "continue with" if begun else "start again with"
        super().__init__(f"stopped by {self.name}{done}: {go_on} `resume=True`")


OUT_OF_MEMORY = (
    "can't allocate memory",  # CPU
    "could not create a primitive",  # oneDNN
    "could not create a memory object",
    "ALLOC_FAILED",  # cuBLAS and cuDNN
    "std::bad_alloc",
)
"""Parts of a RuntimeError's message. Each of them means that there is too little memory."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that there is too little memory, on the CPU or a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Return ``"; did you mean a or b?"`` for the most similar names, or "" if none is similar.

    ``prefix``, such as "--", is removed from the start of ``name`` before names are compared, and
    put before each name in the result.
    """
    near = difflib.get_close_matches(name.removeprefix(prefix), list(names), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(prefix + each for each in near)}?" if near else ""


def warn(message: str) -> None:
    """Warn of a result that may mislead; the warning shows the user's line that calls mezzotint."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] == "mezzotint":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def as_flags(text: str) -> str:
    """Replace the arguments in a message, such as `` `size` ``, with flags, such as ``--size``."""

    def flag(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), found[2]
        if value == "False":
            return f"--no-{name}"
        if value in (None, "True"):
            return f"--{name}"
        words = value[1:-1].replace(",", "") if value[0] == "(" else value.strip(chr(34))
        return f"--{name} {words}"

    return _ARGUMENT.sub(flag, text)


@contextmanager
def arguments_called(**names: str) -> Iterator[None]:
    """Within a with block, replace argument names in a UserError's message by the caller's names.

    For example, ``arguments_called(data="images_a")`` replaces `` `data` `` with `` `images_a` ``.
    """

    def renamed(found: re.Match[str]) -> str:
        value = "" if found[2] is None else f"={found[2]}"
        return f"`{names.get(found[1], found[1])}{value}`"

    try:
        yield
    except UserError as error:
        raise UserError(_ARGUMENT.sub(renamed, str(error))) from None


def printable(text: str) -> str:
    r"""Escape characters that move a terminal's cursor or change the writing direction.

    Names of files and classes may contain such characters, and bytes that are not UTF-8. These
    characters and bytes are replaced by Python's escapes, such as ``\x1b`` and ``\u202e``.
    """
    return without_bidi(without_controls(text))


def without_controls(text: str) -> str:
    """Escape the control characters in a text, and the bytes that are not UTF-8."""
    return _CONTROL.sub(_written_out, text)


def without_bidi(text: str) -> str:
    """Escape the characters in a text that change the writing direction."""
    return text if text.isascii() else _BIDI.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    """Return Python's escape for the character that a regular expression found."""
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()


def counted(number: int, one: str, more: str = "") -> str:
    """Return a number with a noun: "1 image", "2,000 images"; ``more`` is an irregular plural."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def first_of(names: Sequence[str], most: int = 10) -> str:
    """Return the first ``most`` names, and "..." if there are more: "a, b, ..."."""
    return ", ".join([*names[:most], *["..."] * (len(names) > most)])


def unknown(noun: str, name: object, names: Iterable[str]) -> UserError:
    """Return the error for a name that is not in ``names``; its message suggests similar names."""
    names = list(names)
    hint = nearest(name, names) if isinstance(name, str) else ""
    return UserError(f"unknown {noun} {name!r}: choose one of {', '.join(names)}{hint}")


class Registry(dict[str, T], Generic[T]):
    """The choices of one option: a dict from names to values, such as functions.

    Types, help texts and errors are derived from it, so a new choice needs only an entry:
    ``mz.SCHEDULES["mine"] = my_schedule``. A missing name raises UserError instead of KeyError.

    Args:
        noun: The noun for a choice in messages, such as "schedule".
        entries: The choices, in the order in which messages list them.
        kind: The type of every choice; None allows any value.
    """

    def __init__(self, noun: str, entries: Mapping[str, T], kind: type[T] | None = None) -> None:
        super().__init__(entries)
        self.noun, self.kind = noun, kind
        self.own: set[str] = set()  # the names of entries that were added or replaced later

    def __setitem__(self, name: str, choice: T) -> None:
        if self.kind and not isinstance(choice, self.kind):
            raise UserError(
                f"the {self.noun} {name!r} is of type {type(choice).__name__}: register it as "
                f"{self.kind.__name__}(...)"
            )
        super().__setitem__(name, choice)
        self.own.add(name)

    def check(self, name: str, *more: str) -> None:
        """Raise UserError unless ``name`` is a name in this registry or in ``more``."""
        if name not in self and name not in more:
            raise unknown(self.noun, name, [*self, *more])

    def __missing__(self, name: str) -> NoReturn:
        raise unknown(self.noun, name, self)
