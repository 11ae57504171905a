"""The HTML page about a run, or about several compared."""

from mezzotint.pages.page import report
from mezzotint.pages.runs import Options

__all__ = ["Options", "report"]
