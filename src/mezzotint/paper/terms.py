"""Explanations of the terms in the tables, shown beside the tables."""

from __future__ import annotations

from collections.abc import Iterable

CONFIGURATION = (
    'The column "configuration" is the beginning of the SHA-256 of the training\'s config.json. '
    "Rows with the same value share one training."
)


def explained(names: Iterable[str]) -> str:
    """Return sentences that explain the measured figures ``names``, to show beside a table."""
    return " ".join(filter(None, (_explained(name) for name in dict.fromkeys(names))))


def _explained(name: str) -> str:
    """Return an explanation of the measured figure ``name``; "" if there is none."""
    if name.endswith("-inf"):
        return f'"{name}" is "{name[:-4]}", extrapolated to infinitely many samples.'
    metric, _, network = name.partition("-")
    if metric == "fid":
        return (
            f'"{name}" is the Frechet inception distance of the samples from the training images: '
            "lower is better, and 0 is the best."
        )
    if metric == "is":
        return f'"{name}" is the Inception Score: higher is better, and 1 is the worst.'
    if metric == "fd":
        where = "EfficientNet-Lite0" if network == "imagenet" else f"mezzotint's network {network}"
        return (
            f'"{name}" is the Frechet distance between the samples and the training images, '
            f"computed like FID, but in the features of {where}: lower is better, and it cannot be "
            "compared with an FID."
        )
    if metric == "cs":
        return (
            f'"{name}" is the classifier score, computed like the Inception Score, but with the '
            f"network {network}: higher is better. It lies between 1 and the number of classes."
        )
    if metric == "accuracy":
        return (
            '"accuracy" is the share of samples that the network recognises as the class that they '
            "were made for."
        )
    return ""
