"""The one exception for what the caller got wrong, and the registries that raise it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class UserError(ValueError):
    """A wrong argument, file or setting: one line that says what is wrong and what to do.

    The command line prints the message and exits with 2; any other exception is our bug.
    """


def nearest(name: str, names: Iterable[str]) -> str:
    """``"; did you mean a or b?"``, or an empty string where no name is near."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def unknown(noun: str, name: object, names: Iterable[str]) -> UserError:
    """The error for a name that is not one of ``names``: it lists them and offers the nearest."""
    names = list(names)
    hint = nearest(name, names) if isinstance(name, str) else ""
    return UserError(f"unknown {noun} {name!r}: choose one of {', '.join(names)}{hint}")


class Registry(dict[str, T], Generic[T]):
    """The choices of one option: a dict from their names to what they stand for.

    Types, help texts and errors are derived from it, so that an entry is all a new choice needs:
    ``mz.SCHEDULES["mine"] = my_schedule``. It differs from a dict in one way: reading a name that
    it does not have raises UserError.

    Args:
        noun: what one choice is called in messages, such as "schedule".
        entries: the choices, in the order in which they are listed.
    """

    def __init__(self, noun: str, entries: Mapping[str, T]) -> None:
        super().__init__(entries)
        self.noun = noun

    def __missing__(self, name: str) -> NoReturn:
        raise unknown(self.noun, name, self)
