"""The paths in a configuration: data, autoencoder, teacher, and the model to start from.

In memory all paths are absolute. In config.json, the path of a model beside or inside the run is
relative to the run's folder, so that model and run can be moved together. All other paths are
absolute, so that the run can be evaluated from any folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mezzotint.config.experiment import Configuration, Experiment
from mezzotint.data.find import recognise
from mezzotint.errors import UserError

T = TypeVar("T", bound=Configuration)
UP = ".."  # the beginning of a path that is relative to a run's folder


def located(config: T, home: Path) -> T:
    """Return a run's configuration with absolute paths; ``home`` is the run's folder.

    Older versions stored paths as the user gave them, mostly relative to the working folder. So
    each path is searched for in several places, and the first match is used:

    - a path that begins with ``..``: in the run's folder, in each folder above the run's folder,
      and then in the working folder;
    - any other relative path: in the working folder, in the run's folder, and then in each folder
      above the run's folder;
    - an absolute path: as given. If the path does not exist, its last part is searched for in the
      run's folder, and then in each folder above the run's folder.

    A path that begins with ``..`` and is not found is taken as relative to the run's folder. Other
    paths that are not found, and names of data sets and models, do not change. A wrong match does
    no harm, because training and measuring check the fingerprint of the data.
    """

    def model(text: str) -> str:  # without links, as `stored` writes it
        found = _located(text, home.resolve())
        return os.path.realpath(found) if os.path.exists(found) else found

    return _mapped(config, lambda text: _located(text, home.resolve()), model)


def absolute(config: T) -> T:
    """Return the configuration of a new run, in which existing paths are made absolute.

    Unlike `located`, this searches nowhere, because new data has no fingerprint to check.
    """

    def whole(text: str) -> str:
        path = os.path.expanduser(text)
        return os.path.abspath(path) if os.path.exists(path) else text

    return _mapped(config, whole)


def stored(config: T, home: Path) -> T:
    """Return the configuration with its paths as they are written to config.json in ``home``."""
    return _mapped(config, lambda text: text, lambda text: _stored(text, home.resolve()))


def named(source: str) -> str:
    """Return the last part of a path to data or a model; a name, such as hub:A/B, is unchanged."""
    return source if source.startswith("hub:") else Path(source).name or source


def _mapped(config: T, data: Callable[[str], str], model: Callable[[str], str] | None = None) -> T:
    """Return the configuration after applying functions to its paths.

    ``data`` is applied to the path of the data, and ``model`` to the paths of models. If ``model``
    is None, ``data`` is applied to all paths.
    """
    model, c = model or data, config.data.data
    section: Any = replace(config.data, data=c if _is_name(c) else data(c))
    config = replace(config, data=section)
    teacher = getattr(config.objective, "teacher", "") if isinstance(config, Experiment) else ""
    if _is_path(teacher) and not _is_bare(teacher):
        objective: Any = replace(config.objective, teacher=model(teacher))  # type: ignore[union-attr]
        config = replace(config, objective=objective)
    if isinstance(config, Experiment) and _is_path(config.codec.vae):
        config = replace(config, codec=replace(config.codec, vae=model(config.codec.vae)))
    if _is_path(config.init) and not (isinstance(config, Experiment) and _is_bare(config.init)):
        config = replace(config, init=model(config.init))
    return config


def _is_name(data: str) -> bool:
    try:
        return recognise(data)[1].takes is None
    except UserError:
        return False


def _is_path(model: str) -> bool:
    return bool(model) and not model.startswith("hub:")


def _is_bare(model: str) -> bool:
    """Return whether a text is a bare name, such as the name of a shipped model, and not a path."""
    return os.path.basename(model) == model and not os.path.exists(model)


def _located(text: str, home: Path) -> str:
    path, above = Path(os.path.expanduser(text)), (home, *home.parents)
    if path.is_absolute():
        places = [path, *(place / path.name for place in above)]
    else:
        near, here = [place / path for place in above], [Path.cwd() / path]
        places = near + here if text.startswith(UP) else here + near
    found = next((place for place in places if place.exists()), None)
    if found is None and text.startswith(UP):
        found = home / path
    return text if found is None else os.path.abspath(found)


def _stored(text: str, home: Path) -> str:
    path = Path(os.path.expanduser(text))
    if not path.exists():
        return text
    whole = path.resolve()
    return os.path.relpath(whole, home) if whole.is_relative_to(home.parent) else str(whole)
