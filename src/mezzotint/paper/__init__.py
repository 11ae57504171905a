"""Carry out the experiments of the paper, arXiv 2412.14422, in one call."""

from mezzotint.paper.options import Options
from mezzotint.paper.reproduction import ReproducedRow, Reproduction, reproduce

__all__ = ["Options", "ReproducedRow", "Reproduction", "reproduce"]
