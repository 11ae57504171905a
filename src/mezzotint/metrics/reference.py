"""References: the features and statistics of a data set, with which images are compared.

A reference is kept in the cache, so that it is computed only once.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import MofNCompleteColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mezzotint.drawing.bars import progress
from mezzotint.errors import UserError, warn
from mezzotint.metrics.features import Features, features
from mezzotint.metrics.left_out import LeftOut
from mezzotint.metrics.moments import Moments
from mezzotint.metrics.networks import FeatureNetwork
from mezzotint.metrics.scores import distance_to
from mezzotint.processes import ALONE, Share
from mezzotint.storage import files
from mezzotint.storage.cache import cache_folder, check_room, writing
from mezzotint.storage.parse import parsed

KIND = "mezzotint reference"
FEATURES = 2048  # the number of pooled features of Inception
LARGEST = 1 << 27  # limit on an array of statistics, in bytes: four times Inception's covariance
VERSION = 1  # raised with every change of features or moments, so that no older cache is used


@dataclass(frozen=True)
class Origin:
    """The feature network and the data set from which a reference was computed."""

    network: str
    weights: str  # SHA-256 of the weights' file
    resize: str  # how images are resized for the network, in words
    data: str  # fingerprint of the prepared array
    size: str  # the size of its images, HxW
    count: int  # the number of its images; 0 if it is not known
    name: str  # the name of the data set in figures


@dataclass(frozen=True, eq=False)
class Reference:
    """The features of a data set without augmentation, and their moments, in a file.

    The file is a safetensors file, or another tool's .npz, which has only the moments.
    """

    path: Path
    origin: Origin
    held: Mapping[str, Tensor] | None = None
    """The tensors, if another tool wrote the file."""

    @cached_property
    def pool(self) -> Tensor:
        """The features (N, D), float32."""
        return self._tensor("pool")

    @cached_property
    def distance(self) -> Callable[[Tensor, Tensor], float]:
        """The Frechet distance to the reference, as a function of a mean and a covariance."""
        return self._distance("mean", "covariance")

    @cached_property
    def spatial_distance(self) -> Callable[[Tensor, Tensor], float]:
        """The same as `distance`, for the spatial features."""
        return self._distance("spatial_mean", "spatial_covariance")

    def _distance(self, mean: str, covariance: str) -> Callable[[Tensor, Tensor], float]:
        """Return a function like `distance`, for a mean and a covariance given by tensor name."""
        if self.origin.count == 1:
            raise LeftOut("the reference is one image, which has no covariance: give more images")
        return distance_to(self._tensor(mean), self._tensor(covariance))

    def _tensor(self, name: str) -> Tensor:
        """Return a tensor of the reference's file, after checking the tensor's SHA-256."""
        if self.held is not None:
            if name not in self.held:
                raise LeftOut(
                    f"{self.path} holds only means and covariances: give the images themselves"
                )
            return self.held[name]
        with safe_open(self.path, "pt") as file:
            tensor: Tensor = file.get_tensor(name)
            facts = file.metadata()
        sums = parsed(facts.get("sums", "{}"))  # older files have no sums
        if sums and sums.get(name) != _sum(tensor, facts["origin"]):
            raise UserError(
                f"{self.path} is damaged ({name} does not match its SHA-256): delete it, and it "
                "will be computed again"
            )
        return tensor


def reference(
    network: FeatureNetwork,
    images: np.ndarray,
    data: str,
    name: str,
    share: Share = ALONE,
) -> Reference:
    """Return the reference of a data set, whose decoded ``images`` are uint8 (N, H, W, 3).

    ``data`` is the fingerprint of the data set. The reference is computed once for each combination
    of data, network and resize, and a progress bar is shown. Several processes share the
    computation, and the first process writes the file.
    """
    height, width = images.shape[1:3]
    origin = Origin(
        **network.identity, data=data, size=f"{height}x{width}", count=len(images), name=name
    )
    facts = {**asdict(origin), "name": None, "version": VERSION}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path = cache_folder("references") / f"{network.name}-{digest[:16]}.safetensors"
    if share.announced(_is_reference(path)):
        return Reference(path, origin)
    with progress(MofNCompleteColumn()) as bar:
        task = bar.add_task(f"{network.name} features of {name}", total=len(images))
        seen = features(
            *(network, images, lambda done: bar.update(task, completed=done)),
            *(path.with_suffix(""), share),
        )
    if not share.number:
        _write(path, origin, seen)
    share.wait()
    return Reference(path, origin)


def _is_reference(path: Path) -> bool:
    """Return whether a file is a complete reference."""
    try:
        read(path)
    except UserError:
        return False
    return True


def _write(path: Path, origin: Origin, seen: Features) -> None:
    """Write the features of a data set and their moments to the file of a reference."""
    pool, spatial = Moments.of(seen.pool), Moments.of(seen.spatial)
    tensors = {
        "mean": pool.mean,
        "covariance": pool.scatter / max(pool.n - 1, 1),
        "spatial_mean": spatial.mean,
        "spatial_covariance": spatial.scatter / max(spatial.n - 1, 1),
        "pool": torch.from_numpy(np.asarray(seen.pool)),
    }
    check_room(path.parent, sum(t.nbytes for t in tensors.values()), "features of a reference")
    about = json.dumps(asdict(origin))
    sums = json.dumps({name: _sum(tensor, about) for name, tensor in tensors.items()})
    with writing(path.parent), files.beside(path) as partial:
        partial.write_bytes(save(tensors, {"kind": KIND, "origin": about, "sums": sums}))


def _sum(tensor: Tensor, origin: str) -> str:
    """Return one SHA-256 of ``origin`` (an `Origin` as JSON) followed by a tensor's bytes."""
    digest = hashlib.sha256(origin.encode())
    digest.update(tensor.numpy().data)
    return digest.hexdigest()


