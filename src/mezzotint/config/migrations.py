"""Convert older versions of config.json to the current one, step by step.

A change of config.json that an older version of mezzotint would misread must raise VERSION by one,
and add a conversion from the previous version to MIGRATIONS. A new field with a default needs
neither. No conversion is ever removed, so every released version stays readable. tests/stored holds
a run of each version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Content: TypeAlias = dict[str, Any]

VERSION = 6
"""The version of config.json that this version of mezzotint writes."""


def _in_rgb(content: Content) -> Content:
    """Convert version 5 to version 6: set the field ``mode`` of ``data`` to "rgb".

    Runs of version 5 have no such field, and always convert images to RGB.
    """
    return {**content, "data": {**content["data"], "mode": "rgb"}}


MIGRATIONS: dict[int, Callable[[Content], Content]] = {
    # Version 5 adds sample.sampler_options, and networks of the user's own.
    4: lambda content: content,
    # Version 6 adds objectives that distil a teacher, and the channels and the range of images.
    5: _in_rgb,
}
"""For each older version, a function that converts a configuration to the next version.

The function takes and returns the content of config.json without the field ``version``.
"""


def readable() -> range:
    """Return the versions of config.json that this mezzotint can read."""
    return range(min(MIGRATIONS, default=VERSION), VERSION + 1)


def migrate(content: Content, version: int) -> Content:
    """Convert the content of a config.json of any readable version to the current version."""
    for step in range(version, VERSION):
        content = MIGRATIONS[step](content)
    return content
