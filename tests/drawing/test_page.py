"""The HTML page, parsed as a browser would: its content, and that it loads nothing else."""

from __future__ import annotations

import pytest
import torch
from PIL import Image, ImageColor

from mezzotint.drawing.curves import Panel
from mezzotint.drawing.inline import COLOURS, chart, colours, png, spreads, tiled
from mezzotint.drawing.page import Chart, Faint, InlineImage, Page, Section, Table, render
from pages import Parsed, sound


def image(alt: str = "an image", across: int = 1) -> InlineImage:
    return InlineImage(png(Image.new("RGB", (4, 4))), alt, across=across)


def a_chart() -> Chart:
    panel = Panel({"a": [(0, 1), (1000, 500)]}, "images seen", "loss", log_y=True)
    return Chart(chart(panel, colours(["a"])), "loss falls")


def test_a_whole_page_is_sound() -> None:
    inner = Section("inner", sections=[Section("innermost", images=[image(), image()])])
    page = Page(
        "title",
        ["one fact"],
        [
            Section("curves", "words", [("a", "#123456")], [a_chart(), a_chart()]),
            Section("tables", tables=[Table([("a", "1"), (Faint("b"), Faint("2"))], ("", "n"))]),
            Section("sheet", tables=[Table([("a", image(across=2), image())])]),
            Section("both", sections=[inner]),
        ],
    )
    found = sound(render(page))
    assert {f"#s{i}" for i in (1, 2, 3, 4)} <= {link["href"] for link in found.all("a")}
    assert len(found.all("svg")) == 2
    assert len(found.all("img")) == 4
    assert [table["style"] for table in found.all("table") if "style" in table] == ["--n: 3"]
    for said in ("one fact", "words", "innermost", "2"):
        assert said in found.text


def test_what_is_said_is_escaped() -> None:
    evil = """<script>alert("1")</script> & 'x' {{ 7 * 7 }} https://a.example"""
    bad = InlineImage("data:image/png;base64,", evil, evil)
    everywhere = Section(
        evil,
        evil,
        [(evil, "#123456")],
        [Chart("<svg></svg>", evil, evil)],
        [Table([(evil, Faint(evil), bad)], (evil, evil, evil), evil)],
        [bad],
    )
    html = render(Page(evil, [evil], [everywhere, everywhere]))
    page = Parsed(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(evil) >= 14
    assert [image["alt"] for image in page.all("img")] == [evil] * 4


def test_flags_are_not_broken_and_can_be_copied() -> None:
    html = render(Page("title", ["give --network or --out-file <i>"], []))
    assert '<span class="flag">--network</span> or <span class="flag">--out-file</span>' in html
    assert ".flag { white-space: nowrap; }" in html
    assert "give --network or --out-file <i>" in Parsed(html).text


def test_a_chart_takes_the_page_s_colour_and_says_its_words_as_text() -> None:
    svg = a_chart().svg
    assert svg.startswith("<svg viewBox=")
    assert "currentColor" in svg
    assert "#000000" not in svg  # which a dark page would swallow
    assert "#ffffff" not in svg  # and this a light one
    assert ">images seen</text>" in svg
    assert ">loss</text>" in svg
    assert COLOURS[0] in svg


def test_bars_have_a_name_each() -> None:
    told = {"mean": [10.0, 20.0], "std": [1.0, 2.0]}
    svg = spreads(["red", "green"], {"made": told, "data": told}, grey_levels=True)
    for said in ("red", "green", "grey level"):
        assert f">{said}</text>" in svg
    assert COLOURS[0] in svg
    assert COLOURS[1] in svg


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG 2 defines it."""
    parts = [v / 255 for v in ImageColor.getrgb(colour)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("ground", ["#fbfaf8", "#171615"])
def test_lines_stand_out_from_a_light_and_a_dark_ground(ground: str) -> None:
    for colour in COLOURS:
        dark, light = sorted((luminance(colour), luminance(ground)))
        assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG 2.1, 1.4.11


def test_images_stand_in_rows_at_a_size_to_be_seen() -> None:
    images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 32, 32)
    sheet = tiled(images, 2)
    assert sheet.size == (2 * 96 + 3, 2 * 96 + 3)
    places = [(50, 50), (150, 50), (50, 150)]
    assert [sheet.getpixel(at) for at in places] == [(i, i, i, 255) for i in range(3)]
    assert sheet.getpixel((150, 150)) == (0, 0, 0, 0)  # whatever the page's colour is
    assert tiled(images, 8).width == 3 * 99 - 3
    assert tiled(torch.zeros(1, 1, 512, 256, dtype=torch.uint8), 1).size == (80, 160)
