"""Start Chromium for the tests that check a page as a person sees it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHROMIUM = shutil.which("chromium")


@contextmanager
def browser_of(playwright: Any) -> Iterator[Any]:
    """Yield a browser, which is closed at the end."""
    with playwright.sync_playwright() as driver:
        # Root has no sandbox in a container, and /dev/shm is small there.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()
