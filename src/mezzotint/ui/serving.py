"""The playground as a server on this machine."""

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
FONT = ["system-ui", "sans-serif"]  # of the reader's machine: nothing is fetched
MONO = ["ui-monospace", "monospace"]
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
"""What a page may load: only what comes from here. A browser refuses everything else."""
LARGEST = "512mb"  # of an upload; the pixels of an image are counted besides


@dataclass(frozen=True)
class Playground:
    """A playground that is running.

    Attributes:
        url: Where to open it.
        public: Its public address, if it is shared.
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

    The page is on 127.0.0.1, where other machines cannot reach it, and it loads nothing from
    elsewhere. It offers this model, those of the package, and the runs in ``runs/``. It needs the
    extra ``ui``.

    Args:
        model: What the page begins with: a pipeline, or a path or name that `load` takes; None is
            the model of the package.
        port: The port of the server; 0 is any that is free.
        share: Whether to publish the page at an address of gradio.live, through gradio's servers,
            for whoever knows the address.
        block: Whether to return only when the server is stopped, as by Ctrl-C. In a notebook, pass
            False.

    Returns:
        The playground, with its address; it runs until its ``close`` is called or Python ends.

    Raises:
        UserError: If gradio is missing, the port is in use, or the model cannot be loaded.
    """
    _needs_gradio()
    free = _free(port)
    models = offered(model)
    playground = _launched(models, free, share)
    said = f"{playground.url}: open it in a browser; Ctrl-C stops it"
    if playground.public:
        said += f"\n{playground.public}: the same page, for everybody who knows this address"
    print(said, flush=True)
    if block:
        try:
            threading.Event().wait()
        finally:
            playground.close()
    return playground


def _needs_gradio() -> None:
    if find_spec("gradio") is None:
        raise UserError(
            "the package gradio is missing: install the extra, pip install 'mezzotint[ui]'"
        )


def _free(port: int) -> int:
    """Return the port, or a free one for 0. Raises UserError where another program has it."""
    if not 0 <= port <= 65535:
        raise UserError(f"`port` is {port}: choose 0 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections do no harm
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise UserError(
                f"port {port} needs an administrator: choose a `port` from 1024"
            ) from None
        except OSError:
            raise UserError(f"port {port} is in use: choose another `port`, or 0 for any") from None
        found: int = probe.getsockname()[1]
        return found


def _launched(models: Models, port: int, share: bool) -> Playground:
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
    """Middleware whose answers forbid a page to load anything from elsewhere."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(
        self, scope: Message, receive: object, send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer a request as the app does, with one more header."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await self.app(scope, receive, sent)
