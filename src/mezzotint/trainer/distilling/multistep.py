"""Multistep consistency distillation: each call of the student covers one part of the path.

The path leads from noise to image, along the probability flow of the teacher.
"""

from __future__ import annotations

from typing import Any

from mezzotint.trainer.distilling.task import AlongTeacher


class Multistep(AlongTeacher):
    """Train a student f on a path that is divided into parts, one for each call of the student.

    From any level, f follows the teacher's flow to the end of the part that the level is in. This
    is `AlongTeacher` with ``calls`` parts. A part is easier to learn than the whole path. From the
    same noise, a student without errors would make the same samples as its teacher (Heek et al.
    2024, arXiv 2403.06807). The student can only be used with ``calls`` calls.
    """

    eta, any_calls, usual_steps = 0.0, False, 32

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.parts = self.config.calls
