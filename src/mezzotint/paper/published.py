"""The experiments of the paper, and the FIDs in the paper and in earlier publications."""

from __future__ import annotations

EXPERIMENTS = {
    "A": "linear schedule, every step",
    "B": "the weights of A, fewer steps",
    "C": "latent diffusion, guided",
    "D": "cosine schedule",
}
PAPER = {"B": 47.92, "C": 323.51}
"""The FID of each experiment in arXiv 2412.14422, which gives none for A and D."""
STOPPED = "not reported (stopped after about 10 epochs)"
PUBLISHED = {"A": 3.17, "C": 3.60, "D": 2.90}
"""The published FIDs of A, C and D; `SOURCES` names the publications."""
DDIM = {10: 13.36, 20: 6.84, 50: 4.67, 100: 4.16, 1000: 4.04}
"""The published FIDs of B, by number of steps."""
SOURCES = {
    "A": "Ho et al. 2020, CIFAR-10",
    "B": "Song et al. 2021, CIFAR-10",
    "C": "Rombach et al. 2022, guided, ImageNet at 256x256",
    "D": "Nichol and Dhariwal 2021, CIFAR-10, 4,000 steps",
}
CITED = {"C": "27.0 (LDM on ImageNet, as the paper cites it)"}
"""The figures of other work with which the paper compares its experiments."""


def papers(letter: str) -> str:
    """Return the paper's FID of an experiment as text, or a note that the paper reports none."""
    return f"{PAPER[letter]:.2f}" if letter in PAPER else STOPPED


def published(letter: str, value: float | None) -> str:
    """Return a published FID as text, with its source; "–" for None."""
    if value is None:
        return "–"
    cited = f"{CITED[letter]}; " if letter in CITED else ""
    return f"{cited}{value:.2f} ({SOURCES[letter]})"
