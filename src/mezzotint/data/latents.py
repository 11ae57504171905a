"""The latents of a data set, which a frozen autoencoder computes once for the cache.

An entry of the cache is a folder with `moments.npy` and `meta.json`. As for a prepared array, the
folder is built under another name and then renamed.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import MofNCompleteColumn
from torch import Tensor

from mezzotint.data.prepared import Prepared
from mezzotint.devices import sent
from mezzotint.errors import UserError
from mezzotint.storage.arrays import SUMMED, crc, create, nchw
from mezzotint.storage.cache import cache_folder, check_room, kept
from mezzotint.storage.parse import content, parsed, regular
from mezzotint.storage.progress import progress

Moments = Callable[[Tensor], tuple[Tensor, Tensor]]

PART = 256  # images encoded at once
VERSION = 1  # raise it with every change of the format, so that caches are rebuilt


@dataclass(frozen=True, eq=False)
class PreparedLatents:
    """The raw latents of a data set's images, read-only.

    Attributes:
        moments: float16 (N, 1 or 2, 1 or 2, C, h, w), memory-mapped. The second axis holds the
            image and, if it was encoded, its mirror image. The third axis holds the mean of the
            latents and, if it was kept, their standard deviation.
        mean, std: the mean and standard deviation (C,) of each channel, over all images and mirror
            images.
    """

    moments: npt.NDArray[np.float16]
    mean: Tensor
    std: Tensor

    def rows(self, index: npt.NDArray[np.int64], mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and standard deviation (B, C, h, w) of the raw latents of some images.

        Both are float32, on the device of ``mirrored``. ``index`` (B,) holds the indices of the
        images. Where the mask ``mirrored`` (B,) is True, the latents are those of the mirror image.
        The standard deviations are 0 if they were not kept.
        """
        # Both copies go to the device, because reading the mask here would wait for the device.
        copies = sent(torch.from_numpy(self.moments[index]), mirrored.device).float()
        found = copies[:, 0]
        if copies.shape[1] == 2:
            found = torch.where(mirrored[:, None, None, None, None], copies[:, 1], found)
        mean = found[:, 0]
        return mean, found[:, 1] if found.shape[1] == 2 else torch.zeros_like(mean)


class LatentMoments:
    """Running mean and standard deviation (C,) of each channel of latents, float64.

    A latent is ``z = mean + std * noise``. So the mean of all latents is ``E mean``, and their
    standard deviation is ``sqrt(E (mean^2 + std^2) - (E mean)^2)``.
    """

    def __init__(self) -> None:
        self.total = self.square = torch.zeros((), dtype=torch.float64)
        self.count = 0

    def add(self, mean: Tensor, std: Tensor) -> None:
        """Add a batch of latents, given by their moments (B, C, h, w)."""
        self.total = self.total + mean.double().sum((0, 2, 3))
        self.square = self.square + (mean.double() ** 2 + std.double() ** 2).sum((0, 2, 3))
        self.count += mean[:, 0].numel()

    @property
    def mean(self) -> Tensor:
        return self.total / self.count

    @property
    def std(self) -> Tensor:
        return (self.square / self.count - self.mean**2).clamp(min=0).sqrt()


def channel_moments(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation (C,) of each channel of one batch of latents.

    The standard deviation is ``sqrt(Var mean + E std^2)``, as in `LatentMoments` but with the
    unbiased variance of ``mean``. The results have the type and device of the arguments, which are
    (B, C, h, w).
    """
    return mean.mean((0, 2, 3)), (mean.var((0, 2, 3)) + (std**2).mean((0, 2, 3))).sqrt()


def prepare_latents(
    data: Prepared, moments: Moments, made_by: str, flip: bool, deviations: bool
) -> PreparedLatents:
    """Return the latents of a data set from the cache, after encoding the data set if necessary.

    Args:
        data: the images.
        moments: a function from images (B, C, H, W), in the type of the data, to the mean and
            standard deviation of their raw latents.
        made_by: a digest of the autoencoder's weights, which identifies the autoencoder.
        flip: whether mirror images are encoded too. Training with flips needs them, because
            mirrored latents are not the latents of a mirror image.
        deviations: whether the standard deviations are kept, so that training can sample latents
            from the encoder's posterior.

    Raises:
        UserError: If latents are not finite in float16, or the disk is full.
    """
    key = [data.fingerprint, made_by, flip, deviations, VERSION]
    cache = cache_folder("latents")
    entry = cache / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return kept(
        entry, _load, lambda folder: _build(data, moments, 1 + flip, 1 + deviations, folder)
    )


def _load(entry: Path) -> PreparedLatents | None:
    """Return the latents in a folder of the cache, or None if they are missing or damaged."""
    try:
        meta = parsed(content(entry / "meta.json"))
        moments = np.load(regular(entry / "moments.npy"), mmap_mode="r")
        if [*moments.shape] != meta["shape"] or meta["sum"] != _sum(meta):
            return None
        if moments.nbytes <= SUMMED and crc(moments) != meta["moments"]:
            return None
        return PreparedLatents(moments, torch.tensor(meta["mean"]), torch.tensor(meta["std"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _build(data: Prepared, moments: Moments, copies: int, parts: int, building: Path) -> None:
    """Encode all images into an array of moments, with a progress bar, and write its meta.json."""
    count = len(data.images)
    array: np.memmap[Any, Any] | None = None
    channels = LatentMoments()
    with progress(MofNCompleteColumn()) as bar:
        task = bar.add_task("encoding the images", total=count)
        for start in range(0, count, PART):
            rows = slice(start, min(start + PART, count))
            images = nchw(data.images[rows])
            for copy, batch in enumerate((images, images.flip(-1))[:copies]):
                mean, std = (part.cpu() for part in moments(batch))
                kept = (mean, std)[:parts]
                if not all(part.half().isfinite().all() for part in kept):
                    raise UserError(
                        "the autoencoder's latents are not finite in float16: choose another "
                        "autoencoder, or train this autoencoder with a larger `kl`"
                    )
                if array is None:
                    shape = (count, copies, parts, *mean.shape[1:])
                    array = _open(building / "moments.npy", shape)
                array[rows, copy, 0] = mean.half().numpy()
                spread = torch.zeros_like(std)
                if parts == 2:
                    array[rows, copy, 1] = std.half().numpy()
                    spread = std
                channels.add(mean, spread)
            bar.update(task, completed=rows.stop)
    assert array is not None
    scale = {"mean": channels.mean.tolist(), "std": channels.std.tolist()}
    array.flush()
    meta = {"shape": [*array.shape], **scale, "moments": crc(array)}
    meta["sum"] = _sum(meta)
    (building / "meta.json").write_text(json.dumps(meta))


def _open(path: Path, shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    check_room(path.parent.parent, 2 * int(np.prod(shape)), "the latents")
    return create(path, np.float16, shape)


def _sum(meta: dict[str, Any]) -> str:
    facts = [meta[name] for name in ("shape", "mean", "std", "moments")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
