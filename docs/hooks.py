"""Hooks of mkdocs: navigation, notebooks, links and tables of this site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fields import fields_of
from links import absolute, home, unlinked
from mkdocs.structure.files import File
from notebooks import page_of

DOCS = Path(__file__).resolve().parent


def on_config(config: Any) -> Any:
    """Put every page of docs/results and docs/decisions into the navigation."""
    for item in config.nav:
        for title, folder in item.items():
            if isinstance(folder, str):
                pages = sorted((DOCS / folder).rglob("*.md"), key=lambda page: page.parts)
                item[title] = [str(page.relative_to(DOCS)) for page in pages]
    config.repo_url = home() or None
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Add a page for each notebook."""
    for notebook in sorted(DOCS.glob("tutorials/*.ipynb")):
        name = str(notebook.relative_to(DOCS).with_suffix(".md"))
        files.append(File.generated(config, name, content=page_of(notebook)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Rewrite links to files outside docs/, and insert the tables of fields."""
    path = DOCS / page.file.src_uri
    if address := home():
        markdown = absolute(markdown, path, address, keep=DOCS)
    else:
        markdown = unlinked(markdown, path, keep=DOCS)
    return re.sub(r"<!-- fields of (\w+) -->", lambda mark: fields_of(mark[1]), markdown)
