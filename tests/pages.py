"""Parse a page as a browser would, and check what must hold for every page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "img", "col", "br", "link", "input"}


class Parsed(HTMLParser):
    """The tags with their attributes, and the text. Every tag must be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def sound(html: str) -> Parsed:
    """Check what must hold for every page, and return the page parsed."""
    assert html.startswith("<!doctype html>")
    page = Parsed(html)
    assert page.all("html")[0]["lang"] == "en"
    assert "script" not in {tag for tag, _ in page.tags}
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href"):
                assert value is not None
                assert value.startswith(("data:image/png;base64,", "#"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', html)
    assert {a or b for a, b in links} <= set(ids)
    assert all(image["alt"] for image in page.all("img"))
    assert all(one["aria-label"] for one in page.all("div") if one.get("role"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    return page
