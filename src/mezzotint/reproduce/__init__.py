"""The report's experiments, reproduced by one command."""

from mezzotint.reproduce.page import write
from mezzotint.reproduce.plan import Plan, Row, Scale, plan
from mezzotint.reproduce.tables import Results
from mezzotint.reproduce.work import (
    Work,
    begin,
    estimate,
    measure,
    recorded,
    study,
    trainings,
)

__all__ = [
    "Plan",
    "Results",
    "Row",
    "Scale",
    "Work",
    "begin",
    "estimate",
    "measure",
    "plan",
    "recorded",
    "study",
    "trainings",
    "write",
]
