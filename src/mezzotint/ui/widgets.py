"""The widgets of the page. A request finds the value of each widget by the widget's name."""

from __future__ import annotations

import random
from typing import Any

import gradio as gr

from mezzotint.diffusion.editing.posterior import POSTERIORS
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.spacings import SPACINGS
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.pipeline.restoring import REPAINT
from mezzotint.ui import markup
from mezzotint.ui.edits import KINDS, MOST_MADE
from mezzotint.ui.models import Models, about
from mezzotint.ui.samples import MOST

SETTINGS = ("sampler", "spacing", "steps", "guidance")
OPTIONS = ("strength", "n", "border", "factor", "method")
AUTOMATIC = "automatic"
NARROW = 110  # pixels
MARKER = "#e0327c"  # colour of the brush
SIDE = 480  # pixels of the canvas that masks are painted on
Widgets = dict[str, Any]


def html(value: str = "", **options: Any) -> Any:
    """Return an HTML widget whose layout depends on page.css only."""
    return gr.HTML(value, apply_default_css=False, **options)


def common(models: Models, pipe: Pipeline) -> Widgets:
    """Return the widgets that all tabs share."""
    model = gr.Dropdown(list(models.names), value=models.names[0], label="Model")
    return {
        "model": model,
        "about": html(markup.line(about(pipe)), elem_id="mz-about"),
        "classes": gr.Dropdown(label="Classes", multiselect=True, **of_classes(pipe)),
        "condition": gr.Textbox(label="Condition", max_lines=1, **of_condition(pipe)),
        **_images_and_seed(),
        **settings(pipe),
    }


def of_classes(pipe: Pipeline) -> Widgets:
    """Return the gradio options of the class widget, which depend on the model."""
    choices = [(name, k) for k, name in enumerate(pipe.classes)]
    none = "the classes of training images" if pipe.conditions else "every class in turn"
    info = f"Without a choice, samples show {none}, and edits have no class."
    return {"choices": choices, "value": [], "visible": bool(choices), "info": info}


def of_condition(pipe: Pipeline) -> Widgets:
    """Return the gradio options of the condition widget, which depend on the model."""
    names = [each.name for each in pipe.conditions]
    return {
        "value": "",
        "visible": bool(names),
        "placeholder": " ".join(f"{name}=VALUE" for name in names),
        "info": "One value for all images, or NAME=VALUE,VALUE with one for each.",
    }


def _images_and_seed() -> Widgets:
    n = gr.Slider(1, MOST, value=8, step=1, label="Images", buttons=[])
    with gr.Row(elem_classes="mz-pair"):
        seed = gr.Number(0, precision=0, label="Seed", min_width=NARROW)
        another = gr.Button("Another seed", size="sm", min_width=NARROW)
    another.click(lambda: random.randrange(1_000_000), None, seed, queue=False)
    return {"n": n, "seed": seed}


def settings(pipe: Pipeline) -> Widgets:
    """Return the widgets for the sampling settings."""
    sampler, spacing, steps, guidance = of_settings(pipe)
    with gr.Row():
        first = gr.Dropdown(label="Sampler", min_width=NARROW, **sampler)
        second = gr.Dropdown(label="Spacing", min_width=NARROW, **spacing)
    with gr.Row():
        third = gr.Number(label="Steps", precision=0, min_width=NARROW, scale=1, **steps)
        last = gr.Slider(
            *(0, 10), step=0.1, label="Guidance", buttons=[], min_width=180, scale=2, **guidance
        )
    return dict(zip(SETTINGS, (first, second, third, last), strict=True))


def of_settings(pipe: Pipeline) -> list[Widgets]:
    """Return the gradio options of the settings widgets, with the model's defaults."""
    defaults = pipe.defaults
    guided = (bool(pipe.every) and not pipe.few_step) or pipe.weaker is not None
    spacings = list(dict.fromkeys([*SPACINGS, defaults.spacing]))
    return [
        {"choices": list(SAMPLERS), "value": defaults.sampler},
        {"choices": spacings, "value": defaults.spacing},
        {"value": defaults.steps},
        {"value": defaults.guidance, "interactive": guided},
    ]


