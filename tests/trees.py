"""Write folders of tiny images from a list of their names."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def png(seed: int = 0, side: int = 4) -> bytes:
    """Return an image file that differs for each seed."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def plant(root: Path, images: Iterable[str] = (), texts: Mapping[str, str] | None = None) -> Path:
    """Write a different image for each name, and text files; a name ending in / is a folder."""
    for seed, name in enumerate(images):
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
    for name, text in (texts or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def grown(folders: Iterable[str], count: int = 2) -> list[str]:
    """Return the names of ``count`` images in each folder."""
    return [f"{folder}/{i}.png" for folder in folders for i in range(count)]
