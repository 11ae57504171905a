"""From what a caller asks for to the configuration of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

from mezzotint.config import Autoencoder, Configuration, Experiment, changed, recipes
from mezzotint.data import Prepared
from mezzotint.errors import UserError
from mezzotint.networks import DiTConfig, UNetConfig, VAEConfig
from mezzotint.networks.passing import passed


def requested(
    recipe: str | Configuration, data: Any, net: Any, fields: Mapping[str, Any]
) -> Configuration:
    """The configuration that `training`'s arguments ask for.

    Raises:
        UserError: there is no such recipe or field, or a value that cannot be.
    """
    experiment = recipes.RECIPES[recipe] if isinstance(recipe, str) else recipe
    if not isinstance(experiment, Experiment | Autoencoder):
        raise UserError(
            f"the recipe is a {type(recipe).__name__}: give its name, an Experiment or an "
            "Autoencoder"
        )
    if net is not None:
        experiment = _with_net(experiment, net)
    return changed(experiment, {**fields, **_data(data, fields)})


def _with_net(experiment: Configuration, net: Any) -> Configuration:
    own = VAEConfig if isinstance(experiment, Autoencoder) else UNetConfig | DiTConfig
    if not isinstance(net, own):
        if isinstance(experiment, Autoencoder) or isinstance(net, VAEConfig):
            raise UserError(
                f"`net` is a {type(net).__name__}, which {experiment.recipe} cannot train: an "
                "autoencoder takes a VAEConfig, a diffusion model an nn.Module or a UNetConfig"
            )
        net = passed(net)
    return replace(experiment, net=net)


def _data(data: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say which data is meant."""
    if data is None:
        return {}
    if isinstance(data, str | PathLike):
        return {"data": str(data)}
    if not isinstance(data, Prepared):
        raise UserError(
            f"`data` is a {type(data).__name__}: pass mz.prepare(images, labels), or a name or path"
        )
    if not data.source:
        raise UserError("`data` is a part of a data set, which no run could find again: pass all")
    if data.split != "train":
        raise UserError(
            f"`data` is the split {data.split!r} of {data.source}, and a run trains on 'train': "
            'prepare it with `split="train"`, or from its folder'
        )
    given = {"data": data.source, "size": data.size, "skip_bad": data.skip_bad}
    for name, value in given.items():
        if name in fields and fields[name] != value:
            raise UserError(
                f"`{name}` is {fields[name]!r} and `data` was prepared with {value!r}: prepare it "
                "so, and leave this argument out"
            )
    return given
