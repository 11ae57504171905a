"""The sections of a page that show an autoencoder's reconstructions."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mezzotint.data import held_out
from mezzotint.drawing.colour import channel_statistics
from mezzotint.drawing.inline import strip
from mezzotint.drawing.page import Section, Table
from mezzotint.errors import UserError
from mezzotint.evaluation.samples import Follow
from mezzotint.pages.colours import channels
from mezzotint.pages.runs import Options, Run
from mezzotint.pipeline import loading
from mezzotint.storage.arrays import nchw, nhwc

ROW = 8  # images side by side


def reconstructions(run: Run, options: Options, follow: Follow) -> Iterator[Section]:
    """Yield sections with reconstructions of held-out images, and with a comparison of colours.

    If the data set has no held-out images, training images are reconstructed.
    """
    title, c = "Reconstructions", run.config.data
    try:
        codec = loading.load_codec(run.folder, precision=options.precision)
        train = c.prepared()
        found = held_out(train)
    except UserError as error:
        yield Section(title, f"No reconstructions were made for this page: {error}.")
        return
    some = nchw(found.some(2 * options.samples).images)
    codec = codec.of_size(*some.shape[2:])
    count = len(some)
    follow(title, 0, count)
    made = codec.decode(codec.encode(some.to(codec.mean.device))).cpu()
    follow(title, count, count)
    see = codec.values.visible
    rows = [
        (what, strip(part, f"{len(part)} images: {what}", ROW))
        for parts in zip(*(torch.split(see(x), ROW) for x in (some, made)), strict=True)
        for what, part in zip(("original", "reconstruction"), parts, strict=True)
    ]
    source = f"{c.data}, {'from the training set' if found is train else 'held out'}"
    text = f"{count} images of {source}, and their reconstructions by the autoencoder."
    if shown := codec.values.shown_as(some.shape[1]):
        text += f" The page shows {shown}."
    yield Section(title, text, tables=[Table(rows)])
    colours = channel_statistics(nhwc(some))
    yield channels("Channels", made, "reconstructions", colours, "originals")