def read(path: Path) -> Reference:
    """Read the file of a reference that mezzotint wrote. Raises UserError for any other file."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait
            raise ValueError
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = file.metadata() or {}
        if facts.get("kind") != KIND:
            raise ValueError
        return Reference(path, Origin(**parsed(facts["origin"])))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not a reference: give a file that mezzotint wrote") from None


STATISTICS = {
    "mean": "mu",
    "covariance": "sigma",
    "spatial_mean": "mu_s",
    "spatial_covariance": "sigma_s",
}
"""The names of Inception's statistics in the .npz files of other tools."""


def is_statistics(path: Path) -> bool:
    """Return whether a file is a .npz of ``mu`` and ``sigma``, the format of other FID tools."""
    try:
        known = path.suffix == ".npz" and path.is_file()
        return known and {"mu", "sigma"} <= {*np.load(path).files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile):
        return False


def statistics(path: Path, network: FeatureNetwork) -> Reference:
    """Read the reference in a .npz of ``mu`` (D,) and ``sigma`` (D, D).

    ``mu`` and ``sigma`` are the mean and the covariance of Inception's features for FID; ``mu_s``
    and ``sigma_s``, if present, are the mean and the covariance of its spatial features. The number
    of images is not known. Raises UserError for networks other than Inception, and for files
    without such statistics.
    """
    if not network.name.startswith("inception"):
        raise UserError(
            f"{path} holds statistics of Inception's features, not of the {network.name} network: "
            'choose `network="inception"`'
        )
    if network.name == "inception":
        warn(
            f"{path} does not record how its images were resized: the resize of TensorFlow is "
            'assumed; if pytorch-fid wrote the file, choose `network="inception-pytorch-fid"`'
        )
    try:
        held = {
            name: torch.from_numpy(np.asarray(array, np.float64))
            for name, array in _arrays(path).items()
        }
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}): compute it again") from None
    d = len(held["mean"]) if held["mean"].ndim else 0
    if d != FEATURES or held["covariance"].shape != (d, d):
        shapes = ", ".join(str(tuple(held[name].shape)) for name in ("mean", "covariance"))
        raise UserError(
            f"{path} holds mu and sigma of shapes {shapes}: give a file with the statistics of "
            f"Inception's features, ({FEATURES},) and ({FEATURES}, {FEATURES})"
        )
    if not all(tensor.isfinite().all() for tensor in held.values()):
        raise UserError(f"{path} holds values that are not finite: compute it again")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = Origin(**network.identity, data=digest, size="", count=0, name=str(path))
    return Reference(path, origin, held)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the statistics in a .npz, which may also hold images.

    Raises ValueError if an array of statistics is too large.
    """
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if Path(m.filename).stem in STATISTICS.values()]
        if any(member.file_size > LARGEST for member in members):
            raise ValueError(f"it holds arrays of more than {LARGEST:,} bytes")
    with np.load(path) as file:
        return {name: file[key] for name, key in STATISTICS.items() if key in file.files}


def fitting(
    found: Reference, network: FeatureNetwork, size: tuple[int, int] | None = None
) -> Reference:
    """Return a reference, after checking that it fits the network and the image size (H, W).

    If ``size`` is None, the size is not checked. Raises UserError that names the first difference.
    Without this check, figures measured against a wrong reference would look normal.
    """
    sized = size and found.origin.size  # another tool's statistics do not record it
    here = network.identity | ({"size": f"{size[0]}x{size[1]}"} if size and sized else {})
    for what, now in here.items():
        then = getattr(found.origin, what)
        if then != now:
            if what == "weights":
                then, now = then[:12], now[:12]
            raise UserError(
                f"the reference {found.path.name} was computed with the {what} {then}, but the "
                f"images are measured with {now}: give a matching reference, or a data set to "
                "compute it from"
            )
    return found
