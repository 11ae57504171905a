import math
import sys

import numpy as np
import pytest
import torch

from mezzotint.data import AUGMENTATION_SIZE, flip, kornia_augmentation, non_leaking
from mezzotint.errors import UserError


def test_flips_where_the_mask_is_set_and_nowhere_else():
    images = torch.randn(3, 2, 4, 5)
    flipped = flip(images, torch.tensor([True, False, True]))
    for i in (0, 2):
        for x in range(5):
            assert torch.equal(flipped[i, :, :, x], images[i, :, :, 4 - x])
    assert torch.equal(flipped[1], images[1])


def test_twice_is_once_too_many():
    images = torch.arange(48, dtype=torch.uint8).reshape(2, 2, 3, 4)
    mask = torch.tensor([True, False])
    assert flip(images, mask).dtype == torch.uint8
    assert torch.equal(flip(flip(images, mask), mask), images)


def pictures(count=4, height=16, width=16, seed=0):
    return (
        torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    )


def uniforms(count, seed=1):
    return torch.rand(count, 16, generator=torch.Generator().manual_seed(seed))


def knobs(**a):
    """Return uniform numbers that give a0 ... a7 these values, and turn the others off."""
    normal = torch.special.ndtr
    u = torch.full((16,), 0.999)
    if a.get("a0"):
        u[1] = 0
    if a.get("a1"):
        u[2] = u[3] = 0
    if "a2" in a:
        u[4], u[5] = 0, normal(torch.tensor(a["a2"]))
    if "a3" in a:
        u[6], u[7] = 0, (a["a3"] / math.pi + 1) / 2
    if "a4" in a:
        u[8], u[9], u[10] = 0, (a["a4"] / math.pi + 1) / 2, normal(torch.tensor(a["a5"]))
    if "a6" in a:
        u[11], u[12], u[13] = 0, normal(torch.tensor(a["a6"])), normal(torch.tensor(a["a7"]))
    return u


def test_probability_0_leaves_the_coin_alone():
    images, u = pictures(64), uniforms(64)
    result, told = non_leaking(images, u, 0.0)
    mirrored = u[:, 1] < 0.5
    assert 0 < mirrored.sum() < 64
    assert torch.equal(result, flip(images, mirrored))
    assert torch.equal(told[:, 0], mirrored.float())
    assert not told[:, 1:].any()


def test_pictures_without_resampling_are_exact():
    images = pictures(5)
    u = torch.stack([knobs(), knobs(a0=1), knobs(a1=1), knobs(a0=1, a1=1), knobs(a3=2.0)])
    result, told = non_leaking(images, u, 0.5)
    assert torch.equal(result[0], images[0])
    assert torch.equal(result[1], images[1].flip(-1))
    assert torch.equal(result[2], images[2].flip(-2))
    assert torch.equal(result[3], images[3].flip(-1, -2))
    assert not torch.allclose(result[4], images[4], atol=0.1)
    assert told.shape == (5, AUGMENTATION_SIZE)
    assert told[:4, :2].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert not told[:4, 2:].any()


HEIGHT, WIDTH = 24, 32


def blob(x, y):
    """A smooth image without symmetry as a function of x (right) and y (down), in pixels."""
    u, v = x - 3, y + 1
    return -0.9 + 1.6 * np.exp(-(u * u / 30 + v * v / 12 + u * v / 25))


def places(inverse):
    """Return each pixel's source by the inverse matrix: (2, H, W), in pixels from the centre."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    points = np.stack([x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2, np.ones_like(x)])
    return np.einsum("ij,jhw->ihw", inverse, points)[:2]


def turn(angle):  # from the x axis towards the y axis
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def scale(x, y):
    return np.diag([x, y, 1.0])


def transcription(a0=0, a1=0, a2=0.0, a3=0.0, a4=0.0, a5=0.0, a6=0.0, a7=0.0):
    """Return the paper's table as a product of matrices; the rightmost one applies first."""
    move = np.array([[1, 0, WIDTH * a6 / 8], [0, 1, HEIGHT * a7 / 8], [0, 0, 1]])
    k = 2 ** (0.2 * a5)
    stretch = turn(a4) @ scale(k, 1 / k) @ turn(-a4)
    enlarge = scale(2 ** (0.2 * a2), 2 ** (0.2 * a2))
    return move @ stretch @ turn(-a3) @ enlarge @ scale(1, 1 - 2 * a1) @ scale(1 - 2 * a0, 1)


CASES = [
    {"a2": 1.5},
    {"a2": -2.0},
    {"a3": 0.7},
    {"a3": -math.pi / 2},
    {"a4": 0.0, "a5": 1.5},
    {"a4": 2.0, "a5": -1.0},
    {"a6": 0.5, "a7": -0.7},
    {"a0": 1, "a3": 0.5, "a6": 0.3, "a7": 0.2},
    {"a0": 1, "a1": 1, "a2": -0.8, "a3": 2.5, "a4": -1.0, "a5": 1.2, "a6": -0.4, "a7": 0.3},
]


@pytest.mark.parametrize("a", CASES, ids=str)
def test_the_picture_is_warped_as_the_paper_says(a):
    image = torch.from_numpy(blob(*places(np.eye(3)))).float().expand(1, 3, -1, -1)
    result, told = non_leaking(image, knobs(**a)[None], 0.5)
    x, y = places(np.linalg.inv(transcription(**a)))
    expected = torch.from_numpy(blob(x, y)).float()
    inside = torch.from_numpy((abs(x) < WIDTH / 2) & (abs(y) < HEIGHT / 2))  # the rest is reflected
    assert (expected - image[0, 0])[inside].abs().max() > 0.3
    assert (result - expected)[..., inside].abs().max() < 0.03
    b = {f"a{i}": 0.0 for i in range(8)} | a
    numbers = [b["a0"], b["a1"], b["a2"], math.cos(b["a3"]) - 1, math.sin(b["a3"])]
    numbers += [b["a5"] * math.cos(b["a4"]), b["a5"] * math.sin(b["a4"]), b["a6"], b["a7"]]
    assert told[0].tolist() == pytest.approx(numbers, abs=1e-4)


