"""Conditions of a network: each kind, its null condition, and the values that users may give."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mezzotint as mz
from mezzotint.errors import UserError
from mezzotint.networks import DiT, DiTConfig, Network, UNet, UNetConfig
from mezzotint.networks.conditions import (
    ClassCondition,
    Condition,
    ImageCondition,
    NumbersCondition,
    TagsCondition,
    every,
    read,
)
from mezzotint.networks.conditions.classes import integers
from mezzotint.trainer.objective import Diffusion, ObjectiveConfig

AGE = NumbersCondition("age", (50.0,), (10.0,), (18.0,), (80.0,))
POSE = NumbersCondition("pose", (0.0, 0.5), (1.0, 0.25), (-2.0, 0.0), (2.0, 1.0))
TAGS = TagsCondition("tags", ("red", "round", "old"))
SMALL = ImageCondition("small", (3, 4, 4))
X, T = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3.0, 900])


def built(kind: str, classes: int = 0, conditions: Sequence[Condition] = ()) -> Network:
    torch.manual_seed(0)
    if kind == "unet":
        config = UNetConfig(channels=(8, 16), blocks=1, attention=(), groups=4, patch=2)
        return UNet(config, 3, classes, conditions=conditions).eval()
    return DiT(DiTConfig(width=16, depth=1, heads=2), 3, classes, conditions=conditions).eval()


def awake(net: Network) -> Network:
    """Return the network after random numbers have replaced all-zero weights."""
    for weight in net.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    return net


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_one_of_several_labels_is_a_class_with_the_same_weights(kind: str) -> None:
    one, many = awake(built(kind, 3)), built(kind, 0, [TAGS])
    weights = one.state_dict()
    weights["condition_tags.weight"] = weights.pop("label.weight")
    many.load_state_dict(weights)
    tags = TAGS.given(["round", "old"], 2)
    assert torch.equal(one(X, T, torch.tensor([1, 2])), many(X, T, tags))
    assert torch.equal(one(X, T, None), many(X, T, None))


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_numbers_and_images_change_nothing_at_first(kind: str) -> None:
    plain, more = awake(built(kind, 3)), built(kind, 3, [AGE, SMALL])
    left = more.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[0] for name in left.missing_keys} == {
        "condition_age", "condition_small",
    }  # fmt: skip
    label = torch.tensor([1, 3])
    given = {"label": label, "age": AGE.given(30, 2), "small": SMALL.some(2)}
    assert torch.equal(plain(X, T, label), more(X, T, given))
    awake(more)
    assert not torch.equal(plain(X, T, label), more(X, T, given))


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_an_image_is_channels_beside_x(kind: str) -> None:
    same = ImageCondition("same", (3, 8, 8))
    net, wide = awake(built(kind, 0, [same])), built(kind)
    wide.stem = nn.Conv2d(7 * 4, 8, 3, padding=1) if kind == "unet" else nn.Linear(7 * 4, 16)
    weights = net.state_dict()
    beside = weights.pop("condition_same.layer.weight")
    weights["stem.weight"] = torch.cat([weights["stem.weight"], beside], 1)
    wide.load_state_dict(weights)
    image = same.encoded(np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8))
    whole = wide(torch.cat([X, image], 1), T, None)
    torch.testing.assert_close(net(X, T, image), whole)
    nothing = wide(torch.cat([X, torch.zeros_like(image)], 1), T, None)
    torch.testing.assert_close(net(X, T, None), nothing)


def test_a_small_image_is_repeated_and_a_large_one_is_folded() -> None:
    small, large = SMALL.fitted((3, 8, 8)), ImageCondition("l", (3, 16, 16)).fitted((4, 8, 8))
    assert (small.fold, large.fold) == (1, 2)
    beside = built("unet", 0, [small, large])
    value = torch.randn(2, 4, 4, 4)
    repeated = beside.get_submodule("condition_small").aligned(value, X)
    assert torch.equal(repeated, F.interpolate(value, scale_factor=2, mode="nearest"))
    assert beside.get_submodule("condition_l").aligned(large.some(2), X).shape == (2, 16, 8, 8)
    with pytest.raises(UserError, match="a whole multiple of the other's size"):
        SMALL.fitted((3, 8, 16))


def test_what_is_missing_is_null_and_what_is_unknown_is_refused() -> None:
    net = awake(built("unet", 3, [AGE]))
    age, null = AGE.given([20, 70], 2), torch.tensor([3, 3])
    assert torch.equal(net(X, T, {"age": age}), net(X, T, {"age": age, "label": null}))
    assert torch.equal(net(X, T, None), net(X, T, {"age": AGE.null(2), "label": null}))
    with pytest.raises(UserError, match="has no condition 'ages'; did you mean age"):
        net(X, T, {"ages": age})
    with pytest.raises(UserError, match="several conditions: pass a dict of 'label', 'age'"):
        net(X, T, age)


def test_numbers_are_standardised_in_float64_and_flagged() -> None:
    year = NumbersCondition.of("year", np.array([[1e6], [1e6 + 2]]))
    assert year.given([1e6, 1e6 + 1, 1e6 + 2], 3).tolist() == [[-1, 1], [0, 1], [1, 1]]
    assert year.null(1).tolist() == [[0, 0]]
    assert year.given(torch.tensor([1e6], requires_grad=True), 1).tolist() == [[-1, 1]]
    assert POSE.given([1, 1], 3).tolist() == [[1, 2, 1]] * 3
    with pytest.raises(UserError, match="the same for all images"):
        NumbersCondition.of("flat", np.ones((3, 1)))


def test_what_users_give_is_checked() -> None:
    def refused(condition: Condition, value: object, count: int = 4) -> str:
        with pytest.raises(UserError) as error:
            condition.given(value, count)
        return str(error.value)

    assert "2 values of 'age' for 4 images" in refused(AGE, [1.0, 2.0])
    assert "not finite" in refused(AGE, float("nan"))
    assert "give a number" in refused(AGE, "old")
    assert "give 2 numbers once for all images, or once for each" in refused(POSE, [1.0, 2.0, 3.0])
    assert "no label 'rund'; did you mean round" in refused(TAGS, "rund")
    assert "zeros and ones" in refused(TAGS, [[0, 2, 0]])
    assert "give names of labels" in refused(TAGS, [])
    assert "give a number" in refused(AGE, np.ma.masked_less(np.arange(4.0), 2))
    assert "give uint8 images" in refused(SMALL, torch.zeros(4, 3, 4, 4))
    assert "give uint8 images" in refused(SMALL, torch.zeros(4, 3, 5, 4, dtype=torch.uint8))
    with pytest.warns(UserWarning, match="'age' is 120, but the model was trained on 18 to 80"):
        AGE.given([20, 120], 2)


def test_several_labels_are_given_in_four_ways() -> None:
    wanted = [[1, 1, 0, 0], [0, 0, 0, 0]]
    for value in ([{"red", "round"}, set()], [["red", "round"], []], np.eye(4)[:2, :3] * 0):
        given = TAGS.given(value, 2).tolist()
        assert given == (wanted if isinstance(value, list) else [[0] * 4] * 2)
    assert TAGS.given("old", 2).tolist() == [[0, 0, 1, 0]] * 2
    assert TAGS.given(torch.tensor([[1, 1, 0], [0, 0, 0]]), 2).tolist() == wanted
    assert TAGS.given(TAGS.parsed("red+round,"), 2).tolist() == wanted
    assert TagsCondition("language", ("C", "C++")).parsed("C++,C") == [{"C++"}, {"C"}]


def test_images_are_taken_with_their_channels_first_or_last() -> None:
    last = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    first = torch.from_numpy(last).permute(0, 3, 1, 2)
    assert torch.equal(SMALL.given(last, 2), SMALL.given(first, 2))
    assert torch.equal(SMALL.given(first[0], 2), SMALL.given(last[:1], 2))


def test_a_checkpoint_s_facts_are_read_back() -> None:
    conditions = (AGE, POSE, TAGS, SMALL)
    assert read([each.facts() for each in conditions]) == conditions


def test_two_conditions_of_one_name_are_refused() -> None:
    number = mz.NumbersCondition("label", (0.0,), (1.0,), (0.0,), (1.0,))
    assert every(0, [number]) == (number,)
    for classes, others in ((2, [number]), (0, [number, number])):
        with pytest.raises(mz.UserError, match="two conditions have the name 'label'"):
            every(classes, others)


def test_names_that_separate_are_refused() -> None:
    with pytest.raises(UserError, match="cannot be the name of a condition"):
        TagsCondition("a=b", ("c",))


@pytest.mark.parametrize("conditions", [every(10), every(10, [AGE, TAGS])])
def test_each_condition_is_dropped_and_all_of_them_are(conditions) -> None:
    share, batch = 0.2, 20_000
    task = Diffusion(
        ObjectiveConfig(label_dropout=share), mz.linear(10), "eps", (1, 1, 1), conditions
    )
    *_, dropped = task.draw(batch, 0, torch.Generator().manual_seed(0))
    together = dropped.all(1).float().mean()
    each = dropped.float().mean(0)
    if len(conditions) == 1:
        assert float(each[0]) == pytest.approx(share, abs=0.01)
    else:
        assert float(together) == pytest.approx(share + 0.8 * share**3, abs=0.01)
        assert each.tolist() == pytest.approx([1 - 0.8**2] * 3, abs=0.01)
    label = ClassCondition(("a", "b")).dropped(torch.tensor([0, 1]), torch.tensor([True, False]))
    assert label.tolist() == [2, 1]


def test_values_inside_the_trained_range_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AGE.given([18, 80], 2)


def test_other_digits_than_decimal_ones_are_names() -> None:
    assert ClassCondition(("cat", "dog")).parsed("\u00b2,1") == ["\u00b2", 1]


def test_a_class_of_imagenet_has_its_shorter_names() -> None:
    classes = ("n01443537 goldfish, Carassius auratus", "n02012849 crane", "n03126707 crane", "cat")
    names = ["goldfish", "Carassius auratus", "n02012849", "cat", classes[2]]
    assert integers(names, classes).tolist() == [0, 0, 1, 3, 2]
    with pytest.raises(mz.UserError, match="2 classes are called 'crane': give 'n020"):
        integers("crane", classes)
    with pytest.raises(mz.UserError, match="there is no class 'gold'"):
        integers("gold", classes)
