"""The page of one run, or of several compared."""

from mezzotint.pages.page import curves, page
from mezzotint.pages.shown import Asked

__all__ = ["Asked", "curves", "page"]
