"""The command line: one thin verb a file."""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module

import mezzotint
from mezzotint.errors import Interrupted, UserError, as_flags, nearest

VERBS = {
    "train": [
        ("RECIPE [--field value ...] [--out RUN]", "train a model"),
        ("--resume RUN [--images 400000] ...", "go on with its training"),
    ],
    "sample": [("RUN [-n 64] [--steps 50] [--guidance 2] ...", "make samples with it")],
    "edit": [("RUN vary|inpaint|enlarge|interpolate|invert IMAGE...", "edit images with it")],
    "evaluate": [
        ("RUN [--samples 10k] [--network inception] ...", "measure its samples against the data"),
        ("VAE [--samples 1000] [--tile 16] ...", "measure what an autoencoder gives back"),
        ("IMAGES --against IMAGES", "measure any images against any others"),
    ],
    "data": [("PATH [--no-conditional] [--json]", "say what a folder is understood to be")],
    "sweep": [("RUN [--nfe 5 10 20] [--guidance 1 2] ...", "find its best settings, and use them")],
    "average": [("RUN --length 0.1 [0.15 ...]", "rebuild longer or shorter averages")],
    "report": [("RUN... [--out report.html] ...", "write a page of it, or of several")],
    "doctor": [("RUN [--samples 128]", "name what is wrong with it")],
    "reproduce": [("[--scale glyphs] [--only B] ...", "carry out the paper's experiments")],
}
"""How each verb is used, and what for. `mezzotint.cli.VERB` defines it, imported when it is called:
most of them import torch, for which no one who asks for help should wait."""


def usage() -> str:
    """The answer to ``mezzotint --help``."""
    lines = [
        f"  {f'{verb} {how}':<57} {what}" for verb, uses in VERBS.items() for how, what in uses
    ]
    return "\n".join(
        [
            "usage: mezzotint VERB ...",
            "",
            *lines,
            "",
            "`mezzotint VERB --help` lists its fields, `mezzotint train --help` the recipes.",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """The command `mezzotint`: exits with 0, 2 for what the user got wrong, 128 + a signal.

    With 1 where `doctor` found something wrong.
    """
    warnings.formatwarning = lambda message, *_: f"mezzotint: warning: {as_flags(str(message))}\n"
    given = sys.argv[1:] if arguments is None else arguments
    verb = given[0] if given else "--help"
    try:
        try:
            if verb in ("-V", "--version"):
                print(f"mezzotint {mezzotint.__version__}")
            elif verb in ("-h", "--help"):
                print(usage())
            elif verb not in VERBS:
                hint = nearest(verb, list(VERBS)) or f": choose {', '.join(VERBS)}"
                raise UserError(f"unknown verb {verb!r}{hint}")
            else:
                _call(verb, given[1:])
        finally:
            sys.stdout.flush()  # not at Python's end, which complains where the reader has gone
    except BrokenPipeError:  # what reads our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (UserError, OSError) as error:
        _fail(str(error), 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _fail("out of memory: lower --batch, or for training raise --accumulate", 2)
    except Interrupted as stop:
        _fail(str(stop), 128 + stop.number)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _call(verb: str, arguments: list[str]) -> None:
    from mezzotint.networks.allocator import keep_freed_memory

    keep_freed_memory()
    getattr(import_module(f"mezzotint.cli.{verb}"), verb)(arguments)


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    import torch

    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error)  # as torch says it of a CPU's


def _fail(message: str, code: int) -> None:
    print(f"mezzotint: {' '.join(as_flags(message).split())}", file=sys.stderr)
    sys.exit(code)
