"""Names of files and classes that could move the cursor or turn the text (issue 23, l and q)."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from rich.progress import MofNCompleteColumn

from mezzotint import cli
from mezzotint.data import find_source, prepare
from mezzotint.drawing.bars import progress
from mezzotint.drawing.page import InlineImage, Page, Section, Table, render
from mezzotint.errors import UserError, printable

from commands import CapSys, call
from trees import grown, plant

ESC, RLO = "\x1b[2J", "\u202e"
RAW = ("\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066", "\u200f", "\u2028")


def clean(text: str) -> bool:
    return not any(mark in text for mark in RAW)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain, é, שלום and 文", "plain, é, שלום and 文"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("a\u202eb\u2066c\u200e", r"a\u202eb\u2066c\u200e"),
        ("\x9b31m\x7f\u2028", r"\x9b31m\x7f\u2028"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
    ],
)
def test_what_is_not_text_is_written_out(text, written) -> None:
    assert printable(text) == written
    assert printable(written) == written
    printable(text).encode()


def test_names_of_classes_and_files_are_printed_as_text(tmp_path, capsys: CapSys) -> None:
    names = [f"a{ESC}", f"b{RLO}gnp", "c\nwarning: none", "\u200fd"]
    root = plant(tmp_path / f"set{ESC}", grown(names), {f"a{ESC}/x{RLO}.txt": ""})
    code, said, _ = call(capsys, "data", str(root))
    assert code == 0
    assert clean(said)
    assert r"a\x1b[2J: 2, b\u202egnp: 2, c\nwarning: none: 2, \u200fd: 2" in said
    assert r"x\u202e.txt" in said
    (root / f"a{ESC}" / "0.png").write_bytes(b"x")
    code, _, err = call(capsys, "train", "glyphs-ddpm", "--data", str(root), "--out", "x")
    assert code == 2
    assert clean(err)
    assert len(err.splitlines()) == 1
    assert r"a\x1b[2J/0.png (not an image)" in err


def test_control_characters_are_in_no_class_but_direction_stays(tmp_path) -> None:
    """So nothing that shows the classes of a model prints control characters."""
    root = plant(tmp_path / "d", grown([f"a{ESC}", "b\u200f"]))
    assert find_source(str(root)).classes == (r"a\x1b[2J", "b\u200f")
    plant(root, grown([r"a\x1b[2J"]))
    with pytest.raises(UserError, match=r"several class folders whose names look the same when"):
        prepare(root)


def test_warnings_and_what_is_printed_are_text(capsys: CapSys, monkeypatch) -> None:
    def act(arguments: list[str]) -> None:
        print(f"a table of {ESC}\tand {RLO}\nof two lines")

    monkeypatch.setattr("mezzotint.cli.data.data", act)
    assert call(capsys, "data", "x")[1] == "a table of \\x1b[2J\tand \\u202e\nof two lines\n"
    text = warnings.formatwarning(f"the folder {ESC}\nis odd: pass `size`", UserWarning, "a.py", 1)
    assert text == "mezzotint: warning: the folder \\x1b[2J is odd: pass --size\n"


@pytest.mark.parametrize("name", ["a[/b]", "[red]a", f"x{ESC}"])
def test_a_bar_takes_a_name_for_text(name, monkeypatch, capsys: CapSys) -> None:
    """Rich markup in the name of a folder once ended the preparation with a traceback."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    with progress(MofNCompleteColumn()) as bar:
        bar.add_task(f"preparing {name}", total=2)
        bar.refresh()
    err = capsys.readouterr().err
    assert f"preparing {printable(name)}" in err
    assert ESC not in err


def test_a_page_isolates_names_and_turns_nothing_around() -> None:
    cells = [(f"cat{RLO}", "1"), ("חתול", "2")]
    image = InlineImage("data:,", f"of {RLO}")
    sections = [Section("one", f"of {RLO}", [(f"x{RLO}", "#123")], tables=[Table(cells)])]
    page = render(Page("title", [f"fact {RLO}"], [*sections, Section("two", images=[image])]))
    assert clean(page)
    assert r"<bdi>cat\u202e</bdi>" in page
    assert "<bdi>חתול</bdi>" in page
    assert r"<bdi>x\u202e</bdi>" in page


def test_data_whose_path_is_no_utf_8(tmp_path, capsys: CapSys, monkeypatch) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    root = plant(tmp_path / os.fsdecode(b"v\xe9"), grown(["dog", os.fsdecode(b"caf\xe9")]))
    data = prepare(root)
    assert data.classes == (r"caf\xe9", "dog")
    assert prepare(data.source).fingerprint == data.fingerprint
    code, said, _ = call(capsys, "data", str(root))
    assert code == 0
    assert r"v\xe9" in said
    said.encode()
    from_parquet = tmp_path / os.fsdecode(b"p\xe9.parquet")
    from_parquet.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"is not UTF-8, so pyarrow cannot open it: rename it"):
        prepare(from_parquet)


def test_every_image_is_opened_with_a_list_of_formats() -> None:
    """Without a list, Pillow starts Ghostscript for PostScript files (issue 23, k)."""
    source = Path(cli.__file__).parents[1]
    opened = [
        (path.name, line)
        for path in source.rglob("*.py")
        for line in path.read_text().splitlines()
        if "Image.open(" in line and "formats=" not in line
    ]
    assert opened == []
