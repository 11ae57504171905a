"""The command line. Each verb has a small file of its own."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

import mezzotint
from mezzotint.cli.answer import FLAG, MEANING
from mezzotint.errors import (
    Interrupted,
    UserError,
    as_flags,
    nearest,
    out_of_memory,
    printable,
)
from mezzotint.processes import first, several, single, speaks

VERBS = {
    "train": [
        ("RECIPE [--out RUN] [--FIELD VALUE]", "train a model"),
        ("--resume RUN [--images 400000]", "continue its training"),
    ],
    "distil": [("MODEL [--calls 2] ...", "train a model that needs few calls")],
    "sample": [("MODEL [-n 64] [--guidance 2] ...", "make samples")],
    "edit": [("MODEL KIND IMAGE... [--out FOLDER]", "vary, fill in or enlarge images")],
    "evaluate": [
        ("MODEL [--samples 10k] ...", "compare its samples with the data"),
        ("VAE [--samples 1000] ...", "measure an autoencoder"),
        ("IMAGES --against IMAGES", "compare two sets of images"),
    ],
    "data": [("PATH [--examples grid.png] ...", "describe a data set")],
    "sweep": [("RUN [--nfe 5 10] [--guidance 1 2]", "find the best sampling settings")],
    "average": [("RUN --length 0.1", "rebuild its averaged weights")],
    "report": [("RUN... [--out report.html] ...", "write a page about runs")],
    "doctor": [("RUN [--samples 128]", "look for faults")],
    "export": [("MODEL [--format onnx] [--out FOLDER]", "write it for other programs")],
    "play": [("[MODEL] [--port 7860]", "sample and edit in a browser")],
    "reproduce": [("[--scale glyphs] [--only B] ...", "carry out the paper's experiments")],
}
"""The usage and the purpose of each verb.

The module `mezzotint.cli.VERB` defines the verb. It is imported only when the verb is called,
because most verbs import torch, and `mezzotint --help` should not wait for that."""

SHARED = ("train", "distil", "sample", "evaluate")
"""The verbs that can divide their work among the processes of torchrun."""
DEVICE = "--device"


def usage() -> str:
    """Return the text of ``mezzotint --help``."""
    lines = [
        f"  {f'{verb} {how}':<43} {what}" for verb, uses in VERBS.items() for how, what in uses
    ]
    return "\n".join(
        [
            "usage: mezzotint VERB ...",
            "",
            *lines,
            "",
            "`mezzotint help VERB` shows the options of a verb, `help train` the recipes.",
            "`mezzotint --completion bash` (or zsh, fish) prints a script for completion.",
            "`mezzotint --version` (or -V) prints the version.",
            "With `--json`, a verb (or --version) prints one JSON document for a program.",
            "With `--device cuda:1` (or cpu, mps), a verb computes on that device.",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command `mezzotint`.

    The exit code is 0 on success, 1 if `doctor` found something wrong, and 2 after an error that
    the user can correct. It is 128 + N if signal number N stopped the command. docs/programs.md
    documents these codes, and what --json prints.
    """
    warnings.formatwarning = lambda message, *_: f"mezzotint: warning: {_line(str(message))}\n"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of files may not be UTF-8
            stream.reconfigure(errors="backslashreplace")
    if several():  # torch would warn that it searches for unused weights, as it is asked to
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    words = sys.argv[1:] if arguments is None else arguments
    given = [word for word in words if word != FLAG]
    as_json = given != words
    try:
        try:
            given, device = _placed(given)
            verb = given[0] if given else "--help"
            if verb in ("-V", "--version"):
                _version(as_json)
            elif verb in ("-h", "--help") or given == ["help"]:
                print(usage())
            elif verb == "--completion":
                print(_completion(given[1:]), end="")
            elif verb == "help":
                _call(given[1], [*given[2:], "--help"])
            else:
                _call(verb, given[1:], as_json, device)
        finally:
            sys.stdout.flush()  # so that a closed pipe raises here and not when Python exits
    except BrokenPipeError:  # the reader of the output has stopped, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except UserError as error:
        if error.elsewhere:
            sys.exit(2)
        _fail(str(error), 2)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = ": free space on the disk, and give the command again" if full else ""
        _fail(f"{error}{advice}", 2)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _fail("out of memory: lower --batch, or for training raise --accumulate", 2)
    except Interrupted as stop:
        if first():  # the processes of torchrun stop together
            _fail(str(stop), 128 + stop.number)
        sys.exit(128 + stop.number)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _placed(words: list[str]) -> tuple[list[str], str | None]:
    """Separate ``--device NAME`` from the other arguments of a command.

    Returns the other arguments and NAME. NAME is None if the flag is not given.
    """
    for i, word in enumerate(words):
        flag, equals, name = word.partition("=")
        if flag == DEVICE:
            after = i + 1 if equals else i + 2
            if after > len(words):
                raise UserError("`device` needs a name: give cpu, cuda, cuda:1 or mps")
            return [*words[:i], *words[after:]], name if equals else words[i + 1]
    return words, None


