"""A run looked at for what is wrong with it, with the likely cause and the fix."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from mezzotint import config as configuration
from mezzotint import evaluation
from mezzotint.config.experiment import Autoencoder, Experiment
from mezzotint.data import Prepared, held_out, prepare
from mezzotint.doctor import latents, log, pictures, settings, weights
from mezzotint.doctor.finding import Finding, Severity, Title, judge
from mezzotint.errors import UserError
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics.measure import enough
from mezzotint.networks import VAE, Network
from mezzotint.pipeline import loading
from mezzotint.pipeline.codec import Latents, Pixels
from mezzotint.pipeline.loading import load, load_codec
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import checkpoint
from mezzotint.storage.log import read as read_log

__all__ = ["Finding", "Severity", "Title", "examine"]

LOOKED_AT, COMPARED, CALLS = 128, 1_000, 25  # pictures denoised, and held against; denoiser calls

Weights = dict[str, Tensor]
T = TypeVar("T")


def examine(
    folder: Path, samples: int = 128, follow: Follow = lambda what, done, total: None
) -> Iterator[Finding]:
    """Look a run over: its log, configuration, checkpoints, newest weights, and pictures made.

    One finding comes for each fault that is looked for, as soon as it is. ``samples`` pictures are
    made, as by default where that takes up to 25 denoiser calls each, else by 25 steps of ddim.
    What cannot be looked at without the weights, the training set or labels is left out. Raises
    UserError for a folder that is no run, and for fewer than 10 samples.
    """
    enough(samples)
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} is no run with checkpoints: give the folder that train made")
    config = configuration.read(folder / "config.json")
    yield from log.look(read_log(folder / "log.jsonl"), config)
    whole = weights.checkpoints(folder / "checkpoints")
    yield whole
    try:
        found = checkpoint.newest(folder / "checkpoints", lambda problem: None)
    except UserError:  # said above
        return
    if found is None:
        return
    facts = loading.facts(found, "step", "shape", "classes", "data")
    ema, raw = (load_file(found / f"{name}.safetensors") for name in ("ema", "net"))
    pipe: Pipeline | None = None
    if isinstance(config, Experiment):
        with suppress(UserError):  # to be met again where there is no doing without
            pipe = _quietly(load, folder)
        # A sweep's recommendation stands in the place of the configuration's own settings.
        in_use = replace(config, sample=pipe.defaults) if pipe else config
        seen = facts["step"] * config.train.batch
        yield from settings.look(in_use, tuple(facts["shape"]), len(facts["classes"]), seen)
    sound = weights.finite({"ema": ema, "net": raw})
    yield sound
    if sound.severity == "wrong":  # and so would be all that is computed with them
        return
    try:
        data = _training_set(config, facts)
    except UserError as error:
        yield _missing(str(error))
        return
    yield _missing("")
    if isinstance(config, Experiment):
        pipe = pipe or _quietly(load, folder)
        yield from _denoiser(pipe, config, data, ema, raw)
        if isinstance(pipe.codec, Latents):
            yield from _latents(pipe.codec, data, in_diffusion=True)
        yield from _pictures(pipe, config, data, samples, follow)
        if few := pictures.too_few(folder / "evaluation" / "figures.jsonl"):
            yield few
    else:
        codec = _quietly(load_codec, folder)
        yield from _latents(codec, data, in_diffusion=False)
        yield _autoencoder(codec, config, data, ema, raw)


def _quietly(loader: Callable[[Path], T], folder: Path) -> T:
    """Load without the warnings of damaged checkpoints, which are findings of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return loader(folder)


def _training_set(config: Any, facts: dict[str, Any]) -> Prepared:
    c = config.data
    found = prepare(c.data, size=c.size, skip_bad=c.skip_bad)
    if found.fingerprint != facts["data"]:
        raise UserError(f"{c.data} is not what the run was trained on")
    return found


def _missing(problem: str) -> Finding:
    """Whether the training set is there, without which little can be looked at."""
    return judge(
        "training set missing",
        problem or "there, and the same",
        "the data was moved or has changed; what needs it was not looked at",
        "put it back where the run's config.json says",
        doubtful=bool(problem),
    )


