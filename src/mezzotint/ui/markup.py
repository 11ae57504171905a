"""The content of the page as HTML: images, progress and messages. All text is escaped."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from PIL import Image

from mezzotint.errors import printable
from mezzotint.evaluation.folder import marked

SMALL = 128  # pixels; smaller images are enlarged without smoothing
SLIDE = (  # JavaScript: shows only the column that the slider selects; at 0 it shows all columns
    "const box = this.closest('.mz-columns'), k = +this.value; "
    "const heads = box.querySelectorAll('th'); "
    "this.ariaValueText = this.nextElementSibling.value = k ? heads[k - 1].textContent : 'all'; "
    "box.classList.toggle('mz-one', k > 0); "
    "for (const cell of box.querySelectorAll('th, td')) cell.hidden = k && cell.cellIndex != k - 1"
)


@dataclass(frozen=True)
class Shown:
    """An image on the page. If the image has a file name, a click on it saves the image."""

    source: str
    caption: str
    name: str = ""
    small: bool = False


def shown(
    image: Image.Image, caption: str, name: str = "", mark: dict[str, Any] | None = None
) -> Shown:
    """Return an image for the page. Its PNG file records ``mark``, the settings of the image."""
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=marked(mark) if mark else None)
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return Shown(source, caption, name, max(image.size) < SMALL)


def grid(images: Sequence[Shown]) -> str:
    """Return images side by side, each with its caption."""
    cells = "".join(
        f"<figure>{_image(it)}<figcaption>{_text(it.caption)}</figcaption></figure>"
        for it in images
    )
    return f'<div class="mz-grid">{cells}</div>'


def table(columns: Sequence[tuple[str, Sequence[Shown]]], slider: bool) -> str:
    """Return a table of images; the images of a row have the same noise and class.

    Args:
        columns: The caption and the images of each column.
        slider: Whether the table has a slider that selects which column is shown.
    """
    head = "".join(f'<th scope="col">{_text(caption)}</th>' for caption, _ in columns)
    most = max((len(images) for _, images in columns), default=0)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{_image(of[i])}</td>" if i < len(of) else "<td></td>" for _, of in columns)
        + "</tr>"
        for i in range(most)
    )
    return (
        f'<div class="mz-columns">{_slider(len(columns)) if slider else ""}'
        f'<div class="mz-scroll" tabindex="0" role="region" aria-label="Columns of images">'
        f'<table class="mz-table" style="--n: {len(columns)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></div>"
    )


def _slider(columns: int) -> str:
    """Return a slider to put before a table: at 0 it shows all columns, at i only column i."""
    return (
        '<label class="mz-slide">Show '
        f'<input type="range" min="0" max="{columns}" value="0" oninput="{SLIDE}">'
        "<output>all</output></label>"
    )


def saved(sheet: Shown) -> str:
    """Return a link that saves a sheet of all images."""
    source, name, caption = sheet.source, _text(sheet.name), _text(sheet.caption)
    link = f'<a class="mz-save" href="{source}" download="{name}">{caption}</a>'
    return f'<p class="mz-saves">{link}<span>Click an image to save it.</span></p>'


def progress(done: int, calls: int) -> str:
    """Return a bar that shows how many of the denoiser calls are done."""
    share = done / calls if calls else 0
    return (
        f'<div class="mz-status" role="status"><progress max="1" value="{share:.3f}"></progress>'
        f"<span>{done:,} of {calls:,} calls of the network</span></div>"
    )


def notice(text: str, error: bool = False) -> str:
    """Return a message or an error as HTML; names in backquotes become code."""
    said = re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))
    kind, role = ("mz-error", "alert") if error else ("mz-note", "status")
    return f'<div class="mz-status {kind}" role="{role}"><span>{said}</span></div>'


def line(text: str) -> str:
    """Return a line of text as HTML."""
    return f'<p class="mz-line">{_text(text)}</p>'


def _image(it: Shown) -> str:
    kind = ' class="mz-small"' if it.small else ""
    image = f'<img{kind} src="{it.source}" alt="{_text(it.caption)}">'
    if not it.name:
        return image
    name = _text(it.name)
    return f'<a href="{it.source}" download="{name}" title="Save {name}">{image}</a>'


def _text(text: str) -> str:
    return escape(printable(text))
