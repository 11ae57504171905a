"""Samplers, ``sampler(denoise, x, grid, ..., randn=) -> x``, each in a short file of its own.

A sampler steps from each level of a grid to the next. It sees neither network nor schedule.
`Sampler.__call__` documents denoise, x, grid and randn; each method's docstring documents its
options.
"""

from __future__ import annotations

from functools import partial

from mezzotint.diffusion.samplers.consistency import consistency
from mezzotint.diffusion.samplers.ddim import ddim
from mezzotint.diffusion.samplers.ddpm import ddpm
from mezzotint.diffusion.samplers.deis import deis
from mezzotint.diffusion.samplers.dpmpp import dpmpp
from mezzotint.diffusion.samplers.edm import edm
from mezzotint.diffusion.samplers.heun import heun
from mezzotint.diffusion.samplers.hybrid import hybrid
from mezzotint.diffusion.samplers.sampler import Sampler
from mezzotint.diffusion.samplers.unipc import unipc
from mezzotint.errors import Registry

SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    {
        "ddpm": Sampler(ddpm, stochastic=True),
        "ddim": Sampler(ddim),
        "heun": Sampler(heun, order=2, calls=2, least=2),
        "edm": Sampler(edm, order=2, calls=2, least=2, stochastic=True),
        "dpmpp_1": Sampler(partial(dpmpp, order=1, eta=0.0)),
        "dpmpp_2m": Sampler(partial(dpmpp, order=2, eta=0.0), order=2, least=3),
        "dpmpp_3m": Sampler(partial(dpmpp, order=3, eta=0.0), order=3, least=5),
        "dpmpp_2m_sde": Sampler(
            partial(dpmpp, order=2, eta=1.0), order=2, least=3, stochastic=True
        ),
        "dpmpp_3m_sde": Sampler(
            partial(dpmpp, order=3, eta=1.0), order=3, least=5, stochastic=True
        ),
        "unipc": Sampler(unipc, order=3, least=2),
        "deis": Sampler(deis, order=3, least=5),
        "hybrid": Sampler(hybrid, stochastic=True, least=2),
        "consistency": Sampler(consistency, stochastic=True, few_step=True),
    },
    Sampler,
)

__all__ = ["SAMPLERS", "Sampler"]