def _denoiser(
    pipe: Pipeline, config: Experiment, data: Prepared, ema: Weights, raw: Weights
) -> Iterator[Finding]:
    images, labels = _some(data, LOOKED_AT)
    x0 = pipe.codec.encode(images.to(pipe.device))
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)).to(x0)
    told = labels if pipe.classes else None
    net = deepcopy(pipe.net)
    net.load_state_dict(raw)
    plain = weights.errors(replace(pipe, net=net), x0, eps, told)
    yield weights.informed(plain)
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        first = cast(Network, config.network(pipe.shape[0], len(pipe.classes)))
    averaged = weights.errors(pipe, x0, eps, told)
    apart = weights.distance(ema, raw, first.state_dict())
    yield weights.lagging(apart, averaged.mean(0), plain.mean(0))
    if told is not None and len(pipe.classes) > 1:
        yield weights.labels_matter(pipe, x0, eps, told)


def _pictures(
    pipe: Pipeline, config: Experiment, data: Prepared, samples: int, follow: Follow
) -> Iterator[Finding]:
    how, few = pipe.defaults, dict[str, Any]()
    if how.calls > CALLS:
        steps = min(CALLS, len(pipe.schedule))
        few = {"sampler": "ddim", "steps": steps, "spacing": "trailing"}
    made = pipe.sample(
        samples, on_step=lambda done, calls: follow("denoiser calls", done, calls), **few
    )
    some, told = _some(data, COMPARED)
    yield pictures.colour_drift(made, some)
    yield pictures.grey(made, some)
    yield pictures.saturated(made, some)

    network = evaluation.choose(data.classes)
    against = Against(f"{config.data.data} train", data)
    measure = evaluation.measure(network, against, pipe.size, pipe.device)
    seen = measure.network(made)
    of_data = measure.network(some)
    asked = pipe.labels(samples)
    labels = None if asked is None else torch.tensor(asked)
    yield pictures.alike(seen.pool, of_data.pool, labels, told)
    others = held_out(config.data.data, config.data.size, data, config.data.skip_bad)
    unseen = None
    if others is not data:
        unseen = measure.network(_some(others, COMPARED)[0]).pool
    yield pictures.memorised(seen.pool, measure.reference.pool, unseen)
    if labels is not None and pipe.classes == measure.network.classes:
        yield pictures.recognised(seen.logits, labels, of_data.logits, told)


def _latents(codec: Latents, data: Prepared, in_diffusion: bool) -> Iterator[Finding]:
    """An autoencoder by some training pictures; its scale where a diffusion runs in its latents."""
    images, _ = _some(data, LOOKED_AT)
    mean, std = codec.moments(images.to(codec.mean.device))
    if in_diffusion:
        yield latents.scaled(codec, mean, std)
    made = codec.decode(codec.sample(mean, std)).cpu()
    yield latents.reconstruction(images, made, codec.vae.config.factor)
    if isinstance(codec.vae, VAE):  # TAESD's latents are certain
        yield latents.dead(mean, std)
        yield latents.exploding(mean, std, images[0].numel())


def _autoencoder(
    codec: Latents, config: Autoencoder, data: Prepared, ema: Weights, raw: Weights
) -> Finding:
    """The averaged weights of an autoencoder, by the errors of what it gives back."""
    images, _ = _some(data, LOOKED_AT)
    vae = deepcopy(cast(VAE, codec.vae))
    vae.load_state_dict(raw)
    x = Pixels().encode(images)
    variance = (x - x.mean((0, 2, 3), keepdim=True)).square().mean()
    found = []
    for each in (codec, replace(codec, vae=vae)):
        made = Pixels().encode(each.decode(each.encode(images.to(codec.mean.device))).cpu())
        found.append((made - x).square().flatten(1).mean(1) / variance)
    apart = 0.0
    if not config.init:
        with torch.random.fork_rng():
            torch.manual_seed(config.train.seed)
            apart = weights.distance(ema, raw, VAE(config.net).state_dict())
    return weights.lagging(apart, *found)


def _some(data: Prepared, count: int) -> tuple[Tensor, Tensor]:
    """Up to so many pictures of a data set, uint8 (n, 3, H, W), and their labels (n,)."""
    picked = data.some(count)
    images = torch.from_numpy(np.array(picked.images)).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(np.array(picked.labels))
