"""Older versions of config.json, brought to the current one step by step.

A change after which an older mezzotint could not make sense of config.json, or would take it for
something else, raises VERSION by one and adds to MIGRATIONS the step from the version before. A new
field that has a default needs neither. No step is ever taken out: what was written is read by
everything after it, and tests/stored holds runs that prove it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Content: TypeAlias = dict[str, Any]

VERSION = 6
"""The version that is written."""


def _in_rgb(content: Content) -> Content:
    """6 keeps the channels of images, which were always converted to RGB."""
    return {**content, "data": {**content["data"], "mode": "rgb"}}


MIGRATIONS: dict[int, Callable[[Content], Content]] = {
    4: lambda content: content,  # 5 adds sample.sampler_options, and networks of the user's own
    5: _in_rgb,  # 6 adds objectives that distil a teacher, and the channels and the range of images
}
"""From each older version, the step to the next: the content, without its version, to another."""


def readable() -> range:
    """The versions that can be read."""
    return range(min(MIGRATIONS, default=VERSION), VERSION + 1)


def migrate(content: Content, version: int) -> Content:
    """The content of a config.json of a readable version as this version would have written it."""
    for step in range(version, VERSION):
        content = MIGRATIONS[step](content)
    return content
