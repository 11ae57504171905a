"""The exception that says why one metric is left out while others are measured."""

from __future__ import annotations

from mezzotint.errors import UserError


class LeftOut(UserError):
    """Raised when a metric cannot be measured for these images or this reference.

    `metrics.measure` warns of it by the metric's name, and measures the others.
    """
