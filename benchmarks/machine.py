"""What figures were made on and with."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch


def machine(*packages: str) -> str:
    """The processor, the versions of packages, and the commit, in a line."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else platform.processor()
        special = [f for f in ("avx512_bf16", "amx_bf16") if any(f in line for line in lines)]
        name = ", ".join([name, *special, f"{torch.get_num_threads()} threads"])
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    libraries = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{name}; {libraries}; mezzotint at commit {commit}"
