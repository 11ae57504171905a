"""The tables and charts of a reproduction."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig
from mezzotint.drawing.page import Section
from mezzotint.evaluation import samples
from mezzotint.metrics import efficientnet
from mezzotint.networks import Network
from mezzotint.paper import rows
from mezzotint.paper.models import trainings
from mezzotint.paper.options import Options
from mezzotint.paper.page import _command, _title
from mezzotint.paper.plan import Row, plan
from mezzotint.paper.statements import statements
from mezzotint.paper.tables import Results, _efficiency, _schedules, sections
from mezzotint.paper.terms import explained
from mezzotint.paper.work import Work, begin


def test_rows_are_compared_by_the_distance_they_share(tmp_path: Path) -> None:
    made = plan(Options(only=("A", "B", "C"), out=tmp_path, data="cifar10"))

    def facts(row: Row) -> dict:
        name = "fd-glyphs" if row.model == "latent" else "fd-cifar10"
        figure = {"name": name, "value": 1.0, "low": 0.5, "high": 2.0, "samples": 192}
        return {"figures": [figure], "seconds": 1.0, "memory": None}

    results = Results(Work(made), {row: facts(row) for row in made.rows}, {})
    assert results.distances() == ["fd-cifar10", "fd-glyphs"]
    section, _ = _efficiency(results)
    assert section.tables[0].head[-1] == "fd-cifar10"


def test_rows_are_not_compared_by_a_distance_that_some_of_them_lack(tmp_path: Path) -> None:
    found = results(tmp_path, "A,B")
    first = next(iter(found.rows.values()))  # measured while the weights of Inception were there
    first["figures"].append({**first["figures"][0], "name": "fid"})
    assert found.distances() == ["fd-cifar10", "fid"]
    assert found.distances("linear") == ["fd-cifar10"]
    assert "against fd-cifar10" in str(statements(found))
    assert _efficiency(found)[0].tables[0].head[-1] == "fd-cifar10"
    assert "different numbers of threads" not in _efficiency(found)[0].text
    first["processor"] = "2 of 2 threads"
    assert "different numbers of threads" in _efficiency(found)[0].text


def test_rows_are_not_compared_by_an_extrapolated_distance(tmp_path: Path) -> None:
    found = results(tmp_path, "A,B")
    for facts in found.rows.values():
        facts["figures"].append({**facts["figures"][0], "name": "fd-cifar10-inf"})
    assert found.distances("linear") == ["fd-cifar10"]
    assert 'is "fd-cifar10", extrapolated' in explained(["fd-cifar10-inf"])


def results(tmp_path: Path, only: str, **options: str) -> Results:
    """Results with made-up rows; CIFAR-10 and the latents have different feature networks."""
    made = plan(Options(only=(only,), out=tmp_path, **options))

    def facts(row: Row) -> dict:
        name = "fd-glyphs" if row.model == "latent" else "fd-cifar10"
        figure = {"name": name, "value": 1.0, "low": 0.5, "high": 2.0, "samples": 192}
        return {
            "figures": [figure],
            "seconds": 1.0,
            "batches": 3,
            "memory": None,
            "images": 96,
            "training_seconds": 1.0,
            "configuration": "0123456789ab",
            "turns": (),
        }

    return Results(Work(made), {row: facts(row) for row in made.rows}, {})


def headlines(found: Results) -> Section:
    return next(sections(found))[0]


def test_rows_of_different_data_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    found = results(tmp_path, "A,B,C,D", data="cifar10", imagenet="/far/imagenet-100")
    section = headlines(found)
    assert section.title == "The four experiments"
    assert not section.tables
    assert [part.title for part in section.sections] == [
        "The four experiments: cifar10",
        "The four experiments: imagenet-100",
    ]
    for part, letters in zip(section.sections, (["A", "B", "D"], ["C"]), strict=True):
        table = part.tables[0]
        assert [str(row[0])[0] for row in table.rows] == letters
        data = table.head.index("data")
        assert {row[data] for row in table.rows} == {part.title.partition(": ")[2]}
        assert sum(name.startswith("our ") for name in table.head) == 1


def test_rows_of_the_same_data_stand_in_one_table(tmp_path: Path) -> None:
    section = headlines(results(tmp_path, "A,B,C,D"))
    assert [row[2] for row in section.tables[0].rows] == ["glyphs"] * 4


def test_what_others_report_stands_with_its_source(tmp_path: Path) -> None:
    table = headlines(results(tmp_path, "A,B,C,D")).tables[0]
    paper, published = (table.head.index(f"{whose} FID") for whose in ("the paper's", "published"))
    by = {str(row[0])[0]: (row[paper], row[published]) for row in table.rows}
    stopped = "not reported (stopped after about 10 epochs)"
    assert by["A"] == (stopped, "3.17 (Ho et al. 2020, CIFAR-10)")
    assert by["B"] == ("47.92", "4.67 (Song et al. 2021, CIFAR-10)")
    assert by["C"] == (
        "323.51",
        "27.0 (LDM on ImageNet, as the paper cites it); 3.60 (Rombach et al. 2022, guided, "
        "ImageNet at 256x256)",
    )
    assert by["D"] == (stopped, "2.90 (Nichol and Dhariwal 2021, CIFAR-10, 4,000 steps)")


def test_every_term_is_explained_where_it_stands(tmp_path: Path, monkeypatch) -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    monkeypatch.setattr("mezzotint.paper.tables.stored", lambda *_: images)
    for section, _ in sections(results(tmp_path, "A,B")):
        for table in section.tables:
            words = " ".join(table.head)
            for term in ("fd-cifar10", "configuration", "times as fast", "peak MiB"):
                text = section.text.replace('"', "")
                assert term not in words or f"{term} is " in text, (section.title, term)


def test_the_command_on_the_page_holds_paths_with_spaces(tmp_path: Path) -> None:
    networks = ("cifar10", "glyphs")
    made = plan(Options(only=("D",), data="/mine/my photos", network=networks, out=tmp_path))
    words = ["--only", "D", "--data", "my photos", "--network", *networks]
    assert shlex.split(_command(made)) == [*_command(plan(Options())).split(), *words]


def test_a_page_of_one_experiment_is_headed_so(tmp_path: Path) -> None:
    found = results(tmp_path, "C")
    assert _title(found) == "Experiment C of the paper (scale glyphs)"
    assert headlines(found).title == "Experiment C"
    assert _title(results(tmp_path, "A,B")) == "The paper's experiments (scale glyphs)"


def trained(folder: Path) -> Work:
    """Train the model of experiment A, for rows of 10 samples."""
    work = begin(plan(Options(only=("A",), out=folder, samples=10)))
    for _, steps in trainings(work):
        list(steps)
    return work


def test_equally_many_calls_are_timed_in_turns(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DDPM and DDIM with as many steps take turns, batch by batch."""
    order: list[tuple[str, int]] = []
    make = samples.make

    def noted(pipe, folder, i, how, *rest):
        order.append((how.sampler, i))
        return make(pipe, folder, i, how, *rest)

    monkeypatch.setattr(samples, "make", noted)
    monkeypatch.setattr(rows, "BATCH", 4)
    work = trained(tmp_path)
    both = [Row("A", "linear", SampleConfig(s, 4), 10) for s in ("ddpm", "ddim")]
    pipe = rows.ready(work, "linear", torch.device("cpu"))
    made = rows.make(work.plan, pipe, both, lambda row: lambda *_: None)
    assert order == [(s, i) for i in range(3) for s in ("ddpm", "ddim")]
    assert [made[row].batches for row in both] == [3, 3]
    assert [made[row].turns for row in both] == [(both[1].name,), (both[0].name,)]


