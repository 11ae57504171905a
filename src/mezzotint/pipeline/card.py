"""The model card of an exported model: a README.md in the format of the Hugging Face Hub.

A card is made to be published, so only the last part of each path is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING

from mezzotint.config.command import command
from mezzotint.config.paths import named
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import DataConfig
from mezzotint.data.sizes import written
from mezzotint.errors import counted, printable
from mezzotint.metrics.figure import Figure
from mezzotint.pipeline import summary
from mezzotint.pipeline.records import Measurement, Records, Training, recorded
from mezzotint.trainer.distilling.config import DistillationConfig

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline

USE = {
    "diffusers": """```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{name}", trust_remote_code=True)
pipe(4, num_inference_steps=20).images[0].save("sample.png")
```""",
    "onnx": """```console
$ pip install numpy onnxruntime pillow
$ python sample.py
```""",
    "safetensors": """```python
import mezzotint as mz

images = mz.load("{name}").sample(16)
```""",
}
LIBRARIES = {"diffusers": "diffusers", "onnx": "onnx", "safetensors": "mezzotint"}
COLUMNS = ("figure", "value", "95 % interval", "samples", "reference", "network", "note")
FRECHET = ("fd", "sfd", "fid", "sfid")
DISTANCES = (*FRECHET, "kd", "kid")
# The name of a reference between the number of its images and its split, which are optional.
REFERENCE = re.compile(r"([\d,]+ images? of )?(.*?)( \(split [^()]*\))?", re.DOTALL)
LINK = re.compile(r"\[([^]]*)\]\((?!https?:)[^)]*\)")


def card(pipe: Pipeline, format: str, name: str, license: str) -> str:
    """Return the model card of a model.

    If the model is shipped with mezzotint, the card quotes the hand-written card in its folder.

    Args:
        pipe: The model, in float32.
        format: The format of the export, a key of USE.
        name: The name of the exported folder.
        license: The license's name on the Hub; "" leaves the field out.
    """
    found = recorded(pipe)
    head = [
        *([f"license: {license}"] if license else []),
        f"library_name: {LIBRARIES[format]}",
        "pipeline_tag: unconditional-image-generation",
        "tags: [diffusion, mezzotint]",
    ]
    channels, height, width = pipe.shape
    about = (
        f"A diffusion model of images of {summary.images(pipe)} (height x width x channels), "
        "exported by mezzotint. The input x of its network has "
        f"{channels}x{height}x{width} values (channels, height, width)."
    )
    sections = {"": about, "Use": USE[format].format(name=name)}
    if found.own:
        # Links to other files of the repository do not work in an exported folder.
        quoted = LINK.sub(r"\1 (in mezzotint's repository)", found.own)
        sections["About the model"] = (
            f"The card that comes with the model in mezzotint:\n\n{quoted}"
        )
    else:
        sections["Figures"] = "\n\n".join(_figures(found))
        sections["Training"] = _training(pipe, found.training)
        sections["Data"] = _data(pipe, found.training)
    origin = pipe.defaults_from.partition(":")[0]  # a sweep's figure may be of earlier weights
    sections["Sampling"] = f"The default settings, {origin}: {_settings(pipe.defaults)}."
    if not found.own:
        sections["Limits"] = "\n".join(f"- {limit}" for limit in _limits(pipe, found))
    if pipe.classes:
        sections["Classes"] = _table(enumerate(pipe.classes), ("number", "name"))
    if license or not found.own:
        sections["License"] = _license(license)
    body = [f"## {title}\n\n{text}" if title else text for title, text in sections.items()]
    return "---\n" + "\n".join(head) + f"\n---\n\n# {name}\n\n" + "\n\n".join(body) + "\n"


def _figures(found: Records) -> Iterator[str]:
    """Yield the paragraphs and tables of the measured figures."""
    if not found.figures:
        yield (
            "Nothing was measured: no figures of these weights are recorded. "
            "`mezzotint evaluate RUN` measures a model."
        )
    else:
        yield (
            "The newest figures of these weights. Figures can be compared only if they have the "
            "same number of samples, the same reference and the same network."
        )
    for said, figures in found.figures.items():
        yield _measurement(said)
        yield _table(map(_row, sorted(figures, key=lambda f: -f.count)), COLUMNS)
    yield from found.missing


def _measurement(said: Measurement) -> str:
    """Return a measurement in words: settings, precision, seed, day, versions and machine."""
    return printable(
        f"**{_settings(said.how)}**: {said.precision}, seed {said.seed}; measured on {said.day} by "
        f"mezzotint {said.mezzotint} with torch {said.torch} on {said.machine}"
    )


def _row(figure: Figure) -> tuple[object, ...]:
    """Return a row of the table of figures."""
    number, source, split = REFERENCE.fullmatch(figure.against).groups("")  # type: ignore[union-attr]
    return (
        figure.name,
        f"{figure.value:.4g}",
        f"{figure.low:.4g} to {figure.high:.4g}",
        f"{figure.count:,}",
        f"{number}{named(source)}{split}" if source else "",
        figure.network,
        figure.note,
    )


def _settings(how: SampleConfig) -> str:
    """Return sampling settings in words.

    These are the settings that `summary.in_words` names, and all other settings that differ from
    the defaults of SampleConfig.
    """
    plain, said = SampleConfig(), ("sampler", "steps", "spacing", "guidance")
    values = {field.name: getattr(how, field.name) for field in fields(how)}
    more = [
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in values.items()
        if name not in said and value != getattr(plain, name)
    ]
    return ", ".join([summary.in_words(how), *more])


def _value(value: object) -> str:
    """Return a setting as text."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _training(pipe: Pipeline, training: Training | None) -> str:
    """Return a Markdown table of the training and its cost."""
    rows: dict[str, object] = {
        "network": summary.network(pipe),
        "prediction": f"{pipe.prediction}, on {len(pipe.schedule):,} levels of noise",
    }
    if training:
        c, train = training.config, training.config.train
        rows["recipe"] = c.recipe
        if isinstance(c.objective, DistillationConfig):
            rows["teacher"] = f"{named(c.objective.teacher)}, by the method {c.objective.method}"
        if c.codec.vae:
            rows["autoencoder"] = named(c.codec.vae)
        if c.init:
            rows["start"] = f"the weights of {named(c.init)}"
        rows["images seen"] = f"{training.seen:,}, in batches of {train.batch:,}"
        if training.length is not None:
            rows["average"] = f"rebuilt from snapshots, with the length {training.length:g}"
        if training.seconds:
            rows["time of the steps"] = (
                f"{timedelta(seconds=round(training.seconds))} (hours:minutes:seconds), on "
                f"{counted(training.processes, 'process', 'processes')}"
            )
        rows["precision"] = c.precision
        if c.precision == "auto":
            rows["precision"] = "auto: bf16 if the hardware computes in it, else float32"
        rows["seed"] = train.seed
        again = command(c)
        rows["to repeat it"] = f"`{again}`" if again else "no command can: it began in Python"
    return _table(rows.items())


