"""The images of a request, as the page shows and saves them.

Each PNG file records its model, settings, conditions and seed, like the grid of `write_samples`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mezzotint.config.sampling import UNGUIDED
from mezzotint.drawing import figures
from mezzotint.evaluation.folder import made_by, names
from mezzotint.pipeline.conditioning import labels_of
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.ui import conditions, markup
from mezzotint.ui.edits import KINDS, Edit, mask_image
from mezzotint.ui.markup import Shown
from mezzotint.ui.samples import Samples

SHEET = "Save all as one sheet"


def of_samples(pipe: Pipeline, request: Samples, columns: Sequence[Tensor], *, final: bool) -> str:
    """Return samples as HTML: a single column becomes a grid, several columns become a table.

    Args:
        pipe: The model.
        request: The request.
        columns: The images of each column so far, (n, C, H, W).
        final: Whether the images are finished. Only finished images can be saved.
    """
    condition = conditions.values(pipe, request.condition)
    given = pipe.given(request.n, request.labels, condition)
    labels = labels_of(pipe, given)
    in_turn = request.labels is None and condition is None
    titles = [names(pipe)[k] for k in labels] if labels else list(map(str, range(request.n)))
    marks: list[dict[str, Any]] = [
        made_by(pipe, given, in_turn, request.seed, column.settings) if final else {}
        for column in request.columns
    ]
    shown = [
        _column(pipe, images, titles, f"{column.name}-{{:02d}}.png" if final else "", mark)
        for images, column, mark in zip(columns, request.columns, marks, strict=False)
    ]
    captions = [column.caption for column in request.columns]
    if len(captions) == 1:
        body = markup.grid(shown[0]) if shown else ""
    else:
        later: list[list[Shown]] = [[] for _ in captions[len(shown) :]]
        body = markup.table(list(zip(captions, [*shown, *later], strict=True)), slider=final)
    if not final:
        return body
    if len(captions) == 1:
        sheet = figures.grid(pipe.values.visible(columns[0]), labels, names(pipe))
        mark = {**marks[0], "n": request.n}
    else:
        sheet, mark = _sheet(pipe, columns, captions), {"columns": marks}
    return body + markup.saved(markup.shown(sheet, SHEET, "samples.png", mark))


def of_edit(pipe: Pipeline, request: Edit, columns: Sequence[Tensor], *, final: bool) -> str:
    """Return the HTML of an edit: the given images and, if ``final`` is set, the edited images.

    The mask of an inpainting is shown, too. A finished interpolation shows only the edited images,
    because the first and the last of them are made from the given images.
    """
    given, walk = columns[0], request.kind == "interpolate"
    shown = [] if walk and final else _column(pipe, given, ["given"] * len(given))
    if request.mask is not None:
        mask = mask_image(request.mask)
        shown.append(markup.shown(figures.to_pil(mask), "mask", "mask.png"))
    if not final:
        return markup.grid(shown)
    made, mark = columns[1], _edited_by(pipe, request)
    titles = [str(i + 1) for i in range(len(made))] if len(made) > 1 else ["made"]
    shown += _column(pipe, made, titles, f"{request.kind}-{{:02d}}.png", mark)
    rows = {"made": made} if walk else {"given": given, "made": made}
    sheet = _sheet(pipe, list(rows.values()), list(rows))
    return markup.grid(shown) + markup.saved(
        markup.shown(sheet, SHEET, f"{request.kind}.png", mark)
    )


def _column(
    pipe: Pipeline,
    images: Tensor,
    titles: Sequence[str],
    file: str = "",
    mark: dict[str, Any] | None = None,
) -> list[Shown]:
    """Return images (n, C, H, W) for the page, with titles.

    If ``file`` names a file, a click on an image saves it, and its PNG file records ``mark``.
    """
    return [
        markup.shown(
            *(_pil(pipe, image), title, file.format(i)), {**mark, "image": i} if mark else None
        )
        for i, (image, title) in enumerate(zip(images, titles, strict=True))
    ]


def _edited_by(pipe: Pipeline, request: Edit) -> dict[str, Any]:
    """Return the settings, conditions and options that edited images were made with."""
    settings, labels = dict(request.used), list(request.classes) or None
    if not (labels or request.condition) or "guidance" in KINDS[request.kind].ignores:
        settings = {**UNGUIDED, **settings}
    if "sampler" in KINDS[request.kind].ignores:
        settings["sampler"] = "ddim"
    condition = conditions.values(pipe, request.condition)
    given = pipe.given(len(labels or [0]), labels, condition) if labels or condition else None
    return {
        **made_by(pipe, given, False, request.seed, settings),
        "edit": request.kind,
        "of": [path.name for path in request.files],
        **request.options,
    }


def _pil(pipe: Pipeline, image: Tensor) -> Image.Image:
    """Convert an image for Pillow; if PNG cannot store it unchanged, it becomes 8-bit."""
    whole = pipe.values.fits_png(len(image))
    return figures.to_pil(image if whole else pipe.values.visible(image[None])[0])


def _sheet(pipe: Pipeline, rows: Sequence[Tensor], titles: Sequence[str]) -> Image.Image:
    """Draw a sheet that has a row of images for each title."""
    of = [k for k, images in enumerate(rows) for _ in images]
    return figures.grid(pipe.values.visible(torch.cat(list(rows))), of, titles)
