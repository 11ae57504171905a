"""The latents of a data set. A frozen autoencoder computes them once, and the cache keeps them.

An entry of the cache is a folder with `moments.npy` and `meta.json`. The folder is built under
another name and then renamed, like the folder of a prepared array.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mezzotint.data.encoding import Encode, Encoding, digest
from mezzotint.data.prepared import Prepared
from mezzotint.devices import sent
from mezzotint.processes import ALONE, Share
from mezzotint.storage.arrays import SUMMED, crc
from mezzotint.storage.cache import cache_folder, kept
from mezzotint.storage.parse import content, parsed, regular

VERSION = 1  # raise it with every change of the format, so that caches are rebuilt


@dataclass(frozen=True, eq=False)
class PreparedLatents:
    """The raw latents of a data set's images, read-only.

    Attributes:
        moments: float16 (N, 1 or 2, 1 or 2, C, h, w), memory-mapped. The second axis holds the
            image and, if it was encoded, its mirror image. The third axis holds the posterior mean
            of each latent and, if it was kept, the posterior standard deviation.
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


def prepare_latents(
    data: Prepared,
    moments: Encode,
    made_by: str,
    flip: bool,
    deviations: bool,
    share: Share = ALONE,
) -> PreparedLatents:
    """Return the latents of a data set from the cache, after encoding the data set if necessary.

    Several processes share the parts of the data and encode them at the same time. The first
    process puts all parts together; the other processes pass their parts to it in files. The
    latents do not depend on the number of processes.

    Args:
        data: the images.
        moments: a function from images (B, C, H, W), in the type of the data, to the mean and
            standard deviation of their raw latents.
        made_by: a digest of the autoencoder's weights, which identifies the autoencoder.
        flip: whether mirror images are encoded too. Training with flips needs them, because
            mirrored latents are not the latents of a mirror image.
        deviations: whether the standard deviations are kept, so that training can sample latents
            from the encoder's posterior.
        share: this process's share of the work.

    Raises:
        UserError: If latents are not finite in float16, or the disk is full.
    """
    key = [data.fingerprint, made_by, flip, deviations, VERSION]
    cache = cache_folder("latents")
    entry = cache / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    work = Encoding(data, moments, 1 + flip, 1 + deviations, share)
    if share.number:
        if building := share.announced(None):
            work.help(building)
            share.wait()
        share.wait()
        return kept(entry, _load, replace(work, share=ALONE).build)
    found = kept(entry, _load, work.build)
    if not work.begun:
        share.announced(None)
    share.wait()
    return found


def _load(entry: Path) -> PreparedLatents | None:
    """Return the latents in a folder of the cache, or None if they are missing or damaged."""
    try:
        meta = parsed(content(entry / "meta.json"))
        moments = np.load(regular(entry / "moments.npy"), mmap_mode="r")
        if [*moments.shape] != meta["shape"] or meta["sum"] != digest(meta):
            return None
        if moments.nbytes <= SUMMED and crc(moments) != meta["moments"]:
            return None
        return PreparedLatents(moments, torch.tensor(meta["mean"]), torch.tensor(meta["std"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