def _data(pipe: Pipeline, training: Training | None) -> str:
    """Return a Markdown table that describes the training set."""
    channels, height, width = pipe.codec.image_shape(pipe.shape)
    data = training.config.data if training else None
    source = data.data if data else ""
    count = training.images if training else None
    rows: dict[str, object] = {
        "name": "arrays in memory" if source.startswith("array:") else named(source) or "unknown",
        "images": f"{count:,}" if count else "their number is not recorded",
        "size": f"{height}x{width} (height x width)",
        "channels": channels,
        "classes": len(pipe.classes) or "none",
    }
    if not pipe.values.eight_bit:
        rows["values"] = pipe.values
    if pipe.conditions:
        rows["conditions"] = "; ".join(map(str, pipe.conditions))
    if data:
        rows["changes"] = "; ".join(_changes(data)) or "none"
    if pipe.data:
        rows["SHA-256"] = pipe.data
    return _table(rows.items())


def _changes(data: DataConfig) -> Iterator[str]:
    """Yield descriptions of how the images of the data set were converted and augmented."""
    if data.size:
        yield f"scaled and cropped to {written(data.size)}"
    if data.mode not in (None, "keep"):
        yield f"converted to {data.mode}"
    if data.range:
        yield f"{data.range[0]:g} is black and {data.range[1]:g} is white"
    if data.skip_bad:
        yield "images that cannot be read are left out"
    if data.flip:
        yield "a random half is mirrored, anew in each epoch"
    if data.non_leaking:
        yield f"each of EDM's augmentations with probability {data.non_leaking:g}"


def _limits(pipe: Pipeline, found: Records) -> Iterator[str]:
    """Yield sentences on the limits of the model, derived from its training and its figures."""
    training, (height, width) = found.training, pipe.size
    count = f"{training.images:,} " if training and training.images else ""
    yield (
        f"The model was trained on {count}images of {height}x{width} only, and makes images of no "
        "other size."
    )
    if pipe.classes:
        yield f"It was trained on {counted(len(pipe.classes), 'class', 'classes')} only."
    if training and training.seen < training.config.train.images:
        yield (
            f"The training was stopped after {training.seen:,} of "
            f"{training.config.train.images:,} images."
        )
    if pipe.few_step:
        calls, scale = pipe.few_step.calls, pipe.few_step.guidance
        inside = f"It contains the guidance {scale:g} of its teacher, and" if scale != 1 else "It"
        yield (
            "The model is a student, which makes an image in "
            f"{counted(calls, 'call') if calls else 'a few calls'} of the network. {inside} "
            "cannot be guided further."
        )
    figures = [figure for each in found.figures.values() for figure in each]
    if not figures:
        yield "Nothing is known about the quality of its images, because nothing was measured."
        return
    if pipe.defaults not in [said.how for said in found.figures]:
        yield "The default settings were not measured, only the settings above."
    distances = [figure for figure in figures if _metric(figure) in DISTANCES]
    foreign = {figure.network for figure in distances if not figure.network.startswith("inception")}
    if foreign:
        yield (
            f"The distances in the features of {' and '.join(sorted(foreign))} are not FIDs, and "
            "cannot be compared with published FIDs."
        )
    if not any(_metric(figure) == "fid" for figure in figures):
        yield "FID was not measured."
    if counts := sorted({figure.count for figure in distances if _metric(figure) in FRECHET}):
        yield (
            "A Frechet distance of N samples is too high, by an amount that shrinks as 1/N. Here N "
            f"is {' or '.join(f'{count:,}' for count in counts)}."
        )
    if not any(figure.name == "memorised" for figure in figures):
        yield "Whether the model repeats training images was not measured."


def _metric(figure: Figure) -> str:
    """Return the name of a figure without the name of the feature network."""
    return figure.name.partition("-")[0]


def _license(license: str) -> str:
    """Return the section about the license of the weights."""
    if license:
        return f"The license of the weights is {license}. It does not cover the training set."
    return "The license of the weights is not stated: ask the person who trained the model."


def _table(rows: Iterable[Sequence[object]], head: Sequence[str] = ("", "")) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    """Return a value as text for a table: one line, with | and control characters escaped."""
    return printable(str(value)).replace("|", "\\|")
