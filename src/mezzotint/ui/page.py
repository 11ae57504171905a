"""The layout of the page, and the functions that its widgets call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr

from mezzotint.errors import UserError
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.ui import conditions, markup, samples, widgets
from mezzotint.ui.answers import Answer, answers, failed
from mezzotint.ui.edits import KINDS, Edit, canvas, painted, read
from mezzotint.ui.models import Models, about
from mezzotint.ui.samples import Column, Samples
from mezzotint.ui.widgets import AUTOMATIC, OPTIONS, SETTINGS, SIDE, Widgets

Busy = defaultdict[str, Lock]  # a lock for each visitor, held while their work runs
Read = Callable[..., Samples | Edit]


def page(models: Models) -> Any:
    """Return the page that offers these models, as a ``Blocks`` of gradio."""
    pipe = models.load(models.names[0])
    with gr.Blocks(title="mezzotint", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        widgets.html("<h1>mezzotint</h1>", elem_id="mz-title")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                common = widgets.common(models, pipe)
            with gr.Column(scale=5, min_width=320):
                with gr.Tabs():
                    with gr.Tab("Sample"):
                        sample = {"go": gr.Button("Make samples", variant="primary")}
                    with gr.Tab("Compare"):
                        compare = widgets.compare(pipe)
                    with gr.Tab("Row"):
                        row = widgets.row()
                    with gr.Tab("Edit"):
                        edit = widgets.edit(pipe)
                stop, shown = widgets.answer()
        busy: Busy = defaultdict(Lock)
        tabs = ((_sample, sample), (_compare, compare), (_row, row), (_edit, edit))
        events = [_on_click(models, busy, reads, common, tab, shown) for reads, tab in tabs]
        _on_stop(stop, events, busy, shown[0])
        _on_model(models, common, compare, edit, shown[0])
        _on_upload(models, common, edit, shown[0])
    return blocks


def _on_click(
    models: Models, busy: Busy, reads: Read, common: Widgets, tab: Widgets, shown: list[Any]
) -> Any:
    """Make a tab's button carry out the request in the tab's widgets; requests wait in a queue."""

    def run(visitor: gr.Request, name: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        try:
            pipe = models.load(name)
            found = answers(models.called(name), pipe, reads(pipe, *values))
            with busy[str(visitor.session_hash)], closing(found):
                yield from map(_parts, found)
        except Exception as error:  # the page shows every error as a line
            yield _parts(failed(error))

    inputs = [widget for name, widget in common.items() if name != "about"]
    inputs += [widget for name, widget in tab.items() if name != "go"]
    return tab["go"].click(
        *(run, inputs, shown), show_progress_on=shown[0], concurrency_id="work", concurrency_limit=1
    )


def _parts(answer: Answer) -> tuple[Any, ...]:
    return tuple(gr.skip() if part is None else part for part in astuple(answer))


def _on_stop(stop: Any, events: list[Any], busy: Busy, status: Any) -> None:
    """Make a button stop a visitor's work, and show a notice when the work has stopped."""

    def stopped(visitor: gr.Request) -> str:
        with busy[str(visitor.session_hash)]:
            return markup.notice("stopped")

    cancelled = stop.click(None, cancels=events, queue=False)
    cancelled.then(stopped, None, status, queue=False)


def _on_model(
    models: Models, common: Widgets, compare: Widgets, edit: Widgets, status: Any
) -> None:
    """Update the widgets when another model is chosen."""
    settings = [group[name] for group in (common, compare) for name in SETTINGS]
    shown = [status, common["about"], common["classes"], common["condition"], edit["border"]]

    def choose(name: str) -> list[Any]:
        try:
            pipe = models.load(name)
        except Exception as error:  # the page shows every error as a line
            return [failed(error).status, *[gr.skip()] * (len(shown) + len(settings) - 1)]
        own = [widgets.of_classes(pipe), widgets.of_condition(pipe), widgets.of_border(pipe)]
        own += [*widgets.of_settings(pipe)] * 2
        ready = markup.notice(f"{name} is loaded")
        return [ready, markup.line(about(pipe)), *(gr.update(**each) for each in own)]

    common["model"].change(choose, common["model"], [*shown, *settings])


def _on_upload(models: Models, common: Widgets, edit: Widgets, status: Any) -> None:
    """Refuse an unusable upload at once; for inpainting, show the canvas for the mask."""

    def look(name: str, kind: str, file: str | None) -> tuple[Any, Any]:
        hidden = gr.update(visible=False)
        if not file:
            return gr.skip(), hidden
        try:
            pipe = models.load(name)
            image = read(pipe, Edit("vary", (Path(file),), (), 0, {}))[0]
        except Exception as error:  # the page shows every error as a line
            return failed(error).status, hidden
        ready = markup.notice(f"{Path(file).name} is scaled and cropped to the model's size")
        if kind != "inpaint":
            return ready, hidden
        ground = {"background": canvas(pipe, image, SIDE), "layers": [], "composite": None}
        return ready, gr.update(visible=True, value=ground)

    inputs = [common["model"], edit["kind"], edit["file"]]
    changes = [widget.change for widget in inputs]
    gr.on(changes, look, inputs, [status, edit["drawn"]])


def _sample(
    pipe: Pipeline, classes: list[int], condition: str, n: int, seed: int | None, *values: Any
) -> Samples:
    columns = samples.one(pipe.defaults, _settings(values))
    return _samples(columns, classes, condition, n, seed)


def _compare(
    pipe: Pipeline, classes: list[int], condition: str, n: int, seed: int | None, *values: Any
) -> Samples:
    columns = samples.two(pipe.defaults, _settings(values[:4]), _settings(values[4:]))
    return _samples(columns, classes, condition, n, seed)


def _row(
    pipe: Pipeline, classes: list[int], condition: str, n: int, seed: int | None, *values: Any
) -> Samples:
    *settings, through, numbers = values
    columns = samples.row(pipe.defaults, _settings(settings), through, numbers)
    return _samples(columns, classes, condition, n, seed)


def _samples(
    columns: tuple[Column, ...], classes: list[int], condition: str, n: int, seed: int | None
) -> Samples:
    return Samples(n, tuple(classes), _whole(seed), columns, conditions.words(condition))


def _whole(seed: int | None) -> int:
    """Return the seed as an integer. Raises UserError if the field of the seed is empty."""
    if seed is None:
        raise UserError("the seed is empty: type a whole number")
    return seed


def _edit(
    pipe: Pipeline, classes: list[int], condition: str, n: int, seed: int | None, *values: Any
) -> Edit:
    """Make a request for an edit from the values of the widgets."""
    kind, file, second, drawn, *rest = values[len(SETTINGS) :]
    options = dict(zip(OPTIONS, rest, strict=True))
    options["method"] = None if options["method"] == AUTOMATIC else options["method"]
    files = tuple(Path(path) for path in (file, second)[: KINDS[kind].files] if path)
    layers = (drawn or {}).get("layers", ())
    return Edit(
        *(kind, files, tuple(classes), _whole(seed)),
        settings=samples.changed(pipe.defaults, _settings(values[: len(SETTINGS)])),
        options={name: options[name] for name in KINDS[kind].options},
        mask=painted(layers, pipe.size) if kind == "inpaint" and files else None,
        condition=conditions.words(condition),
    )


def _settings(values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(SETTINGS, values, strict=True))
