"""The HTML page about a run, or one that compares several."""

from mezzotint.pages.page import report
from mezzotint.pages.runs import Options

__all__ = ["Options", "report"]
