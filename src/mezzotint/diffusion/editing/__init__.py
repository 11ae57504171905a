"""Editing: infer an image x0 from another image or from an observation ``y = A x0 + noise``.

`inversion` carries images to noise, `repaint` fills in the masked part, and `posterior` wraps a
denoiser so that every sampler draws from the posterior. `operators` has the operators A.
"""

from mezzotint.diffusion.editing.inversion import invert, slerp
from mezzotint.diffusion.editing.operators import OPERATORS, Operator
from mezzotint.diffusion.editing.posterior import POSTERIORS
from mezzotint.diffusion.editing.repaint import repaint

__all__ = ["OPERATORS", "POSTERIORS", "Operator", "invert", "repaint", "slerp"]
