"""Consistency distillation: the student's outputs agree at both ends of each teacher step."""

from __future__ import annotations

from mezzotint.trainer.distilling.task import AlongTeacher


class Consistency(AlongTeacher):
    """Train a student f that follows the teacher's flow from any level to the clean image.

    This method is `AlongTeacher` with the whole path as one part (Song et al. 2023, arXiv
    2303.01469). Luo et al. 2023, arXiv 2310.04378, add guidance.
    """

    eta, any_calls, usual_steps = 1.0, True, 32
