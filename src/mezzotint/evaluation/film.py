"""Animations: images as the frames of a WebP or GIF file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from mezzotint.drawing import figures
from mezzotint.errors import UserError
from mezzotint.networks.conditions import Labels
from mezzotint.pipeline.loading import load
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import files

FRAME, LAST = 120, 1500  # how long a frame and the last frame are shown, in milliseconds
FORMATS = (".webp", ".gif")


def animate(
    pipe: Pipeline | str | Path,
    out: str | Path,
    n: int = 16,
    labels: Labels = None,
    *,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Tensor:
    """Make samples as `Pipeline.sample` does, and write an animation from noise to image.

    Each frame shows the noisy x of all samples at one noise level; the last shows the samples.

    Args:
        pipe: A model, or a path or name that `load` takes.
        out: The file, .webp or .gif, which must not exist.
        n: The number of samples, up to 64.
        labels: One class for all samples, or n classes, by index or name. None takes all classes
            in turn.
        seed: The seed of all randomness. The noise of sample i depends only on (seed, i).
        on_step: Called with the number of denoiser calls done and the total.
        **settings: The fields of SampleConfig that differ from the model's defaults.

    Returns:
        The samples, (n, C, H, W).

    Raises:
        UserError: If ``out`` exists, cannot be written or has a suffix other than .webp and .gif;
            if ``n`` is not from 1 to 64; if the model cannot be loaded; or if a label or a setting
            does not exist or does not suit the model.
    """
    pipe, path = pipe if isinstance(pipe, Pipeline) else load(pipe), free_film(out)
    if n > 64:
        raise UserError(f"`n` is {n}: choose 64 or fewer, so that a frame can show all samples")
    frames: list[Image.Image] = []

    def keep(first: int, level: object, x: Tensor, x0: Tensor) -> None:
        frames.append(figures.grid(pipe.values.visible(pipe.codec.decode(x).cpu())))

    images = pipe.sample(
        n, labels, seed=seed, batch=64, on_step=on_step, on_estimate=keep, **settings
    )
    write_film(path, [*frames, figures.grid(pipe.values.visible(images))])
    return images


def free_film(out: str | Path) -> Path:
    """Return the path for a new animation, after checking it.

    Raises UserError if the file exists, or if its name does not end in .webp or .gif.
    """
    path = Path(out)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path} is not the name of an animation: end it in .webp or .gif")
    if path.exists():
        raise UserError(f"{path} exists: choose another file for the animation")
    files.writable(path)
    return path


def write_film(path: Path, frames: Sequence[Image.Image], durations: int | None = None) -> None:
    """Write frames as a looping animation, atomically.

    The last frame stays longer, unless ``durations`` gives the milliseconds of every frame.
    """
    each = durations or [FRAME] * (len(frames) - 1) + [LAST]
    with files.beside(path) as partial:
        frames[0].save(
            partial,
            save_all=True,
            append_images=frames[1:],
            duration=each,
            loop=0,
            format=path.suffix.lower().removeprefix("."),
        )
