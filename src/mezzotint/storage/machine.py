"""Describe the machine and the software versions of a measurement, and time calls."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from mezzotint import devices

HOME = Path(__file__).parents[3]


def machine(*packages: str) -> str:
    """Return the processor, the versions of packages, and mezzotint's commit or version."""
    libraries = ", ".join(f"{package} {version(package)}" for package in packages)
    return "; ".join(filter(None, (processor(), libraries, f"mezzotint {commit()}")))


def processor() -> str:
    """Return the GPU's name, or a description of the CPU if there is no GPU.

    The description has the CPU's name, its instructions for bf16 if Linux lists any, and the number
    of threads that torch uses.
    """
    if name := devices.gpu_name():
        return name
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    special = [f for f in ("avx512_bf16", "amx_bf16") if any(f in line for line in lines)]
    return ", ".join([name, *special, f"{torch.get_num_threads()} of {os.cpu_count()} threads"])


def seconds_of(call: Callable[[], object], times: int = 4) -> float:
    """Return the mean seconds per call over ``times`` calls, after two calls to warm up."""
    begun = 0.0
    for i in range(times + 2):
        if i == 2:
            devices.finish()
            begun = time.perf_counter()
        call()
    devices.finish()
    return (time.perf_counter() - begun) / times


def commit() -> str:
    """Return "at commit ..." for a package in a git checkout, else the package's version."""
    found = checkout()
    return f"at commit {found}" if found else version("mezzotint")


def checkout() -> str | None:
    """Return the commit of the git checkout that holds this package; None outside a checkout.

    The text comes from `git describe`, which appends "-dirty" if files have changed.
    """
    if not (HOME / "src" / "mezzotint").is_dir() or not (HOME / ".git").exists():
        return None
    git = ["git", "-C", str(HOME), "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # there is no git
        return None
    return said or None
