"""The verb ``report``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

from mezzotint import pages
from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse, subject
from mezzotint.drawing.bars import Follower


@dataclass(frozen=True)
class ReportFlags:
    """Write a self-contained HTML page about a run, or a page that compares several runs."""

    out: Path
    """The file of the page."""
    page: pages.Options


def report(arguments: list[str]) -> Answer:
    """Write a page about one run or several; return the page's path and its size in bytes."""
    shown = ReportFlags(Path("RUN/report.html"), pages.Options())
    subject(arguments, "a run, or several to compare", "mezzotint report RUN...", shown)
    names = list(takewhile(lambda word: not word.startswith("-"), arguments))
    folder = Path(names[0]) if len(names) == 1 else Path()
    default = ReportFlags(folder / "report.html", pages.Options())
    flags = parse(default, arguments[len(names) :], f"mezzotint report {' '.join(names)}")
    with Follower("images") as follow:
        path = pages.report(names, flags.out, **asdict(flags.page), on_progress=follow)
    size = path.stat().st_size
    print(f"wrote {path} ({size / 1e6:.1f} MB): open it in a browser")
    return Answer({"page": path, "bytes": size})
