"""A laboratory for image diffusion models: train, sample and measure them.

schedule = mz.linear(1000)
grid = schedule.grid(50)
x = mz.SAMPLERS["ddim"](denoise, x, grid, eta=0.0)

images = mz.load("runs/cifar10-ddpm-small").sample(16, labels=3, guidance=2.0, seed=0)

The public names are listed in `mezzotint.api`. The first use of a public name imports them all.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mezzotint.api import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        # `from mezzotint import data` calls this function first. If the name is a module's,
        # AttributeError makes the import system import the module.
        if not name.startswith("_") and find_spec(f"mezzotint.{name}") is None:
            api = import_module("mezzotint.api")
            if name in api.__all__:
                globals().update({each: getattr(api, each) for each in api.__all__})
                return globals()[name]
        raise AttributeError(f"module 'mezzotint' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return [*globals(), *import_module("mezzotint.api").__all__]
