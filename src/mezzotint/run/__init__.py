"""A run: a folder in which a model is trained, with the log, image grids and checkpoints.

config.json    the whole configuration          samples/      grids of images, made in training
log.jsonl      a row for each log interval      checkpoints/  step-N
averages/      step-N: snapshots of two averages of the weights
"""

from mezzotint.errors import Interrupted
from mezzotint.run.running import run
from mezzotint.run.steps import Progress

__all__ = ["Interrupted", "Progress", "run"]
