from __future__ import annotations

from typing import Any

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The matplotlib figures that a test saves."""
    figures: list[Figure] = []
    savefig = Figure.savefig

    def kept(self: Figure, *arguments: Any, **more: Any) -> None:
        figures.append(self)
        savefig(self, *arguments, **more)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures
