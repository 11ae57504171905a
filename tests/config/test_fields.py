"""Set the fields of a configuration by their names, without the names of the sections."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.cli.flags import parse
from mezzotint.cli.train import TrainFlags
from mezzotint.config import Autoencoder, changed
from mezzotint.config.fields import places
from mezzotint.config.recipes import RECIPES
from mezzotint.errors import UserError

SMALL = RECIPES["cifar10-ddpm-small"]


def test_each_field_goes_where_it_belongs(tmp_path: Path) -> None:
    made = changed(
        SMALL,
        {"images": 1000, "lr": 1, "channels": [32, 64], "attention": (), "schedule": "linear",
         "prediction": "eps", "steps": 10, "guidance": 2, "flip": False, "size": 16,
         "vae": Path("runs/vae"), "clipping": "none", "batch": np.int64(8)},
    )  # fmt: skip
    assert (made.train.images, made.train.batch, made.train.lr) == (1000, 8, 1.0)
    assert (made.net.channels, made.net.attention) == ((32, 64), ())
    assert (made.noise.schedule, made.noise.prediction) == ("linear", "eps")
    assert (made.sample.steps, made.sample.guidance) == (10, 2.0)
    assert (made.data.flip, made.data.size, made.codec.vae) == (False, 16, "runs/vae")
    assert changed(made, {}) == made
    (tmp_path / "vae").mkdir()
    (entry,) = os.scandir(tmp_path)
    assert changed(SMALL, {"vae": entry, "clipping": "none"}).codec.vae == str(tmp_path / "vae")
    assert RECIPES["cifar10-ddpm-small"] == SMALL


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_name_means_what_the_flag_of_that_name_means(name: str) -> None:
    """A field of each section gets the same value by its name and by its flag."""
    recipe = RECIPES[name]
    flags = ["--images", "99", "--size", "24", "--seed", "7", "--keep", "3"]
    fields: dict[str, object] = {"images": 99, "size": 24, "seed": 7, "keep": 3}
    if isinstance(recipe, Autoencoder):
        flags += ["--latent", "2", "--kl", "0.5"]
        fields |= {"latent": 2, "kl": 0.5}
    else:
        flags += ["--patch", "4", "--timesteps", "600", "--label-dropout", "0.5", "--steps", "5"]
        fields |= {"patch": 4, "timesteps": 600, "label_dropout": 0.5, "steps": 5}
    parsed = parse(TrainFlags(recipe, Path("run")), flags, "train").experiment
    assert changed(recipe, fields) == parsed


@pytest.mark.parametrize("name", list(RECIPES))
def test_no_two_fields_of_a_recipe_share_a_name(name: str) -> None:
    leaves = [path[-1] for path in places(RECIPES[name]).values()]
    assert len(leaves) == len(set(leaves))
    assert not {"recipe", "kind", "net", "train"} & set(leaves)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"imges": 3}, "unknown argument `imges`; did you mean images"),
        ({"zzzz": 3}, "unknown argument `zzzz`: choose one of .*images, batch"),
        ({"kind": "dit"}, "unknown argument `kind`"),
        ({"batch": "32"}, "`batch`: input should be a valid integer, not '32'"),
        ({"batch": 32.0}, "`batch`: input should be a valid integer, not 32.0"),
        ({"batch": True}, "`batch`: input should be a valid integer, not True"),
        ({"batch": 0}, "`batch`: input should be greater than 0, not 0"),
        ({"flip": 1}, "`flip`: input should be a valid boolean, not 1"),
        ({"lr": float("nan")}, "`lr`: input should be a finite number, not nan"),
        ({"lr": "fast"}, "`lr`: input should be a valid number, not 'fast'"),
        ({"channels": ("a",)}, "`channels`: input should be a valid integer, not 'a'"),
        ({"channels": 3}, "`channels`: input should be a valid array, not 3"),
        ({"schedule": "cosin"}, "cosine"),
        ({"data": object()}, "`data` is a object: give a number, a string or a tuple"),
        ({"init": "a\udcff"}, r"`init` is 'a\\udcff', which is not UTF-8: choose another name"),
        ({"images": {}}, "`images` is a dict: give a number"),
        ({"accumulate": 7}, "`accumulate` is 7: choose a divisor of the `batch`, 64"),
    ],
)
def test_what_cannot_be_names_the_argument(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as wrong:
        changed(SMALL, fields)
    assert "\n" not in str(wrong.value)


def test_a_recipe_of_the_callers_own_is_changed_alike() -> None:
    mine = replace(SMALL, recipe="mine")
    assert changed(mine, {"images": 5}).recipe == "mine"
