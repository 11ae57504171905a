"""A self-contained HTML page, rendered from plain data, with embedded images and no scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mezzotint.errors import without_bidi

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class InlineImage:
    """An image as a data: URI; ``across`` is the number of small images side by side in it."""

    source: str
    alt: str
    caption: str = ""
    across: int = 1


@dataclass(frozen=True)
class Chart:
    """A drawing as an <svg> element whose text and lines have the page's colour."""

    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Faint:
    """Text in a fainter colour, for secondary information."""

    text: str


Cell: TypeAlias = str | Faint | InlineImage


@dataclass(frozen=True)
class Table:
    """A table: the first cell of each row is the row's name; ``head`` names the columns."""

    rows: Sequence[Sequence[Cell]]
    head: Sequence[str] = ()
    caption: str = ""

    @property
    def across(self) -> int:
        """The number of small images side by side in a row; 0 for a table without images."""
        rows = [[cell.across for cell in row if isinstance(cell, InlineImage)] for row in self.rows]
        return max((sum(row) for row in rows), default=0)


@dataclass(frozen=True)
class Section:
    """A heading and its content; ``legend`` pairs the name of each series with its colour."""

    title: str
    text: str = ""
    legend: Sequence[tuple[str, str]] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    images: Sequence[InlineImage] = ()
    sections: Sequence[Section] = ()


@dataclass(frozen=True)
class Page:
    """A page: its title, the lines of text below the title, and the sections."""

    title: str
    facts: Sequence[str]
    sections: Sequence[Section]


def render(page: Page) -> str:
    """Render the page as HTML, with all text escaped and all ids unique.

    Names may be written from right to left, so every cell and every name is a <bdi> element, whose
    writing direction does not affect the text around it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    environment.filters |= {"own": _own, "whole": _whole}
    return environment.get_template("page.html.j2").render(page=page)


def _readable(value: object) -> object:
    """Escape the characters that would change the writing direction of the text after them."""
    plain = isinstance(value, str) and not hasattr(value, "__html__")
    return without_bidi(str(value)) if plain else value


def _whole(text: str) -> Markup:
    """Escape a text for HTML, and keep each flag in it, such as --out, on one line."""
    from markupsafe import Markup, escape

    safe = str(escape(without_bidi(text)))
    return Markup(re.sub(r"--[a-z][a-z-]*", r'<span class="flag">\g<0></span>', safe))


def is_page(path: Path) -> bool:
    """Return whether a file is a page that this or an older version of mezzotint wrote."""
    with path.open("rb") as file:
        head = file.read(2_000).decode(errors="replace")
    return "img-src data:; style-src 'unsafe-inline'" in head


def _own(svg: str, name: str) -> Markup:
    """Make the ids of an <svg> unique, so that one page can hold many <svg> elements."""
    from markupsafe import Markup

    return Markup(re.sub(r'( id="|url\(#| (?:xlink:)?href="#)', rf"\g<1>{name}-", svg))
