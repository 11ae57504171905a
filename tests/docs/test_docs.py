"""The statements of the documentation are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import mezzotint
from mezzotint.config.experiment import Autoencoder, Configuration
from mezzotint.config.recipes import RECIPES
from mezzotint.diffusion.guidance import CLIPPINGS, GUIDANCE_SHAPES
from mezzotint.diffusion.prediction import PREDICTIONS
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.schedules import SCHEDULES
from mezzotint.diffusion.spacings import SPACINGS
from mezzotint.networks import VAE
from mezzotint.trainer.objective import WEIGHTINGS

from examples import run_examples

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MATHS = ROOT / "docs" / "maths.md"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "src").rglob("*.md")),
    *sorted((ROOT / "models").rglob("*.md")),
]


def test_the_readmes_sampler_makes_the_data_of_noise() -> None:
    example = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[-1]
    names: dict[str, object] = {}
    exec(example, names)
    assert names["x"].shape == (4, 3, 32, 32)
    assert names["x"].std() == pytest.approx(1, abs=0.05)


def test_the_mathematics_holds() -> None:
    run_examples(MATHS)


def test_the_table_of_methods_is_samplers() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d) \| (\d) \| (yes|no) \| (.*?) ?\| [\d.]* ?\| \[(.*)\]\((.*)\) \|$",
        MATHS.read_text(),
        re.MULTILINE,
    )
    assert [name for name, *_ in rows] == list(SAMPLERS)
    for name, order, calls, stochastic, options, file, link in rows:
        sampler = SAMPLERS[name]
        said = (int(order), int(calls), stochastic == "yes")
        assert said == (sampler.order, sampler.calls, sampler.stochastic), name
        assert tuple(re.findall(r"`(\w+)`", options)) == tuple(sampler.options), name
        method = getattr(sampler.method, "func", sampler.method)
        assert link.endswith(f"/{file}")
        assert file == method.__module__.split(".")[-1] + ".py", name


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("Predictions", PREDICTIONS),
        ("Schedules", SCHEDULES),
        ("Grids", (*SPACINGS, "knots", "optimised")),
        ("Guidance", (*GUIDANCE_SHAPES, *list(CLIPPINGS)[1:])),
        ("Training", WEIGHTINGS),
    ],
)
def test_a_section_of_the_mathematics_names_all_that_there_is(
    heading: str, names: tuple[str, ...]
) -> None:
    (section,) = re.findall(rf"^## {heading}.*?(?=^## |\Z)", MATHS.read_text(), re.M | re.S)
    assert not [name for name in names if f"`{name}`" not in section]


def network(recipe: Configuration) -> nn.Module:
    """Return the network of a recipe for its own data and latents."""
    if isinstance(recipe, Autoencoder):
        return VAE(recipe.net)
    classes = 100 if "imagenet100" in recipe.recipe else 10
    own = RECIPES.get(Path(recipe.codec.vae).name)
    latent = own.net.latent if own else 4
    return recipe.network(latent if recipe.codec.vae else 3, classes * recipe.data.conditional)


def test_a_page_names_every_recipe_with_its_size() -> None:
    text = (ROOT / "docs" / "shell.md").read_text()
    for name, recipe in RECIPES.items():
        with torch.device("meta"):
            net = network(recipe)
        millions = sum(p.numel() for p in net.parameters()) / 1e6
        assert f"| `{name}` | {millions:.1f}M" in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        if "://" not in target:
            place = path.parent / target
            assert place.exists() or place.with_suffix(".ipynb").exists(), target


def test_the_changelog_has_this_version() -> None:
    assert f"## {mezzotint.__version__}" in (ROOT / "CHANGELOG.md").read_text()
