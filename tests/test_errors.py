"""Unknown names, and arguments that become flags in messages of the command line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import mezzotint as mz
from mezzotint.cli import main
from mezzotint.errors import Registry, UserError, arguments_called, as_flags, nearest, unknown, warn

FRUIT = Registry("fruit", {"apple": 1, "quince": 2})


def test_a_warning_points_to_the_line_outside_the_package() -> None:
    inside = {"__name__": "mezzotint.somewhere", "warn": warn}
    exec("def act(): warn('beware')\ndef call(): act()", inside)
    with pytest.warns(UserWarning, match="beware") as caught:
        inside["call"]()  # type: ignore[operator]
    assert caught[0].filename == __file__


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pass `size` to scale them", "pass --size to scale them"),
        ("add `skip_bad=True`", "add --skip-bad"),
        ("pass `conditional=False`", "pass --no-conditional"),
        ('choose `spacing="trailing"` or `eta=0.5`', "choose --spacing trailing or --eta 0.5"),
        ("train with `vae=runs/my vae`", "train with --vae runs/my vae"),
        ("send it with `wandb sync runs/x`, see `mz.train`", None),
    ],
)
def test_an_argument_becomes_the_flag_that_it_is(text: str, told: str | None) -> None:
    assert as_flags(text) == (told or text)


def test_an_argument_has_the_callers_name_for_it() -> None:
    text = "`data` is float32, `database` is not: say `range=(0, 1)`, or `range`"
    with pytest.raises(UserError) as caught, arguments_called(data="a", range="a_range"):
        raise UserError(text)
    assert str(caught.value) == (
        "`a` is float32, `database` is not: say `a_range=(0, 1)`, or `a_range`"
    )


def test_errors_and_warnings_of_the_command_line_name_flags(
    capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "glyphs-ddpm").mkdir(parents=True)
    (tmp_path / "runs" / "glyphs-ddpm" / "mine.txt").touch()
    with pytest.raises(SystemExit), warnings.catch_warnings():
        main(["train", "glyphs-ddpm"])
    error = capsys.readouterr().err
    assert error.endswith("exists but is not a run: choose another --out\n")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda wrong: mz.load(wrong), "`path` is of type object: give a path"),
        (lambda wrong: mz.report(wrong), "`runs` is of type object: give a path"),
        (lambda wrong: mz.diagnose(wrong), "`run` is of type object: give a path"),
        (lambda wrong: mz.sweep(wrong), "`run` is of type object: give a path"),
        (lambda wrong: mz.average(wrong, 0.1), "`run` is of type object: give a path"),
        (lambda wrong: mz.distil(wrong), "`teacher` is of type object: give a path"),
        (lambda wrong: mz.describe(wrong), "`data` is of type object: give a name or a path"),
        (lambda wrong: mz.diagnose("run", samples=wrong), "`samples` is <object object at"),
    ],
)
def test_an_argument_of_another_type_is_named(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(mz.UserError, match=f"^{message}"):
        call(object())
