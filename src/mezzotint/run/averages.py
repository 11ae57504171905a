"""Averages of a run's weights of any length, rebuilt from the snapshots of two short ones."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from mezzotint.errors import UserError
from mezzotint.storage import checkpoint
from mezzotint.trainer.posthoc import coefficients, exponent

POOR = 0.01  # error of a fit that is warned of: some 100 snapshots have less from 0.025 to 0.25


def rebuild(
    folder: Path, lengths: tuple[float, ...], out: Path | None = None
) -> list[tuple[Path, float]]:
    """Write the averages of these relative lengths as they stand at a run's last snapshot.

    Each is a checkpoint of averaged weights alone, ``RUN/averages/length-0.100`` or below ``out``,
    which `load` reads as any other; all besides the weights is of the run's newest checkpoint.
    Returns them with the relative errors of their fits (arXiv 2312.02696, section 3.2), and warns
    of one above 1 %. Raises UserError for a length not above 0 and below 0.289, and for a run with
    fewer than two snapshots.
    """
    gammas = [exponent(length) for length in lengths]
    newest = checkpoint.newest(folder / "checkpoints", warnings.warn)
    if newest is None:
        raise UserError(f"{folder} has no checkpoint: give a run that was trained with `snapshots`")
    snapshots = list(_whole(folder / "averages"))
    if len(snapshots) < 2:
        raise UserError(
            f"{folder} has {len(snapshots) or 'no'} snapshot{'s' * (not snapshots)} to rebuild an "
            "average from, and two are the least: train with `snapshots`, a hundredth of `images`"
        )
    kept, times, exponents = [], [], []
    for snapshot in snapshots:
        said = json.loads((snapshot / "state.json").read_text())
        for name, gamma in said["gammas"].items():
            kept.append(snapshot / f"{name}.safetensors")
            times.append(said["step"])
            exponents.append(gamma)
    end = times[-1]
    fits = [coefficients(np.array(times), np.array(exponents), end, gamma) for gamma in gammas]

    # What was not averaged, and never changed, is as the newest checkpoint has it.
    made = [load_file(newest / "ema.safetensors") for _ in lengths]
    for i, path in enumerate(kept):
        weights = load_file(path)
        for tensors, (c, _) in zip(made, fits, strict=True):
            for key, weight in weights.items():
                tensors[key] = float(c[i]) * weight.float() + (tensors[key] if i else 0)

    # The scale of an autoencoder's latents too: it hardly depends on the average's length.
    codec = newest / "codec.safetensors"
    more = {"codec": load_file(codec)} if codec.exists() else {}
    config = json.loads((newest / "config.json").read_text())
    state = json.loads((newest / "state.json").read_text())
    del state["pending"]
    written = []
    for length, tensors, (_, error) in zip(lengths, made, fits, strict=True):
        if error > POOR:
            warnings.warn(
                f"{len(snapshots)} snapshots make an average of length {length:g} only to "
                f"{error:.1%}: choose one nearer to 0.05 or 0.1, or train with more snapshots",
                stacklevel=2,
            )
        name = f"length-{np.format_float_positional(length, min_digits=3)}"
        facts = {"config": config, "state": {**state, "step": end, "length": length}}
        final = (out or folder / "averages") / name
        written.append((checkpoint.write(final, {"ema": tensors, **more}, facts), error))
    return written


def _whole(folder: Path) -> Iterator[Path]:
    """The snapshots of a run by rising step, but for damaged ones, which are warned of."""
    for snapshot in checkpoint.listed(folder):
        try:
            checkpoint.verify(snapshot)
        except UserError as error:
            warnings.warn(f"{error}; it is left out", stacklevel=3)
        else:
            yield snapshot
