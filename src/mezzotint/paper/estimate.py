"""Estimate the remaining work of a plan, and find models that would take too long to train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mezzotint.config.experiment import Experiment
from mezzotint.paper.costs import BATCH, Cost, cost
from mezzotint.paper.models import progress
from mezzotint.paper.plan import Row
from mezzotint.paper.rows import missing_batches, ready, recorded
from mezzotint.paper.work import Work
from mezzotint.pipeline import loading
from mezzotint.run.group import joined


@dataclass(frozen=True)
class Estimate:
    """The remaining work for a model, and its estimated cost."""

    model: str
    images: int  # images of the whole training
    left: float  # the share of the training that remains
    rows: Mapping[Row, int]  # the batches of samples to make for each row that is not measured yet
    cost: Cost

    @property
    def training(self) -> float:
        """The seconds for the rest of the training."""
        return self.left * self.cost.training

    def parts(self) -> Iterator[tuple[str, float]]:
        """Yield a description of each part of the work, with its estimated seconds."""
        if self.left:
            yield f"train {self.model}, {self.images:,} images", self.training
        for row, batches in self.rows.items():
            what = f"{row.letter}: {row.samples:,} samples, {row.name}"
            here = row.samples - batches * BATCH
            there = f" ({here:,} exist already)" if here > 0 else ""
            yield what + there, self.cost.samples(row, batches)


def estimates(work: Work) -> Iterator[Estimate]:
    """Yield an estimate for each model with remaining work, by timing a few steps."""
    plan, known = work.plan, recorded(work)
    for name in work.models:
        config = plan.models[name]
        left = 1 - progress(work.folder(name), config)
        rows = [row for row in plan.rows if row.model == name and row not in known]
        if left or rows:
            spent = cost(config, _shape(work, name), _classes(work, name))
            batches = {row: -(-row.samples // BATCH) for row in rows}
            if not left:  # some samples may exist already
                pipe = ready(work, name, joined().device)
                batches = {row: len(missing_batches(plan, pipe, row)) for row in rows}
            yield Estimate(name, config.train.images, left, batches, spent)


def too_long(estimate: Estimate, hours: float) -> str:
    """Return "" if the training takes at most ``hours``, else why the model is left out."""
    if estimate.training <= hours * 3600:
        return ""
    return (
        f"its training would take about {estimate.training / 3600:,.0f} hours on this machine, "
        f"more than `hours={hours:g}`: allow more, or use a machine with a faster GPU"
    )


def _shape(work: Work, name: str) -> tuple[int, ...]:
    """Return the shape (C, H, W) of a model's input."""
    config, (height, width, channels) = work.plan.models[name], work.data[name].images.shape[1:]
    if not isinstance(config, Experiment) or not config.codec.vae:
        return channels, height, width
    if coder := work.plan.models.get("vae"):
        assert not isinstance(coder, Experiment)
        f = coder.net.factor
        return coder.net.latent, -(-height // f), -(-width // f)
    return loading.load_codec(config.codec.vae, "cpu", "float32").latent_shape(
        (channels, height, width)
    )


def _classes(work: Work, name: str) -> int:
    config = work.plan.models[name]
    conditional = isinstance(config, Experiment) and config.data.conditional
    return len(work.data[name].classes) if conditional else 0
