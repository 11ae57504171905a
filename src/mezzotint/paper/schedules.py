"""Compare the schedules of the pixel models: their errors by level, and their gradient noise."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from mezzotint.data import held_out
from mezzotint.evaluation.samples import Follow
from mezzotint.paper.models import kept, trained
from mezzotint.paper.study import errors_by_level, gradient_noise
from mezzotint.paper.work import PIXELS, Work
from mezzotint.pipeline import loading
from mezzotint.storage import jsonl
from mezzotint.storage.arrays import nchw

HELD_OUT = 512  # held-out images for the errors


def compare_schedules(work: Work, follow: Follow) -> dict[str, dict[str, Any]]:
    """Measure each pixel model: its error at each level, and the noise of its gradient.

    The errors are measured on held-out images, or on training images if none are held out. Results
    are appended to study.jsonl, and are not measured again.

    Returns:
        The row of study.jsonl for each model, by the model's name; {} if there are fewer than two
        pixel models.
    """
    names = [name for name in PIXELS if name in work.models]
    if len(names) < 2:
        return {}
    known = {row["model"]: row for row in kept(work, "study.jsonl")}
    for i, name in enumerate(names):
        if name not in known:
            follow(f"study of {name}", i, len(names))
            known[name] = _studied(work, name)
            jsonl.append(work.plan.folder / "study.jsonl", known[name])
    follow("study", len(names), len(names))
    return {name: known[name] for name in names}


def _studied(work: Work, name: str) -> dict[str, Any]:
    """Measure one model, and return its row for study.jsonl."""
    folder = work.folder(name)
    pipe = loading.load(folder, precision="float32")
    others = held_out(work.data[name])
    images = others.some(HELD_OUT)
    labels = images.labels.tolist() if pipe.classes else None
    noise = gradient_noise(folder)
    return {
        **trained(work, name),
        "errors": errors_by_level(pipe, nchw(images.images), labels, seed=work.plan.seed),
        "held_out": others is not work.data[name],
        "noise_scale": noise.scale if math.isfinite(noise.scale) else None,
        "gradient": noise.norm,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
