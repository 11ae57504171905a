"""All schedules: as they are made, shifted, and rescaled to end in pure noise."""

from __future__ import annotations

import pytest

from mezzotint.diffusion.schedules import SCHEDULES, shifted, zero_terminal_snr

MADE = {name: make(1000) for name, make in SCHEDULES.items()}
SHIFTED = {f"{name} shifted": shifted(schedule, 4.0) for name, schedule in MADE.items()}
ENDING_IN_NOISE = {
    f"{name} to noise": zero_terminal_snr(schedule) for name, schedule in MADE.items()
}
ALL = MADE | SHIFTED | ENDING_IN_NOISE
EVERY_SCHEDULE = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)
