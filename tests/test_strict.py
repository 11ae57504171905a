"""The values that a configuration class refuses, and its messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import pytest
from pydantic import Field, PositiveInt, TypeAdapter, ValidationError

import mezzotint as mz
from mezzotint.errors import Registry, UserError
from mezzotint.strict import Choice, strict

FRUIT = Registry("fruit", {"apple": 1, "quince": 2})


@strict
class Basket:
    count: PositiveInt
    fruit: Annotated[str, Choice(FRUIT, "any")] = "any"
    ripe: float = Field(default=0.5, ge=0, le=1)
    second: Annotated[str, Choice(FRUIT)] | None = None

    def __post_init__(self) -> None:
        if self.count == 13:
            raise ValueError("`count` is 13: choose another number")


@strict
class Shop:
    basket: Basket = Basket(1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"count": 0}, "count: input should be greater than 0, not 0"),
        ({"count": "many"}, "count: input should be a valid integer"),
        ({"count": 13}, "`count` is 13: choose another number"),
        ({"count": 1, "ripe": float("nan")}, "ripe: input should be a finite number"),
        ({"count": 1, "ripe": 2.0}, "ripe: input should be less than or equal to 1"),
        (
            {"count": 1, "fruit": "aple"},
            "unknown fruit 'aple': choose one of apple, quince, any; did",
        ),
        ({"count": 1, "fruit": 3}, "fruit: input should be a valid string, not 3"),
        ({"count": 1, "second": "any"}, "unknown fruit 'any': choose one of apple, quince"),
        ({"count": 1, "friut": "any"}, "Basket has no field 'friut'; did you mean fruit?"),
        ({}, "count: field required"),
    ],
)
def test_what_is_wrong_is_a_users_error_of_one_line(fields: dict, message: str) -> None:
    with pytest.raises(UserError) as wrong:
        Basket(**fields)
    assert str(wrong.value).startswith(message)
    assert "\n" not in str(wrong.value)


def test_a_changed_copy_is_checked_too() -> None:
    basket = Basket(1, "apple", second="quince")
    assert (basket, hash(basket)) == (replace(basket), hash(replace(basket)))
    with pytest.raises(UserError, match="count: input should be greater than 0"):
        replace(basket, count=0)
    with pytest.raises(AttributeError):
        basket.count = 2


def test_a_name_that_is_entered_later_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FRUIT, "plum", 3)
    assert Basket(1, "plum").fruit == "plum"
    with pytest.raises(UserError, match="choose one of apple, quince, plum, any"):
        Basket(1, "stone")


def test_nested_and_read_from_json_it_is_the_same() -> None:
    adapter = TypeAdapter(Shop)
    shop = Shop(Basket(2, "quince"))
    assert adapter.validate_json(adapter.dump_json(shop), strict=True) == shop
    with pytest.raises(ValidationError, match="unknown fruit 'nut'"):
        adapter.validate_json('{"basket": {"count": 1, "fruit": "nut"}}', strict=True)
    with pytest.raises(ValidationError, match="nuts"):
        adapter.validate_json('{"basket": {"count": 1, "nuts": "nut"}}', strict=True)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mz.UNetConfig(channels="wide"), "channels: input should be a valid tuple"),
        (lambda: mz.TrainConfig(batch=0), "batch: input should be greater than 0, not 0"),
        (lambda: mz.TrainConfig(bach=1), "TrainConfig has no field 'bach'; did you mean batch?"),
        (
            lambda: mz.NoiseConfig(schedule="cosin"),
            "unknown schedule 'cosin': choose one of linear",
        ),
        (lambda: mz.SampleConfig(guidance=-1), "guidance: input should be greater than or equal"),
        (lambda: mz.DataConfig(size=0), "`size` is 0: give a side of at least 1 pixel"),
    ],
)
def test_the_public_configurations_are_such_classes(build, message: str) -> None:
    with pytest.raises(mz.UserError) as wrong:
        build()
    assert str(wrong.value).startswith(message)
