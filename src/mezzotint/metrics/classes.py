"""Match the classes of a data set to the classes of a feature network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mezzotint.networks.conditions.classes import names_of


def places(known: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """Find each class of a data set among the classes that a network distinguishes.

    Two classes match if they have the same WordNet id ("n01443537"), or else if they share a name.
    Commas separate the names of a class: "goldfish" matches "n01443537 goldfish, Carassius
    auratus". Case is ignored, and underscores count as spaces. A name or id that several entries of
    ``known`` have is ignored.

    Args:
        known: The network's classes, in the order of its logits.
        classes: The classes of a data set.

    Returns:
        The index in ``known`` of each class. The whole result is None if any class matches no
        entry, if two classes match the same entry, or if there are no classes.
    """
    keys = [(i, key) for i, name in enumerate(known) for key in _keys(name)]
    count = Counter(key for _, key in keys)
    place = {key: i for i, key in keys if count[key] == 1}
    found = [next((place[key] for key in _keys(name) if key in place), None) for name in classes]
    whole = [i for i in found if i is not None]
    return whole if len(set(whole)) == len(classes) and whole else None


def _keys(name: str) -> list[str]:
    """Return the keys of a class: its WordNet id if it has one, then its names."""
    return names_of(" ".join(name.replace("_", " ").casefold().split()))