def test_translation_moves_right_and_down():
    image = -torch.ones(1, 3, 16, 32)
    image[:, :, 5, 9] = 1
    result, _ = non_leaking(image, knobs(a6=1.0, a7=2.0)[None], 0.5)  # 4 columns and 4 rows
    assert result[0, 0, 9, 13] == pytest.approx(1, abs=1e-3)
    result[:, :, 9, 13] = -1
    assert torch.allclose(result, -torch.ones_like(result), atol=1e-3)


def test_rotation_is_anticlockwise():
    image = -torch.ones(1, 3, 15, 15)
    image[:, :, 7, 12] = 1  # on the right
    result, _ = non_leaking(image, knobs(a3=math.pi / 2)[None], 0.5)
    assert result[0, 0, 2, 7] == pytest.approx(1, abs=1e-3)  # at the top


def test_stays_in_range():
    images = pictures(64).sign()
    result, told = non_leaking(images, uniforms(64), 1.0)
    assert (told[:, 2:] != 0).all()
    assert result.abs().max() == 1
    assert torch.allclose(
        non_leaking(torch.ones(64, 3, 8, 8), uniforms(64), 1.0)[0], torch.ones(())
    )


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_extreme_numbers_are_finite(u):
    result, told = non_leaking(pictures(1), torch.full((1, 16), u), 1.0)
    assert result.isfinite().all()
    assert told.isfinite().all()


def test_each_row_is_of_its_own_picture_alone():
    images, u = pictures(32), uniforms(32)
    result, told = non_leaking(images, u, 0.5)
    alone = [non_leaking(images[i : i + 1], u[i : i + 1], 0.5) for i in range(32)]
    assert torch.equal(torch.cat([row for row, _ in alone]), result)
    assert torch.equal(torch.cat([row for _, row in alone]), told)


def test_distribution():
    count, p = 20_000, 0.12
    _, told = non_leaking(torch.zeros(count, 1, 2, 2), uniforms(count), p)

    def near(share, expected):
        return share == pytest.approx(expected, abs=4 * math.sqrt(expected / count))

    assert near((told[:, 0] == 1).float().mean().item(), 0.5)
    assert near((told[:, 1] == 1).float().mean().item(), p / 2)
    applied = {2: told[:, 2] != 0, 4: told[:, 4] != 0, 5: told[:, 5] != 0, 7: told[:, 7] != 0}
    for column, mask in applied.items():
        assert near(mask.float().mean().item(), p), column
    assert torch.equal(applied[7], told[:, 8] != 0)
    both = applied[2] & applied[4]
    assert near(both.float().mean().item(), p * p)
    for column in (2, 7, 8):
        a = told[told[:, column] != 0, column]
        assert a.mean().abs() < 4 / math.sqrt(len(a))
        assert a.std() == pytest.approx(1, abs=3 / math.sqrt(len(a)))
        inside = (a.abs() < 1).float().mean().item()
        assert inside == pytest.approx(math.erf(math.sqrt(0.5)), abs=2 / math.sqrt(len(a)))
    a3 = torch.atan2(told[:, 4], told[:, 3] + 1)[applied[4]]
    assert a3.std() == pytest.approx(math.pi / math.sqrt(3), abs=4 / math.sqrt(len(a3)))


NAMES = ("crop", "colour", "randaugment", "cutmix")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("names", [*((name,) for name in NAMES), NAMES], ids="-".join)
def test_kornia_follows_the_seed(names, dtype):
    pytest.importorskip("kornia")
    images = pictures(6, 16, 20).to(dtype)
    augment = kornia_augmentation(names, (16, 20))
    state = torch.get_rng_state()
    results = [augment(images, seed) for seed in (0, 1, 0)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(results[0], results[2])
    assert torch.equal(results[0], kornia_augmentation(names, (16, 20))(images, 0))
    assert not torch.equal(results[0], results[1])
    for result in results:
        assert result.shape == images.shape
        assert result.dtype == dtype
        assert result.abs().max() <= 1
        assert not torch.equal(result, images)


def test_crop_enlarges_a_part():
    pytest.importorskip("kornia")
    augment = kornia_augmentation(("crop",), (16, 16))
    assert torch.allclose(augment(torch.ones(8, 3, 16, 16), 0), torch.ones(()))  # no dark edges
    ramp = torch.linspace(-1, 1, 16).expand(200, 3, 16, 16)
    result = augment(ramp, 0)
    share = (result[:, 0, 0, -1] - result[:, 0, 0, 0]) / 2  # of the width
    assert 0.5 < share.min() < 0.7  # half the area, 3 to 4 or 4 to 3
    assert 0.9 < share.max() < 1.01


def test_cutmix_mixes_two_pictures():
    pytest.importorskip("kornia")
    images = torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 8, 8)
    augment = kornia_augmentation(("cutmix",), (8, 8))
    results = torch.cat([augment(images, seed) for seed in range(10)])
    assert (results.abs() == 1).all()
    assert ((results > 0).any((1, 2, 3)) & (results < 0).any((1, 2, 3))).any()


def test_unknown_augmentation():
    with pytest.raises(UserError, match="unknown augmentation 'mixup': choose one of crop"):
        kornia_augmentation(("crop", "mixup"), (8, 8))


def test_without_kornia(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    with pytest.raises(UserError, match="needs the package kornia: run pip"):
        kornia_augmentation(("crop",), (8, 8))
