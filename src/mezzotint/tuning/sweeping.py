"""The sweep of a run's sampling settings, from its plan to its page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

import torch

from mezzotint import evaluation
from mezzotint.errors import UserError
from mezzotint.evaluation.samples import Follow
from mezzotint.networks.precision import Precision
from mezzotint.pipeline import loading, tuned
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.processes import alone
from mezzotint.storage.files import as_path
from mezzotint.tuning import page
from mezzotint.tuning.best import front, recommended, within
from mezzotint.tuning.cells import Interval, SweepCell
from mezzotint.tuning.plan import SAMPLERS, Options, Plan, planned, refuse_long
from mezzotint.tuning.result import SweepResult, head, line
from mezzotint.tuning.search import measure

T = TypeVar("T")


def sweep(
    run: str | Path | Pipeline,
    *,
    sampler: str | Iterable[str] = SAMPLERS,
    nfe: int | Iterable[int] = (),
    steps: int | Iterable[int] = (),
    guidance: float | Iterable[float] | None = None,
    interval: Interval | Sequence[Interval] = (),
    metric: str = "fd",
    network: str | None = None,
    samples: int = 1_000,
    seed: int = 0,
    precision: Precision = "auto",
    minutes: float | None = 60,
    on_message: Callable[[str], None] | None = None,
    on_progress: Follow | None = None,
) -> SweepResult:
    """Measure a run's samples with every combination of some settings, and keep the best settings.

    The best settings become the run's defaults: `load` reads them from RUN/recommended.json. A
    combination of settings is called a cell. Cells that were measured before are not measured
    again, so an interrupted sweep continues where it stopped. The spacing of the levels is
    "karras", except for a few-step model. All other settings come from the run's configuration.

    ```python
    rows = mz.sweep("runs/mine", sampler="ddim", nfe=20, guidance=[1, 1.5, 2, 3, 4]).rows()
    plt.plot([row["guidance"] for row in rows], [row["value"] for row in rows])
    ```

    Args:
        run: A run folder, or a pipeline that was loaded from it.
        sampler: Sampling methods; by default ddim, dpmpp_2m and dpmpp_2m_sde, or consistency for a
            few-step model.
        nfe: Budgets of denoiser calls for an image; by default 5, 10 and 20. For a few-step model
            the default is its number of calls, or 1, 2 and 4 if the model allows any number of
            calls.
        steps: Numbers of steps, instead of budgets.
        guidance: Guidance scales; by default 1, 1.5 and 3, or only 1 for a model that is few-step
            or has no conditions.
        interval: The interval ``(low, high)`` of sigma / alpha in which to guide, or None to guide
            everywhere, or a list of such values; by default the interval in the run's
            configuration.
        metric: "fd" (Frechet distance), "sfd" (Frechet distance of spatial features), "kd" (kernel
            distance), "cs" (classifier score) or "accuracy".
        network: A feature network; by default ``glyphs`` for the data set glyphs, else ``cifar10``.
        samples: The number of samples for each cell. With few samples a Frechet distance is too
            high, by a similar amount in all cells.
        seed: The noise of sample i depends only on (seed, i).
        precision: The precision of the model: "float32", "bf16" or "auto" (bf16 if the hardware
            supports it).
        minutes: The longest estimated time that is allowed; None means no limit.
        on_message: Called with one line of text at a time: the plan, the head of a table, and a row
            for each cell; ``print`` works.
        on_progress: Called with (what, done, total) while samples are made and measured.

    Returns:
        The cells, the best of them, and the best within each budget.

    Raises:
        UserError: If ``run`` is not a run of a diffusion model, settings are not supported, the
            sweep would take too long, or several processes run this.
    """
    options = Options(
        sampler=_several(sampler),
        nfe=_several(nfe),
        steps=_several(steps),
        guidance=None if guidance is None else _several(guidance),
        interval=_intervals(interval),
        metric=metric,
        network=network,
        samples=samples,
        seed=seed,
        precision=precision,
        minutes=minutes,
    )
    device = alone("a sweep")
    say = on_message or (lambda line: None)
    plan = planned(*_loaded(run, device), options)
    refuse_long(plan, options.minutes)
    say(str(plan))
    say(head(plan.search.name))
    cells = []
    for cell in measured(plan, on_progress or (lambda what, done, total: None)):
        cells.append(cell)
        say(line(cell))
    return _result(plan, cells)


def measured(plan: Plan, follow: Follow) -> Iterator[SweepCell]:
    """Yield the cells in order; measure only the cells that were not measured before."""
    search, by = plan.search, None
    if plan.against:
        pipe = search.pipe
        by = evaluation.measure(search.network, plan.against, pipe.size, pipe.device)
        search.compile_for(plan.missing)
    for i, settings in enumerate(plan.settings, 1):

        def follow_cell(what: str, done: float, total: int, i: int = i) -> None:
            follow(f"combination {i} of {len(plan.settings)}: {what}", done, total)

        if settings in plan.known:
            yield plan.known[settings]
        elif by:
            yield measure(search, settings, by, follow_cell)


def _result(plan: Plan, cells: Sequence[SweepCell]) -> SweepResult:
    """Write the page and the recommendation, and return the result."""
    search, best = plan.search, front(plan.search, cells)
    budgets = within(best, plan.budgets or [cell.calls for cell in cells])
    path = page.write(search, cells, budgets)
    kept = tuned.write(search.folder, recommended(search, best[-1], budgets))
    return SweepResult(tuple(cells), best[-1], budgets, path, kept)


def _loaded(run: str | Path | Pipeline, device: torch.device) -> tuple[Path, Pipeline]:
    """Return a run's folder, and the run's model with the sampling settings of config.json."""
    if isinstance(run, Pipeline):
        if run.home is None:
            raise UserError(
                "`run` is a pipeline that was not loaded from a folder: pass a run folder"
            )
        folder, device = run.home, run.device
    else:
        folder = as_path(run, "run")
    pipe = loading.load(folder, device, "float32", recommended=False)
    if not (folder / "checkpoints").is_dir():
        raise UserError(
            f"{folder} is not a run: give the folder of a run, to which the sweep is written"
        )
    if isinstance(run, Pipeline):
        _check_same(run, pipe, folder)
    return folder, pipe


def _check_same(given: Pipeline, pipe: Pipeline, folder: Path) -> None:
    """Raise UserError if a pipeline has other weights or defaults than the run in ``folder``."""
    half = given.net.dtype == torch.bfloat16
    own = [pipe.defaults]
    with suppress(UserError):
        own += [found.best.settings] if (found := tuned.read(folder)) else []
    if given.digest != (pipe.in_precision("bf16") if half else pipe).digest:
        raise UserError(
            f"the weights of the pipeline `run` are not those of {folder}: pass {folder} instead"
        )
    if given.defaults not in own:
        raise UserError(
            f"a sweep starts from the defaults of {folder}, but the pipeline `run` has other "
            f"defaults: pass {folder} as `run`"
        )


def _several(value: T | Iterable[T]) -> tuple[T, ...]:
    """Return a tuple of the values in an iterable, or of a single value."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


def _intervals(value: Interval | Sequence[Interval]) -> tuple[Interval, ...]:
    """Return a tuple of intervals, from a list or a single interval; None means all levels."""
    if value is None or not isinstance(value, Iterable):  # `Options` refuses all but None
        return (value,)
    if len(value) == 2 and all(isinstance(end, int | float) for end in value):
        return (cast(Interval, tuple(value)),)
    return cast(tuple[Interval, ...], tuple(value))
