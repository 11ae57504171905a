"""The verb ``export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse, subject
from mezzotint.pipeline import loading
from mezzotint.pipeline.exporting import FORMATS
from mezzotint.strict import Choice


@dataclass(frozen=True)
class ExportFlags:
    """Write a model for other programs: a folder of diffusers, ONNX files, or safetensors."""

    out: Path
    """The folder to write, which must be empty or not exist."""
    format: Annotated[str, Choice(FORMATS)] = "diffusers"
    """The format to write."""
    license: str = ""
    """The Hugging Face Hub's identifier for the license of the weights, for the model card."""


def export(arguments: list[str]) -> Answer:
    """Write a model for diffusers, ONNX Runtime or the Hugging Face Hub."""
    what = "a run, a checkpoint, a diffusers folder or a shipped model"
    name, rest = subject(arguments, what, "mezzotint export RUN", ExportFlags(Path("RUN-export")))
    flags = parse(ExportFlags(Path(f"{Path(name).name}-export")), rest, f"mezzotint export {name}")
    folder = loading.load(name, precision="float32").export(
        flags.out, flags.format, license=flags.license
    )
    card, publish = folder / "README.md", f"hf upload OWNER/NAME {folder}"
    print(f"wrote the model for {flags.format} to {folder}, with the model card {card}")
    print(f"to publish it, run: {publish}")
    return Answer({"folder": folder, "format": flags.format, "card": card, "publish": publish})
