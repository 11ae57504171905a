"""Progress bars, and durations in words."""

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress(column: ProgressColumn) -> Progress:
    """A progress bar on the error stream with ``column`` as its last; it vanishes when done.

    If the error stream is a file or a pipe, nothing is written.
    """
    console = Console(stderr=True)
    return Progress(
        *Progress.get_default_columns(),
        column,
        console=console,
        transient=True,
        disable=not console.is_interactive,
    )


def in_words(seconds: float) -> str:
    """A duration in words: "3 hours"."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} seconds"
