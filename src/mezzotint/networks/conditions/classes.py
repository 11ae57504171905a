"""The class of an image, one of K."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor, nn

from mezzotint.errors import UserError, counted, first_of, nearest
from mezzotint.networks.conditions.condition import Condition, Stem
from mezzotint.strict import strict

Labels: TypeAlias = int | str | Sequence[int | str] | Tensor | None
"""The labels that a caller may give: indices or names of classes."""
WORDNET = re.compile(r"n\d{8}")  # the id of a class of ImageNet


@strict
class ClassCondition(Condition):
    """The class of an image: int64 (B,) from 0 to K - 1, and K for the null class.

    The encoder is an embedding with a row for each class; row K belongs to the null class.
    """

    classes: tuple[str, ...]
    """The names of the K classes."""
    name: str = "label"
    kind: ClassVar[str] = "class"

    @property
    def module(self) -> str:
        return self.name

    def null(self, count: int, device: torch.device | None = None) -> Tensor:
        return torch.full((count,), len(self.classes), device=device)

    def some(self, count: int) -> Tensor:
        return torch.zeros(count, dtype=torch.int64)

    def encoder(self, emb: int, stem: Stem) -> nn.Module:
        return nn.Embedding(len(self.classes) + 1, emb)

    def encoded(self, rows: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(rows)

    def given(self, value: Any, count: int | None) -> Tensor:
        labels = integers(value, self.classes)
        if count is not None and labels.ndim == 0:
            labels = labels.expand(count)
        if labels.ndim != 1:
            raise UserError("`labels` is not a list: give one integer for each image")
        if count is not None and len(labels) != count:
            raise UserError(
                f"there are {len(labels)} `labels` for {counted(count, 'image')}: give one label "
                "for all images, or one for each image"
            )
        most = len(self.classes) - 1
        if bad := [i for i in labels.tolist() if not 0 <= i <= most]:
            raise UserError(f"there is no class {bad[0]}: choose labels from 0 to {most}")
        return labels.to(torch.int64)

    def parsed(self, text: str) -> Any:
        words = text.split(",")
        found = [int(w) if w.isdecimal() and w not in self.classes else w for w in words]
        return found[0] if len(found) == 1 else found

    def __str__(self) -> str:
        return f"{counted(len(self.classes), 'class', 'classes')}: {first_of(self.classes)}"


def integers(
    labels: int | str | Sequence[int | str] | Tensor, classes: Sequence[str] = ()
) -> Tensor:
    """Return labels as a tensor, with each name replaced by its index in ``classes``.

    Raises UserError for a name that is not a class, and for values that are not integers or names.
    """
    if isinstance(labels, str):
        numbers: Any = _place(labels, classes)
    elif isinstance(labels, Sequence):
        numbers = [_place(k, classes) if isinstance(k, str) else k for k in labels]
    else:
        numbers = labels
    try:
        given = torch.as_tensor(numbers)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"`labels` is {labels!r}: give integers from 0") from None
    if given.is_floating_point() or given.dtype == torch.bool:
        raise UserError(f"`labels` are {given.dtype}: give integers from 0")
    return given


def _place(name: str, classes: Sequence[str]) -> int:
    """Return the index of a name in ``classes``.

    A class that begins with a WordNet id also has shorter names: "n01443537 goldfish, Carassius
    auratus" is also called "n01443537", "goldfish" and "Carassius auratus". Raises UserError if no
    class has the name, or if several classes have it as a shorter name.
    """
    # Unicode has two forms of an accented letter. NFC makes them equal.
    folded = [unicodedata.normalize("NFC", each) for each in classes]
    if (wanted := unicodedata.normalize("NFC", name)) in folded:
        return folded.index(wanted)
    imagenet = [i for i, each in enumerate(folded) if WORDNET.match(each)]
    found = [i for i in imagenet if wanted in names_of(folded[i])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{counted(len(found), 'class', 'classes')} are called {name!r}: give "
            f"{' or '.join(repr(classes[i]) for i in found)}"
        )
    every = f": choose 0 to {len(classes) - 1}, or a name such as {classes[0]}"
    raise UserError(f"there is no class {name!r}{nearest(name, [*classes]) or every}")


def names_of(name: str) -> list[str]:
    """Split the name of a class into its WordNet id, if any, and its comma-separated names."""
    identity = WORDNET.match(name)
    first, rest = ([identity[0]], name[identity.end() :]) if identity else ([], name)
    return first + [part.strip() for part in rest.split(",") if part.strip()]
