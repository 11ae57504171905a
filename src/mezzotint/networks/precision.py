"""The floating-point type that networks compute in."""

from __future__ import annotations

import torch

from mezzotint.errors import UserError


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type, float32 or bfloat16, that networks compute in on a device.

    ``precision`` is "float32", "bf16" or "auto", which chooses bfloat16 where the hardware has it.
    Raises UserError for any other.
    """
    if precision not in ("auto", "bf16", "float32"):
        raise UserError(f"unknown precision {precision!r}: choose auto, bf16 or float32")
    if precision == "auto":
        native = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        )
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32
