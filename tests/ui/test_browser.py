"""The playground in a real browser, as a visitor uses it; nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

import mezzotint as mz
from chromium import CHROMIUM, browser_of

pytest.importorskip("gradio", reason="needs the package gradio, of the extra ui")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on the path"),
]


def slow_net(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
    """A network whose calls are slow enough to be seen and stopped."""
    time.sleep(0.1)
    shift = 0 if labels is None else labels.view(-1, 1, 1, 1) / 4
    return 0.1 * x + shift


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list of the addresses on other machines to which Python tries to connect."""
    found: list[Any] = []
    connect = socket.socket.connect

    def recorded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] != "127.0.0.1":
            found.append(address)
            raise ConnectionRefusedError
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    return found


@pytest.fixture
def playground(
    outside: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[mz.Playground]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")  # the playground has it off by itself
    pipe = mz.Pipeline(slow_net, mz.cosine(100), "v", (3, 32, 32), classes=("cat", "<b>dog"))
    running = mz.play(pipe, port=0, block=False)
    yield running
    running.close()


@pytest.fixture
def browser() -> Iterator[Any]:
    with browser_of(playwright) as chromium:
        yield chromium


class Visitor:
    """A visitor with their own browser window, whose requests are recorded."""

    def __init__(self, browser: Any, url: str, width: int = 1200) -> None:
        self.asked: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": 844})
        self.tab = self.context.new_page()
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(url)
        self.tab.get_by_role("button", name="Make samples").wait_for(timeout=30_000)

    def click(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).click()

    def steps(self, steps: int) -> None:
        field = self.tab.get_by_label("Steps").first
        field.fill(str(steps))
        field.blur()

    def says(self, pattern: str) -> None:
        status = self.tab.locator("#mz-status .mz-status")
        playwright.expect(status).to_have_text(re.compile(pattern), timeout=20_000)

    @property
    def images(self) -> list[str]:
        found: list[str] = self.tab.locator("#mz-result img").evaluate_all(
            "all => all.map(image => image.src)"
        )
        return found

    def upload(self, path: Path) -> None:
        self.tab.locator("input[type=file]").first.set_input_files(path)


def test_a_visitor_samples_edits_and_stops(
    playground: mz.Playground, browser: Any, outside: list[Any], tmp_path: Path
) -> None:
    visitor = Visitor(browser, playground.url)
    tab = visitor.tab

    # Samples appear step by step, and are other ones with another guidance.
    visitor.steps(20)
    visitor.click("Make samples")
    visitor.says(r"^([2-9]|1\d) of 20 calls of the network")
    early = visitor.images
    visitor.says("^8 images made")
    made = visitor.images
    assert len(early) == len(made) == 8
    assert early != made
    assert tab.locator("figcaption", has_text="<b>dog").count() == 4  # escaped
    slider = tab.get_by_label("number input for Guidance").first
    slider.fill("3")
    slider.blur()
    visitor.click("Make samples")
    visitor.says("at work|of 20 calls")
    visitor.says("^8 images made")
    assert not {*visitor.images} & {*made}
    tab.get_by_role("button", name="Copy as").click()
    playwright.expect(tab.get_by_text("pipe.sample(8").first).to_be_visible()

    # Two settings, and a row, from the same noise.
    visitor.steps(4)
    tab.get_by_role("tab", name="Compare").click()
    visitor.click("Compare A and B")
    visitor.says("^16 images made")
    tab.get_by_role("tab", name="Row").click()
    visitor.click("Make a row")
    visitor.says("^32 images made")
    assert tab.locator(".mz-table th").all_inner_texts() == [
        f"guidance {scale}" for scale in (0, 1, 2, 4)
    ]
    row = tab.get_by_label("Show")
    row.fill("3")
    assert tab.locator(".mz-slide output").inner_text() == "guidance 2"
    assert tab.locator(".mz-table th:visible").all_inner_texts() == ["guidance 2"]
    assert tab.locator(".mz-table img:visible").count() == 8
    row.press("ArrowRight")
    assert tab.locator(".mz-table th:visible").all_inner_texts() == ["guidance 4"]
    row.fill("0")
    assert tab.locator(".mz-table img:visible").count() == 32

    # An empty seed.
    tab.get_by_label("Seed", exact=True).fill("")
    visitor.click("Make a row")
    visitor.says("^the seed is empty: type a whole number$")
    tab.get_by_label("Seed", exact=True).fill("0")

    # What is stopped ends, and the next work begins at once.
    visitor.steps(100)
    visitor.click("Make a row")
    visitor.says("of 400 calls")
    visitor.click("Stop")
    visitor.says("^stopped$")
    tab.wait_for_timeout(300)  # the page hears of it too
    assert not tab.get_by_text("Error", exact=True).is_visible()
    visitor.steps(4)
    visitor.click("Make a row")
    visitor.says("^32 images made")

    # Uploads that are no use are refused as they come.
    (tmp_path / "bad.png").write_text("not an image")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    tab.get_by_role("tab", name="Edit").click()
    visitor.click("Edit")
    visitor.says("^vary needs 1 image, not 0: upload one$")
    for name, message in (("bad", "not an image$"), ("large", "has 100 megapixels: scale it down")):
        visitor.upload(tmp_path / f"{name}.png")
        visitor.says(f"^{name}.png:? {message}")
        tab.get_by_label(re.compile("Remove|Clear")).first.click()
    visitor.upload(tmp_path / "photo.png")
    visitor.says("^photo.png is scaled")

    # A mask is needed, and what it covers is filled in.
    tab.get_by_label("inpaint").click()
    canvas = tab.locator("#mz-mask canvas").first
    canvas.wait_for()
    tab.wait_for_timeout(2_000)  # it draws itself
    visitor.click("Edit")
    visitor.says("^nothing is marked")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x - 60, y)
    tab.mouse.down()
    tab.mouse.move(x + 60, y + 20, steps=10)
    tab.mouse.up()
    tab.wait_for_timeout(500)
    visitor.click("Edit")
    visitor.says("^1 image made")
    assert tab.locator("#mz-result figcaption").all_inner_texts() == ["given", "mask", "made"]

    # A mask without an image.
    tab.get_by_label(re.compile("Remove|Clear")).first.click()
    visitor.click("Edit")
    visitor.says("^inpaint needs 1 image, not 0")

    assert "Traceback" not in tab.content()
    strangers = [
        url for url in visitor.asked if not url.startswith((playground.url, "data:", "blob:"))
    ]
    assert strangers == []
    assert outside == []


def test_two_visitors_queue_and_a_phone_has_room(playground: mz.Playground, browser: Any) -> None:
    first, second = (Visitor(browser, playground.url, width) for width in (1200, 390))
    for visitor in (first, second):
        visitor.steps(12)
        visitor.click("Make samples")
    first.says("of 12 calls")
    assert second.images == []
    first.says("^8 images made")
    second.says("^8 images made")
    assert second.images == first.images
    assert second.tab.evaluate("document.documentElement.scrollWidth") <= 390
