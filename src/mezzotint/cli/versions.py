"""The versions and the hardware that a bug report should state."""

from __future__ import annotations

import platform

import torch

import mezzotint
from mezzotint.cli.answer import Answer
from mezzotint.devices import default
from mezzotint.networks.precision import compute_dtype
from mezzotint.storage.machine import checkout, processor


def versions() -> Answer:
    """Return the versions, the device, and the precision that "auto" means on this device."""
    device = default()
    low = compute_dtype("auto", device) == torch.bfloat16
    return Answer(
        {
            "version": mezzotint.__version__,
            "commit": checkout(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(device),
            "processor": processor(),
            "precision": "bf16" if low else "float32",
        }
    )