def test_all_rows_of_a_model_are_compiled_or_none(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compilation is not timed, and depends on the calls of all rows."""
    calls: list[int] = []
    steps: list[int] = []
    make = samples.make

    def compiled(net, count):
        calls.append(count)
        monkeypatch.setattr(Network, "compiled", True)

    def noted(pipe, folder, i, how, *rest):
        steps.append(how.steps)
        return make(pipe, folder, i, how, *rest)

    monkeypatch.setattr(samples, "make", noted)
    monkeypatch.setattr(rows, "BATCH", 4)
    work = trained(tmp_path)
    monkeypatch.setattr(Network, "compile_for", compiled)
    pipe = rows.ready(work, "linear", torch.device("cpu"))
    assert calls == [3 * 1000]
    row = Row("A", "linear", SampleConfig("ddpm", 4), 10)
    made = rows.make(work.plan, pipe, [row], lambda row: lambda *_: None)
    assert steps == [2, 4, 4, 4]
    assert made[row].batches == 3


def test_what_measures_can_be_chosen_and_is_said_before_the_work(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with pytest.raises(mz.UserError, match="unknown feature network 'inceptoin'"):
        mz.reproduce(only="D", out=tmp_path, network="inceptoin", on_message=said.append)
    monkeypatch.setenv("MEZZOTINT_INCEPTION", "/nowhere/inception.pth")
    with pytest.raises(mz.UserError, match="/nowhere/inception"):
        mz.reproduce(only="D", out=tmp_path, network="inception", on_message=said.append)
    assert said == []
    mz.reproduce(only="D", out=tmp_path, hours=1e-9, network="cifar10", on_message=said.append)
    found = rows.networks("glyphs", ("cifar10",))
    assert found == (["cifar10"], "No FID was measured: it needs the network inception.")


@pytest.mark.parametrize(
    ("model", "data", "chosen", "wanted"),
    [
        ("latent", "tiny-imagenet-100", (), ["cifar10", "imagenet"]),
        ("latent", "glyphs", (), ["glyphs"]),
        ("latent", "tiny-imagenet-100", ("cifar10",), ["cifar10"]),
        ("linear", "tiny-imagenet-100", (), ["cifar10"]),
    ],
)
def test_experiment_c_on_photographs_is_measured_with_imagenet_too(
    model: str, data: str, chosen: tuple[str, ...], wanted: list[str], monkeypatch: Any
) -> None:
    monkeypatch.delenv("MEZZOTINT_INCEPTION", raising=False)
    work: Any = SimpleNamespace(
        data={model: SimpleNamespace(origin=data)}, plan=SimpleNamespace(networks=chosen)
    )
    for installed in (True, False):
        monkeypatch.setattr(efficientnet, "installed", lambda there=installed: there)
        found = [name for name in rows.at_hand(work, model) if not name.startswith("inception")]
        assert found == (wanted if installed else wanted[:1])


@pytest.mark.parametrize("held_out", [True, False])
def test_schedules_say_on_which_images_they_were_measured(tmp_path: Path, held_out: bool) -> None:
    made = results(tmp_path, "A,D", data="cifar10")
    facts = {"errors": [(0.0, 0.5)], "noise_scale": None, "gradient": 0.0, "held_out": held_out}
    found = _schedules(Results(made.work, made.rows, {"linear": facts}))
    assert found is not None
    section, _ = found
    where = "images that the model was not trained on" if held_out else "training images"
    assert f"over the levels of the schedule, on {where}. " in section.text
    assert section.tables[0].rows[0][-2:] == ["–", "–"]
