"""One self-contained HTML page of plain data: no script, no address, every picture inside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Picture:
    """A picture as a data: URI, in which ``across`` small ones stand side by side."""

    source: str
    alt: str
    caption: str = ""
    across: int = 1


@dataclass(frozen=True)
class Chart:
    """A drawing as an <svg> element, whose text and lines take the page's colour."""

    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Faint:
    """Words that matter less than those beside them."""

    text: str


Cell: TypeAlias = str | Faint | Picture


@dataclass(frozen=True)
class Table:
    """Rows of cells, the first of each naming the row; ``head`` names the columns."""

    rows: Sequence[Sequence[Cell]]
    head: Sequence[str] = ()
    caption: str = ""

    @property
    def across(self) -> int:
        """Of a table of pictures: how many small ones stand side by side in a row, else 0."""
        rows = [[cell.across for cell in row if isinstance(cell, Picture)] for row in self.rows]
        return max((sum(row) for row in rows), default=0)


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it. ``legend``: names and the colours of their lines."""

    title: str
    text: str = ""
    legend: Sequence[tuple[str, str]] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    sections: Sequence[Section] = ()


@dataclass(frozen=True)
class Page:
    title: str
    facts: Sequence[str]
    sections: Sequence[Section]


def render(page: Page) -> str:
    """The page as HTML; all text is escaped, and each id stands once."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["own"] = _own
    return environment.get_template("page.html.j2").render(page=page)


def _own(svg: str, name: str) -> Markup:
    """An <svg> with ids of its own, so that many can stand in one page."""
    return Markup(re.sub(r'( id="|url\(#| (?:xlink:)?href="#)', rf"\g<1>{name}-", svg))
