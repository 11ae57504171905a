"""A run folder: begun or continued, logged, drawn and saved while it trains.

config.json    the whole configuration          samples/      grids through the training
log.jsonl      a row each log interval          checkpoints/  step-N
averages/      step-N of two short averages, where asked for
"""

from mezzotint.errors import Interrupted
from mezzotint.run.running import run
from mezzotint.run.steps import Progress

__all__ = ["Interrupted", "Progress", "run"]
