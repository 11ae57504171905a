"""The wheel and the sdist: their files, and that the wheel works without any extra."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

import mezzotint as mz
from mezzotint.data import augment
from mezzotint.data.sources import parquet
from mezzotint.interop import onnx_out
from mezzotint.metrics import efficientnet
from mezzotint.run import trackers
from mezzotint.ui import serving

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HELD = (
    "mezzotint/*.py",
    "mezzotint/py.typed",
    "mezzotint/drawing/page.html.j2",
    "mezzotint/ui/page.css",
    "mezzotint/metrics/weights/*.safetensors",
    "mezzotint/metrics/weights/imagenet-classes.txt",
    *(
        f"mezzotint/pretrained/*/{name}"
        for name in ("README.md", "*.json", "ema.safetensors", "vae/*")
    ),
)
"""What the wheel holds; ``*`` stands for folders too."""
NEEDED = (
    "py.typed",
    "drawing/page.html.j2",
    "ui/page.css",
    "pretrained/cifar10/ema.safetensors",
    "cli/train.py",
)


def unexpected(names: list[str]) -> list[str]:
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in HELD)]


def test_the_wheel_will_hold_the_package_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    builders = pytest.importorskip("hatchling.builders.wheel")
    files = builders.WheelBuilder(str(ROOT)).recurse_included_files()
    names = sorted(file.distribution_path for file in files)
    assert unexpected(names) == []
    package = ROOT / "src" / "mezzotint"
    sources = {str(path.relative_to(package.parent)) for path in package.rglob("*.py")}
    assert sources | {f"mezzotint/{name}" for name in NEEDED} <= {*names}


LATE: dict[str, tuple[str, Callable[[], object]]] = {
    "parquet": ("pyarrow", parquet._pyarrow),
    "augment": ("kornia", lambda: augment.kornia_augmentation(("crop",), (16, 16))),
    "onnx": ("onnx", onnx_out._packages),
    "imagenet": (efficientnet.PACKAGE, efficientnet.weights_file),
    "ui": ("gradio", serving._needs_gradio),
    "wandb": ("wandb", lambda: trackers._package("wandb", "wandb")),
    "tensorboard": ("tensorboard", lambda: trackers._package("tensorboard", "tensorboard")),
}
"""For each extra a module of it, and what imports it late."""
APART = {"bench", "dev", "docs"}  # extras that no module of the package imports


@pytest.mark.parametrize("extra", LATE)
def test_a_missing_extra_is_named_in_one_line(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, use = LATE[extra]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(mz.UserError, match=rf": .*pip install 'mezzotint\[{extra}\]'$") as error:
        use()
    assert "\n" not in str(error.value)


def test_every_extra_is_named_by_a_message() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    named = {*re.findall(r"mezzotint\[([a-z]+)\]", source), *trackers.TRACKERS}
    assert {*PROJECT["optional-dependencies"]} - APART <= named


DEMO = """
import sys
extras = "pyarrow kornia wandb tensorboard onnx onnxscript onnxruntime gradio diffusers {imagenet}"
sys.modules.update(dict.fromkeys(extras.split()))
import mezzotint
from mezzotint.cli import main
assert mezzotint.__file__.startswith(sys.prefix), mezzotint.__file__
size = "--images 64 --batch 8 --channels 8 --attention --groups 4".split()
main(["train", "glyphs-ddpm", *size, "--out", "runs/demo"])
main(["sample", "runs/demo", "-n", "4", "--steps", "2"])
main(["evaluate", "runs/demo", "--samples", "12", "--steps", "2"])
main(["sample", "cifar10", "-n", "2", "--steps", "2", "--out", "images"])
"""


@pytest.mark.slow
def test_the_wheel_is_built_and_works_without_extras(tmp_path: Path) -> None:
    for name in ("build", "twine", "hatchling"):
        pytest.importorskip(name, reason=f"needs the package {name}, of the extra dev")

    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=outside, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", ROOT)
    wheel, sdist = (next((tmp_path / "dist").glob(name)) for name in ("*.whl", "*.tar.gz"))
    assert "FAILED" not in run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    with zipfile.ZipFile(wheel) as file:
        own = [name for name in file.namelist() if ".dist-info/" not in name]
    assert unexpected(own) == []
    with tarfile.open(sdist) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    assert {f"src/{name}" for name in own} <= inside
    assert {"pyproject.toml", "README.md", "LICENSE", "docs/package.py", "PKG-INFO"} <= inside
    # A fresh environment, which finds the dependencies of this one, and not its extras.
    run(sys.executable, "-m", "venv", "--without-pip", "venv")
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", tmp_path / "venv" / "bin" / "python"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel)
    assert run("venv/bin/mezzotint", "--version") == f"mezzotint {mz.__version__}\n"
    demo = DEMO.format(imagenet=efficientnet.PACKAGE)
    assert "wrote 2 samples to images, and a grid of them to " in run("venv/bin/python", "-c", demo)
