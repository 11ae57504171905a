"""The file mezzotint.json, which an export to diffusers includes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt, TypeAdapter, ValidationError

from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.prediction import PREDICTIONS
from mezzotint.errors import UserError
from mezzotint.interop.diffusers_out import OWN
from mezzotint.strict import first_problem, strict


@strict
class Exported:
    """The content of mezzotint.json: the facts that diffusers' own files cannot store."""

    prediction: str
    patch: PositiveInt
    """The side of the squares of pixels that are folded into channels before the U-Net."""
    vae_patch: PositiveInt
    """The side of the squares that are folded before the autoencoder; 1 without an autoencoder."""
    classes: tuple[str, ...]
    learned_variance: bool
    defaults: SampleConfig
    version: Literal[1] = 1
    alpha: bool = False
    """Whether the last channel of the images is their opacity."""

    def __post_init__(self) -> None:
        PREDICTIONS.check(self.prediction)


_ADAPTER = TypeAdapter(Exported)


def as_json(facts: Exported) -> dict[str, Any]:
    """Return the content of mezzotint.json as a dict that JSON can store."""
    found: dict[str, Any] = _ADAPTER.dump_python(facts, mode="json")
    return found


def read(folder: Path) -> Exported | None:
    """Read the mezzotint.json in a folder; return None if mezzotint did not export the folder.

    Raises UserError if this version of mezzotint cannot read the file.
    """
    path = folder / OWN
    if not path.exists():
        return None
    try:
        return _ADAPTER.validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise UserError(
            f"this version of mezzotint cannot read {path} ({first_problem(error)}): use the "
            "version that wrote the file, or a newer version"
        ) from None
