"""Start a training from another model: take its network, and those of its weights that fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from mezzotint import config as configuration
from mezzotint.config.experiment import Experiment
from mezzotint.data.naming import nfc, shown
from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.schedules import SCHEDULES
from mezzotint.errors import UserError, counted
from mezzotint.networks import Network
from mezzotint.networks.conditions import (
    ClassCondition,
    Condition,
    NumbersCondition,
    TagsCondition,
)
from mezzotint.networks.kinds import NetConfig
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.loading import load, load_codec
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import checkpoint


def network_of(init: str, folder: Path) -> NetConfig:
    """Return the configuration of the network in the model ``init``.

    If the run in ``folder`` trains a diffusion model and has saved a checkpoint, the configuration
    of that run's network is returned instead, and ``init`` is not read. Raises UserError if `load`
    cannot load ``init``, or if the config.json of that run cannot be read.
    """
    if checkpoint.listed(folder / "checkpoints"):
        begun = configuration.read(folder / "config.json")
        if isinstance(begun, Experiment):
            return begun.net
    found: NetConfig = _loaded(init).net.config
    return found


def scaled_as(conditions: Sequence[Condition], model: Pipeline | str) -> tuple[Condition, ...]:
    """Scale conditions as a model scales them, because its weights expect that scale.

    Each NumbersCondition gets the mean and the standard deviation of the NumbersCondition in
    ``model`` that has the same name and as many numbers. Other conditions are returned unchanged.
    """
    pipe = _loaded(model) if isinstance(model, str) else model
    theirs = {each.name: each for each in pipe.conditions}

    def scaled(each: Condition) -> Condition:
        known = theirs.get(each.name)
        if not isinstance(each, NumbersCondition) or not isinstance(known, NumbersCondition):
            return each
        same = len(each.mean) == len(known.mean)
        return replace(each, mean=known.mean, std=known.std) if same else each

    return tuple(map(scaled, conditions))


def take_weights(
    net: Network, experiment: Experiment, conditions: Sequence[Condition]
) -> tuple[str, list[str]]:
    """Copy the averaged weights of the model ``experiment.init`` to a network, where they fit.

    A weight fits if the model has a weight of the same name and shape. In the embeddings of classes
    and other labels, a row is copied if the model has a label of the same name, and the last row,
    which belongs to the null condition, is always copied. All other weights of the network are
    kept.

    Returns:
        A description of the result, and the names of the weights that have new random values in
        some or all rows.

    Raises:
        UserError: If the weights that fit make up less than half of the network, if `load` cannot
            load the model, if the model and ``experiment`` differ in schedule, prediction or codec,
            or if the two networks differ in norm groups or attention heads.
    """
    pipe = _loaded(experiment.init)
    _check(pipe, experiment)
    _check_shapeless(experiment.init, pipe.net, net)
    ours, theirs = net.state_dict(), pipe.net.state_dict()
    fits = {k: v for k, v in theirs.items() if k in ours and ours[k].shape == v.shape}
    anew = [name for name in ours if name not in fits]
    said, partly = [], []
    known = {each.module: _labels(each) for each in pipe.every}
    for each in conditions:
        rows = f"{each.module}.weight"
        both = _labels(each) and known.get(each.module)
        if both and rows in ours and ours[rows].shape[1:] == theirs[rows].shape[1:]:
            fits[rows], new = _rows(ours[rows], theirs[rows], _labels(each), known[each.module])
            anew = [name for name in anew if name != rows]
            noun = ("class", "classes") if isinstance(each, ClassCondition) else ("label", "")
            said += [f"{counted(len(new), *noun)} ({shown(new, 5)})"] * bool(new)
            partly += [rows] * bool(new)
    if sum(v.numel() for v in fits.values()) < sum(v.numel() for v in ours.values()) / 2:
        raise UserError(
            f"the weights of {experiment.init} fit less than half of the network (they do not fit "
            f"{shown(anew, 3)}): leave out the options that change the network"
        )
    net.load_state_dict(ours | fits)
    said += [shown(anew, 5)] * bool(anew)
    rest = f"; {' and '.join(said)} have new random values" if said else ""
    words = f"started from {experiment.init}: {len(fits)} of {len(ours)} weights fit{rest}"
    return words, anew + partly


def freeze(net: Network, patterns: Sequence[str], anew: Sequence[str]) -> None:
    """Freeze the weights whose names match one of the patterns.

    Raises UserError if a pattern matches no weight, if it matches a weight with new random values
    (``anew``), or if no weight is left to train.
    """
    # The names in checkpoints, which for a user's own network lack the prefix "module.".
    names = {k: p for k, p in net.state_dict(keep_vars=True).items() if isinstance(p, nn.Parameter)}
    for pattern in patterns:
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            heads = dict.fromkeys(name.partition(".")[0] for name in names)
            raise UserError(
                f"`freeze` has {pattern!r}, which matches no weight: the names begin with "
                f"{', '.join(heads)}, so write for example {next(iter(heads))}.*"
            )
        if wrong := [name for name in found if name in anew]:
            raise UserError(
                f"`freeze` has {pattern!r}, which matches {wrong[0]}, a weight with random values: "
                "freeze only weights that come from `init`"
            )
        for name in found:
            names[name].requires_grad_(False)
    if not any(weight.requires_grad for weight in names.values()):
        raise UserError("`freeze` leaves no weight to train: freeze fewer weights")


def _loaded(init: str) -> Pipeline:
    return load(init, "cpu", "float32", recommended=False)


def _labels(condition: Condition) -> tuple[str, ...]:
    """Return the labels of a condition: the names of the rows of its embedding.

    The last row has no name, because it belongs to the null condition.
    """
    if isinstance(condition, ClassCondition):
        return condition.classes
    return condition.tags if isinstance(condition, TagsCondition) else ()


def _rows(
    ours: Tensor, theirs: Tensor, classes: Sequence[str], known: Sequence[str]
) -> tuple[Tensor, list[str]]:
    """Copy the rows of an embedding for classes with the same names, and for the null class.

    ``classes`` are the names of the rows of ``ours``, and ``known`` are the names of the rows of
    ``theirs``. In both, the last row belongs to the null class. Returns the new embedding, and the
    classes that ``theirs`` lacks, whose rows stay as in ``ours``.
    """
    rows, place = ours.clone(), {nfc(name): k for k, name in enumerate(known)}
    new = [name for name in classes if nfc(name) not in place]
    for k, name in enumerate(classes):
        if nfc(name) in place:
            rows[k] = theirs[place[nfc(name)]]
    rows[-1] = theirs[-1]
    return rows, new


def _check(pipe: Pipeline, experiment: Experiment) -> None:
    """Raise UserError if model and training differ in schedule, prediction or codec."""
    init, noise = experiment.init, experiment.noise
    if pipe.prediction != noise.prediction:
        raise UserError(
            f"{init} predicts {pipe.prediction}, but this training predicts {noise.prediction}: "
            f'pass `prediction="{pipe.prediction}"`'
        )
    if not _same(pipe.schedule, noise.build()):
        raise UserError(f"{init} has another schedule than this training: {_advice(pipe)}")
    theirs = pipe.codec
    if isinstance(theirs, Latents) != bool(experiment.codec.vae):
        raise UserError(
            f"{init} works in latents, but this training works in pixels: pass the autoencoder of "
            f"that model, `vae={init}`"
            if isinstance(theirs, Latents)
            else f"{init} works in pixels, but this training works in latents: leave out `vae`"
        )
    if isinstance(theirs, Latents):
        ours = load_codec(experiment.codec.vae, "cpu", "float32")
        if theirs.vae.digest != ours.vae.digest:
            raise UserError(
                f"{init} works in the latents of another autoencoder than `vae`: pass `vae={init}` "
                "to use the autoencoder of this model"
            )


def _check_shapeless(init: str, theirs: Network, ours: Network) -> None:
    """Raise UserError if two networks differ in a setting that no weight's shape depends on."""
    for name in ("groups", "groups_bottom", "head_width", "heads", "eps", "mlp_eps", "around"):
        was, now = (getattr(getattr(net, "config", None), name, None) for net in (theirs, ours))
        if type(theirs) is type(ours) and was != now:
            raise UserError(
                f"the weights of {init} were trained with `{name}={was}`, but this network has "
                f"{name} {now}: pass `{name}={was}`"
            )


def _same(a: Schedule, b: Schedule) -> bool:
    return len(a) == len(b) and torch.allclose(a.alpha, b.alpha, rtol=0, atol=1e-5)


def _advice(pipe: Pipeline) -> str:
    """Return advice on how to train with the schedule of a model."""
    length = len(pipe.schedule)
    for name in SCHEDULES:
        if _same(pipe.schedule, SCHEDULES[name](length)):
            return f'pass `schedule="{name}"` and `timesteps={length}`'
    return f"train with the schedule of {pipe.home or 'that model'}, which has {length:,} timesteps"
