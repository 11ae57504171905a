"""The answers to a request, one after another, as what the page shows."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from mezzotint.errors import UserError, counted, out_of_memory
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.ui import conditions, edits, markup, results, samples, texts
from mezzotint.ui.edits import Edit
from mezzotint.ui.samples import Samples
from mezzotint.ui.watched import watched


@dataclass(frozen=True)
class Answer:
    """What the page shows; None leaves a part as it is."""

    status: str
    result: str | None = None
    command: str | None = None
    python: str | None = None


def answers(model: str | None, pipe: Pipeline, request: Samples | Edit) -> Generator[Answer]:
    """Carry out a request, and yield what to show at each step.

    Closing the iterator stops the work. Errors of the work are raised by it.

    Args:
        model: What the command line calls the model; None for one that is only in memory.
        pipe: The model.
        request: The request.
    """
    editing = isinstance(request, Edit)
    make: Any = edits.make if editing else samples.make
    draw: Any = results.of_edit if editing else results.of_samples
    drawn: tuple[Tensor, ...] = ()
    yield Answer(markup.notice("at work"), command="", python="")  # not those of older images
    for last in watched(partial(make, pipe, request)):
        unseen = last.columns is not drawn
        drawn = last.columns
        yield Answer(
            markup.progress(last.done, last.calls),
            draw(pipe, request, drawn, final=False) if unseen else None,
        )
    made = counted(sum(map(len, drawn[1:] if editing else drawn)), "image") + " made"
    note = pipe.values.shown_as(drawn[0].shape[1])
    notes = [f"the page shows {note}"] if note else []
    notes += conditions.warned(pipe, request.condition)
    yield Answer(
        markup.notice("; ".join([made, *notes])),
        draw(pipe, request, drawn, final=True),
        texts.command(model, pipe, request),
        texts.python(model, pipe, request),
    )


def failed(error: Exception) -> Answer:
    """Return what the page shows of an error: a line, and neither a traceback nor older images.

    A bug's traceback is printed on the error stream.
    """
    if isinstance(error, UserError):
        return _error(str(error))
    if out_of_memory(error):
        return _error("out of memory: make fewer images at a time")
    traceback.print_exception(error, file=sys.stderr)
    return _error(
        f"mezzotint failed ({type(error).__name__}): the terminal of the playground says more"
    )


def _error(text: str) -> Answer:
    return Answer(markup.notice(text, error=True), "", "", "")
