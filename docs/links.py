"""Rewrite links of a page to files of the repository that are not part of the site."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)#\s]+)[^)\s]*\)")


def home() -> str:
    """Return the address of the repository in pyproject.toml, or an empty text."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return str(project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["home"]).rstrip("/")


def absolute(markdown: str, path: Path, home: str, keep: Path | None = None) -> str:
    """Make links to files of the repository absolute, except those to files in ``keep``."""

    def mended(link: re.Match[str]) -> str:
        file = _file(path, link[1], keep)
        if not file:
            return link[0]
        kind = "raw" if file.suffix in (".png", ".svg") else "blob"
        return f"]({home}/{kind}/main/{file.relative_to(ROOT)}{link[2] or ''})"

    return TARGET.sub(mended, markdown)


def unlinked(markdown: str, path: Path, keep: Path) -> str:
    """Replace links to files of the repository by their text, except files in ``keep``."""
    return LINK.sub(lambda link: link[1] if _file(path, link[2], keep) else link[0], markdown)


def _file(path: Path, target: str, keep: Path | None) -> Path | None:
    """Return the file of the repository that a link points to, unless it is in ``keep``."""
    if ":" in target:  # an address, or an image in the page itself
        return None
    file = (path.parent / target).resolve()
    return None if not file.exists() or (keep and file.is_relative_to(keep)) else file
