"""The layout of the page: what it loads, and the requests of its widgets."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import mezzotint as mz
from mezzotint.ui import models

pytest.importorskip("gradio", reason="needs the package gradio, of the extra ui")
from mezzotint.ui import page


def test_the_page_is_made_without_analytics(trained: Path) -> None:
    blocks = page.page(models.offered(mz.load(trained)))
    assert blocks.analytics_enabled is False


def test_requests_follow_from_the_widgets(trained: Path, tmp_path: Path) -> None:
    pipe = mz.load(trained)
    how = ("ddim", "trailing", 3, 2.0)
    one = page._sample(pipe, [1, 2], "", 4, 9, *how)
    assert (one.n, one.classes, one.seed) == (4, (1, 2), 9)
    assert one.columns[0].settings == {"steps": 3}
    two = page._compare(pipe, [], "", 4, 0, *how, "heun", *how[1:])
    assert [column.settings for column in two.columns] == [
        {"steps": 3},
        {"sampler": "heun", "steps": 3},
    ]
    row = page._row(pipe, [], "", 4, 0, *how, "steps", "1, 2")
    assert [column.name for column in row.columns] == ["steps-1", "steps-2"]
    layer = Image.new("RGBA", (480, 480))
    layer.paste((1, 2, 3, 255), (0, 0, 45, 15))
    given = ("inpaint", "a.png", "b.png", {"layers": [layer]}, 0.5, 4, 8, 2, "automatic")
    edit = page._edit(pipe, [3], "", 4, 9, *how, *given)
    assert (edit.files, edit.classes, edit.options) == ((Path("a.png"),), (3,), {"method": None})
    assert edit.mask is not None
    assert edit.mask.nonzero().tolist() == [[0, 0], [0, 1], [0, 2]]
