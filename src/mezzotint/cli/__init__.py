"""The command line: one thin verb a file."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

import torch

import mezzotint
from mezzotint.cli.average import average
from mezzotint.cli.doctor import doctor
from mezzotint.cli.evaluate import evaluate
from mezzotint.cli.report import report
from mezzotint.cli.reproduce import reproduce
from mezzotint.cli.sample import sample
from mezzotint.cli.sweep import sweep
from mezzotint.cli.train import train
from mezzotint.config import recipes
from mezzotint.errors import UserError, as_flags, nearest
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.run import Interrupted

USAGE = """usage: mezzotint VERB ...

  train RECIPE [--field value ...] [--out RUN] [--resume]   train a diffusion model
  sample RUN [-n 64] [--steps 50] [--guidance 2] ...        make pictures with it
  evaluate RUN [--samples 10k] [--network inception] ...    measure its pictures against the data
  evaluate VAE [--samples 1000] [--tile 16] ...             what an autoencoder gives back
  evaluate PICTURES --against PICTURES                      or any pictures against any others
  sweep RUN [--nfe 5 10 20] [--guidance 1 2] ...            find its best settings, and use them
  average RUN --length 0.1 [0.15 ...]                       rebuild longer or shorter averages
  report RUN... [--out report.html] ...                     a page of it, or of several compared
  doctor RUN [--samples 128]                                name what is wrong with it
  reproduce [--scale glyphs] [--only B] ...                 the report's experiments, a page of them

`mezzotint VERB --help` lists the verb's recipes or fields; recipes: {recipes}."""

VERBS: dict[str, Callable[[list[str]], None]] = {
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
    "sweep": sweep,
    "report": report,
    "doctor": doctor,
    "reproduce": reproduce,
    "average": average,
}


def main(arguments: list[str] | None = None) -> None:
    """The command `mezzotint`: exits with 0, 2 for what the user got wrong, 128 + a signal.

    With 1 where `doctor` found something wrong.
    """
    warnings.formatwarning = lambda message, *_: f"mezzotint: warning: {as_flags(str(message))}\n"
    given = sys.argv[1:] if arguments is None else arguments
    verb = given[0] if given else "--help"
    try:
        try:
            if verb == "--version":
                print(f"mezzotint {mezzotint.__version__}")
            elif verb in ("-h", "--help"):
                print(USAGE.format(recipes=", ".join(recipes.RECIPES)))
            elif verb not in VERBS:
                hint = nearest(verb, list(VERBS)) or f": choose {', '.join(VERBS)}"
                raise UserError(f"unknown verb {verb!r}{hint}")
            else:
                keep_freed_memory()
                VERBS[verb](given[1:])
        finally:
            sys.stdout.flush()  # not at Python's end, which complains where the reader has gone
    except BrokenPipeError:  # what reads our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (UserError, OSError) as error:
        _fail(str(error), 2)
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and "can't allocate memory" not in str(error):  # as torch says it of a CPU's
            raise
        _fail("out of memory: lower --batch, or for training raise --accumulate", 2)
    except Interrupted as stop:
        _fail(f"stopped by {stop}, all saved: go on with --resume", 128 + stop.number)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _fail(message: str, code: int) -> None:
    print(f"mezzotint: {' '.join(as_flags(message).split())}", file=sys.stderr)
    sys.exit(code)
