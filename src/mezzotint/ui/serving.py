"""The server of the playground, on this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mezzotint.errors import UserError
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.ui.models import Models, offered

HOST, PORT = "127.0.0.1", 7860
STYLE = Path(__file__).with_name("page.css")
FONT = ["system-ui", "sans-serif"]  # fonts of the reader's machine, so none is fetched
MONO = ["ui-monospace", "monospace"]
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
"""A page may load only what this server sends; the browser refuses everything else."""
LARGEST = "512mb"  # limit for an upload, besides the limit on its pixels


@dataclass(frozen=True)
class Playground:
    """A running playground.

    Attributes:
        url: The address on this machine.
        public: The public address, if the playground is shared.
    """

    url: str
    public: str | None
    _blocks: Any

    def close(self) -> None:
        """Stop the server."""
        self._blocks.close(verbose=False)


def play(
    model: Pipeline | str | Path | None = None,
    *,
    port: int = PORT,
    share: bool = False,
    block: bool = True,
) -> Playground:
    """Serve the playground: a page that samples from a model and edits images with it.

    ```python
    mz.play("runs/mine")
    ```

    The page is on 127.0.0.1, so other machines cannot reach it, and it loads nothing from
    elsewhere. It offers the given model, the shipped models, and the runs in ``runs/``. It needs
    the extra ``ui``.

    Args:
        model: The model that the page begins with: a pipeline, or a path or name that `load`
            accepts. None means the first model that the page offers.
        port: The port of the server; 0 is any free port.
        share: Whether to publish the page at an address of gradio.live, through gradio's servers.
            Anybody who knows the address can use it.
        block: Whether to return only when the server is stopped, for example by Ctrl-C. In a
            notebook, pass False.

    Returns:
        The playground, with its address; it runs until its ``close`` is called or Python ends.

    Raises:
        UserError: If gradio is missing, the port is in use, or the model cannot be loaded.
    """
    _needs_gradio()
    free = _free(port)
    models = offered(model)
    playground = _launched(models, free, share)
    said = f"open {playground.url} in a browser; Ctrl-C stops the playground"
    if playground.public:
        said += f"\nthe same page is at {playground.public} for anybody who knows this address"
    print(said, flush=True)
    if block:
        try:
            threading.Event().wait()
        finally:
            playground.close()
    return playground


def _needs_gradio() -> None:
    if find_spec("gradio") is None:
        raise UserError("the package gradio is missing: run pip install 'mezzotint[ui]'")


def _free(port: int) -> int:
    """Return the port; 0 is replaced by a free port. Raises UserError if the port is in use."""
    if not 0 <= port <= 65535:
        raise UserError(f"`port` is {port}: choose 0 to 65535")
    with socket.socket() as probe:
        # Ended connections do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise UserError(
                f"only an administrator may use port {port}: choose a `port` of 1024 or more"
            ) from None
        except OSError:
            raise UserError(
                f"port {port} is in use: choose another `port`, or 0 for any free port"
            ) from None
        found: int = probe.getsockname()[1]
        return found


def _launched(models: Models, port: int, share: bool) -> Playground:
    """Start the server for some models, and return the running playground."""
    import gradio as gr
    from starlette.middleware import Middleware

    from mezzotint.ui.page import page

    blocks = page(models)
    look = gr.themes.Default(primary_hue="indigo", font=FONT, font_mono=MONO)
    _, url, public = blocks.queue().launch(
        server_name=HOST,
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        quiet=True,
        inbrowser=False,
        inline=False,
        theme=look,
        css_paths=STYLE,
        footer_links=[],
        max_file_size=LARGEST,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        app_kwargs={"middleware": [Middleware(OwnOnly)]},
    )
    return Playground(url, public, blocks)


Message = MutableMapping[str, Any]


class OwnOnly:
    """Middleware that forbids the page to load anything from other servers."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(
        self, scope: Message, receive: object, send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Pass a request to the app, and add a header to its answer."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await self.app(scope, receive, sent)
