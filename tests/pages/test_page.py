"""Pages of tiny runs: their content, and the texts for missing parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import mezzotint as mz
from conftest import small_and_own, small_vae
from mezzotint.config import Experiment, file
from mezzotint.config.file import to_json
from mezzotint.drawing.page import InlineImage, Page, Section, render
from mezzotint.evaluation.record import record
from mezzotint.metrics import Figure
from mezzotint.pages import Options, edited, history, measurements, samples
from mezzotint.pages.page import build
from mezzotint.pages.runs import Run, read_all
from pages import sound

OPTIONS = Options(samples=2)
STEPS = (2, 3)  # fewer than a page has
FIGURE = Figure(
    "fd-glyphs", 12.25, 11.5, 13.0, 2048, "glyphs", "none", "100 images of glyphs (split train)"
)


def silent(what: str, done: float, total: int) -> None:
    assert 0 <= done <= total


def page_of(*folders: Path, options: Options = OPTIONS) -> Page:
    return build(read_all(folders), options, silent)


@pytest.fixture(scope="module")
def patched(cache: Path) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        small_and_own(cache, patch)
        patch.setattr(samples, "STEPS", STEPS)
        yield patch


@pytest.fixture(scope="module")
def made(finished: Path, patched, tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("report") / "run"))
    facts = {"sampler": "ddim", "steps": 50, "guidance": 2.0}
    record(folder / "evaluation" / "figures.jsonl", [replace(FIGURE, value=99.0)], facts)
    record(folder / "evaluation" / "figures.jsonl", [FIGURE], facts)
    return page_of(folder)


def section(of: Page | Section, title: str) -> Section:
    return next(s for s in of.sections if s.title == title)


def titles(of: Page | Section) -> list[str]:
    return [s.title for s in of.sections]


def images(of: Section) -> list[InlineImage]:
    cells = [cell for table in of.tables for row in table.rows for cell in row]
    return [cell for cell in cells if isinstance(cell, InlineImage)]


def test_a_run_has_all_sections(made: Page) -> None:
    assert titles(made) == [
        "Configuration",
        "Curves",
        "Figures",
        "During training",
        "Samples by class",
        "From noise to image",
        "Samplers and steps",
        "Guidance",
        "Nearest training images",
        "Channels",
    ]
    sound(render(made))


def test_as_many_samples_are_made_as_is_said(made: Page) -> None:
    by_class = section(made, "Samples by class")
    assert len(by_class.tables[0].rows) == 10
    assert by_class.text.startswith("20 samples by ddim, 2 steps")
    assert [p.across for p in images(by_class)] == [2] * 10
    assert len(images(section(made, "Samplers and steps"))) == 3 * len(STEPS)
    assert len(images(section(made, "Guidance"))) == 6 * 4
    walk = section(made, "From noise to image")
    assert walk.tables[0].head == ("", "t 999", "t 499")  # the run's own two steps
    assert len(images(walk)) == 3 * 2 * 2


def test_what_is_measured_is_the_newest_with_its_interval_and_count(made: Page) -> None:
    (row,) = section(made, "Figures").tables[0].rows
    how = "ddim, 50 steps, guidance 2"
    assert row[:-1] == ("fd-glyphs", "12.25", "11.5 to 13", "2,048", FIGURE.against, how)


def test_figures_of_several_networks_or_references_stand_apart(tmp_path: Path) -> None:
    def measured(name: str, *figures: Figure) -> Run:
        record(tmp_path / name / "evaluation" / "figures.jsonl", figures, {})
        return Run(tmp_path / name, name, Experiment("glyphs-ddpm"), [])

    ours = replace(FIGURE, name="recall", network="glyphs")
    theirs = replace(ours, value=0.5, network="cifar10")
    one = measured("one", ours, theirs, FIGURE)
    (table,) = measurements.figures(one).tables
    assert [row[0] for row in table.rows] == ["recall-glyphs", "recall-cifar10", "fd-glyphs"]
    two = measured("two", theirs, replace(FIGURE, against="9 images of mine"))
    (table,) = measurements.compared([one, two]).tables
    shown = {row[0]: row[1:] for row in table.rows}
    assert shown["recall-glyphs"][1] == "–"
    assert shown["recall-cifar10"][0] == shown["recall-cifar10"][1]
    assert shown["fd-glyphs"][1] == "12.25 (11.5 to 13; N = 2,048; against 9 images of mine)"


def test_figures_of_other_weights_are_marked(finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    facts = {"time": "2026-01-02T00:00", "sampler": "ddim", "guidance": 0.0}
    for name, more in (
        ("fd-old", {"digest": "0" * 64}),
        ("fd-new", {"digest": mz.load(finished).identity, "guidance": "2"}),
        ("fd-led", {"digest": "0" * 64, "weaker": "runs/weak"}),
    ):
        record(folder / "evaluation" / "figures.jsonl", [replace(FIGURE, name=name)], facts | more)
    (table,) = measurements.figures(*read_all([folder])).tables
    assert [row[-2:] for row in table.rows] == [
        ("ddim, guidance 0", "2026-01-02, of other weights"),
        ("ddim", "2026-01-02"),
        ("ddim, guidance 0, away from weak", "2026-01-02"),
    ]


def test_the_configuration_tells_defaults_from_choices(made: Page) -> None:
    tables = {table.caption: dict(table.rows) for table in section(made, "Configuration").tables}
    assert tables["train"]["batch"] == "8"
    assert tables["noise"]["schedule"] == "cosine"
    assert tables["run"]["recipe"] == "tiny"
    faint = {cell.text for cell in tables["noise"] if not isinstance(cell, str)}
    assert {"timesteps", "shift"} <= faint


def test_scale_0_ignores_the_class_if_the_defaults_have_an_interval(finished: Path) -> None:
    pipe = mz.load(finished)
    (run,) = read_all([finished])

    def shown(interval: tuple[float, float] | None) -> Section | None:
        own = replace(pipe, defaults=replace(pipe.defaults, interval=interval, steps=2))
        model = samples.Model(run, own, OPTIONS, silent, torch.empty(0))
        return samples.guidance("Guidance", model)

    assert shown((0.5, 2.0)) == shown(None)


def test_samplers_are_compared_if_the_defaults_have_knots(finished: Path, patched) -> None:
    pipe = mz.load(finished)
    (run,) = read_all([finished])
    own = replace(pipe.defaults, spacing="knots", knots=(9.0, 0.1))
    model = samples.Model(run, replace(pipe, defaults=own), OPTIONS, silent, torch.empty(0))
    assert "trailing spacing" in samples.samplers("Samplers and steps", model).text


def test_edits_of_a_single_image_are_shown(finished: Path, monkeypatch) -> None:
    pipe = mz.load(finished)
    (run,) = read_all([finished])
    monkeypatch.setattr(edited, "SHOWN", 1)
    own = replace(pipe, defaults=replace(pipe.defaults, steps=2))
    rows = edited.editing(run, own, 0, silent).tables[0].rows
    assert rows[-1][1].startswith("Not shown: an interpolation needs two images")
    assert all(isinstance(row[1], InlineImage) for row in rows[:-1])


def test_channels_say_that_only_some_classes_were_sampled(finished: Path) -> None:
    colour = {"mean": [9.0] * 3, "std": [1.0] * 3}
    pipe = SimpleNamespace(classes=tuple("abcdefghijk"), colour=colour)
    (run,) = read_all([finished])
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    found = samples.colour("Channels", samples.Model(run, pipe, OPTIONS, silent, images))
    assert found.tables[0].head[1] == "mean, 4 samples of the first 10 classes"


def test_curves_are_of_all_that_was_logged(made: Page) -> None:
    alts = [chart.alt for chart in section(made, "Curves").charts]
    starts = ("loss", "gradient norm", "images per second", "learning rate")
    assert [alt.startswith(start) for alt, start in zip(alts, starts, strict=True)] == [True] * 4
    assert all("at 96 images" in alt for alt in alts)


def test_curves_of_figures_of_other_numbers_of_images_stand_apart(finished: Path) -> None:
    (run,) = read_all([finished])
    rows = [
        {"step": i, "images": 32 * i, "figure": replace(FIGURE, count=count).row}
        for i, count in enumerate((1000, 1000, 5000))
    ]
    found = history.curves([replace(run, log=rows)])
    assert [chart.alt.partition(" against")[0] for chart in found.charts] == [
        "fd-glyphs of 1,000 images",
        "fd-glyphs of 5,000 images",
    ]


def test_editing_is_shown_if_it_is_asked_for(patched, finished: Path, tmp_path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    of = page_of(folder, options=replace(OPTIONS, samples=1, edits=True))
    rows = section(of, "Editing").tables[0].rows
    assert [row[0] for row in rows][-1] == "between the first two"
    assert len(images(section(of, "Editing"))) == len(rows) == 9
    assert "held out from the training" in section(of, "Editing").text


def test_a_page_is_the_same_each_time(made: Page, patched, finished: Path, tmp_path) -> None:
    again = page_of(Path(shutil.copytree(finished, tmp_path / "run")))
    assert section(again, "Samples by class") == section(made, "Samples by class")
    assert section(again, "Curves").charts == section(made, "Curves").charts


def spoilt(folder: Path) -> Path:
    """Remove the checkpoints of a run, as if it had saved nothing yet."""
    shutil.rmtree(folder / "checkpoints")
    return folder


def test_a_run_without_a_checkpoint_has_the_rest(trained: Path) -> None:
    found = page_of(spoilt(trained))
    assert titles(found)[:2] == ["Configuration", "Curves"]
    assert section(found, "Samples").text == (
        f"No samples were made for this page: {trained} has no checkpoint yet: "
        "continue training with `resume=True`."
    )


def test_data_that_is_gone_leaves_out_what_needs_it(trained: Path, patched, monkeypatch) -> None:
    def gone(*_: object) -> None:
        raise mz.UserError("the data is gone")

    monkeypatch.setattr("mezzotint.evaluation.training_set", gone)
    found = page_of(trained)
    assert section(found, "Nearest training images").text == "Not shown: the data is gone."
    assert section(found, "Channels").charts


def test_runs_are_compared(trained: Path, tmp_path: Path) -> None:
    other = spoilt(Path(shutil.copytree(trained, tmp_path / "other")))
    config = file.read(other / "config.json")
    changed = replace(config, train=replace(config.train, lr=5e-4))
    (other / "config.json").write_text(json.dumps(to_json(changed)))
    record(other / "evaluation" / "figures.jsonl", [FIGURE], {})
    found = page_of(spoilt(trained), other)
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


def test_an_autoencoder_shows_reconstructions(
    finished_vae: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_vae(cache, monkeypatch)
    found = page_of(finished_vae)
    assert titles(found)[-2:] == ["Reconstructions", "Channels"]
    back = section(found, "Reconstructions")
    assert [row[0] for row in back.tables[0].rows] == ["original", "reconstruction"]
    assert back.text.startswith("4 images of glyphs, held out")
    assert any(chart.alt.startswith("kl") for chart in section(found, "Curves").charts)
    sound(render(found))


def test_latents_are_shown_as_images(finished_ldm: Path, patched) -> None:
    found = page_of(finished_ldm, options=Options(samples=1))
    assert not [s.title for s in found.sections if s.text.startswith("Not shown")]
    assert images(section(found, "From noise to image"))


@pytest.mark.parametrize("damage", [b"{}\n", b"\xff\n", b'{"figures": [{}]}\n', b"[1]\n"])
def test_damaged_rows_are_left_out(trained: Path, damage: bytes) -> None:
    log = trained / "log.jsonl"
    record(trained / "evaluation" / "figures.jsonl", [FIGURE], {})
    whole = page_of(spoilt(trained))
    for path in (log, trained / "evaluation" / "figures.jsonl"):
        path.write_bytes(damage + path.read_bytes() + damage)
    found = page_of(trained)
    assert section(found, "Curves").charts == section(whole, "Curves").charts
    assert section(found, "Figures") == section(whole, "Figures")


def test_report_writes_the_page_and_returns_its_path(trained: Path, tmp_path: Path) -> None:
    spoilt(trained)
    assert mz.report(trained) == mz.report([str(trained)]) == trained / "report.html"
    sound((trained / "report.html").read_text())
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    out = tmp_path / "pages" / "both.html"
    assert mz.report([trained, other], out) == out
    assert "2 runs of mezzotint compared" in sound(out.read_text()).text


def test_a_seed_and_a_number_of_samples_are_the_pages_own(finished: Path, patched) -> None:
    pages = [page_of(finished, options=Options(2, seed)) for seed in (0, 0, 1)]
    a, b, c = (images(section(each, "Samples by class")) for each in pages)
    assert a == b != c
    assert len({image.source for image in (*a, *c)}) == len(a) + len(c)


def test_a_page_takes_the_place_of_a_page_and_of_no_other_file(trained: Path, tmp_path) -> None:
    spoilt(trained)
    mine, page = tmp_path / "thesis.html", tmp_path / "page.html"
    mine.write_text("<!doctype html><title>my thesis</title>")
    with pytest.raises(mz.UserError, match="is not a page that mezzotint wrote: choose another"):
        mz.report(trained, mine)
    assert "my thesis" in mine.read_text()
    for _ in range(2):
        assert mz.report(trained, page) == page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"runs": []}, "`runs` is empty: give a run folder, or several to compare"),
        ({"runs": "nowhere"}, "nowhere is not a run: give a folder that a training wrote"),
        ({"samples": 0}, "samples: input should be greater than 0, not 0"),
        ({"samples": 5_000}, "samples: input should be less than or equal to 32, not 5000"),
        ({"samples": "many"}, "samples: input should be a valid integer"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, not -1"),
        ({"precision": "half"}, "precision: input should be 'float32', 'bf16' or 'auto'"),
        ({"out": "."}, "is a folder: give a file as `out`"),
        ({"out": "x.png"}, "x.png is not the name of a page: give `out` a name that ends in .html"),
        ({"out": "/dev/null/report.html"}, "cannot be written"),
    ],
)
def test_bad_input_names_the_argument_before_anything_is_made(
    trained: Path, monkeypatch: pytest.MonkeyPatch, options: dict, said: str
) -> None:
    monkeypatch.setattr("mezzotint.pages.page.build", lambda *_: pytest.fail("a page is made"))
    with pytest.raises(mz.UserError) as wrong:
        mz.report(**{"runs": trained} | options)
    assert said in str(wrong.value)
    assert isinstance(wrong.value, ValueError)
    assert not (trained / "report.html").exists()


def test_edits_have_the_names_of_the_held_out_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = mz.prepare(torch.zeros(2, 8, 8, 1, dtype=torch.uint8), [0, 1], classes=("b", "c"))
    monkeypatch.setattr(edited, "held_out", lambda train: data)
    seen = []

    def edit(*given: object, **settings: object) -> torch.Tensor:
        seen.append(given[-1])
        return torch.zeros(2, 1, 8, 8, dtype=torch.uint8)

    names = ("sample", "vary", "inpaint", "enlarge", "invert", "interpolate")
    pipe = SimpleNamespace(
        classes=("a", "b", "c"), size=(8, 8), values=data.values, **dict.fromkeys(names, edit)
    )
    facts = SimpleNamespace(data="d", prepared=lambda: data)
    run = SimpleNamespace(config=SimpleNamespace(data=facts))
    edited.editing(run, pipe, 0, silent)  # type: ignore[arg-type]
    assert seen == [["b", "c"]] * 6 + [("b", "c")]
