"""Find images that were prepared from memory earlier, by their fingerprint in the cache."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from mezzotint.data.columns import again
from mezzotint.data.images import Pixels, Wanted
from mezzotint.data.prepared import load
from mezzotint.data.source import Item, Kind, Source, no_split
from mezzotint.data.values import Bounds, Values
from mezzotint.errors import UserError
from mezzotint.storage.cache import cache_folder


def cached(data: str, split: str) -> Source:
    """Return images that `prepare` was given in memory earlier; all are in the split ``train``.

    Args:
        data: `array:` and the first 16 hex digits of the fingerprint of the images.
        split: Must be ``train``.

    Raises:
        UserError: If the cache does not hold these images, or ``split`` is not ``train``.
    """
    name = data.removeprefix("array:")
    cache = cache_folder("prepared")
    entry = cache / f"array-{name}"
    found = load(entry) if name.isalnum() else None
    if found is None:
        raise UserError(
            f"{data} is not in the cache {cache}: prepare the images again, from Python"
        )
    if split != "train":
        raise no_split(data, split, ["train"])

    def items() -> Iterator[Item]:
        for i, label in enumerate(found.labels):
            yield Item(f"row {i}", partial(_row, found.images, i), int(label))

    def values(bounds: Bounds | None) -> tuple[Values, tuple[str, ...]]:
        if bounds not in (None, (found.values.low, found.values.high)):
            raise UserError(
                f"the range of the images of {data} is known ({found.values}): leave out `range`"
            )
        return found.values, ()

    key = {"kind": "array", "fingerprint": found.fingerprint}
    facts = found.classes, len(found), items, found.notes
    columns = again(found.condition, found.conditions)
    return Source(entry.name, key, *facts, entry=entry, values=values, columns=columns)


def _row(images: Pixels, i: int, wanted: Wanted) -> Pixels:
    return np.array(images[i])


KIND = Kind("array:FINGERPRINT", cached)
