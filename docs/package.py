"""What a package index shows of the project: its README, and the links beside it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class PackageIndex(MetadataHookInterface):
    """Lead the README's links to the repository's address, where pyproject.toml has one."""

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
