"""What is asked of a pipeline: labels, settings, and pictures by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from mezzotint import experiment
from mezzotint.errors import UserError
from mezzotint.experiment import SampleConfig
from mezzotint.samplers.step import Noise

Labels: TypeAlias = int | str | Sequence[int | str] | Tensor | None


def chosen(defaults: SampleConfig, changed: dict[str, Any]) -> SampleConfig:
    """Defaults with some fields changed, None leaving one be; ``nfe`` may stand for ``steps``.

    What only the old sampler or spacing took goes, as `freed` has it. Raises UserError for a field
    that there is none of, and for values that cannot be.
    """
    names = list(SampleConfig.__dataclass_fields__)
    changed = dict(changed)
    calls = changed.pop("nfe", None)
    if bad := [name for name in changed if name not in names]:
        raise UserError(f"unknown setting {bad[0]!r}{experiment.nearest(bad[0], names)}")
    defaults = freed(defaults, changed.get("sampler"), changed.get("spacing"))
    try:
        how = replace(defaults, **{k: v for k, v in changed.items() if v is not None})
    except ValidationError as error:
        raise UserError(experiment.first_problem(error)) from None
    return how.within(calls)


def freed(defaults: SampleConfig, sampler: str | None, spacing: str | None) -> SampleConfig:
    """Defaults that another sampler or spacing can be put into; None asks for no other.

    The options of the old sampler go, and the knots of the old spacing.
    """
    if sampler not in (None, defaults.sampler):
        none: dict[str, Any] = dict.fromkeys(defaults.options())
        defaults = replace(defaults, **none)
    if defaults.knots and spacing not in (None, defaults.spacing):
        defaults = replace(defaults, spacing=SampleConfig.spacing, knots=())
    return defaults


def integers(
    labels: int | str | Sequence[int | str] | Tensor, classes: Sequence[str] = ()
) -> Tensor:
    """Labels as a tensor, a name becoming its place in ``classes``.

    Raises UserError for a name that is none of them, and for anything else but integers.
    """
    if isinstance(labels, str):
        numbers: Any = _place(labels, classes)
    elif isinstance(labels, Sequence):
        numbers = [_place(k, classes) if isinstance(k, str) else k for k in labels]
    else:
        numbers = labels
    try:
        given = torch.as_tensor(numbers)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"labels are integers from 0, not {labels!r}") from None
    if given.is_floating_point() or given.dtype == torch.bool:
        raise UserError(f"labels are integers from 0, not {given.dtype}")
    return given


def _place(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return classes.index(name)
    every = f": labels are 0 to {len(classes) - 1}, or names such as {classes[0]}"
    raise UserError(f"there is no class {name!r}{experiment.nearest(name, [*classes]) or every}")


def noise(seed: int, pictures: Sequence[int]) -> Noise:
    """``randn(x)`` whose row for picture i is drawn from a generator of (seed, i) alone.

    numpy's generators, whatever x's device: every machine starts from the same noise, and the seed
    is not cut to the 32 bits that torch's generator takes on a CPU.
    """
    low, high = seed % 2**32, seed >> 32  # apart: numpy would run them and i together
    generators = [np.random.default_rng((low, i, high)) for i in pictures]

    def randn(x: Tensor) -> Tensor:
        rows = [g.standard_normal(x.shape[1:], dtype=np.float32) for g in generators]
        return torch.from_numpy(np.stack(rows)).to(x)

    return randn
