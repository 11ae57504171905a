"""Consistency distillation: the student agrees with itself along each step of the teacher."""

from __future__ import annotations

from mezzotint.trainer.distilling.task import AlongTeacher


class Consistency(AlongTeacher):
    """`AlongTeacher` with one part: f follows the flow to the clean end from any level.

    Song et al. 2023, arXiv 2303.01469, and with guidance Luo et al. 2023, arXiv 2310.04378.
    """

    eta, any_calls, usual_steps = 1.0, True, 32
