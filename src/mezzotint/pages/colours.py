"""Compare the colours of images with the colours of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mezzotint.drawing.colour import channel_statistics
from mezzotint.drawing.inline import colours, spreads
from mezzotint.drawing.page import Chart, Section, Table
from mezzotint.storage.arrays import nhwc

CHANNELS = ("red", "green", "blue")


def channels(
    title: str,
    images: Tensor,
    what: str,
    other: Mapping[str, Sequence[float]],
    others: str,
) -> Section:
    """Return a section that compares two image sets by each channel's mean and standard deviation.

    Args:
        title: The title of the section.
        images: The first set, (N, C, H, W).
        what: The name of the first set.
        other: "mean" and "std" of each channel of the second set, in the units of ``images``.
        others: The name of the second set.
    """
    own, name = channel_statistics(nhwc(images)), f"{len(images)} {what}"
    count = len(own["mean"])
    numbered = tuple(f"channel {i + 1}" for i in range(count))
    names = {3: CHANNELS, 1: ("grey",)}.get(count, numbered)
    form = ".1f" if images.dtype == torch.uint8 else ".4g"
    unit = "in grey levels from 0 to 255" if images.dtype == torch.uint8 else "in their own values"
    rows = [
        (channel, *(f"{of[value][i]:{form}}" for value in ("mean", "std") for of in (own, other)))
        for i, channel in enumerate(names)
    ]
    values = ("mean", "deviation")
    head = ("", *(f"{value}, {who}" for value in values for who in (name, others)))
    series = {name: own, others: other}
    alt = f"Bars of the channels' means, with standard deviations, of {name} and of the {others}"
    return Section(
        title,
        f"The mean and standard deviation of each channel, {unit}.",
        legend=list(colours(list(series)).items()),
        charts=[Chart(spreads(names, series, images.dtype == torch.uint8), alt)],
        tables=[Table(rows, head)],
    )
