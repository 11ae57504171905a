"""The server of the playground, tested without gradio, and the models that it offers."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import mezzotint as mz
from mezzotint.pipeline import shipped
from mezzotint.ui import models, serving

from commands import CapSys, call


@pytest.fixture
def gradio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that gradio is installed."""
    monkeypatch.setattr(serving, "_needs_gradio", lambda: None)


def test_a_port_in_use_is_one_line(gradio: None, capsys: CapSys) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, out, err = call(capsys, "play", "--port", str(port))
    assert (code, out) == (2, "")
    assert (
        err == f"mezzotint: port {port} is in use: choose another --port, or 0 for any free port\n"
    )


def test_the_extra_is_named_where_it_is_missing(
    capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, out, err = call(capsys, "play", "cifar10")
    assert (code, out) == (2, "")
    assert err.endswith("is missing: run pip install 'mezzotint[ui]'\n")


@pytest.mark.parametrize("port", ["-1", "70000"])
def test_a_port_that_cannot_be_is_refused(gradio: None, port: str, capsys: CapSys) -> None:
    code, _, err = call(capsys, "play", "--port", port)
    assert (code, err) == (2, f"mezzotint: --port is {port}: choose 0 to 65535\n")


def test_a_model_that_is_not_there_is_refused_before_the_server(
    gradio: None, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_launched", lambda *_: pytest.fail("a server was started"))
    code, _, err = call(capsys, "play", "nowhere", "--port", "0")
    assert code == 2
    assert "there is no folder nowhere" in err


def test_the_command_line_shares_only_when_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(serving, "play", lambda model, **options: given.append(options))
    from mezzotint.cli.play import play

    play(["cifar10", "--port", "7000"])
    play(["--share"])
    assert given == [{"port": 7000, "share": False}, {"port": 7860, "share": True}]


def test_every_answer_forbids_what_is_elsewhere() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(serving.OwnOnly(app)({"type": "http"}, None, send))
    headers = dict(sent[0]["headers"])
    assert headers[b"a"] == b"b"
    assert headers[b"content-security-policy"].startswith(b"default-src 'self' ")
    assert b"http" not in headers[b"content-security-policy"]
    assert len(sent) == 2


def test_the_models_are_the_given_the_package_s_and_the_runs(
    trained: Path, trained_vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "CHECKOUT", tmp_path / "none")
    shutil.copytree(trained, "runs/digits")
    shutil.copytree(trained_vae, "runs/vae")  # makes no images
    Path("runs/empty").mkdir()
    assert models.offered(None).names == ("cifar10", "runs/digits")
    found = models.offered("runs/digits/")
    assert found.names == ("runs/digits", "cifar10")
    assert found.load("runs/digits") is found.load("runs/digits")
    assert found.called("cifar10") == "cifar10"
    with pytest.raises(mz.UserError, match="no model 'elsewhere' on this page"):
        found.load("elsewhere")
    pipe = mz.load(trained)
    own = models.offered(pipe)
    assert own.load(own.names[0]) is pipe
    assert own.called(own.names[0]) is None
    assert models.about(pipe).startswith("32x32 pixels, 10 classes, 0.0M weights")
