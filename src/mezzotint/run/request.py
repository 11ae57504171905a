"""The configuration and the folder of a run, made from a caller's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from mezzotint.config import Autoencoder, Configuration, Experiment, changed, read, recipes
from mezzotint.config.durations import shortened
from mezzotint.config.fields import places, values
from mezzotint.config.sampling import UNGUIDED
from mezzotint.data import Prepared
from mezzotint.data.find import as_text
from mezzotint.data.sizes import sides
from mezzotint.errors import UserError
from mezzotint.networks import DiTConfig, UNetConfig, VAEConfig
from mezzotint.networks.passing import passed
from mezzotint.run.initial import network_of
from mezzotint.storage.files import as_folder

Recipe: TypeAlias = str | Configuration | None


@dataclass(frozen=True)
class Start:
    """The configuration and the folder with which a training starts.

    Attributes:
        base: The configuration before any field is changed.
        folder: The run's folder.
        resumed: Whether ``base`` is the configuration of the run in the folder, which is resumed.
    """

    base: Configuration
    folder: Path
    resumed: bool = False


def start(recipe: Recipe, out: Any, resume: Any) -> Start:
    """Return the configuration of a recipe, or of a run to resume, and the run's folder.

    The folder is ``out``; if ``out`` is None, it is runs/NAME, with the name of the recipe. The
    configuration depends on ``recipe``:

    - a configuration: it is used unchanged, even if ``resume`` is True;
    - a name: if ``resume`` is True and the folder holds a run, that run is resumed with its
      config.json; otherwise the recipe starts a new run;
    - None: ``resume`` must be True and ``out`` must be given; the run in ``out`` is resumed.

    Raises:
        UserError: If there is no such recipe, the run to resume does not exist or has another
            recipe, or an argument is missing or has a wrong type.
    """
    if not isinstance(resume, bool):
        raise UserError(f"`resume` is {resume!r}: give True or False")
    if recipe is None and not (resume and out):
        raise UserError("there is no recipe: give a recipe, or `resume=True` and a run as `out`")
    base = recipes.RECIPES[recipe] if isinstance(recipe, str) else recipe
    if not isinstance(base, Experiment | Autoencoder | None):
        raise UserError(
            f"the recipe is of type {type(recipe).__name__}: give its name, an Experiment or an "
            "Autoencoder"
        )
    folder = _folder(base, out)
    if recipe is not None and not (
        resume and isinstance(recipe, str) and (folder / "config.json").exists()
    ):
        assert base is not None
        return Start(base, folder)
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} is not a run: to resume a run, give its folder as `out`")
    begun = read(folder / "config.json")
    if recipe is not None and begun.recipe != recipe:
        raise UserError(
            f"{folder} was begun with the recipe {begun.recipe}, not {recipe}: resume it without "
            "a recipe, or choose another `out`"
        )
    return Start(begun, folder, resumed=True)


def _folder(base: Configuration | None, out: Any) -> Path:
    if out is None and base is not None:
        return Path("runs") / base.recipe
    if not isinstance(out, str | PathLike) or not str(out):
        raise UserError(f"`out` is {out!r}: give the run's folder")
    return as_folder(Path(out))


def requested(
    start: Start, data: Any, net: Any, fields: Mapping[str, Any]
) -> tuple[Configuration, str]:
    """Return the configuration that the arguments of `training` describe, and a note for the user.

    If a new training sees fewer images than its recipe, durations that the caller did not choose,
    such as the warm-up, are shortened (see `shortened`). The note describes the shortened
    durations, and is "" if there are none. If a new diffusion training starts from a model
    (``init``) and ``net`` is None, it has the model's network, changed by ``fields``.

    Raises:
        UserError: If there is no such field, a value is not allowed or has no effect, or a run
            cannot train on ``data`` or train ``net``.
    """
    experiment = start.base
    if net is not None:
        experiment = _with_net(experiment, net)
    init = fields.get("init", experiment.init)
    if init and net is None and not start.resumed and isinstance(experiment, Experiment):
        experiment = replace(experiment, net=network_of(init, start.folder))
    asked = changed(experiment, {**fields, **_data(experiment, data, fields)})
    before = values(start.base)
    _check_terms(asked, {k: v for k, v in fields.items() if before.get(k, ...) != v})
    named = ["net"] if net is not None else [k for k in fields if places(asked)[k][0] == "net"]
    same = start.resumed and asked.net == start.base.net
    if named and not same and isinstance(asked, Autoencoder) and asked.init:
        raise UserError(
            f"`{named[0]}` has no effect with `init`, whose network is trained: leave out "
            f"`{named[0]}`"
        )
    return (asked, "") if start.resumed else shortened(experiment, asked, fields.keys())


def _check_terms(asked: Configuration, fields: Mapping[str, Any]) -> None:
    """Raise UserError if a changed field has no effect, because what it configures is turned off.

    The fields of latents, of conditions, and of the terms of an autoencoder's loss are checked.
    """
    if isinstance(asked, Experiment):
        latent, guided = {"posterior": "mean", "scaling": "measured"}, {"label_dropout": 0}
        for name, value in fields.items():
            why = "without `vae`" * (name in latent and not asked.codec.vae)
            if not asked.data.conditional:
                why += "with `conditional=False`" * (name in {**guided, **UNGUIDED})
            if why and value != {**latent, **guided, **UNGUIDED}[name]:
                raise UserError(f"`{name}` has no effect {why}: leave out `{name}`")
    terms = {"adversarial": ("adversarial_", "discriminator_"), "perceptual": ("perceptual_",)}
    for term, prefixes in terms.items():
        named = next((name for name in fields if name.startswith(prefixes)), None)
        if named and isinstance(asked, Autoencoder) and not getattr(asked.loss, term):
            raise UserError(
                f"`{named}` has no effect because `{term}` is 0: give `{term}` too, or leave out "
                f"`{named}`"
            )


def _with_net(experiment: Configuration, net: Any) -> Configuration:
    own = VAEConfig if isinstance(experiment, Autoencoder) else UNetConfig | DiTConfig
    if not isinstance(net, own):
        if isinstance(experiment, Autoencoder) or isinstance(net, VAEConfig):
            raise UserError(
                f"{experiment.recipe} cannot train a `net` of type {type(net).__name__}: give a "
                "VAEConfig for an autoencoder, or an nn.Module, UNetConfig or DiTConfig for a "
                "diffusion model"
            )
        net = passed(net)
    return replace(experiment, net=net)


def _data(experiment: Configuration, data: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that describe the data to train on."""
    if data is None:
        return {}
    if isinstance(data, str | PathLike):
        return {"data": as_text(data)}
    if not isinstance(data, Prepared):
        raise UserError(
            f"`data` is of type {type(data).__name__}: pass mz.prepare(images, labels), or a name "
            "or a path"
        )
    if not data.source:
        raise UserError(
            "`data` is a subset of a data set, and a run cannot find a subset again by a name or a "
            "path: pass the whole data set"
        )
    if data.split != "train":
        raise UserError(
            f"`data` is the split {data.split!r} of {data.source}, but a run trains on 'train': "
            'prepare it with `split="train"`, or, to train on this split, prepare the folder that '
            "holds this split alone"
        )
    given: dict[str, Any] = {"data": data.source, "size": data.size, "skip_bad": data.skip_bad}
    given |= {"mode": data.mode, "range": data.range}
    if data.asked and isinstance(experiment, Experiment):
        given |= asdict(data.asked)
    if not data.conditional and isinstance(experiment, Experiment):
        given["conditional"] = False
    for name, value in given.items():
        asked = sides(fields.get(name)) if name == "size" else fields.get(name)
        if name in fields and asked != value:
            raise UserError(
                f"`{name}` is {fields[name]!r} but `data` was prepared with {value!r}: leave out "
                f"`{name}`, or prepare the data with it"
            )
    return given