def compare(pipe: Pipeline) -> Widgets:
    """Return the widgets of the tab that compares two sets of settings."""
    html(
        markup.line(
            "A has the settings on the left, and B has the settings below. The noise is the same."
        )
    )
    return {**settings(pipe), "go": gr.Button("Compare A and B", variant="primary")}


def row() -> Widgets:
    """Return the widgets of the tab with a column of samples for each value of a setting."""
    values = {"guidance": "0, 1, 2, 4", "steps": "5, 10, 20, 50"}
    with gr.Row():
        through = gr.Radio(list(values), value="guidance", label="Setting", min_width=130)
        field = gr.Textbox(values["guidance"], label="Values", max_lines=1, min_width=130)
    through.change(values.__getitem__, through, field, queue=False)
    return {"through": through, "values": field, "go": gr.Button("Make a row", variant="primary")}


def edit(pipe: Pipeline) -> Widgets:
    """Return the widgets for edits; widgets that the chosen kind does not use are hidden."""
    kind = gr.Radio(list(KINDS), value="vary", show_label=False, container=False)
    text = html(markup.line(KINDS["vary"].text))
    with gr.Row():
        file = gr.File(label="Image", height=120, min_width=200)
        second = gr.File(label="Second image", height=120, min_width=200, visible=False)
    drawn, options = _canvas(), _options(pipe)

    def visible(kind: str) -> list[Any]:
        shown = [gr.update(visible=name in KINDS[kind].options) for name in options]
        return [markup.line(KINDS[kind].text), gr.update(visible=KINDS[kind].files == 2), *shown]

    kind.change(visible, kind, [text, second, *options.values()], queue=False)
    go = gr.Button("Edit", variant="primary")
    return {"kind": kind, "file": file, "second": second, "drawn": drawn, **options, "go": go}


def _canvas() -> Any:
    """Return the widget on which a visitor paints a mask."""
    brush = gr.Brush(default_size=48, colors=[MARKER], color_mode="fixed")
    return gr.ImageEditor(
        label="Mask",
        type="pil",
        brush=brush,
        canvas_size=(SIDE, SIDE),
        fixed_canvas=True,
        sources=(),
        transforms=(),
        layers=False,
        buttons=[],
        visible=False,
        elem_id="mz-mask",
    )


def _options(pipe: Pipeline) -> Widgets:
    methods = [AUTOMATIC, REPAINT, *POSTERIORS]
    widgets = (
        gr.Slider(0, 1, value=0.5, step=0.05, label="Strength", buttons=[]),
        gr.Slider(1, MOST_MADE, value=4, step=1, label="Images to make", buttons=[]),
        gr.Slider(label="Border in pixels", buttons=[], visible=False, **of_border(pipe)),
        gr.Radio([2, 4, 8], value=2, label="Factor", visible=False),
        gr.Dropdown(methods, value=AUTOMATIC, label="Method", visible=False),
    )
    return dict(zip(OPTIONS, widgets, strict=True))


def of_border(pipe: Pipeline) -> Widgets:
    """Return the gradio options of the widget for the border of an outpainting, in pixels."""
    most = max(1, (min(pipe.size) - 1) // 2)
    return {"value": min(pipe.size) // 4, "minimum": 1, "maximum": most, "step": 1}


def answer() -> tuple[Any, list[Any]]:
    """Return the button that stops the work, and the widgets for the fields of an `Answer`."""
    with gr.Row(elem_id="mz-bar"):
        status = html(markup.notice("ready"), elem_id="mz-status", scale=5)
        stop = gr.Button("Stop", elem_id="mz-stop", size="sm", scale=0, min_width=80)
    result = html(elem_id="mz-result")
    code: Widgets = {"interactive": False, "wrap_lines": True, "show_line_numbers": False}
    code |= {"lines": 1, "buttons": ["copy"], "elem_classes": "mz-code"}
    with gr.Accordion("Copy as a command line or as Python", open=False):
        command = gr.Code(language="shell", label="Command line", **code)
        python = gr.Code(language="python", label="Python", **code)
    return stop, [status, result, command, python]
