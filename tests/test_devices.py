"""The choice of the device: what exists, what is refused, and that one module chooses."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import mezzotint as mz
from mezzotint import devices
from mezzotint.networks.precision import compute_dtype
from mezzotint.processes import connected, watched
from mezzotint.run import group
from mezzotint.run.group import joined

from commands import CapSys, call

HERE = Path(devices.__file__)
FILES = sorted(HERE.parent.rglob("*.py"))
NAMES = {"is_cuda", "is_mps", "pin_memory", "non_blocking", "synchronize", "is_available"}
KINDS = {"cuda", "mps"}


def chooses(path: Path) -> list[str]:
    """Return the code in a file that depends on the kind of device."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            kind = node.attr == "type" and ast.unparse(node.value).endswith("device")
            of_torch = ast.unparse(node) in ("torch.cuda", "torch.mps", "torch.backends")
            if node.attr in NAMES or kind or of_torch:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Constant) and node.value in KINDS:
            found.append(f"{node.lineno}: {node.value}")
        elif isinstance(node, ast.keyword) and node.arg in NAMES:
            found.append(f"{node.value.lineno}: {node.arg}")
    return found


def test_only_one_module_chooses_by_the_kind_of_device() -> None:
    found = {path.name: chooses(path) for path in FILES if path != HERE}
    assert {name: places for name, places in found.items() if places} == {}


def test_the_search_finds_what_it_looks_for() -> None:
    assert len(chooses(HERE)) > 20


@pytest.fixture(autouse=True)
def own_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo the choice of a device after each test."""
    monkeypatch.setattr(devices, "_named", {})


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices.COUNTS, "cuda", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)


def test_a_gpu_is_the_default_if_there_is_one(monkeypatch, two_gpus: None) -> None:
    assert devices.default() == torch.device("cuda")
    mz.use_device("cuda:1")
    assert devices.default() == devices.chosen(None) == torch.device("cuda:1")
    mz.use_device("cpu")
    assert devices.default() == torch.device("cpu")
    monkeypatch.setattr(devices, "_named", {})
    monkeypatch.setitem(devices.COUNTS, "cuda", lambda: 0)
    monkeypatch.setitem(devices.COUNTS, "mps", lambda: 1)  # never chosen unless named
    assert devices.default() == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu", "--device is 'gpu': choose cpu, cuda, cuda:0, cuda:1 ... or mps"),
        ("meta", "--device is 'meta': choose cpu, cuda, cuda:0, cuda:1 ... or mps"),
        ("", "--device is '': choose cpu, cuda, cuda:0, cuda:1 ... or mps"),
        ("mps", "torch finds no mps device on this machine: choose another device"),
        ("cuda:3", "there is no device cuda:3: this machine has 2 cuda devices, numbered from"),
        ("cuda:-1", "--device is 'cuda:-1': choose cpu"),
        ("cpu:1", "there is no device cpu:1: this machine has 1 cpu device, numbered from cpu:0"),
    ],
)
def test_a_device_that_is_not_there(two_gpus: None, capsys: CapSys, name: str, said: str) -> None:
    code, out, err = call(capsys, "sample", "cifar10", "--device", name)
    assert (code, out) == (2, "")
    assert err.startswith(f"mezzotint: {said}")
    assert err.count("\n") == 1
    with pytest.raises(mz.UserError):
        mz.load("cifar10", device=name)


def test_without_a_gpu_or_a_name(monkeypatch, capsys: CapSys) -> None:
    monkeypatch.setitem(devices.COUNTS, "cuda", lambda: 0)
    for words, said in (
        (["--device=cuda"], "torch finds no cuda device on this machine: choose another device"),
        (["--device"], "--device needs a name: give cpu, cuda, cuda:1 or mps"),
    ):
        code, _, err = call(capsys, "sample", "cifar10", *words)
        assert (code, err) == (2, f"mezzotint: {said}\n")


def test_the_device_of_a_command(two_gpus: None, capsys: CapSys) -> None:
    """It is chosen before the verb begins, wherever the option is."""
    for words in (["--device", "cpu", "data"], ["data", "--device=cpu"]):
        devices._named.clear()
        code, _, err = call(capsys, *words)
        assert code == 2
        assert "--device" not in err
        assert devices.default() == torch.device("cpu")


def test_processes_have_a_device_each(two_gpus: None) -> None:
    mz.use_device("cuda")
    assert not devices.without_gpu(several=True)
    mz.use_device("cuda:1")
    assert not devices.without_gpu(several=False)
    with pytest.raises(mz.UserError, match=r"each with its own device: choose cuda without"):
        devices.without_gpu(several=True)
    mz.use_device("cpu")
    assert devices.without_gpu(several=True)


def test_apples_gpu_cannot_train(monkeypatch) -> None:
    monkeypatch.setitem(devices.COUNTS, "mps", lambda: 1)
    mz.use_device("mps")
    with pytest.raises(mz.UserError, match="training needs float64, which Apple"):
        joined()


def test_bf16_is_refused_where_there_is_none(monkeypatch, two_gpus: None) -> None:
    gpu = torch.device("cuda:1")
    assert compute_dtype("auto", gpu) == torch.float32
    assert compute_dtype("bf16", torch.device("cpu")) == torch.bfloat16  # which emulates it
    with pytest.raises(
        mz.UserError, match=r'^cuda:1 does not compute in bf16: choose `precision="'
    ):
        compute_dtype("bf16", gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert compute_dtype("bf16", gpu) == torch.bfloat16
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *version: False)
    with pytest.raises(mz.UserError, match="mps does not compute in bf16"):
        compute_dtype("bf16", torch.device("mps"))


def test_float32_is_exact_and_other_flags_stay() -> None:
    now = torch.backends.cudnn
    with now.flags(enabled=True, benchmark=True, deterministic=True, allow_tf32=True):
        with devices.in_full(torch.bfloat16):
            assert now.allow_tf32
        with devices.in_full(torch.float32):
            assert not now.allow_tf32
            assert now.enabled
            assert now.benchmark
            assert now.deterministic
        assert now.allow_tf32


@pytest.mark.parametrize(
    "error",
    [
        "NCCL error in: ProcessGroupNCCL.cpp:1207, internal error, NCCL version 2.21.5\n"
        "ncclInternalError: Internal check failed.\nLast error:\nBootstrap : no socket interface "
        "found",
        "[enforce fail at device.cc:84] ifa != nullptr. Unable to find address for: eth9",
    ],
)
def test_no_network_between_processes(error: str) -> None:
    said = pytest.raises(mz.UserError, match="find no network interface")
    with said as found, watched(2):
        raise RuntimeError(error)
    assert "\n" not in str(found.value)
    assert type(found.value) is mz.UserError
    with pytest.raises(RuntimeError, match="of another kind"), connected():
        raise RuntimeError("of another kind")


def test_processes_begin_at_the_same_step(monkeypatch) -> None:
    monkeypatch.setattr(group, "greatest", lambda step: max(step, 0))  # another is at step 0
    group.check_alike(0)
    with pytest.raises(
        mz.UserError, match="begins at step 4, but others begin at another step: put the run's"
    ):
        group.check_alike(4)
