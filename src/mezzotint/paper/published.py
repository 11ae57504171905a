"""The experiments of the paper, and the FIDs that it and its sources report."""

from __future__ import annotations

EXPERIMENTS = {
    "A": "linear schedule, every step",
    "B": "the weights of A, fewer steps",
    "C": "latent diffusion, guided",
    "D": "cosine schedule",
}
PAPER = {"B": 47.92, "C": 323.51}
"""The FID of each experiment in arXiv 2412.14422, which gives none for A and D."""
PUBLISHED = {"A": 3.17, "C": 3.60, "D": 2.90}
"""The FID of A, C and D in `SOURCES`."""
DDIM = {10: 13.36, 20: 6.84, 50: 4.67, 100: 4.16, 1000: 4.04}
"""The FID of B by its number of steps, in `SOURCES`."""
SOURCES = (
    "A: Ho et al. 2020; B: Song et al. 2021; C: Rombach et al. 2022, guided, on ImageNet at "
    "256x256; D: Nichol and Dhariwal 2021, in 4,000 steps"
)
