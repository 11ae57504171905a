"""Pages of tiny runs: what is on them, and what is said where something is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import small_and_own, small_vae
from mezzotint import pages
from mezzotint.config.file import to_json
from mezzotint.drawing.page import Page, Picture, Section, render
from mezzotint.evaluation.record import record
from mezzotint.metrics import Figure
from mezzotint.pages import Asked, page, shown
from pages import sound

from commands import CapSys, call

ASKED = Asked(samples=2)
STEPS = (2, 3)  # fewer than a page has
FIGURE = Figure("fd-glyphs", 12.25, 11.5, 13.0, 2048, "glyphs", "none", "100 of glyphs train")


def silent(what: str, done: float, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def patched(cache: Path) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        small_and_own(cache, patch)
        patch.setattr(shown, "STEPS", STEPS)
        yield patch


@pytest.fixture(scope="module")
def made(finished: Path, patched, tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("report") / "run"))
    facts = {"sampler": "ddim", "steps": 50, "guidance": 2.0}
    record(folder / "evaluation" / "figures.jsonl", [replace(FIGURE, value=99.0)], facts)
    record(folder / "evaluation" / "figures.jsonl", [FIGURE], facts)
    return page([folder], ASKED, silent)


def section(of: Page | Section, title: str) -> Section:
    return next(s for s in of.sections if s.title == title)


def titles(of: Page | Section) -> list[str]:
    return [s.title for s in of.sections]


def pictures(of: Section) -> list[Picture]:
    return [c for table in of.tables for row in table.rows for c in row if isinstance(c, Picture)]


def test_a_run_has_all_sections(made: Page) -> None:
    assert titles(made) == [
        "Configuration",
        "Curves",
        "Figures",
        "Through the training",
        "Pictures by class",
        "From noise to picture",
        "Samplers and steps",
        "Guidance",
        "Nearest training pictures",
        "Channels",
    ]
    sound(render(made))


def test_as_many_pictures_are_made_as_is_said(made: Page) -> None:
    by_class = section(made, "Pictures by class")
    assert len(by_class.tables[0].rows) == 10
    assert by_class.text.startswith("20 pictures by ddim, 2 steps")
    assert [p.across for p in pictures(by_class)] == [2] * 10
    assert len(pictures(section(made, "Samplers and steps"))) == 3 * len(STEPS)
    assert len(pictures(section(made, "Guidance"))) == 6 * 4
    walk = section(made, "From noise to picture")
    assert walk.tables[0].head == ("", "t 999", "t 499")  # the run's own two steps
    assert len(pictures(walk)) == 3 * 2 * 2


def test_what_is_measured_is_the_newest_with_its_interval_and_count(made: Page) -> None:
    (row,) = section(made, "Figures").tables[0].rows
    how = "ddim, 50 steps, guidance 2"
    assert row[:-1] == ("fd-glyphs", "12.25", "11.5 to 13", "2,048", FIGURE.against, how)


def test_the_configuration_tells_defaults_from_choices(made: Page) -> None:
    tables = {table.caption: dict(table.rows) for table in section(made, "Configuration").tables}
    assert tables["train"]["batch"] == "8"
    assert tables["noise"]["schedule"] == "cosine"
    assert tables["run"]["recipe"] == "tiny"
    faint = {cell.text for cell in tables["noise"] if not isinstance(cell, str)}
    assert {"timesteps", "shift"} <= faint


def test_curves_are_of_all_that_was_logged(made: Page) -> None:
    alts = [chart.alt for chart in section(made, "Curves").charts]
    starts = ("loss", "gradient norm", "images a second", "learning rate")
    assert [alt.startswith(start) for alt, start in zip(alts, starts, strict=True)] == [True] * 4
    assert all("at 96 images" in alt for alt in alts)


def test_a_page_is_the_same_each_time(made: Page, patched, finished: Path) -> None:
    again = page([finished], ASKED, silent)
    assert section(again, "Pictures by class") == section(made, "Pictures by class")
    assert section(again, "Curves").charts == section(made, "Curves").charts


def spoilt(folder: Path) -> Path:
    """A run that has begun, and saved nothing yet."""
    shutil.rmtree(folder / "checkpoints")
    return folder


def test_a_run_without_a_checkpoint_has_the_rest(trained: Path) -> None:
    found = page([spoilt(trained)], ASKED, silent)
    assert titles(found)[:2] == ["Configuration", "Curves"]
    assert section(found, "Pictures").text == (
        f"No pictures were made for this page: {trained} has no checkpoint yet: "
        "train it on with --resume."
    )


def test_data_that_is_gone_leaves_out_what_needs_it(trained: Path, patched, monkeypatch) -> None:
    def gone(*_: object) -> None:
        raise pages.UserError("the data is gone")

    monkeypatch.setattr("mezzotint.evaluation.training_set", gone)
    found = page([trained], ASKED, silent)
    assert section(found, "Nearest training pictures").text == "Not shown: the data is gone."
    assert section(found, "Channels").charts


def test_runs_are_compared(trained: Path, tmp_path: Path) -> None:
    other = spoilt(Path(shutil.copytree(trained, tmp_path / "other")))
    config = pages.experiment.read(other / "config.json")
    changed = replace(config, train=replace(config.train, lr=5e-4))
    (other / "config.json").write_text(json.dumps(to_json(changed)))
    record(other / "evaluation" / "figures.jsonl", [FIGURE], {})
    found = page([spoilt(trained), other], ASKED, silent)
    assert titles(found) == ["Curves", "Differences", "Figures", "run", "other"]
    assert [name for name, _ in section(found, "Curves").legend] == ["run", "other"]
    (table,) = section(found, "Differences").tables
    assert (list(table.rows), table.head) == (
        [("train.lr", "0.001", "0.0005")],
        ["", "run", "other"],
    )
    (table,) = section(found, "Figures").tables
    assert table.rows == [("fd-glyphs", "–", "12.25 (11.5 to 13; N = 2,048)")]
    assert titles(section(found, "other"))[:2] == ["Configuration", "Figures"]
    sound(render(found))


def test_an_autoencoder_shows_what_it_gives_back(
    finished_vae: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_vae(cache, monkeypatch)
    found = page([finished_vae], ASKED, silent)
    assert titles(found)[-2:] == ["Reconstructions", "Channels"]
    back = section(found, "Reconstructions")
    assert [row[0] for row in back.tables[0].rows] == ["original", "given back"]
    assert back.text.startswith("4 pictures of glyphs, held out")
    assert any(chart.alt.startswith("kl") for chart in section(found, "Curves").charts)
    sound(render(found))


def test_latents_are_shown_as_pictures(finished_ldm: Path, patched) -> None:
    found = page([finished_ldm], Asked(samples=1), silent)
    assert not [s.title for s in found.sections if s.text.startswith("Not shown")]
    assert pictures(section(found, "From noise to picture"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a run, or several to compare"),
        (["{}/nowhere"], "{}/nowhere is no run: give a folder that mezzotint train has made"),
        (["{}/run", "{}/run/../run"], "{}/run/../run is given twice: give each run once"),
        (["{}/run", "--samples", "0"], "samples is 0: give 1 or more"),
        (["{}/run", "--seed", "-1"], "seed is -1: give 0 or more"),
        (["{}/run", "--sample", "3"], "unknown field --sample; did you mean --samples"),
    ],
)
def test_bad_input_is_one_clear_line(
    trained: Path, tmp_path: Path, capsys: CapSys, arguments: list[str], said: str
) -> None:
    code, out, err = call(capsys, "report", *(a.format(tmp_path) for a in arguments))
    assert (code, out) == (2, "")
    assert err.startswith(f"mezzotint: {said.format(tmp_path)}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("damage", [b"{}\n", b"\xff\n", b'{"figures": [{}]}\n', b"[1]\n"])
def test_damaged_rows_are_left_out(trained: Path, damage: bytes) -> None:
    log = trained / "log.jsonl"
    record(trained / "evaluation" / "figures.jsonl", [FIGURE], {})
    whole = page([spoilt(trained)], ASKED, silent)
    for path in (log, trained / "evaluation" / "figures.jsonl"):
        path.write_bytes(damage + path.read_bytes() + damage)
    found = page([trained], ASKED, silent)
    assert section(found, "Curves").charts == section(whole, "Curves").charts
    assert section(found, "Figures") == section(whole, "Figures")


def test_a_folder_for_a_page_is_refused_before_anything_is_made(trained, tmp_path, capsys) -> None:
    code, _, err = call(capsys, "report", str(trained), "--out", str(tmp_path))
    assert (code, err) == (2, f"mezzotint: {tmp_path} is a folder: give --out a file's name\n")


def test_the_command_writes_the_page_beside_the_run(trained: Path, capsys: CapSys) -> None:
    code, out, _ = call(capsys, "report", str(spoilt(trained)))
    assert code == 0
    assert out.startswith(f"{trained}/report.html: ")
    sound((trained / "report.html").read_text())
