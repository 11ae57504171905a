"""Write an HTML page about a run, or a page that compares several runs."""

from mezzotint.pages.page import report
from mezzotint.pages.runs import Options

__all__ = ["Options", "report"]
