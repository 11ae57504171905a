"""The verb ``distil``."""

from __future__ import annotations

from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse, subject
from mezzotint.cli.train import OFTEN, TrainFlags, given, out_and_resume, trained
from mezzotint.errors import UserError
from mezzotint.run.distilling import begin
from mezzotint.run.entry import distillation
from mezzotint.run.watching import watch

OWN = ("--calls", "--method", "--scale", "--guided-within", "--teacher-steps")


def distil(arguments: list[str]) -> Answer:
    """Distil a model: train a student that makes an image in few denoiser calls."""
    name, rest = subject(
        arguments,
        "the model to distil: a run, a checkpoint or a shipped model",
        "mezzotint distil cifar10",
    )
    begun = begin(name, *out_and_resume(rest), {})
    default = TrainFlags(begun.base, begun.folder, resume=begun.resumed)
    flags = parse(default, rest, f"mezzotint distil {name}", (*OWN, *OFTEN))
    fields = given(begun.base, flags.experiment, rest)
    if "teacher" in fields:
        raise UserError(f"the teacher is already given as {name}: leave out `teacher`")
    track = None if flags.track == "none" else flags.track
    steps = distillation(name, out=flags.out, resume=flags.resume, track=track, **fields)
    watch(steps, "distil", shown=True)
    print(f"the distilled model is in {flags.out}")
    return trained(flags.out)
