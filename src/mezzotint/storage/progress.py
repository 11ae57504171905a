"""How far something is, and how long it takes."""

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress(column: ProgressColumn) -> Progress:
    """A bar on the error stream, gone when done, with a last column of one's own.

    In a log file or a pipe it stays silent.
    """
    console = Console(stderr=True)
    return Progress(
        *Progress.get_default_columns(),
        column,
        console=console,
        transient=True,
        disable=not console.is_interactive,
    )


def told(seconds: float) -> str:
    """A duration as one says it."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} seconds"
