"""Edits with exact models, whose results are known, and errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from exact import SIDE, bytes_of, exact, gaussian
from mezzotint.data.values import Values
from mezzotint.diffusion.editing.operators import average
from mezzotint.pipeline.codec import Pixels

LABELS = [0, 1, 1]


@pytest.fixture
def pipe() -> mz.Pipeline:
    return exact()


@pytest.fixture
def images() -> Tensor:
    return bytes_of(gaussian(torch.tensor(LABELS)))


@pytest.fixture
def mask() -> Tensor:
    fill = torch.zeros(SIDE, SIDE)
    fill[4:12, 4:12] = 1
    return fill


def psnr(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(255**2 / (a.double() - b.double()).square().mean().clamp(1e-9)))


def test_an_inverted_image_is_sampled_back(pipe: mz.Pipeline, images: Tensor) -> None:
    noise = pipe.invert(images, LABELS, steps=20, spacing="logsnr")
    assert (noise.shape, noise.dtype) == ((3, 3, SIDE, SIDE), torch.float32)
    how = {"sampler": "ddim", "steps": 20, "spacing": "logsnr", "guidance": 1.0}
    back = pipe.sample(3, LABELS, noise=noise, **how)
    plain = pipe.sample(3, LABELS, noise=pipe.invert(images, LABELS, corrections=0, **how), **how)
    assert psnr(back, images) > max(45, psnr(plain, images) + 5)


def test_a_variation_keeps_less_the_stronger_it_is(pipe: mz.Pipeline, images: Tensor) -> None:
    kept = [psnr(pipe.vary(images, s, LABELS, steps=20), images) for s in (0.1, 0.4, 0.9)]
    assert kept == sorted(kept, reverse=True)
    assert torch.equal(pipe.vary(images, 0.0, LABELS), images)
    one = pipe.vary(images[1], 0.5, 1, steps=10)
    assert one.shape == (1, 3, SIDE, SIDE)


def test_an_empty_condition_is_none(pipe: mz.Pipeline, images: Tensor) -> None:
    made = pipe.vary(images, condition={"label": None}, steps=4)
    assert torch.equal(made, pipe.vary(images, steps=4))


def test_a_variation_with_another_label_goes_to_its_class(pipe: mz.Pipeline) -> None:
    images = bytes_of(gaussian(torch.zeros(8).long()))  # of a mean of -0.4
    means = [pipe.vary(images, s, "b", steps=20).float().mean() / 127.5 - 1 for s in (0.3, 0.7, 1)]
    assert means == sorted(means)
    assert abs(means[-1] - 0.4) < 0.15


def test_variations_depend_on_seed_and_number_alone(pipe: mz.Pipeline, images: Tensor) -> None:
    made = pipe.vary(images, 0.7, LABELS, steps=10, sampler="ddpm", batch=3)
    again = pipe.vary(images, 0.7, LABELS, steps=10, sampler="ddpm", batch=1)
    assert (made.int() - again.int()).abs().max() <= 1
    assert not torch.equal(made, pipe.vary(images, 0.7, LABELS, steps=10, sampler="ddpm", seed=1))


def test_a_row_goes_from_one_image_to_the_other(pipe: mz.Pipeline, images: Tensor) -> None:
    how = {"steps": 20, "spacing": "logsnr"}
    calls: list[tuple[int, int]] = []
    follow = {"on_step": lambda *now: calls.append(now)}
    row = pipe.interpolate(images[0], images[1], 5, labels=(0, 1), **follow, **how)
    assert [done for done, _ in calls].count(1) == 3  # of two inversions, and of the row
    assert calls[-20:] == [(i, 20) for i in range(1, 21)]
    assert row.shape == (5, 3, SIDE, SIDE)
    assert psnr(row[0], images[0]) > 45
    assert psnr(row[-1], images[1]) > 45
    means = row.float().mean((1, 2, 3))
    assert (means.diff() > 0).all()  # from the dark class to the bright one
    a, b = torch.randn(2, 3, SIDE, SIDE)
    ends = pipe.interpolate(a, b, 2, labels=0, **how)
    how["sampler"] = "ddim"
    assert torch.equal(ends, pipe.sample(2, 0, noise=torch.stack([a, b]), guidance=1.0, **how))


def test_float_images_are_not_taken_for_noise(pipe: mz.Pipeline, images: Tensor) -> None:
    own = replace(pipe, codec=Pixels(Values("float32", -1000.0, 3000.0)))
    a, b = images[:2].float() / 255 * 4000 - 1000
    row = own.interpolate(a, b, 2, labels=(0, 1), steps=20, spacing="logsnr")
    assert (row - torch.stack([a, b])).abs().mean() < 40  # of 4000
    noises = [own.invert(x, k, steps=20, spacing="logsnr") for k, x in enumerate((a, b))]
    again = own.interpolate(*noises, 2, labels=(0, 1), steps=20, spacing="logsnr")
    torch.testing.assert_close(again, row)


@pytest.mark.parametrize("wrong", [255.0, float("nan")])
def test_images_of_another_scale_are_refused(
    pipe: mz.Pipeline, images: Tensor, mask: Tensor, wrong: float
) -> None:
    own = replace(pipe, codec=Pixels(Values("float32", 2.0, 3.0)))
    a = images.float() / 255 + 2
    assert own.vary(a + 0.1, 0.5, steps=2).isfinite().all()
    assert own.restore(2 * a - 5, lambda x: x, steps=2).min() >= 2
    hidden = torch.where(mask == 1, torch.tensor(wrong), a)
    for work in (own.vary, own.invert, lambda x: own.inpaint(x, mask)):
        with pytest.raises(mz.UserError, match=f"to {wrong:g}, but the model's are float32 from 2"):
            work(hidden)


@pytest.mark.parametrize("method", ["repaint", "ddnm", "pigdm", "dps", "mmps"])
def test_what_is_known_comes_back_to_the_bit(
    pipe: mz.Pipeline, images: Tensor, mask: Tensor, method: str
) -> None:
    made = pipe.inpaint(images, mask, LABELS, method=method, steps=10)
    assert torch.equal(made[..., mask == 0], images[..., mask == 0])
    assert not torch.equal(made, images)
    bits = pipe.inpaint(images, mask.bool(), LABELS, method=method, steps=10)
    assert torch.equal(made, bits)
    for white in (1, 255):
        whole = pipe.inpaint(images, white * mask.byte(), LABELS, method=method, steps=10)
        assert torch.equal(made, whole)


def test_what_is_filled_in_has_the_colour_of_the_rest(pipe: mz.Pipeline, mask: Tensor) -> None:
    """Each channel of an image has a colour from N(m, 0.04); pixels vary by N(0, 0.005)."""
    images = bytes_of(gaussian(torch.zeros(6).long()))
    made = pipe.inpaint(images, mask, 0, steps=40, spacing="logsnr", clipping="none")
    made = made.float() / 127.5 - 1
    known, filled = made[..., mask == 0].mean(2), made[..., mask == 1].mean(2)
    assert (known - filled).abs().max() < 0.1
    assert 0.6 < made[..., mask == 1].var(2).mean() / 0.005 < 1.4


def test_a_soft_mask_mixes(pipe: mz.Pipeline, images: Tensor, mask: Tensor) -> None:
    hard = pipe.inpaint(images, mask, LABELS, steps=10)
    soft = pipe.inpaint(images, 0.5 * mask, LABELS, steps=10)
    expected = (0.5 * hard.float() + 0.5 * images.float()).round().to(torch.uint8)
    assert (soft.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("method", ["ddnm", "mmps"])
def test_an_enlarged_image_made_small_is_the_given_one(
    pipe: mz.Pipeline, images: Tensor, method: str
) -> None:
    x = images.float() / 127.5 - 1
    small = bytes_of(average(2)(x))
    made = pipe.enlarge(small, 2, LABELS, method=method, steps=20, clipping="none")
    again = bytes_of(average(2)(made.float() / 127.5 - 1))
    assert (again.int() - small.int()).abs().max() <= 2


def test_outpainting_keeps_the_given_image_in_its_place(pipe: mz.Pipeline, images: Tensor) -> None:
    small = images[:, :, :12, :10]
    made = pipe.outpaint(small, LABELS, place=(3, 0), steps=10)
    assert made.shape == images.shape
    assert torch.equal(made[:, :, 3:15, :10], small)
    middle = pipe.outpaint(small[0], 0, steps=5)
    row, column = (SIDE - 12) // 2, (SIDE - 10) // 2
    assert torch.equal(middle[0, :, row : row + 12, column : column + 10], small[0])
    for wrong, message in (({"place": (SIDE, 0)}, "choose a row from 0"), ({}, "not smaller than")):
        with pytest.raises(mz.UserError, match=message):
            pipe.outpaint(images if not wrong else small, LABELS, **wrong)


def test_every_estimate_on_the_way_is_shown(pipe: mz.Pipeline) -> None:
    seen: list[tuple[int, float]] = []

    def look(first: int, level: mz.Level, x: Tensor, x0: Tensor) -> None:
        assert x.shape == x0.shape == (min(2, 3 - first), 3, SIDE, SIDE)
        seen.append((first, level.t))

    made = pipe.sample(3, LABELS, steps=4, sampler="ddim", batch=2, on_estimate=look)
    assert [first for first, _ in seen] == [0] * 4 + [2] * 4
    assert [t for _, t in seen[:4]] == sorted((t for _, t in seen[:4]), reverse=True)
    assert torch.equal(made, pipe.sample(3, LABELS, steps=4, sampler="ddim", batch=2))


def test_restoring_removes_noise(pipe: mz.Pipeline) -> None:
    x = gaussian(torch.zeros(4).long())
    y = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    made = pipe.restore(y, lambda x: x, 0, noise=0.3, steps=20).float() / 127.5 - 1
    assert (made - x).square().mean() < 0.25 * (y - x).square().mean()


@pytest.mark.parametrize("method", ["mmps", "ddnm"])
def test_bytes_are_observed_like_floats(
    pipe: mz.Pipeline, images: Tensor, mask: Tensor, method: str
) -> None:
    known = 1 - mask
    how = {"labels": LABELS, "method": method, "steps": 5}
    operator = mz.OPERATORS["mask"](known)
    made = pipe.restore(images * known.byte(), operator, **how)
    wanted = pipe.restore((images.float() / 127.5 - 1) * known, operator, **how)
    assert (made.int() - wanted.int()).abs().max() <= 1


def test_every_call_of_the_network_is_reported(pipe: mz.Pipeline, images: Tensor) -> None:
    steps_seen: list[tuple[int, int]] = []
    pipe.vary(images, 0.5, LABELS, steps=10, batch=2, on_step=lambda *now: steps_seen.append(now))
    assert steps_seen == [(i, 10) for i in range(1, 11)]


@pytest.mark.parametrize("method", ["repaint", "ddnm", "pigdm", "dps", "mmps"])
def test_every_call_of_inpainting_is_reported(
    pipe: mz.Pipeline, images: Tensor, method: str
) -> None:
    steps_seen: list[tuple[int, int]] = []
    mask = torch.zeros(SIDE, SIDE)
    mask[0] = 1
    how = {"method": method, "steps": 3, "sampler": None if method == "repaint" else "ddim"}
    pipe.inpaint(images, mask, LABELS, batch=2, on_step=lambda *now: steps_seen.append(now), **how)
    calls = steps_seen[-1][1]
    assert steps_seen == [(i, calls) for i in range(1, calls + 1)]


def test_in_latents_pixels_are_mixed_and_what_is_unsound_is_refused(trained_ldm: Path) -> None:
    pipe = mz.load(trained_ldm)
    images = pipe.sample(2, labels=[1, 2])
    x, grid = torch.randn(2, *pipe.shape), pipe.schedule.grid(3)
    own = mz.SAMPLERS["ddim"](pipe.denoiser([1, 2]), x, grid)
    how = {"sampler": "ddim", "steps": 3, "spacing": "trailing", "guidance": 1.0}
    torch.testing.assert_close(pipe.codec.decode(own), pipe.sample(2, [1, 2], noise=x, **how))
    with pytest.raises(mz.UserError, match="latents have no bounds to clip to"):
        pipe.denoiser([1, 2], clipping="static")
    height, width = pipe.size
    mask = torch.zeros(height, width)
    mask[: height // 2, : width // 2] = 1
    for method in ("repaint", "ddnm"):
        made = pipe.inpaint(images, mask, [1, 2], method=method, steps=3)
        assert torch.equal(made[..., mask == 0], images[..., mask == 0])
    assert pipe.vary(images, 0.5, [3, 4], steps=4).shape == images.shape
    assert pipe.interpolate(images[0], images[1], 3, labels=1, steps=3, corrections=1).ndim == 4
    noise = 0.1 * torch.randn(2, *pipe.shape)  # all within [-1, 1]
    row = pipe.interpolate(*noise, 2, labels=1, steps=3)
    assert torch.equal(row, pipe.sample(2, 1, noise=noise, sampler="ddim", steps=3, guidance=1.0))
    small = average(2)(images.float()).round().to(torch.uint8)
    assert pipe.enlarge(small, 2, [1, 2], method="dps", steps=3).shape == images.shape
    with pytest.raises(mz.UserError, match="works in latents: choose the `method` repaint or ddnm"):
        pipe.inpaint(images, mask, [1, 2], method="mmps")
    with pytest.raises(mz.UserError, match='works in latents: choose `method="dps"`'):
        pipe.enlarge(small, 2, [1, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, x, m: p.vary(x.float()), r"`images` are torch\.float32 .*: give a uint8 tensor"),
        (lambda p, x, m: p.vary([1]), "`images` are a list: give a uint8"),
        (lambda p, x, m: p.vary(x[..., :8]), r"but the model's are \(3, 16, 16\): scale and crop"),
        (lambda p, x, m: p.vary(x[:0]), "there are no `images`"),
        (lambda p, x, m: p.vary(x, 1.5), r"`strength` is 1\.5: choose 0 to 1"),
        (lambda p, x, m: p.vary(x, 0.01, steps=10), "rounds to 0 of the 10 steps"),
        (lambda p, x, m: p.vary(x, 0.5, [0, 1]), "2 `labels` for 3 images"),
        (lambda p, x, m: p.vary(x, 0.5, "z"), "there is no class 'z'"),
        (lambda p, x, m: p.vary(x, rescale=0.5), "`rescale` has no effect without `guidance`"),
        (lambda p, x, m: p.invert(x, 1, interval=(0, 1)), "`interval` has no effect without"),
        (lambda p, x, m: p.invert(x, sampler="ddpm"), "needs a deterministic sampler"),
        (lambda p, x, m: p.invert(x, eta=0.5), "needs a deterministic sampler"),
        (lambda p, x, m: p.interpolate(x[0], x[1], 1), "`n` is 1: choose 2 or more"),
        (lambda p, x, m: p.interpolate(x[0] / 255, x[1] / 255), r"`images` are torch\.float32"),
        (lambda p, x, m: p.inpaint(x, m[:8]), r"the `mask` is \(8, 16\), but the images are 16x16"),
        (lambda p, x, m: p.inpaint(x, 0 * m), "is all 0 or all 1"),
        (lambda p, x, m: p.inpaint(x, 0 * m + 1), "is all 0 or all 1"),
        (lambda p, x, m: p.inpaint(x, 2 * m), "values outside 0 to 1"),
        (lambda p, x, m: p.inpaint(x, 0 * m + 0.5), "the `mask` touches every pixel, so nothing"),
        (
            lambda p, x, m: p.inpaint(x, torch.stack([m, m, 0 * m + 0.5])),
            "the `mask` touches every pixel, so nothing",
        ),
        (lambda p, x, m: p.inpaint(x, m.expand(2, -1, -1)), "there are 2 masks for 3 images"),
        (
            lambda p, x, m: p.inpaint(x, m.expand(1, 3, -1, -1)),  # a colour image, not three masks
            r"the `mask` is \(1, 3, 16, 16\), but the images are 16x16",
        ),
        (lambda p, x, m: p.inpaint(x, m, method="x"), "unknown method 'x': choose one of repaint"),
        (
            lambda p, x, m: p.inpaint(x, m, method="repaint", sampler="heun"),
            "`sampler` has no effect with the method repaint, which makes DDPM's steps: leave out",
        ),
        (lambda p, x, m: p.inpaint(x, m, method="repaint", nfe=8), "`nfe` has no effect with"),
        (lambda p, x, m: p.inpaint(x, m, method="repaint", eta=0.5), "`eta` has no effect with"),
        (lambda p, x, m: p.enlarge(x, 2), "enlarged 2 times, do not have this model's size of 16"),
        (lambda p, x, m: p.restore(x, lambda x: x, method="x"), "unknown method 'x'"),
        (lambda p, x, m: p.restore(x / torch.tensor(0.0), lambda x: x), "are not finite"),
        (lambda p, x, m: p.restore(x.long(), lambda x: x), "images are torch.int64: convert"),
        (
            lambda p, x, m: p.restore(x.float(), lambda x: x),
            "`y` is too large to be the operator's output",
        ),
        (lambda p, x, m: p.restore(x, mz.OPERATORS["mask"](m)), "cannot come from the operator"),
        (
            lambda p, x, m: p.restore(torch.cat([0 * x[:1], x]).float(), lambda x: x),
            "`y` is too large to be the operator's output",  # the second observation
        ),
        (lambda p, x, m: p.restore(x, lambda x: x, noise=float("inf")), "`noise` is inf: choose"),
        (lambda p, x, m: mz.OPERATORS["mask"](255 * m), "values other than 0 and 1: give 1 where"),
        (lambda p, x, m: p.restore(x, mz.OPERATORS["blur"](9)), "reaches 27 pixels, too far"),
        (
            lambda p, x, m: p.restore(x, lambda x: x @ torch.ones(3, 3)),
            "the operator fails on images",
        ),
        (lambda p, x, m: p.restore(x, lambda x: x.detach()), "output has no gradient"),
        (lambda p, x, m: p.outpaint(x[..., :8], place=(0, 1.5)), "`place` is .*: choose a row"),
        (lambda p, x, m: p.outpaint(x[:, :1, :8]), "the images have 1 channel, but the model's"),
        (
            lambda p, x, m: p.outpaint(torch.cat([x, x[:, :1]], 1)[..., :8]),
            "the images have 4 channels, but the model's have 3: convert them first",
        ),
        (lambda p, x, m: p.enlarge(x[:, :1, :8, :8], 2), "the images have 1 channel, but the"),
        (lambda p, x, m: p.vary(x, 0.5, 1, interval=(1, 2)), "`interval` has no effect with `guid"),
        (lambda p, x, m: p.sample(1, rescale=0.5), "`rescale` has no effect with `guidance=1`"),
        (lambda p, x, m: p.interpolate(x[:2], x[2], 2), "`a` holds 2 images: give one image"),
        (lambda p, x, m: p.sample(1, steps=2, nfe=2), "`nfe` and `steps` are both given"),
        (lambda p, x, m: p.sample(3, noise=x), r"`noise` is torch\.uint8 .*: give a float tensor"),
        (lambda p, x, m: p.sample(3, noise=x.numpy()), "`noise` is a ndarray: give a float"),
        (lambda p, x, m: p.sample(3, noise=x / 0), "`noise` is not finite everywhere: give"),
        (lambda p, x, m: p.enlarge(x, 2.0), r"`factor` is 2\.0: choose a whole number"),
        (lambda p, x, m: p.restore([1], lambda x: x), "`y` is a list: give a tensor"),
        (lambda p, x, m: p.restore(x[:0], lambda x: x), "`y` is empty: give a tensor"),
        (lambda p, x, m: p.restore(x, lambda x: x, noise=float("nan")), "`noise` is nan: choose 0"),
        (lambda p, x, m: p.restore(x, lambda x: x, noise=-1), "`noise` is -1: choose 0 or more"),
        (lambda p, x, m: p.restore(x, lambda x: x, noise=1, method="ddnm"), "has no noise"),
        (lambda p, x, m: p.restore(x, lambda x: x**2), "is not linear"),
        (lambda p, x, m: p.restore(x, mz.Operator(lambda x: x**2, linear=False)), "method=.dps"),
        (lambda p, x, m: p.sample(2, noise=torch.zeros(3, 3, 16, 16)), "`noise` is .*: give "),
        (lambda p, x, m: p.vary(x, batch=0), "`batch` is 0"),
        (lambda p, x, m: p.vary(x, seed=-1), "`seed` is -1"),
        (lambda p, x, m: p.vary(x, step=3), "unknown setting 'step'; did you mean steps"),
    ],
)
def test_bad_input_is_one_line(pipe, images, mask, call, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        call(pipe, images, mask)


def test_guidance_0_ignores_the_class_whatever_the_defaults(
    pipe: mz.Pipeline, images: Tensor
) -> None:
    how = replace(pipe.defaults, steps=4, guidance=2.0, guidance_shape="linear", interval=(0.3, 3))
    own = replace(pipe, defaults=how)
    assert torch.equal(own.sample(2, 0, guidance=0), own.sample(2, 1, guidance=0))
    assert not torch.equal(own.sample(2, 0), own.sample(2, 1))
    own = replace(pipe, defaults=replace(how, guidance_shape="constant"))
    plain = replace(pipe, defaults=replace(pipe.defaults, steps=4))
    assert torch.equal(own.vary(images, guidance=1), plain.vary(images))


def test_labels_of_an_interpolation_may_be_a_tensor(pipe: mz.Pipeline) -> None:
    noise = 2 * torch.randn(2, *pipe.shape)
    made = [
        pipe.interpolate(*noise, 3, labels, steps=3)
        for labels in (torch.tensor([0, 1, 1]), [0, 1, 1])
    ]
    assert torch.equal(*made)


def test_restoring_in_inference_mode_is_refused(
    pipe: mz.Pipeline, images: Tensor, mask: Tensor
) -> None:
    with torch.inference_mode():
        assert pipe.inpaint(images, mask, method="repaint", steps=2).shape == images.shape
        for work in (lambda: pipe.inpaint(images, mask), lambda: pipe.restore(images, average(2))):
            with pytest.raises(mz.UserError, match="this method needs gradients, but"):
                work()


def test_a_model_without_classes_takes_no_labels(images: Tensor) -> None:
    plain = mz.Pipeline(lambda x, t, labels: 0 * x, mz.cosine(100), "x0", (3, SIDE, SIDE))
    assert plain.vary(images, 0.5, steps=4).shape == images.shape
    with pytest.raises(mz.UserError, match="unconditional: leave out `labels`"):
        plain.vary(images, 0.5, labels=1)
