"""The reproduction of the paper, from its plan to its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.config.sampling import SampleConfig
from mezzotint.data.find import as_text
from mezzotint.drawing.bars import time_in_words
from mezzotint.errors import counted
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Figure
from mezzotint.metrics import network as load_network
from mezzotint.networks.precision import Precision
from mezzotint.paper.estimate import estimates, too_long
from mezzotint.paper.models import trainings
from mezzotint.paper.options import Options, Scale
from mezzotint.paper.page import write
from mezzotint.paper.plan import Row, plan
from mezzotint.paper.rows import Facts, by_count, measured, networks
from mezzotint.paper.study import compare_schedules
from mezzotint.paper.tables import Results
from mezzotint.paper.work import Work, begin
from mezzotint.processes import alone
from mezzotint.run import Progress


@dataclass(frozen=True)
class ReproducedRow:
    """Samples of a model with one set of settings, and their measurements.

    Attributes:
        experiment: "A" to "D".
        model: The name of the model's run folder.
        settings: The sampling settings.
        figures: The figures by name, such as "fd-glyphs", "fid" and "accuracy".
        paper: The FID of the experiment in the paper; None if the paper gives none.
        published: The FID for this row in the publication of the method; None if there is none.
        seconds: The median time of a batch of 64 samples.
        memory: The peak memory of the process in MiB; None if the system cannot measure it.
    """

    experiment: str
    model: str
    settings: SampleConfig
    figures: dict[str, Figure]
    paper: float | None
    published: float | None
    seconds: float
    memory: float | None


@dataclass(frozen=True)
class Reproduction:
    """The results of the paper's experiments.

    Attributes:
        folder: The folder of the runs, the figures and the page.
        rows: The measured rows, in the order of the table.
        left_out: The reasons why models were left out, by the names of the models.
        page: The HTML page.
        table: The same content as Markdown.
    """

    folder: Path
    rows: tuple[ReproducedRow, ...]
    left_out: dict[str, str]
    page: Path
    table: Path

    def __repr__(self) -> str:
        lines = [f"{self.folder}: {counted(len(self.rows), 'row')}, {self.page}"]
        for row in self.rows:
            s = row.settings
            how = f"{row.model} {s.sampler} {s.steps}, guidance {s.guidance:g}"
            values = ", ".join(f"{name} {figure:.4g}" for name, figure in row.figures.items())
            lines.append(f"  {row.experiment}  {how:<32}  {values}")
        lines += [f"  {model} is left out: {why}" for model, why in self.left_out.items()]
        return "\n".join(lines)


def reproduce(
    scale: Scale = "glyphs",
    only: str | Sequence[str] = ("A", "B", "C", "D"),
    out: str | Path | None = None,
    *,
    data: str | Path = "",
    imagenet: str | Path = "",
    vae: str | Path = "",
    images: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: str | Sequence[str] = (),
    precision: Precision = "auto",
    hours: float = 24,
    on_message: Callable[[str], None] | None = None,
    on_training: Callable[[str, Progress], None] | None = None,
    on_progress: Follow | None = None,
) -> Reproduction:
    """Carry out the experiments of arXiv 2412.14422: train, sample, measure, and write a page.

    Experiment A is DDPM with a linear schedule and 1000 steps. B is DDIM with the same weights and
    fewer steps. C is latent diffusion with classifier-free guidance. D is DDIM with a cosine
    schedule.

    Work whose results are in ``out`` is not repeated. After an interruption, call this again with
    the same arguments: trainings continue from their newest checkpoints.

    Args:
        scale: "glyphs" (drawn digits: minutes on a CPU, no download), "cifar10" (a day on two
            cores) or "full" (the paper's own budget, for GPUs).
        only: The experiments to carry out, among "A" to "D".
        out: The folder, by default runs/reproduce-SCALE.
        data: The path of CIFAR-10, or of other images for A, B and D; by default the data of the
            recipe.
        imagenet: The path of the images for C; by default the data of the recipe.
        vae: A trained autoencoder for C. By default a new autoencoder is trained.
        images: The length of each diffusion model's training, in images seen; by default the scale
            decides.
        samples: The number of samples for each row of the table; by default the scale decides.
        seed: The seed of trainings and samples.
        network: Feature networks. The default is "glyphs" for the data set glyphs, and "cifar10"
            for other data; "inception" (for FID) and, for C, "imagenet" are added if their weights
            are on this machine. The weights of networks that you name are downloaded.
        precision: The precision of sampling: "float32", "bf16" or "auto" (bf16 if the hardware
            supports it).
        hours: The time limit of a training. Longer trainings are left out, and the table says so.
        on_message: Called with a line of text for each decision and each row; ``print`` works.
        on_training: Called with a model's name and the `Progress` of its training, step by step.
        on_progress: Called with (what, done, total) while samples are made and measured.

    Returns:
        The results: ``rows``, ``page``, ``table`` and ``left_out``.

    Raises:
        UserError: If an option is out of range, ``out`` holds other files or a reproduction with
            other options, there is no data, a feature network is not available, or torchrun has
            started several processes.
        Interrupted: If SIGINT or SIGTERM stopped a training. A training is saved if it has made at
            least one step.
    """
    options = Options(
        scale=scale,
        only=(only,) if isinstance(only, str) else tuple(only),
        out=None if out is None else Path(out),
        data=as_text(data),
        imagenet=as_text(imagenet),
        vae=str(vae),
        images=images,
        samples=samples,
        seed=seed,
        network=(network,) if isinstance(network, str) else tuple(network),
        precision=precision,
        hours=hours,
    )
    device = alone("reproduce")
    say = on_message or (lambda line: None)
    follow = on_progress or (lambda what, done, total: None)
    for name in options.network:
        load_network(name, device)  # report missing weights now, not after a training
    work = decide(begin(plan(options)), options.hours, say)
    for model, steps in trainings(work):
        for progress in steps:
            if on_training:
                on_training(model, progress)

    def on_row(row: Row, facts: Facts) -> None:
        found = by_count(facts)[row.samples]
        figures = ", ".join(f"{name} {f['value']:.4g}" for name, f in found.items())
        say(f"{row.letter}: {row.name}: {figures}")

    rows = measured(work, device, on_row, follow)
    study = compare_schedules(work, follow)
    page = write(Results(work, rows, study))
    found = tuple(_row(row, facts) for row, facts in rows.items())
    table = page.with_name("reproduce.md")
    return Reproduction(work.plan.folder, found, dict(work.left_out), page, table)


def decide(work: Work, hours: float, say: Callable[[str], None]) -> Work:
    """Report the remaining work and time, and return the work.

    Models whose training would take more than ``hours`` are left out.
    """
    total = 0.0
    say(f"{work.plan.folder}:")
    for estimate in estimates(work):
        if why := too_long(estimate, hours):
            work = work.without(estimate.model, why)
        if not work.why_not(estimate.model):
            for what, seconds in estimate.parts():
                total += seconds
                say(f"  {what}: about {time_in_words(seconds)}")
    for model in work.plan.models:
        if why := work.why_not(model):
            say(f"  {model} is left out: {why}")
    if total:
        say(f"  {networks('', work.plan.networks)[1] or 'FID is measured too'}")
    say(f"  in all: {f'about {time_in_words(total)}' if total else 'nothing left to do'}")
    return work


def _row(row: Row, facts: Facts) -> ReproducedRow:
    figures = [Figure.read(figure) for figure in by_count(facts)[row.samples].values()]
    return ReproducedRow(
        row.letter,
        row.model,
        row.settings,
        {figure.name: figure for figure in figures},
        row.paper,
        row.published,
        facts["seconds"],
        facts["memory"],
    )
