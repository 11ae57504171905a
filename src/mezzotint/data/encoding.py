"""The encoding of a data set's images to latents, by one or several processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import MofNCompleteColumn
from safetensors.torch import load_file, save
from torch import Tensor

from mezzotint.data.prepared import Prepared
from mezzotint.drawing.bars import progress
from mezzotint.errors import UserError
from mezzotint.processes import Share
from mezzotint.storage.arrays import crc, create, nchw
from mezzotint.storage.cache import check_room, writing

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""``encode(images) -> (mean, std)``, the moments of the images' raw latents."""

PART = 256  # images encoded at once
ZERO = torch.zeros((), dtype=torch.float64)


class LatentMoments:
    """Running mean and standard deviation (C,) of each channel of latents, float64.

    A latent is ``z = mean + std * noise``. So the mean of all latents is ``E mean``, and their
    standard deviation is ``sqrt(E (mean^2 + std^2) - (E mean)^2)``.
    """

    def __init__(self, total: Tensor = ZERO, square: Tensor = ZERO, count: int = 0) -> None:
        self.total, self.square, self.count = total, square, count

    def add(self, mean: Tensor, std: Tensor) -> None:
        """Add a batch of latents, given by their moments (B, C, h, w)."""
        self.total = self.total + mean.double().sum((0, 2, 3))
        self.square = self.square + (mean.double() ** 2 + std.double() ** 2).sum((0, 2, 3))
        self.count += mean[:, 0].numel()

    def merge(self, other: LatentMoments) -> None:
        """Add the sums of another `LatentMoments`."""
        self.total = self.total + other.total
        self.square = self.square + other.square
        self.count += other.count

    @property
    def mean(self) -> Tensor:
        return self.total / self.count

    @property
    def std(self) -> Tensor:
        return (self.square / self.count - self.mean**2).clamp(min=0).sqrt()


def channel_moments(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation (C,) of each channel of one batch of latents.

    The arguments ``mean`` and ``std``, (B, C, h, w), describe the normal distribution from which
    each latent is sampled. The standard deviation of a channel is ``sqrt(Var mean + E std^2)``, as
    in `LatentMoments` but with the unbiased variance. The results have the arguments' type and
    device.
    """
    return mean.mean((0, 2, 3)), (mean.var((0, 2, 3)) + (std**2).mean((0, 2, 3))).sqrt()


@dataclass(frozen=True)
class Part:
    """The latents of up to `PART` images, and the `LatentMoments` of these latents.

    ``moments`` has the axes of `PreparedLatents.moments`.
    """

    moments: npt.NDArray[np.float16]
    sums: LatentMoments

    def content(self) -> bytes:
        """Return this `Part` as the bytes of a file, which `read` turns back into a `Part`."""
        tensors = {"total": self.sums.total, "square": self.sums.square}
        return save({"moments": torch.from_numpy(self.moments), **tensors})

    @classmethod
    def read(cls, path: Path) -> Part:
        found = load_file(path)
        moments = found["moments"]
        count = moments[:, :, 0, 0].numel()
        return cls(moments.numpy(), LatentMoments(found["total"], found["square"], count))


@dataclass
class Encoding:
    """The encoding of a data set to latents, and this process's share of the work.

    ``copies`` is 2 if mirror images are encoded too, else 1. ``kinds`` is 2 if the posterior
    standard deviation of each latent is kept besides the posterior mean, else 1. ``begun`` becomes
    True when `build` starts.
    """

    data: Prepared
    moments: Encode
    copies: int
    kinds: int
    share: Share
    begun: bool = False

    @property
    def starts(self) -> range:
        """The index of the first image of each `Part`."""
        return range(0, len(self.data.images), PART)

    def encode(self, start: int) -> Part:
        """Encode and return the `Part` whose first image has the index ``start``."""
        images = self.data.images[start : start + PART]
        kept, sums = [], LatentMoments()
        # numpy mirrors the images, because torch cannot mirror uint16.
        for batch in (images, images[:, :, ::-1])[: self.copies]:
            found = [moment.cpu() for moment in self.moments(nchw(batch))][: self.kinds]
            if not all(moment.half().isfinite().all() for moment in found):
                raise UserError(
                    "the autoencoder's latents are not finite in float16: choose another "
                    "autoencoder, or train this autoencoder with a larger `kl`"
                )
            kept.append(torch.stack(found, 1).half())
            sums.add(found[0], found[1] if self.kinds == 2 else torch.zeros_like(found[0]))
        return Part(torch.stack(kept, 1).numpy(), sums)

    def help(self, building: Path) -> None:
        """Encode this process's parts of the data, and write them to the first process's folder.

        If this folder does not exist, the process stops early: the first process has failed, or
        keeps its cache on another machine.
        """
        for start in self.starts[self.share.number :: self.share.count]:
            if not building.exists():
                return
            content = self.encode(start).content()
            with writing(building.parent), suppress(FileNotFoundError):
                _passed(building, start).write_bytes(content)

    def build(self, building: Path) -> None:
        """Fill the folder of a cache entry, and show a progress bar.

        Other processes encode their parts at the same time, in `help`. If a part of another process
        is missing, this process encodes that part too.
        """
        self.begun = True
        self.share.announced(building)
        array: np.memmap[Any, Any] | None = None
        sums: dict[int, LatentMoments] = {}

        def put(start: int, part: Part) -> None:
            nonlocal array
            if array is None:
                array = self._open(building / "moments.npy", part.moments.shape[1:])
            array[start : start + PART] = part.moments
            sums[start] = part.sums

        count = len(self.data.images)
        with progress(MofNCompleteColumn()) as bar:
            task = bar.add_task("encoding the images", total=count)
            for start in self.starts[:: self.share.count]:
                put(start, self.encode(start))
                bar.update(task, completed=min(start + PART * self.share.count, count))
        self.share.wait()
        for start in self.starts:
            if start not in sums:
                passed = _passed(building, start)
                put(start, Part.read(passed) if passed.exists() else self.encode(start))
                passed.unlink(missing_ok=True)
        assert array is not None
        channels = LatentMoments()
        for start in self.starts:
            channels.merge(sums[start])
        scale = {"mean": channels.mean.tolist(), "std": channels.std.tolist()}
        array.flush()
        meta = {"shape": [*array.shape], **scale, "moments": crc(array)}
        meta["sum"] = digest(meta)
        (building / "meta.json").write_text(json.dumps(meta))

    def _open(self, path: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
        whole = (len(self.data.images), *shape)
        copies = 2 if self.share.count > 1 else 1  # the files of the other processes
        check_room(path.parent.parent, 2 * int(np.prod(whole)) * copies, "the latents")
        return create(path, np.float16, whole)


def _passed(building: Path, start: int) -> Path:
    """Return the path of the file that passes a `Part` from another process to the first.

    ``start`` is the index of the first image of the `Part`.
    """
    return building / f"{start:09d}.safetensors"


def digest(meta: dict[str, Any]) -> str:
    """Return the SHA-256 of the values in a meta.json, except the value of ``sum``."""
    facts = [meta[name] for name in ("shape", "mean", "std", "moments")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