def _call(
    verb: str, arguments: list[str], as_json: bool = False, device: str | None = None
) -> None:
    """Carry out a verb. With ``as_json``, the standard output holds only the JSON document."""
    if verb not in VERBS:
        hint = nearest(verb, list(VERBS)) or f": choose {', '.join(VERBS)}"
        raise UserError(f"unknown verb {verb!r}{hint}")
    from mezzotint.cli.help import HELP, HELP_ALL
    from mezzotint.cli.patience import Patience
    from mezzotint.networks.allocator import keep_freed_memory

    if several() and verb not in SHARED:
        raise single(verb)
    keep_freed_memory()
    if device is not None:
        from mezzotint.devices import use_device

        use_device(device)
    module = import_module(f"mezzotint.cli.{verb}")
    carry_out = getattr(module, verb)
    answers = carry_out.__annotations__.get("return") != "None"
    helped = bool({*HELP, HELP_ALL} & {*arguments})
    if as_json and not answers and not helped:
        raise UserError(f"{verb} cannot write JSON: leave out `json`")
    try:
        with _aside(as_json and not helped), Patience(verb):
            answer = carry_out(arguments)
    except SystemExit as stop:
        whole = HELP_ALL in arguments or not hasattr(module, "OFTEN")
        if helped and whole and answers and not stop.code:
            print(f"\n{MEANING}")
        raise
    if as_json and first():
        print(answer.document())
    if answer and answer.code:
        sys.exit(answer.code)


@contextmanager
def _aside(as_json: bool) -> Iterator[None]:
    """Run a block; with ``as_json``, send what it prints to the error stream.

    The standard output then holds nothing but JSON. In every process except the first, the block's
    standard output and warnings are dropped.
    """
    if first():
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _version(as_json: bool) -> None:
    if as_json:
        from mezzotint.cli.versions import versions

        print(versions().document())
    else:
        print(f"mezzotint {mezzotint.__version__}")


def _completion(arguments: list[str]) -> str:
    """Return a completion script, made from the help of each verb."""
    from mezzotint.cli.completion import SHELLS, script
    from mezzotint.errors import unknown

    if len(arguments) != 1:
        raise UserError(f"`completion` needs a shell: choose {', '.join(SHELLS)}")
    if arguments[0] not in SHELLS:
        raise unknown("shell", arguments[0], SHELLS)
    from mezzotint.cli.edit import KINDS
    from mezzotint.cli.help import HELP_ALL, options, printed
    from mezzotint.config.recipes import RECIPES
    from mezzotint.pipeline import shipped

    recipes, models = list(RECIPES), shipped.names()
    names = {
        "train": recipes,
        "distil": models,
        "sample": models,
        "edit": [*models, *KINDS],
        "evaluate": models,
        "play": models,
    }
    about = {"train": recipes[:1], "distil": models[:1], "edit": [*models[:1], *list(KINDS)[:1]]}
    words = {}
    for verb in VERBS:
        whole = printed(partial(_call, verb, [*about.get(verb, ()), HELP_ALL]))
        words[verb] = [*names.get(verb, ()), *options(whole), "--help", HELP_ALL, DEVICE]
    return script(arguments[0], [*VERBS, "help"], {**words, "help": list(VERBS)})


def _fail(message: str, code: int) -> None:
    if speaks():
        print(f"mezzotint: {_line(message)}", file=sys.stderr)
    sys.exit(code)


def _line(message: str) -> str:
    """Return a message as one line, with argument names as flags and control characters escaped."""
    return printable(" ".join(as_flags(message).split()))
