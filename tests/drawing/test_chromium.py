"""The page in a real browser: from the disk, on a phone, in dark and light colours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mezzotint as mz
from chromium import CHROMIUM, browser_of
from conftest import small_and_own
from mezzotint.drawing.page import Page, Section, Table, render
from mezzotint.pages import samples

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on the path")


@pytest.fixture(scope="module")
def written(finished: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        small_and_own(cache, patch)
        patch.setattr(samples, "STEPS", (2, 3))  # fewer than a page has
        return mz.report(finished, path, samples=2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browser_of(playwright) as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_whole_and_fits(browser, written: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(written.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [written.as_uri()]
    widths = tab.evaluate("[...document.images].map(i => i.complete ? i.naturalWidth : 0)")
    assert len(widths) > 40
    assert min(widths) > 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ground = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(251, 250, 248)", "dark": "rgb(23, 22, 21)"}[scheme]
    # What is drawn in the page's colour can be read on its ground.
    ink = tab.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert ink == {"light": "rgb(33, 30, 27)", "dark": "rgb(233, 229, 223)"}[scheme]
    context.close()


def test_a_wide_table_shows_that_it_scrolls_and_its_labels_do_not_break(browser, tmp_path) -> None:
    head = ["", "the paper's FID", "our fd-cifar10 (95 % interval)", "images seen"]
    source = "2.90 (Nichol and Dhariwal 2021, CIFAR-10, 4,000 steps)"
    rows = [["D: adaptive DDIM 50", source, "192.6 (170.6 to 214.6)", "7,808,000"]]
    page = tmp_path / "page.html"
    page.write_text(render(Page("Wide", [], [Section("One", tables=[Table(rows, head)])])))
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    scroll = "document.querySelector('.scroll')"
    assert tab.evaluate(f"{scroll}.scrollWidth > {scroll}.clientWidth")
    # The shadow stays with the box, the paper over it moves with the table.
    assert tab.evaluate(f"getComputedStyle({scroll}).backgroundAttachment") == (
        "local, local, scroll, scroll"
    )
    lines = "[...document.querySelectorAll('th')].map(th => [th.innerText, th.offsetHeight])"
    heights = {height for text, height in tab.evaluate(lines) if text and "adaptive" not in text}
    assert len(heights) == 1
    assert max(heights) < 30
    tab.close()
