"""The models that come with the package, by name.

``pretrained/NAME/`` is a checkpoint of the averaged weights, in bf16, with a README.md, the model's
card, and recommended.json where its run was swept. The manifest says its format besides the sums.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from mezzotint.errors import UserError
from mezzotint.storage import checkpoint

MODELS = Path(__file__).parents[1] / "pretrained"
FORMAT = 1  # of such a folder; raised when an older reader could not make sense of a newer one


def names() -> list[str]:
    """The models there are, whole or not."""
    return sorted(path.name for path in MODELS.glob("[!._]*/"))


def is_shipped(folder: Path) -> bool:
    """Whether a folder is one of the package's, in which nothing may be written."""
    return folder.resolve().parent == MODELS.resolve()


def find(path: str | Path) -> Path | None:
    """The folder of the model of that name, or None where there is none.

    None too where a path of that name exists: what lies there is the user's own, and was perhaps
    called so before a model was.
    """
    found = str(path) in names() and not Path(path).exists()
    return MODELS / path if found else None


def verify(folder: Path) -> None:
    """As `checkpoint.verify`, and UserError for a format to come; says what helps if it is ours."""
    form = FORMAT
    with suppress(OSError, ValueError, AttributeError):  # which the sums' reader tells better
        form = json.loads((folder / checkpoint.MANIFEST).read_text()).get("format", FORMAT)
    if form != FORMAT:
        raise UserError(
            f"{folder} is of format {form}, this mezzotint reads {FORMAT}: update mezzotint"
        )
    try:
        checkpoint.verify(folder)
    except UserError as error:
        help_ = "; it came with mezzotint: reinstall that" if is_shipped(folder) else ""
        raise UserError(f"{error}{help_}") from None
