"""Execute the tutorials in order, with small networks and few images.

docs/tutorials/container.md is compared with the Dockerfile and the command line, because a test
cannot start a container.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from conftest import TINY_LDM, TINY_VAE
from mezzotint.config import recipes
from mezzotint.config.experiment import Experiment
from mezzotint.config.sections import CodecConfig
from mezzotint.paper import plan

from commands import CapSys, call
from examples import BLOCK, commands

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LONG = {"reproduce", "sweep"}  # tests/paper and tests/tuning carry these out
SMALL = {  # flags that say how much is done, and how little a test does
    "--images": "32",
    "--samples": "12",
    "-n": "8",
    "--n": "2",
    "--nfe": "2",
    "--steps": "2",
}


@pytest.fixture
def place(
    small: None, tiny: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An empty folder; the recipes of the tutorials become tiny."""
    monkeypatch.chdir(tmp_path)
    for name in ("glyphs-ddpm", "cifar10-ddpm-small"):
        monkeypatch.setitem(recipes.RECIPES, name, replace(tiny, recipe=name))
    yield tmp_path
    plt.close("all")


def photographs(folder: Path, count: int) -> None:
    draw = np.random.default_rng(0)
    for name in ("goldfish", "ladybug", "monarch", "penguin"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"IMG_{i:04}.png")


def follow(page: Path, capsys: CapSys) -> dict[str, object]:
    """Carry out a page's commands and examples in their order; returns the examples' names."""
    names: dict[str, object] = {}
    for language, block in BLOCK.findall(page.read_text()):
        if language == "python":
            exec(compile(block.replace("40_000", "32"), page.name, "exec"), names)
        for words in commands(f"```{language}\n{block}```"):
            if words[1] in LONG:
                continue
            assert words[0] == "mezzotint", words
            code, _, err = call(capsys, *less(words[1:]))
            assert code == 0 or (words[1], code) == ("doctor", 1), f"{words}: {err}"
    return names


def less(words: list[str]) -> list[str]:
    """Return a command with smaller numbers."""
    return [SMALL.get(before, word) for before, word in zip(["", *words], words, strict=False)]


@pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")
def test_the_tutorial_of_few_steps(
    place: Path, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = replace(TINY_LDM.train, images=32)
    coder = replace(TINY_VAE, recipe="glyphs-vae", train=replace(TINY_VAE.train, images=32))
    latent = replace(TINY_LDM, train=train, codec=CodecConfig(vae="runs/glyphs-vae"))
    for recipe in (coder, replace(latent, recipe="glyphs-ldm")):
        monkeypatch.setitem(recipes.RECIPES, recipe.recipe, recipe)
    names = follow(TUTORIALS / "few-steps.md", capsys)
    assert names["student"].few_step.guidance == 2
    assert len(list((place / "varied").glob("*.png"))) == 1


@pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")
def test_the_tutorial_of_photographs(place: Path, capsys: CapSys) -> None:
    photographs(place / "photographs", 6)
    photographs(place / "held-out", 5)
    names = follow(TUTORIALS / "photographs.md", capsys)
    assert names["data"].classes == ("goldfish", "ladybug", "monarch", "penguin")
    assert (place / "runs" / "small" / "evaluation" / "nearest.png").is_file()


@pytest.mark.filterwarnings("ignore:.* are fewer than 2,049")
def test_the_tutorial_of_the_paper(
    place: Path, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = plan._settings("B")
    monkeypatch.setattr(plan, "_settings", lambda letter: rows[-3:-1])
    names = follow(TUTORIALS / "paper.md", capsys)
    assert [row.settings.steps for row in names["result"].rows] == [20, 10]
    assert (place / "samplers.png").is_file()
    assert (place / "runs" / "course" / "report.html").is_file()


def test_the_tutorial_of_editing(place: Path, capsys: CapSys) -> None:
    for name in ("ship.jpg", "plane.jpg"):
        Image.new("RGB", (48, 40), "navy").save(place / name)
    names = follow(TUTORIALS / "artist.md", capsys)
    assert len(names["made"]) == 4
    for name in ("strengths.png", "filled.png", "wider.png", "walk.webp", "samples.webp"):
        assert (place / name).is_file()


@pytest.mark.filterwarnings("ignore:.*the model was trained on")  # few images have few numbers
def test_the_tutorial_of_conditions(place: Path, capsys: CapSys) -> None:
    names = follow(TUTORIALS / "conditions.md", capsys)
    assert [condition.name for condition in names["pipe"].every] == ["label", "rotation", "hue"]
    assert names["made"].shape == (8, 3, 32, 32)
    assert (place / "turned.png").is_file()


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(TUTORIALS / "notebook.ipynb", 4)
    little = {"120_000": "128", "4_000": "64", "1_000": "12", "samples=64": "samples=20"}
    little |= {'"ddim", 50': '"ddim", 3', "sample(24, ": "sample(24, steps=2, "}
    for cell in notebook.cells:
        for much, less in little.items():
            cell.source = cell.source.replace(much, less)
    resources = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=120, resources=resources).execute()
    said = [
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.get("name") == "stdout"
    ]
    assert said[-1] == "the same samples\n"
    assert (tmp_path / "runs" / "shapes" / "config.json").is_file()


def test_the_notebook_is_kept_with_its_output() -> None:
    text = (TUTORIALS / "notebook.ipynb").read_text()
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", ()) for output in outputs) >= 4
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert len(text) < 500_000


# The container.


def test_the_image_is_made_of_files_that_its_context_has() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "parquet" in project["project"]["optional-dependencies"]
    assert f"!{project['tool']['hatch']['metadata']['hooks']['custom']['path']}" in ignored
    assert {f"!{file}" for file in project["project"]["license-files"]} <= {*ignored}


def test_the_image_installs_what_the_package_needs() -> None:
    """A line of Python in the Dockerfile prints the dependencies; the test executes it."""
    (code,) = re.findall(r'RUN python -c "(.*?)" > /requirements.txt', DOCKERFILE, re.DOTALL)
    said = io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(said):
        exec(code.replace("\\\n", ""), {})
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert said.getvalue().splitlines() == [
        *project["dependencies"],
        *project["optional-dependencies"]["parquet"],
    ]
    assert re.search(r"^ARG TORCH=cpu$", DOCKERFILE, re.MULTILINE)  # CUDA is what one asks for


def test_the_image_is_not_root_and_writes_to_its_volume_alone() -> None:
    assert re.search(r"^VOLUME /data$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^USER (?!root)\w+\n(?:.*\n)*ENTRYPOINT", DOCKERFILE, re.MULTILINE)
    *_, image = DOCKERFILE.split("\nFROM ")
    written = re.findall(r"(?:HOME|\w+_CACHE|\w+DIR)=(\S+)", image)
    assert len(written) >= 5
    assert all(Path(folder).is_relative_to("/data") for folder in written)


def test_the_page_of_the_container_calls_what_the_dockerfile_has() -> None:
    lines = commands((TUTORIALS / "container.md").read_text())
    arguments = re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE)
    for words in (words for words in lines if words[:2] == ["docker", "build"]):
        given = [word.split("=")[0] for before, word in pairwise(words) if before == "--build-arg"]
        assert {*given} <= {*arguments}
    runs = [words for words in lines if words[:2] == ["docker", "run"] and "-v" in words]
    assert len(runs) >= 4
    for words in runs:
        assert {"--read-only", "--rm", "--init", "--user"} <= {*words}
        assert "$PWD/work:/data" in words
    (entry,) = re.findall(r'^ENTRYPOINT \["(.*)"\]', DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert entry in project["project"]["scripts"]
