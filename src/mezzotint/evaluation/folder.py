"""A folder of samples: numbered PNG files, and beside the folder a grid of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL.Image import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from mezzotint.drawing import figures
from mezzotint.errors import UserError
from mezzotint.pipeline.labels import Labels
from mezzotint.pipeline.loading import load
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import files

MARK = "mezzotint sample"  # in a grid's PNG: how many samples it is of, 000000 on


def write_samples(
    pipe: Pipeline | str | Path,
    out: str | Path,
    n: int = 64,
    labels: Labels = None,
    *,
    seed: int = 0,
    batch: int = 64,
    on_step: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Tensor:
    """Make samples as `Pipeline.sample`, and write them to a folder.

    They are ``out/000000.png`` and so on, whole numbers in the order of the samples. A grid of
    them, with the class names, is ``out.png``, beside the folder, in which every image may be
    measured or trained on. The samples of an earlier request of the same folder are removed.

    Args:
        pipe: A model, or a path or name that `load` takes.
        out: The folder.
        n: How many samples.
        labels: One class for all, or n of them, by number or name; None is every class in turn.
        seed: Sample i depends on (seed, i) alone.
        batch: How many are made at once.
        on_step: Called with how many denoiser calls are done, and of how many.
        **settings: The fields of SampleConfig, where they differ from the model's defaults.

    Returns:
        The samples, uint8 (n, C, H, W).

    Raises:
        UserError: Where ``out`` holds images that are not of an earlier request, and as
            `Pipeline.sample`.
    """
    pipe, out = pipe if isinstance(pipe, Pipeline) else load(pipe), Path(out)
    every = pipe.labels(n, labels)
    earlier = _earlier(out)

    def follow(done: int, calls: int) -> None:
        out.mkdir(parents=True, exist_ok=True)  # no sooner than the request has proved possible
        if on_step:
            on_step(done, calls)

    def write(first: int, made: Tensor) -> None:
        if not first:
            for old in earlier:
                old.unlink()
            _save_grid(figures.grid(made, every and every[: len(made)], pipe.classes), out, n)
        for i, image in enumerate(made, first):
            figures.to_pil(image).save(out / f"{i:06d}.png")

    written: list[Future[None]] = []
    with ThreadPoolExecutor(1) as writer:  # on the disk while the next ones are made
        images = pipe.sample(
            n,
            labels,
            seed=seed,
            batch=batch,
            on_step=follow,
            on_images=lambda i, made: written.append(writer.submit(write, i, made)),
            **settings,
        )
        for part in written:
            part.result()
    _save_grid(figures.grid(images, every, pipe.classes), out, n)
    return images


def grid_of(out: Path) -> Path:
    """Return where the grid of a folder's samples lies."""
    out = out.resolve()  # "." has no name
    return out.with_name(f"{out.name}.png")


def _earlier(out: Path) -> list[Path]:
    """Return the samples that an earlier request left, as its grid tells.

    Raises UserError where the grid or any image that would be mixed with ours is another's.
    """
    count, grid = 0, grid_of(out)
    if grid.exists():
        # Not Image.open, which refuses large images.
        with suppress(OSError, SyntaxError, ValueError), PngImageFile(grid) as image:
            count = int(image.info.get(MARK, 0))
        if not count:
            raise UserError(f"{grid} exists and is not a grid of samples: choose another `out`")
    found = sorted(out.glob("[0-9]" * 6 + ".png"))
    if found and int(found[-1].stem) >= count:
        raise UserError(f"{out} holds other images, {found[-1].name}: choose another `out`")
    return found


def _save_grid(sheet: Image, out: Path, count: int) -> None:
    """Save a grid, marked as ours; a crash leaves the old one or the new."""
    mark = PngInfo()
    mark.add_text(MARK, f"{count}")
    with files.beside(grid_of(out)) as partial:
        sheet.save(partial, pnginfo=mark)
