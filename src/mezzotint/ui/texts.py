"""A request as a command line and as Python; both make the same images."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from textwrap import indent
from typing import Any

from mezzotint.data.values import EIGHT_BIT
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.ui import conditions
from mezzotint.ui.edits import Edit
from mezzotint.ui.samples import Column, Samples

BEGINNING = "import mezzotint as mz\n\npipe = mz.load({model!r})\n"
BORROWED = "# pipe is the model that the playground was given\n"
NOT_SAVED = "# this model is not in a folder: save it with pipe.save(FOLDER)\n"
WIDTH = 80  # longest call on one line


def command(model: str | None, pipe: Pipeline, request: Samples | Edit) -> str:
    """Return the command lines that make the images of a request, one for each column.

    Args:
        model: The name or path of the model; None if it is only in memory.
        pipe: The model.
        request: The request.
    """
    name, classes = model or "FOLDER", pipe.classes
    if isinstance(request, Edit):
        lines = [_edit(name, request, classes)]
    else:
        lines = [_sample(name, request, column, classes) for column in request.columns]
    return ("" if model else NOT_SAVED) + "\n".join(map(shlex.join, lines))


def python(model: str | None, pipe: Pipeline, request: Samples | Edit) -> str:
    """Return the Python code that makes the images of a request; see `command` for arguments."""
    text = BEGINNING.format(model=model) if model else BORROWED
    if isinstance(request, Edit):
        return text + _edit_in_python(pipe, request)
    calls = [_sample_in_python(pipe, request, column) for column in request.columns]
    if len(calls) == 1:
        return f"{text}images = {calls[0]}\n"
    lines = indent("".join(f"{call},\n" for call in calls), "    ")
    return f"{text}columns = [\n{lines}]\n"


def label(k: int, classes: Sequence[str]) -> str | int:
    """Return a class's name, or its index if the name is repeated, blank or begins with a dash."""
    name = classes[k]
    plain = name.strip() and not name.startswith("-") and classes.count(name) == 1
    return name if plain else k


def _sample(model: str, request: Samples, column: Column, classes: Sequence[str]) -> list[str]:
    labels = request.labels
    words = ["mezzotint", "sample", model, "-n", str(request.n)]
    words += _given([labels] if isinstance(labels, int) else labels or [], classes, request)
    return [*words, *_seed(request.seed), *_flags(column.settings), "--out", column.name]


def _edit(model: str, request: Edit, classes: Sequence[str]) -> list[str]:
    words = ["mezzotint", "edit", model, request.kind, *(path.name for path in request.files)]
    options = dict(request.options)
    if factor := options.pop("factor", None):
        words.append(str(factor))
    if request.mask is not None:
        options["mask"] = "mask.png"
    words += ["--fit", *_flags(options), *_given(request.classes, classes, request)]
    words += [] if request.kind == "interpolate" else _seed(request.seed)
    return [*words, *_flags(request.used), "--out", request.kind]


def _flags(options: dict[str, Any]) -> list[str]:
    given = {name: value for name, value in options.items() if value is not None}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def _given(labels: Sequence[int], classes: Sequence[str], request: Samples | Edit) -> list[str]:
    """Return the command-line flags for the classes and for the other conditions."""
    words = ["--labels", *(str(label(k, classes)) for k in labels)] if labels else []
    return words + (["--condition", *request.condition] if request.condition else [])


def _seed(seed: int) -> list[str]:
    return ["--seed", str(seed)] if seed else []


def _sample_in_python(pipe: Pipeline, request: Samples, column: Column) -> str:
    labels = request.labels
    named: Any = [label(k, pipe.classes) for k in labels] if isinstance(labels, list) else None
    if isinstance(labels, int):
        named = label(labels, pipe.classes)
    condition = conditions.values(pipe, request.condition)
    given = {"labels": named, "condition": condition, "seed": request.seed}
    return _call("pipe.sample", str(request.n), **given, **column.settings)


def _edit_in_python(pipe: Pipeline, request: Edit) -> str:
    """Return the Python code that makes the images of an edit."""
    options = dict(request.options)
    words, size, seed = ["images"], "pipe.size", {"seed": request.seed}
    match request.kind:
        case "vary":
            words = [f"images.repeat_interleave({options.pop('n')}, 0)"]
        case "outpaint":
            border = 2 * options.pop("border")
            size = f"(pipe.size[0] - {border}, pipe.size[1] - {border})"
        case "enlarge":
            size = f"(pipe.size[0] // {options['factor']}, pipe.size[1] // {options['factor']})"
        case "interpolate":
            words, seed = ["*images"], {}
    lines = [f"images = {_read(pipe, [path.name for path in request.files], size)}"]
    if request.mask is not None:
        lines.append('mask = mz.read_images(["mask.png"], pipe.size)[0].float().mean(0) / 255')
        words.append("mask")
    named: Any = tuple(label(k, pipe.classes) for k in request.classes)
    labels = named if len(named) == 2 else named[0] if named else None
    given = {"labels": labels, "condition": conditions.values(pipe, request.condition), **seed}
    made = _call(f"pipe.{request.kind}", *words, **options, **given, **request.used)
    return "\n".join([*lines, f"made = {made}\n"])


def _read(pipe: Pipeline, files: list[str], size: str) -> str:
    """Return the Python code that reads images in the model's format."""
    channels = pipe.codec.image_shape(pipe.shape)[0]
    given: dict[str, Any] = {"fit": True}
    words = [repr(files), size]
    if channels != 3:
        given["channels"] = channels
    if pipe.values != EIGHT_BIT:
        words.append("values=pipe.values")
    return _call("mz.read_images", *words, **given)


def _call(function: str, *words: str, **given: Any) -> str:
    """Return the Python code of a call; arguments that are None are left out."""
    arguments = [*words, *(f"{k}={v!r}" for k, v in given.items() if v is not None)]
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= WIDTH:
        return line
    return f"{function}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
