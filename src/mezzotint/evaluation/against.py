"""The reference with which measured images are compared: images or a file of statistics."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mezzotint.config.file import read as read_config
from mezzotint.data import Prepared, jpegs, prepare
from mezzotint.data.prepared import is_same
from mezzotint.data.sizes import Size
from mezzotint.data.values import Bounds
from mezzotint.errors import UserError, warn
from mezzotint.metrics import FeatureNetwork, Reference
from mezzotint.metrics.networks import choose
from mezzotint.metrics.reference import is_statistics, statistics
from mezzotint.metrics.reference import read as read_reference
from mezzotint.pipeline import shipped
from mezzotint.pipeline.codecs import facts
from mezzotint.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class Preparation:
    """The options for preparing data; see `prepare`."""

    split: str | None = None
    size: Size | None = None
    range: Bounds | None = None


PLAIN = Preparation()


@dataclass(frozen=True, eq=False)
class Against:
    """The reference for a measurement: a data set, or a file of a data set's statistics."""

    name: str
    images: Prepared | None = None

    @property
    def network(self) -> str:
        """The name of the feature network to use if the user has not chosen a network."""
        path = Path(self.name)
        if self.images is not None:
            return choose(self.images.origin)
        return "inception" if path.suffix == ".npz" else read_reference(path).origin.network

    def reference(self, network: FeatureNetwork) -> Reference:
        """Read the statistics of the reference from its file.

        Raises UserError if the file holds no statistics, or if it is a .npz file and ``network`` is
        not Inception.
        """
        path = Path(self.name)
        return statistics(path, network) if path.suffix == ".npz" else read_reference(path)

    @staticmethod
    def of(data: Any, how: Preparation = PLAIN) -> Against:
        """Make a reference from the user's ``data``: a data set, images or the file of a reference.

        The file of a reference is a .safetensors file that mezzotint wrote, or a .npz file of
        ``mu`` and ``sigma``. With either file, the size in ``how`` is ignored, and no other option
        may be given. Raises UserError if the data cannot be prepared, or for an option that cannot
        be used with this data.
        """
        if isinstance(data, str | os.PathLike) and (
            str(data).endswith(".safetensors") or is_statistics(Path(data))
        ):
            _refuse(replace(how, size=None), "the file of a reference")
            return Against(str(data))
        found = images_of(data, how)
        return Against(called(found), found)


def images_of(data: Any, how: Preparation = PLAIN) -> Prepared:
    """Prepare the images to measure, or the images of a reference.

    Images that are prepared already are returned unchanged. Otherwise, JPEG files cause a warning,
    because their artefacts affect the features. Raises UserError if the data cannot be prepared, or
    if an option in ``how`` is set for data that is prepared already.
    """
    found = prepared(data, how)
    files = 0 if isinstance(data, Prepared) else jpegs(found.source, found.split)
    if files:
        warn(
            f"{files:,} of the images in {found.source} are JPEG files, whose artefacts change "
            "every metric: if they are samples of a model, save them as PNG; otherwise compare "
            "them with JPEG images of the same quality"
        )
    return found


def prepared(data: Any, how: Preparation = PLAIN) -> Prepared:
    """Prepare data; data that is prepared already is returned unchanged.

    Raises UserError if the data cannot be prepared, or if an option in ``how`` is set for data that
    is prepared already.
    """
    if isinstance(data, Prepared):
        _refuse(how, "prepared images")
        return data
    split = how.split or "train"
    return prepare(data, size=how.size, split=split, range=how.range, conditional=False)


def called(data: Prepared) -> str:
    """Return the name of a data set in reports: the source and split, or else the fingerprint."""
    if not data.source:
        return f"images {data.fingerprint[:12]}"
    if data.source.startswith("array:"):
        return data.source
    return f"{data.source} (split {data.split})"


def training_set(folder: Path, pipe: Pipeline) -> Against:
    """Return the training set of a run or a checkpoint, without augmentation.

    Raises UserError if the model does not record its training set, or if the data has changed. For
    a shipped model, changed data only causes a warning, because the user may have the same images
    in another order.
    """
    if pipe.data is None or not (folder / "config.json").exists():  # saved without a run
        raise _silent(str(folder))
    c = read_config(folder / "config.json").data
    found = c.prepared()
    if not is_same(found, pipe.data):
        problem = (
            f"{c.data} is not the data that {folder} was trained on (its SHA-256 is "
            f"{found.fingerprint[:12]}, but was {pipe.data[:12]} in the training)"
        )
        if not shipped.is_shipped(folder):
            raise UserError(f"{problem}: restore that data, or evaluate with other `data`")
        warn(
            f"{problem}: ignore this if the data is the same in another order; otherwise give the "
            "training set as `data`"
        )
    return Against(f"{c.data} (split train)", found)


def own_training_set(pipe: Pipeline, name: str = "") -> Against:
    """Return the training set of a pipeline.

    A pipeline without a ``home`` (the folder from which it was loaded) records only the fingerprint
    of its training set. The set is then found through a shipped model that records the same
    fingerprint. ``name`` is the model's name in errors. Raises UserError if the model does not
    record its training set, or if the data has changed.
    """
    homes = [pipe.home] if pipe.home else list(shipped.folders().values())
    for home in homes:
        if pipe.home or facts(home, "data")["data"] == pipe.data:
            return training_set(home, pipe)
    raise _silent(name or "the model")


def _refuse(how: Preparation, data: str) -> None:
    """Raise UserError if an option is given that cannot be used with this kind of data."""
    for name, value in asdict(how).items():
        if value is not None:
            raise UserError(f"`{name}` cannot be used with {data}: leave it out")


def _silent(what: str) -> UserError:
    """Return the error for a model whose training set is not known; ``what`` names the model."""
    return UserError(f"{what} does not record its training set: give the training set as `data`")
