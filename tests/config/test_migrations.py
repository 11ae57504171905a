"""Read invented older versions of config.json; test_version4.py reads a released version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mezzotint as mz
from mezzotint import config
from mezzotint.config import migrations
from mezzotint.config.migrations import VERSION, readable
from mezzotint.config.recipes import RECIPES

Content = dict[str, Any]


def rates(content: Content) -> Content:
    """Migrate from the first invented version, in which `rate` was a field of its own."""
    rate = content.pop("rate")
    return content | {"train": content["train"] | {"lr": rate}}


def pictures(content: Content) -> Content:
    """Migrate from the second invented version, in which train.images was train.pictures."""
    train = dict(content["train"])
    return content | {"train": {"images": train.pop("pictures"), **train}}


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", {VERSION - 2: rates, VERSION - 1: pictures})


def written(path: Path, version: object, change: Content, train: Content) -> Path:
    """Write a config.json of glyphs-ddpm with changed fields; None removes a field of `train`."""
    content = config.to_json(RECIPES["glyphs-ddpm"]) | change | {"version": version}
    content["train"] |= train
    content["train"] = {k: v for k, v in content["train"].items() if v is not None}
    path.write_text(json.dumps(content))
    return path


def test_each_step_is_taken_in_turn(tmp_path: Path, older: None) -> None:
    path = tmp_path / "config.json"
    recipe = RECIPES["glyphs-ddpm"]
    lr, images = recipe.train.lr, recipe.train.images
    assert config.read(written(path, VERSION, {}, {})) == recipe
    assert (
        config.read(written(path, VERSION - 1, {}, {"images": None, "pictures": images})) == recipe
    )
    first = written(
        path, VERSION - 2, {"rate": lr}, {"lr": None, "images": None, "pictures": images}
    )
    assert config.read(first) == recipe
    assert config.to_json(config.read(first))["version"] == VERSION


def test_what_a_step_cannot_take_is_one_line(tmp_path: Path, older: None) -> None:
    path = tmp_path / "config.json"
    for back, change in ((1, {}), (2, {}), (2, {"rate": 1e-3})):
        with pytest.raises(mz.UserError, match=r"config\.json is not a configuration: give a file"):
            config.read(written(path, VERSION - back, change, {}))
    with pytest.raises(mz.UserError, match=r"config\.json: train\.images: .*not 'many'"):
        config.read(written(path, VERSION - 1, {}, {"images": None, "pictures": "many"}))


@pytest.mark.parametrize("version", [-1, 0, VERSION - 3, VERSION + 1, 99])
def test_other_versions_are_refused(tmp_path: Path, older: None, version: int) -> None:
    path = written(tmp_path / "config.json", version, {}, {})
    known = f"{VERSION - 2} to {VERSION}"
    message = (
        f"has version {version}, but this version of mezzotint reads only versions {known}: use the"
    )
    with pytest.raises(mz.UserError, match=message):
        config.read(path)


@pytest.mark.parametrize("version", [str(VERSION), None, 2.5, {}])
def test_a_version_is_a_number(tmp_path: Path, version: object) -> None:
    path = written(tmp_path / "config.json", version, {}, {})
    with pytest.raises(
        mz.UserError, match="is not a configuration: give a file that mezzotint wrote"
    ):
        config.read(path)


@pytest.mark.parametrize("recipe", ["glyphs-ddpm", "glyphs-vae"])
def test_images_were_converted_to_rgb_before_version_6(tmp_path: Path, recipe: str) -> None:
    content = config.to_json(RECIPES[recipe]) | {"version": 5}
    for field in ("mode", "range"):
        del content["data"][field]
    (tmp_path / "config.json").write_text(json.dumps(content))
    found = config.read(tmp_path / "config.json")
    assert found == config.changed(RECIPES[recipe], {"mode": "rgb"})


def test_there_is_a_step_from_every_version_since_4() -> None:
    assert sorted(migrations.MIGRATIONS) == list(range(4, VERSION)) == list(readable())[:-1]
