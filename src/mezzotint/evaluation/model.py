"""Measure a model by its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.config.sampling import chosen
from mezzotint.data import Prepared
from mezzotint.data.rgb import warn_of_rgb
from mezzotint.errors import UserError, warn
from mezzotint.evaluation.against import PLAIN, Against, Preparation, own_training_set
from mezzotint.evaluation.measuring import measure, measure_samples, warn_of_few
from mezzotint.evaluation.nearest import SHOWN, draw_nearest
from mezzotint.evaluation.request import Found, Request
from mezzotint.evaluation.samples import kept, stored
from mezzotint.metrics import Features, Figure
from mezzotint.networks.precision import named
from mezzotint.pipeline.loading import load
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.processes import join

UNEVEN = 0.1  # the share of the samples that would need another class to be like the data


def of_model(
    pipe: Pipeline,
    request: Request,
    data: Any = None,
    *,
    preparation: Preparation = PLAIN,
    counts: Sequence[int] = (10_000,),
    name: str = "",
    seed: int = 0,
    batch: int = 64,
    weaker: Pipeline | str | Path | None = None,
    precision: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Found:
    """Measure a model for each number of samples in ``counts``; return the result for the last.

    The reference is ``Against.of(data, preparation)``, or the model's training set if ``data`` is
    None. Images in ``data`` that are not prepared are scaled and cropped to the size in
    ``preparation``, by default the size of the samples. ``name`` is the model's name in
    figures.jsonl. The other arguments are described at `evaluate`.
    """
    settings = dict(settings or {})
    how = chosen(pipe.defaults, settings)
    if weaker is not None and how.guidance == 1 and how.guidance_shape != "cfg++":
        raise UserError(
            "`weaker` has no effect with `guidance=1`: leave out `weaker`, or give another "
            "`guidance`"
        )
    if data is None and preparation != PLAIN:
        raise UserError(
            "`split`, `size` and `range` describe `data`, which is missing: give `data`, or leave "
            "them out"
        )
    sized = preparation.size is not None
    if not sized and not isinstance(data, Prepared):
        preparation = replace(preparation, size=pipe.size)
    warn_of_rgb(pipe.values, pipe.codec.image_shape(pipe.shape)[0])
    request.check(pipe.classes, data)
    pipe, facts = _ready(pipe, name, weaker, precision)
    if counts[-1] < len(pipe.classes) and not pipe.examples:
        warn(
            f"{counts[-1]:,} samples are fewer than the {len(pipe.classes):,} classes, so only "
            "the first classes are sampled: choose more `samples`"
        )
    share, _ = join()
    with share.first():  # the first process downloads and decodes for all
        to = own_training_set(pipe, name) if data is None else Against.of(data, preparation)
        if sized and to.images is None:
            raise UserError("`size` cannot be used with the file of a reference: leave it out")
        networks = request.load(pipe.classes, pipe.device, to)
    _warn_of_uneven(pipe, to)
    measures = [measure(network, to, pipe.size, share=share) for network in networks]
    folder = kept(pipe, how, seed, batch)
    facts |= {"pictures": folder.name, **asdict(how), "seed": seed, "batch": batch}
    facts |= {"nfe": settings.get("nfe")}
    found: list[tuple[Features, list[Figure]]] = []
    for features, figures in measure_samples(
        *(pipe, measures, how, counts, folder),
        seed=seed,
        batch=batch,
        chosen=request.metrics,
        share=share,
        follow=request.follow,
    ):
        request.keep(figures, facts)
        warn_of_few(figures, measures[len(found) % len(measures)].reference)
        found.append((features, figures))
    if share.number:
        return Found()
    every = [figure for _, figures in found[-len(measures) :] for figure in figures]
    images = pipe.values.rgb(next(stored(folder, 0, SHOWN, batch)))
    return Found(every, to, draw_nearest(request.out, to, measures[-1], found[-1][0], images))


def _warn_of_uneven(pipe: Pipeline, to: Against) -> None:
    """Warn if the classes of the reference are far less even than those of the samples."""
    if to.images is None or pipe.examples or not pipe.classes or to.images.classes != pipe.classes:
        return
    counts = np.bincount(to.images.labels, minlength=len(pipe.classes))
    shares = counts / counts.sum()
    if np.abs(shares - 1 / len(shares)).sum() / 2 > UNEVEN:
        warn(
            f"the classes of {to.name} have {counts.min():,} to {counts.max():,} images, but the "
            "samples are of all classes in turn, so distances are too high: for a fair distance, "
            "sample labels as frequent as in the data, and pass the samples to mz.compare"
        )


def _ready(
    pipe: Pipeline,
    name: str,
    weaker: Pipeline | str | Path | None,
    precision: str | None,
) -> tuple[Pipeline, dict[str, Any]]:
    """Return the pipeline as it will be measured, and a description of it for figures.jsonl.

    If ``precision`` is given, the pipeline computes in this precision. If ``weaker`` is given, the
    pipeline is guided by this weaker model (autoguidance).
    """
    facts = {"model": name or str(pipe.home or "")}
    if weaker is not None:
        facts["weaker"] = str((weaker.home or "") if isinstance(weaker, Pipeline) else weaker)
        other = weaker if isinstance(weaker, Pipeline) else load(weaker, pipe.device)
        pipe = pipe.guided_by(other)
    facts["digest"] = pipe.identity
    pipe = pipe.in_precision(precision or named(pipe.net.dtype))
    facts["precision"] = named(pipe.net.dtype)
    return pipe, facts
