"""Prepare what a package index shows of the project: its README, and links beside it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class PackageIndex(MetadataHookInterface):
    """Make the links of the README absolute, if pyproject.toml has an address."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the dynamic fields ``readme`` and ``urls``."""
        path, home = Path(self.root) / "README.md", self.config["home"].rstrip("/")
        text = path.read_text()
        if home:
            links = runpy.run_path(str(Path(self.root) / "docs" / "links.py"))
            text = links["absolute"](text, path, home)
            metadata["urls"] = {
                "Homepage": home,
                "Changelog": f"{home}/blob/main/CHANGELOG.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
