"""The samples with which a model is measured, and how the cache identifies them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint import evaluation
from mezzotint.diffusion import optimised_grid
from mezzotint.errors import UserError
from mezzotint.evaluation import samples


@pytest.fixture
def pipe(trained: Path) -> mz.Pipeline:
    return mz.load(trained)


def test_a_block_holds_the_samples_of_its_numbers(pipe, tmp_path) -> None:
    for i in range(3):
        samples.make(pipe, tmp_path, i, pipe.defaults, 0, 16, 40, lambda *_: None)
    kept = torch.cat(list(samples.stored(tmp_path, 3, 37, 16)))
    wanted = pipe.sample(37)[3:]
    assert (kept.int() - wanted.int()).abs().max() <= 1  # another batch rounds differently


@pytest.mark.parametrize("whole", [0, 60, -1])
def test_a_damaged_block_is_named_in_one_line(tmp_path, whole) -> None:
    path = samples.block(tmp_path, 0)
    np.save(path, np.zeros((4, 8, 8, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:whole])
    with pytest.raises(UserError, match=r"000000\.npy is damaged: delete it"):
        list(samples.stored(tmp_path, 0, 4, 4))


def test_a_block_that_was_changed_is_noticed(pipe, tmp_path) -> None:
    samples.make(pipe, tmp_path, 0, pipe.defaults, 0, 4, 4, lambda *_: None)
    path = samples.block(tmp_path, 0)
    assert np.load(path).shape == (4, 3, 32, 32)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1  # in the last sample, before the sum
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"000000\.npy is damaged: delete it"):
        list(samples.stored(tmp_path, 0, 4, 4))
    np.save(path, np.zeros((4, 3, 8, 8), np.uint8))  # as an older mezzotint kept it
    assert next(samples.stored(tmp_path, 0, 4, 4)).shape == (4, 3, 8, 8)


def test_samples_are_made_as_they_are_kept_whatever_the_models_own_settings(pipe, tmp_path) -> None:
    own = replace(pipe, defaults=replace(pipe.defaults, guidance=3.0, interval=(0.5, 2.0)))
    how = replace(own.defaults, interval=None)
    samples.make(own, tmp_path, 0, how, 0, 4, 4, lambda *_: None)
    (made,) = samples.stored(tmp_path, 0, 4, 4)
    plain = replace(pipe, defaults=how)
    assert torch.equal(made, plain.sample(4, batch=4))
    assert not torch.equal(made, own.sample(4, batch=4))


def test_other_settings_weights_and_seeds_have_other_samples(pipe) -> None:
    def key(pipe=pipe, seed=0, batch=64, **settings):
        return samples.key(pipe, replace(pipe.defaults, **settings), seed, batch)

    keys = {key(), key(seed=1), key(steps=3), key(guidance=1.5), key(batch=32)}
    keys |= {key(interval=(0.1, 9.0)), key(spacing="knots", knots=(9.0, 0.1)), key(rescale=0.5)}
    keys |= {key(sampler="unipc"), key(sampler="unipc", order=3), key(pipe.guided_by(pipe))}
    keys.add(key(pipe.guided_by(replace(pipe, prediction="x0"))))
    with torch.no_grad():
        next(pipe.net.parameters()).add_(1e-3)
    keys.add(key(replace(pipe)))
    assert len(keys) == 13


def test_samples_of_a_users_own_function_are_made_again_if_its_code_changes(
    pipe, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scaled(by):
        return lambda denoise: lambda x, level: by * denoise(x, level)

    def key(clip, sampler) -> str:
        monkeypatch.setitem(mz.CLIPPINGS, "mine", clip)
        monkeypatch.setitem(mz.SAMPLERS, "mine", mz.Sampler(sampler))
        how = replace(pipe.defaults, clipping="mine", sampler="mine", steps=1)
        return samples.key(pipe, how, 0, 4)

    def first(denoise, x, grid):
        return denoise(x, grid[0])

    def second(denoise, x, grid):
        return -denoise(x, grid[0])

    kept = key(scaled(0.5), first)
    assert key(scaled(0.5), first) == kept
    others = {key(scaled(0.25), first), key(scaled(0.5), second)}
    assert len({kept, *others, key(scaled(0.5), partial(first))}) == 4
    how = {"clipping": "mine", "sampler": "mine", "steps": 1}
    mz.write_samples(pipe, tmp_path / "out", 1, **how)
    monkeypatch.setitem(mz.SAMPLERS, "mine", mz.Sampler(second))
    with pytest.raises(UserError, match="with other weights or code: choose another `out`"):
        mz.write_samples(pipe, tmp_path / "out", 1, **how)


def test_samples_of_an_optimised_grid_are_kept_by_the_grid(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimised_grid, "FINE", 12)
    pipe = mz.load(trained)
    how = replace(pipe.defaults, spacing="optimised", steps=3)
    first = evaluation.kept(pipe, how, 0, 4)
    (grid,) = (trained / "grids").iterdir()
    assert evaluation.kept(pipe, how, 0, 4) == first
    grid.write_text('{"sigma/alpha": [50, 5, 0.5]}')  # as another way of measuring might find
    assert evaluation.kept(pipe, how, 0, 4) != first
