"""Build the page about one run, or about several, from its sections.

`OF_RUN` and `COMPARED` list the sections that are read from run folders. `samples.SECTIONS` lists
the sections with samples that a model makes for the page. To add a section, write a function, and
add the function to one of these lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mezzotint.config.experiment import Autoencoder
from mezzotint.drawing.page import Page, Section, is_page, render
from mezzotint.errors import UserError
from mezzotint.evaluation.samples import Follow
from mezzotint.networks.precision import Precision
from mezzotint.pages import configurations, history, measurements
from mezzotint.pages.reconstructions import reconstructions
from mezzotint.pages.runs import Options, Run, read_all
from mezzotint.pages.samples import samples
from mezzotint.storage.files import as_path, writable, write_text
from mezzotint.storage.machine import machine

OF_RUN: tuple[Callable[[Run], Section | None], ...] = (
    configurations.configuration,
    lambda run: history.curves([run]),
    measurements.figures,
    history.grids,
)
COMPARED: tuple[Callable[[Sequence[Run]], Section | None], ...] = (
    history.curves,
    configurations.differences,
    measurements.compared,
)


def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    samples: int = 8,
    seed: int = 0,
    *,
    edits: bool = False,
    precision: Precision = "auto",
    on_progress: Follow | None = None,
) -> Path:
    """Write a self-contained HTML page about a run, or a page that compares several runs.

    The page shows the configuration, the curves of the log, the newest figures, and new samples: of
    each class, at several steps of their sampling, by several samplers and step counts, at several
    guidance scales, and beside the nearest training images. For an autoencoder it shows
    reconstructions.

    Args:
        runs: A run folder, or several.
        out: The page's path. The default is RUN/report.html for one run, and report.html in the
            current folder for several runs.
        samples: The number of samples for each class, up to 32; at most ten classes are shown. For
            a model without classes, the page shows eight times this number. The page also shows
            about 75 other samples. For an autoencoder, the page shows twice this number of
            reconstructions.
        seed: The noise of sample i depends only on (seed, i).
        edits: Whether to also show edits of some held-out images: variations, inpaintings,
            enlargements, inversions and an interpolation.
        precision: The precision of the networks: "float32", "bf16" or "auto" (bf16 if the hardware
            supports it).
        on_progress: Called with (what, done, total) while samples are made.

    Returns:
        The page's path.

    Raises:
        UserError: If a folder is not a run or is given twice, an option is out of range, or ``out``
            cannot be written. These checks are made before any sample is made.
    """
    options = Options(samples=samples, seed=seed, edits=edits, precision=precision)
    several = runs if isinstance(runs, Iterable) and not isinstance(runs, str) else [runs]
    folders = [as_path(run, "runs") for run in several]
    if not folders:
        raise UserError("`runs` is empty: give a run folder, or several to compare")
    path = Path(out or (folders[0] if len(folders) == 1 else Path()) / "report.html")
    read = read_all(folders)
    check_out(path)
    follow = on_progress or (lambda what, done, total: None)
    write_text(path, render(build(read, options, follow)))
    return path


def check_out(path: Path) -> None:
    """Raise UserError if a page cannot be written to ``path``.

    The name must end in .html or .htm, and an existing file must be a page of mezzotint.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: give a file as `out`")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(
            f"{path} is not the name of a page: give `out` a name that ends in .html, such as "
            f"{path.with_suffix('.html')}"
        )
    if path.exists() and not is_page(path):
        raise UserError(f"{path} is not a page that mezzotint wrote: choose another `out`")
    writable(path)


def build(runs: Sequence[Run], options: Options, follow: Follow) -> Page:
    """Return the content of a page about one run, or of a page that compares several runs.

    `drawing.page.render` makes the HTML from this content.
    """
    facts = [f"Written on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {machine('torch')}."]
    if len(runs) == 1:
        (run,) = runs
        title = f"{run.config.recipe}: a run of mezzotint"
        return Page(title, [run.about, *facts], list(_sections(run, options, follow)))
    compared = [found for section in COMPARED if (found := section(runs))]
    each = [
        Section(
            run.name,
            run.about,
            # The comparison has the curves of all runs.
            sections=[s for s in _sections(run, options, follow) if s.title != history.CURVES],
        )
        for run in runs
    ]
    return Page(f"{len(runs)} runs of mezzotint compared", facts, [*compared, *each])


def _sections(run: Run, options: Options, follow: Follow) -> Iterator[Section]:
    """Yield the sections about one run."""
    yield from (found for section in OF_RUN if (found := section(run)))
    made = reconstructions if isinstance(run.config, Autoencoder) else samples
    yield from made(run, options, follow)
