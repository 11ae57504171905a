"""Values that a configuration refuses, and configurations that are written and read back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

import mezzotint as mz
from mezzotint import config as configuration
from mezzotint.config.experiment import Autoencoder, Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import NoiseConfig
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.schedules import SCHEDULES
from mezzotint.diffusion.spacings import SPACINGS
from mezzotint.trainer.autoencoding import ReconstructionConfig


def refused(kind: type, **fields: object) -> str:
    """Return the one-line error with which a configuration is refused."""
    with pytest.raises(mz.UserError) as wrong:
        kind(**fields)
    problem = str(wrong.value)
    assert len(problem.splitlines()) == 1
    return problem


OPTIONS = {
    "eta": (0.5, ["ddim", "hybrid", "consistency"]),
    "variance": ("large", ["ddpm"]),
    "order": (2, ["unipc", "deis"]),
    "corrector": ("bh1", ["unipc"]),
    "churn": (10.0, ["edm"]),
    "switch": (0.3, ["hybrid"]),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_for_the_samplers_that_take_it(name: str, sampler: str) -> None:
    value, takers = OPTIONS[name]
    if sampler in takers:
        assert SampleConfig(sampler=sampler, **{name: value}).keywords() == {name: value}
        return
    problem = refused(SampleConfig, sampler=sampler, **{name: value})
    assert problem == f"`{name}` is for {', '.join(takers)}: leave it out with {sampler}"


def test_every_option_of_a_sampler_can_be_chosen_but_edms_constants() -> None:
    options = {name for sampler in SAMPLERS.values() for name in sampler.options}
    assert options - set(OPTIONS) == {"low", "high", "inflate"}
    how = SampleConfig("edm", churn=2.0, sampler_options=("low=0.05", "high=2", "inflate=1e0"))
    assert how.keywords() == {"churn": 2.0, "low": 0.05, "high": 2.0, "inflate": 1.0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler": "euler"}, f"unknown sampler 'euler': choose one of {', '.join(SAMPLERS)}"),
        ({"interval": (5.0, 0.2)}, "`interval` is (5.0, 0.2): give the lower end first"),
        ({"interval": (1.0, 1.0)}, "give the lower end first"),
        ({"interval": (-1.0, 1.0)}, "interval"),
        ({"knots": (3.0, 1.0)}, '`knots` and `spacing="knots"` belong together'),
        ({"spacing": "knots"}, '`knots` and `spacing="knots"` belong together'),
        ({"spacing": "knots", "knots": (1.0, 0.0)}, "greater than 0"),
        ({"spacing": "random"}, "unknown spacing 'random': choose one of leading, trailing, "),
        ({"spacing": "optimized"}, "knots, optimised; did you mean optimised?"),
        ({"rescale": 1.5}, "rescale: input should be less than or equal to 1"),
        ({"clipping": "soft"}, "unknown clipping 'soft': choose one of none, static, dynamic"),
        ({"guidance_shape": "step"}, "unknown guidance shape 'step': choose one of constant, lin"),
        ({"guidance_shape": "cfg++", "guidance": 1.5}, "`guidance` is 1.5: choose 0 to 1"),
        ({"guidance_shape": "cfg++", "sampler": "edm"}, "`churn` moves them: choose `churn=0`"),
        ({"sampler": "unipc", "order": 4}, "order: input should be less than or equal to 3"),
        ({"sampler": "edm", "churn": -1.0}, "churn: input should be greater than or equal to 0"),
        ({"sampler": "hybrid", "switch": 1.1}, "switch: input should be less than or equal to 1"),
        ({"sampler_options": ("low=1",)}, "`low` is for edm: leave it out with ddim"),
        ({"sampler_options": ("lo=1",)}, "this sampler has no option 'lo': it takes eta"),
        ({"sampler_options": ("eta=1",)}, "`sampler_options` has 'eta=1': use `eta` itself"),
        ({"sampler": "edm", "sampler_options": ("low=1", "low=2")}, "gives low twice: give one"),
        ({"sampler_options": ("low",)}, "`sampler_options` has 'low': write NAME=VALUE"),
        ({"sampler": "edm", "sampler_options": ("low=x",)}, "`low` is 'x': give a value like its"),
        ({"sampler": "edm", "sampler_options": ("low=nan",)}, "`low` is 'nan': give a value like"),
        ({"sampler": "ddpm", "variance": "tiny"}, "'tiny': choose one of small, large, learned"),
    ],
)
def test_what_no_sampling_can_be_is_refused_in_one_line(fields: dict, message: str) -> None:
    assert message in refused(SampleConfig, **fields)


def test_every_spacing_and_schedule_there_is_can_be_chosen() -> None:
    for spacing in (*SPACINGS, "knots", "optimised"):
        knots = (3.0, 1.0) if spacing == "knots" else ()
        assert SampleConfig(spacing=spacing, knots=knots).spacing == spacing
    for schedule in SCHEDULES:
        assert len(NoiseConfig(schedule=schedule).build()) == 1000


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_budget_is_as_many_steps_as_it_pays_for(sampler: str) -> None:
    how = SampleConfig(sampler=sampler)
    assert how.within(None) is how
    cost, least = SAMPLERS[sampler].cost, SAMPLERS[sampler].cost(SAMPLERS[sampler].least)
    for calls in range(least, 30):
        steps = how.within(calls).steps
        assert cost(steps) <= calls < cost(steps + 1)
    with pytest.raises(mz.UserError, match=f"sampler: give {least} or more, enough for ") as wrong:
        how.within(least - 1)
    assert len(str(wrong.value).splitlines()) == 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_calls_of_a_setting_are_what_its_sampler_costs(sampler: str) -> None:
    for steps in (1, 2, 50):
        wanted = SAMPLERS[sampler].calls * (steps - 1) + 1
        assert SampleConfig(sampler=sampler, steps=steps, guidance=3.0).calls == wanted


FULL = {
    "sampler": "hybrid",
    "steps": 7,
    "spacing": "knots",
    "knots": (50.0, 1.0, 0.01),
    "guidance": 3.5,
    "guidance_shape": "cosine",
    "interval": (0.2, 5.0),
    "rescale": 0.7,
    "clipping": "dynamic",
    "eta": 0.5,
    "switch": 0.25,
}
FULL_NOISE = {
    "schedule": "cosine",
    "s": 0.0,
    "zero_terminal_snr": True,
    "shift": 2.0,
    "timesteps": 100,
    "prediction": "edm",
    "learn_variance": True,
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"sampler": "ddpm", "variance": "learned", "eta": None, "switch": None},
        {"sampler": "unipc", "order": 3, "corrector": "bh1", "eta": None, "switch": None},
        {
            "sampler": "edm",
            "churn": 40.0,
            "eta": None,
            "switch": None,
            "sampler_options": ("low=0.05", "high=2.0"),
        },
    ],
)
def test_what_is_written_is_read_back(tmp_path: Path, more: dict) -> None:
    written = Experiment(
        recipe="full", sample=SampleConfig(**FULL | more), noise=NoiseConfig(**FULL_NOISE)
    )
    left = {"variance", "order", "corrector", "churn", "sampler_options"} - set(more)
    fresh = {name: value for name, value in asdict(SampleConfig()).items() if name not in more}
    for name, value in fresh.items():  # so that none is forgotten here
        assert name in left or getattr(written.sample, name) != value
    assert all(getattr(written.noise, f) != v for f, v in asdict(NoiseConfig()).items())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(configuration.to_json(written)))
    assert configuration.read(path) == written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c | {"version": 99},
            "version 99, but this version of mezzotint reads only versions 4",
        ),
        (
            lambda c: c | {"version": 3},
            "has version 3, but this version of mezzotint reads only versions 4 to 6",
        ),
        (lambda c: c | {"colour": "red"}, "colour: unexpected keyword"),
        (lambda c: c | {"precision": 16}, "precision: input should be"),
        (lambda c: c | {"net": c["net"] | {"blocks": "2"}}, r" net.blocks: .*integer, not '2'"),
        (lambda c: c | {"sample": {"sampler": "euler"}}, "unknown sampler 'euler'"),
        (lambda c: c | {"sample": {"interval": [1]}}, "sample.interval"),
        (
            lambda c: c | {"version": "4"},
            "is not a configuration: give a file that mezzotint wrote",
        ),
        (lambda c: {}, "is not a configuration: give a file that mezzotint wrote"),
        (lambda c: [c], "is not a configuration: give a file that mezzotint wrote"),
    ],
)
def test_a_configuration_is_read_strictly(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(change(configuration.to_json(Experiment(recipe="plain")))))
    with pytest.raises(mz.UserError, match=message) as wrong:
        configuration.read(path)
    assert len(str(wrong.value).splitlines()) == 1


def test_a_configuration_of_version_4_is_read() -> None:
    """It is that of the first model in the package."""
    path = Path(__file__).parents[1] / "stored" / "v4-cifar10.json"
    assert json.loads(path.read_text())["version"] == 4
    read = configuration.read(path)
    assert isinstance(read, Experiment)
    assert (read.recipe, read.sample.sampler_options) == ("cifar10-cpu", ())
    assert (read.noise.prediction, read.net.patch, read.sample.guidance) == ("flow", 2, 2.0)
    assert (read.train.optimizer, read.objective.contrast) == ("adamw", 0.0)


# The noise axis.


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "cosine"])
def test_an_offset_is_for_the_cosine_schedule(schedule: str) -> None:
    problem = refused(NoiseConfig, schedule=schedule, s=0.008)
    assert problem == f"`s` is only for the schedule cosine: leave it out with {schedule}"


def test_eps_cannot_be_learned_where_there_is_nothing_else() -> None:
    problem = refused(NoiseConfig, zero_terminal_snr=True, prediction="eps")
    assert problem.startswith("eps cannot be learned with `zero_terminal_snr`")
    for prediction in ("x0", "v", "flow", "edm"):
        last = NoiseConfig(zero_terminal_snr=True, prediction=prediction).build().row(1000)
        assert (last.alpha, last.sigma) == (0, 1)


def test_a_schedule_is_rescaled_and_then_shifted() -> None:
    plain = NoiseConfig(prediction="v")
    both = replace(plain, zero_terminal_snr=True, shift=3.0).build()
    wanted = mz.shifted(mz.zero_terminal_snr(mz.linear(1000)), 3.0)
    other = mz.zero_terminal_snr(mz.shifted(mz.linear(1000), 3.0))
    assert torch.equal(both.alpha, wanted.alpha)
    assert not torch.allclose(both.alpha, other.alpha, rtol=0, atol=1e-6)
    assert torch.equal(plain.build().alpha, mz.linear(1000).alpha)
    assert torch.equal(
        replace(plain, shift=3.0).build().sigma, mz.shifted(mz.linear(1000), 3).sigma
    )


@pytest.mark.parametrize("s", [None, 0.0, 0.008, 0.1])
def test_the_cosine_schedule_takes_its_offset(s: float | None) -> None:
    built = NoiseConfig(schedule="cosine", s=s).build()
    assert torch.equal(built.alpha, mz.cosine(1000, 0.008 if s is None else s).alpha)


def test_a_decoder_is_tuned_of_an_encoder_that_there_is() -> None:
    tuned = {"recipe": "tuned", "loss": ReconstructionConfig(tune="decoder")}
    problem = refused(Autoencoder, **tuned)
    assert problem.startswith('`tune="decoder"` leaves the encoder at its random weights')
    assert problem.endswith('give `init`, the autoencoder to start from, or choose `tune="all"`')
    assert Autoencoder(**tuned, init="runs/vae").init == "runs/vae"


def test_a_model_without_classes_is_sampled_unguided() -> None:
    guided = Experiment(recipe="plain", sample=SampleConfig(guidance=3.0))
    assert guided.sampling([]) == SampleConfig()
    assert guided.sampling(["ant"]).guidance == 3.0
