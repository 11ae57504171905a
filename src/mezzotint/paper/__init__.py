"""The report's experiments, reproduced by one command."""

from mezzotint.paper.page import write
from mezzotint.paper.plan import Plan, Row, Scale, plan
from mezzotint.paper.tables import Results
from mezzotint.paper.work import Work, begin, estimate, measure, recorded, study, trainings

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
