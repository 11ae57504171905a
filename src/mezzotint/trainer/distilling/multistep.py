"""Multistep consistency distillation: the way has as many parts as the student makes calls."""

from __future__ import annotations

from typing import Any

from mezzotint.trainer.distilling.task import AlongTeacher


class Multistep(AlongTeacher):
    """`AlongTeacher` with a part for each call: f follows the flow to the end of its part.

    Each call is an easier problem than the whole way, and the samples of a given noise are those of
    the teacher (Heek et al. 2024, arXiv 2403.06807). The student can be used with this number of
    calls only.
    """

    eta, any_calls, usual_steps = 0.0, False, 32

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.parts = self.config.calls
