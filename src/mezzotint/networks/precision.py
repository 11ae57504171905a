"""The floating-point type that networks compute in."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

from mezzotint.errors import UserError

Precision: TypeAlias = Literal["float32", "bf16", "auto"]
"""What networks compute in: ``auto`` is bf16 on hardware that computes in it, else float32."""


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether the hardware itself computes in bfloat16; emulation does not count."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type, float32 or bfloat16, that a `Precision` stands for on a device.

    Raises UserError for any other word.
    """
    if precision not in ("auto", "bf16", "float32"):
        raise UserError(f"unknown precision {precision!r}: choose auto, bf16 or float32")
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "float32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def named(dtype: torch.dtype) -> Literal["bf16", "float32"]:
    """Return the precision, as records and tables name it, of a type that networks compute in."""
    return "bf16" if dtype == torch.bfloat16 else "float32"
