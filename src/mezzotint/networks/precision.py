"""The floating-point type that networks compute in."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

from mezzotint.devices import has_bf16, has_fast_bf16
from mezzotint.errors import UserError

Precision: TypeAlias = Literal["float32", "bf16", "auto"]
"""The precision of networks; ``auto`` is bf16 on hardware that computes in bf16, else float32."""


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type, float32 or bfloat16, for a `Precision` on a device.

    Raises UserError for an unknown precision, and for bf16 on a GPU that does not compute in bf16.
    """
    if precision not in ("auto", "bf16", "float32"):
        raise UserError(f"unknown precision {precision!r}: choose auto, bf16 or float32")
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "float32"
    if precision == "bf16" and not has_bf16(device):
        raise UserError(f'{device} does not compute in bf16: choose `precision="float32"`')
    return torch.bfloat16 if precision == "bf16" else torch.float32


def named(dtype: torch.dtype) -> Literal["bf16", "float32"]:
    """Return the name that records and tables give to a type: "bf16" or "float32"."""
    return "bf16" if dtype == torch.bfloat16 else "float32"
