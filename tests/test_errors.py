"""What is said of a name that there is not."""

from __future__ import annotations

import pytest

from mezzotint.errors import Registry, UserError, nearest, unknown

FRUIT = Registry("fruit", {"apple": 1, "quince": 2})


def test_a_registry_is_a_dict_that_offers_the_nearest_names() -> None:
    assert dict(FRUIT) == {"apple": 1, "quince": 2}
    assert FRUIT["quince"] == 2
    assert FRUIT.get("plum") is None
    assert "plum" not in FRUIT
    with pytest.raises(UserError) as wrong:
        FRUIT["aple"]
    expected = "unknown fruit 'aple': choose one of apple, quince; did you mean apple?"
    assert str(wrong.value) == expected


def test_an_entry_made_later_is_a_choice_like_any_other() -> None:
    fruit = Registry("fruit", FRUIT)
    fruit["plum"] = 3
    assert fruit["plum"] == 3
    with pytest.raises(UserError, match=r"choose one of apple, quince, plum$"):
        fruit["zzz"]


def test_names_that_are_not_near_are_not_offered() -> None:
    assert nearest("zzz", FRUIT) == ""
    assert str(unknown("fruit", 7, FRUIT)) == "unknown fruit 7: choose one of apple, quince"
