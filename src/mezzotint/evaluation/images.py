"""Measure images against other images."""

from __future__ import annotations

from typing import Any

from mezzotint.data import Prepared
from mezzotint.data.rgb import in_rgb, warn_of_rgb
from mezzotint.evaluation.against import PLAIN, Against, Preparation
from mezzotint.evaluation.measuring import measure, measure_images, warn_of_few
from mezzotint.evaluation.nearest import SHOWN, draw_nearest
from mezzotint.evaluation.request import Found, Request
from mezzotint.metrics import Figure
from mezzotint.processes import join
from mezzotint.storage.arrays import nchw


def of_images(
    images: Prepared,
    request: Request,
    data: Any,
    how: Preparation = PLAIN,
    *,
    facts: dict[str, Any] | None = None,
) -> Found:
    """Measure images against reference images, and return the figures.

    The reference is ``data`` if that is an `Against`, else ``Against.of(data, how)``. ``facts`` are
    written to figures.jsonl together with the figures and the fingerprint of the images.
    """
    warn_of_rgb(images.values, images.images.shape[3])
    images = in_rgb(images)
    request.check(images.classes, data)
    to = data if isinstance(data, Against) else Against.of(data, how)
    networks = request.load(images.classes, join()[1], to)
    height, width = images.images.shape[1:3]
    every: list[Figure] = []
    for network in networks:
        by = measure(network, to, (height, width))
        features, figures = measure_images(images, by, request.metrics, request.follow)
        request.keep(figures, {**(facts or {}), "fingerprint": images.fingerprint})
        warn_of_few(figures, by.reference)
        every += figures
    first = nchw(images.images[:SHOWN])
    return Found(every, to, draw_nearest(request.out, to, by, features, first))
