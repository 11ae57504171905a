"""The one exception for what the caller got wrong."""

from __future__ import annotations

import difflib


class UserError(ValueError):
    """A wrong argument, file or setting: one line that says what is wrong and what to do.

    The command line prints the message and exits with 2; any other exception is our bug.
    """


def nearest(name: str, names: list[str]) -> str:
    """``"; did you mean a or b?"``, or nothing where no name is near."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
