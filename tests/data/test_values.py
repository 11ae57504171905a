"""The meaning of the numbers in an image, and how images are shown and measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint.data.rgb import in_rgb
from mezzotint.data.values import EIGHT_BIT, Values, from_json

SIXTEEN = Values("uint16", 0, 65535)
FIELDS = Values("float32", -4, 4)
ALPHA = Values(alpha=True)


def test_eight_bits_are_encoded_as_ever():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(EIGHT_BIT.encode(images), images.float() / 127.5 - 1)
    assert torch.equal(EIGHT_BIT.decode(EIGHT_BIT.encode(images)), images)


@pytest.mark.parametrize(
    "values", [SIXTEEN, Values("uint16", 0, 4095), Values("uint8", 0, 3), Values("uint8", 10, 200)]
)
def test_every_integer_survives_the_round_trip(values):
    whole = torch.arange(int(values.low), int(values.high) + 1).to(values.tensor_dtype)
    images = whole.view(1, 1, 1, -1)
    x = values.encode(images)
    assert (float(x.min()), float(x.max())) == pytest.approx((-1, 1))
    assert torch.equal(values.decode(x), images)
    beyond = values.decode(torch.tensor([-1.5, 1.5]).view(1, 1, 1, 2))
    assert beyond.flatten().tolist() == [values.low, values.high]


def test_floats_survive_the_round_trip_and_stay_in_their_range():
    images = torch.linspace(-4, 4, 101).view(1, 1, 1, -1)
    torch.testing.assert_close(FIELDS.decode(FIELDS.encode(images)), images)
    assert FIELDS.decode(torch.full((1, 1, 1, 1), 2.0)) == 4


@pytest.mark.parametrize("values", [EIGHT_BIT, SIXTEEN, FIELDS, ALPHA])
def test_json_holds_them(values):
    assert from_json(values.as_json()) == values
    assert bool(values.as_json()) == (values != EIGHT_BIT)


def test_another_type_is_refused():
    with pytest.raises(mz.UserError, match=r"torch.uint8: convert them to uint16 from 0 to 65535"):
        SIXTEEN.encode(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("values", "channels", "seen", "words"),
    [
        (EIGHT_BIT, 1, 1, ""),
        (EIGHT_BIT, 3, 3, ""),
        (EIGHT_BIT, 2, 3, "channels 1 and 2 of 2 as red and green"),
        (EIGHT_BIT, 7, 3, "channels 1, 2 and 3 of 7 as red, green and blue"),
        (SIXTEEN, 1, 1, "the values from 0 to 65535 as 0..255"),
        (FIELDS, 5, 3, "channels 1, 2 and 3 of 5 .*, the values from -4 to 4 as 0..255"),
        (ALPHA, 4, 3, "the colours on white, by their opacity"),
    ],
)
def test_what_people_look_at(values, channels, seen, words):
    low, high = values.low, values.high
    x = torch.rand(2, channels, 3, 4) * (high - low) + low
    images = x.to(values.tensor_dtype)
    shown = values.visible(images)
    assert (shown.dtype, shown.shape) == (torch.uint8, (2, seen, 3, 4))
    if not values.alpha:
        scaled = (images[:, :3].double() - low) / (high - low) * 255
        torch.testing.assert_close(shown[:, :channels].double(), scaled.round(), atol=1, rtol=0)
    import re

    assert re.fullmatch(words, values.shown_as(channels))


def test_transparent_images_are_seen_on_white():
    images = torch.tensor([[0, 0, 0, 0], [10, 20, 30, 255]], dtype=torch.uint8).view(2, 4, 1, 1)
    assert ALPHA.visible(images).flatten().tolist() == [255, 255, 255, 10, 20, 30]


def test_metrics_take_grey_as_rgb_and_refuse_other_channels(noise):
    grey = noise(0, 12, 8, 8)
    data = mz.prepare(grey)
    rgb = in_rgb(data)
    assert rgb.images.shape == (12, 8, 8, 3)
    np.testing.assert_array_equal(rgb.images[3:5], np.repeat(grey[3:5, ..., None], 3, 3))
    np.testing.assert_array_equal(rgb.images[3], np.repeat(grey[3, ..., None], 3, 2))
    assert rgb.fingerprint != data.fingerprint
    colour = mz.prepare(noise(0, 12, 8, 8, 3))
    assert in_rgb(colour) is colour
    five = mz.prepare(noise(0, 12, 8, 8, 5), layout="NHWC")
    with pytest.raises(mz.UserError, match="images of 5 channels cannot be measured, because"):
        in_rgb(five)
    with pytest.raises(mz.UserError, match="transparent images cannot be measured"):
        in_rgb(mz.prepare(noise(0, 12, 8, 8, 3), mode="rgba"))


@pytest.mark.filterwarnings("ignore:.*are fewer than")
def test_grey_images_measure_as_their_rgb_and_it_is_said(noise):
    a, b = noise(1, 20, 32, 32), noise(2, 20, 32, 32)
    with pytest.warns(UserWarning, match="grey images are measured as RGB with three equal"):
        found = mz.compare(a, b, network="cifar10", metrics="fd")
    rgb = [np.repeat(x[..., None], 3, 3) for x in (a, b)]
    wanted = mz.compare(*rgb, network="cifar10", metrics="fd")
    assert found["fd-cifar10"].value == pytest.approx(wanted["fd-cifar10"].value)
    with pytest.raises(mz.UserError, match="images of 2 channels cannot be measured"):
        mz.compare(mz.prepare(noise(0, 20, 8, 8, 2), layout="NHWC"), mz.prepare(a, size=8))
