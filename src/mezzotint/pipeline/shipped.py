"""The models that come with mezzotint, by name.

They are folders in ``pretrained`` in the package. Models that are too large for the package are in
``models`` in a checkout of the repository. Each folder is a checkpoint of the averaged weights in
bf16. It also has a README.md with the model card, and recommended.json if settings were recommended
by a sweep. Its file manifest.json holds the checksums and the version of the format.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mezzotint.errors import Damaged, UserError
from mezzotint.storage import checkpoint
from mezzotint.storage.parse import content, parsed

MODELS = Path(__file__).parents[1] / "pretrained"
CHECKOUT = Path(__file__).parents[3] / "models"
OUTSIDE = ("cifar10-fast", "imagenet100-64")  # models that only a checkout has
FORMAT = 1  # version of the format; it rises if older versions of mezzotint could not read it


def folders() -> dict[str, Path]:
    """Return {name: folder} for the models, including damaged models."""
    return {path.name: path for place in (CHECKOUT, MODELS) for path in place.glob("[!._]*/")}


def names() -> list[str]:
    """Return the names of the models, including damaged models."""
    return sorted(folders())


def is_shipped(folder: Path) -> bool:
    """Return whether a folder is a shipped model, in which nothing may be written."""
    return folder.resolve().parent in (MODELS.resolve(), CHECKOUT.resolve())


def find(path: str | Path) -> Path | None:
    """Return the folder of the shipped model with the name ``path``; None if there is none.

    If ``path`` is a file or folder of the user, it takes precedence, and the result is None.
    """
    return None if Path(path).exists() else folders().get(str(path))


def verify(folder: Path) -> None:
    """Check the format of a checkpoint and the checksums of its files.

    Raises Damaged for a damaged file, and UserError for another format. For a damaged model that is
    shipped, the message says to reinstall mezzotint.
    """
    form = FORMAT
    with suppress(OSError, ValueError, AttributeError):  # checkpoint.verify reports these
        form = parsed(content(folder / checkpoint.MANIFEST)).get("format", FORMAT)
    if form != FORMAT:
        raise UserError(
            f"{folder} has the format {form}, but this version of mezzotint reads only {FORMAT}: "
            "update mezzotint"
        )
    try:
        checkpoint.verify(folder)
    except Damaged as error:
        own = is_shipped(folder)
        fix = "it is part of mezzotint: reinstall mezzotint" if own else "save the model again"
        raise Damaged(f"{error}; {fix}") from None
