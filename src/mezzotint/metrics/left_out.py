"""The exception for a metric that must be left out while other metrics are measured."""

from __future__ import annotations

from mezzotint.errors import UserError


class LeftOut(UserError):
    """Raised when a metric cannot be measured for these images or this reference.

    `metrics.measure` turns it into a warning, and measures the other metrics.
    """
