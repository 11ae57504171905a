"""Carry out a request, and yield the content that the page shows at each step."""

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
    """The new content of the page; a field that is None leaves its widget unchanged."""

    status: str
    result: str | None = None
    command: str | None = None
    python: str | None = None


def answers(model: str | None, pipe: Pipeline, request: Samples | Edit) -> Generator[Answer]:
    """Carry out a request, and yield the content to show at each step.

    If the iterator is closed, the work stops. If the work raises an error, the iterator raises the
    same error.

    Args:
        model: The name or path of the model, for the command line and the Python code that the
            page shows; None if the model is only in memory.
        pipe: The model.
        request: The request.
    """
    editing = isinstance(request, Edit)
    make: Any = edits.make if editing else samples.make
    draw: Any = results.of_edit if editing else results.of_samples
    drawn: tuple[Tensor, ...] = ()
    # The empty texts remove the command line and the Python code of earlier images.
    yield Answer(markup.notice("at work"), command="", python="")
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
    """Return the content to show after an error: one line, and no images.

    The traceback is printed on the error stream, except for a UserError or a lack of memory.
    """
    if isinstance(error, UserError):
        return _error(str(error))
    if out_of_memory(error):
        return _error("out of memory: make fewer images at a time")
    traceback.print_exception(error, file=sys.stderr)
    return _error(
        f"mezzotint failed ({type(error).__name__}): see the terminal in which the playground runs"
    )


def _error(text: str) -> Answer:
    return Answer(markup.notice(text, error=True), "", "", "")
