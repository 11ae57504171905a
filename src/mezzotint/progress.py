"""The progress bar of preparing and downloading: on the error stream, gone when done."""

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress(column: ProgressColumn) -> Progress:
    """A bar with a last column of one's own; in a log file or a pipe it stays silent."""
    console = Console(stderr=True)
    return Progress(
        *Progress.get_default_columns(),
        column,
        console=console,
        transient=True,
        disable=not console.is_interactive,
    )
