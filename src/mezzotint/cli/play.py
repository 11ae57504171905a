"""The verb ``play``."""

from __future__ import annotations

from dataclasses import dataclass

from mezzotint.cli.flags import parse
from mezzotint.drawing.bars import UNDER_WAY
from mezzotint.ui import serving


@dataclass(frozen=True)
class PlayFlags:
    """Sample and edit images in a browser, on a page that by default only this machine can open."""

    port: int = serving.PORT
    """The port of the page on 127.0.0.1; 0 is any free port."""
    share: bool = False
    """Publish the page at an address of gradio.live, through gradio's servers."""


def play(arguments: list[str]) -> None:
    """Serve a page that samples from a model and edits images with it."""
    model, rest = None, arguments
    if arguments and not arguments[0].startswith("-"):
        model, *rest = arguments
    flags = parse(PlayFlags(), rest, "mezzotint play [MODEL]")
    UNDER_WAY["what"] = ""  # waiting for visitors needs no progress report
    serving.play(model, port=flags.port, share=flags.share)
