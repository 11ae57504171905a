"""The models that come with the package, by name.

``pretrained/NAME/`` is a checkpoint of the averaged weights in bf16. It also has a README.md with
the model card, and recommended.json if the run was swept. Besides the checksums, the manifest holds
the version of the format.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mezzotint.errors import Damaged, UserError
from mezzotint.storage import checkpoint
from mezzotint.storage.parse import content, parsed

MODELS = Path(__file__).parents[1] / "pretrained"
FORMAT = 1  # version of such a folder; it rises when older readers cannot read a newer one


def names() -> list[str]:
    """Return the names of the models in the package, damaged ones included."""
    return sorted(path.name for path in MODELS.glob("[!._]*/"))


def is_shipped(folder: Path) -> bool:
    """Return whether a folder belongs to the package, so that nothing may be written to it."""
    return folder.resolve().parent == MODELS.resolve()


def find(path: str | Path) -> Path | None:
    """Return the folder of the model of that name, or None if there is none.

    A path of that name takes precedence, because it is the user's own; None is returned then.
    """
    found = str(path) in names() and not Path(path).exists()
    return MODELS / path if found else None


def verify(folder: Path) -> None:
    """Check a folder as `checkpoint.verify` does, and check its format.

    Raises Damaged for a damaged file and UserError for a newer format; the message says to
    reinstall mezzotint if the folder is part of it.
    """
    form = FORMAT
    with suppress(OSError, ValueError, AttributeError):  # checkpoint.verify reports these
        form = parsed(content(folder / checkpoint.MANIFEST)).get("format", FORMAT)
    if form != FORMAT:
        raise UserError(
            f"{folder} has format {form} but this mezzotint reads {FORMAT}: update mezzotint"
        )
    try:
        checkpoint.verify(folder)
    except Damaged as error:
        help_ = "; it is part of mezzotint: reinstall mezzotint" if is_shipped(folder) else ""
        raise Damaged(f"{error}{help_}") from None
