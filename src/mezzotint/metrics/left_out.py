"""Why a metric is left out where others are measured."""

from __future__ import annotations

from mezzotint.errors import UserError


class LeftOut(UserError):
    """Something that these images, or this reference, do not allow to be measured.

    `metrics.measure` warns of it by the metric's name, and measures the others.
    """
