"""A condition that is any number of labels for each image."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mezzotint.errors import UserError, counted, first_of, nearest
from mezzotint.networks.conditions.condition import Condition, Stem, as_array
from mezzotint.strict import strict


@strict
class TagsCondition(Condition):
    """A condition that is any number of labels, out of K, for each image.

    The tensor is float (B, K + 1). In an image's row, the columns of its labels are 1, and the
    other columns are 0; column K is 1 for the null condition. The encoder sums the embeddings of
    the labels, so a single label acts like a class.
    """

    name: str
    tags: tuple[str, ...]
    """The names of the K labels."""
    kind: ClassVar[str] = "tags"

    def __post_init__(self) -> None:
        self.check_name()

    def null(self, count: int, device: torch.device | None = None) -> Tensor:
        row = torch.zeros(count, len(self.tags) + 1, device=device)
        row[:, -1] = 1
        return row

    def some(self, count: int) -> Tensor:
        return torch.zeros(count, len(self.tags) + 1)

    def encoder(self, emb: int, stem: Stem) -> nn.Module:
        return Rows(len(self.tags) + 1, emb)

    def encoded(self, rows: npt.NDArray[Any]) -> Tensor:
        return torch.cat([torch.from_numpy(rows).float(), torch.zeros(len(rows), 1)], 1)

    def given(self, value: Any, count: int | None) -> Tensor:
        """Convert labels to the condition tensor that the network takes.

        ``value`` is a name or a set of names for all images; a list that has a name or several
        names for each image; or an array of zeros and ones, (K,) for all images or (B, K). Raises
        UserError for an unknown name, for any other ``value``, and if the number of images in
        ``value`` is neither 1 nor ``count``. If ``count`` is None, any number is allowed.
        """
        if isinstance(value, str | set | frozenset):
            value = [value]
        if isinstance(value, list | tuple) and all(
            isinstance(each, str | set | frozenset | list | tuple)
            and not any(isinstance(tag, int | float) for tag in each)
            for each in value or [None]  # no value at all is refused below
        ):
            return self.rows(self.encoded(np.stack([self._row(each) for each in value])), count)
        found = np.atleast_2d(as_array(value))
        if found.ndim != 2 or found.shape[1] != len(self.tags) or not np.isin(found, (0, 1)).all():
            raise UserError(
                f"{self.name!r} is {value!r:.60}: give names of labels, or {len(self.tags)} zeros "
                "and ones for each image"
            )
        return self.rows(self.encoded(found.astype(np.uint8)), count)

    def _row(self, tags: Any) -> npt.NDArray[np.uint8]:
        """Return the K zeros and ones of one image, whose labels are ``tags``."""
        row = np.zeros(len(self.tags), np.uint8)
        for tag in [tags] if isinstance(tags, str) else tags:
            if tag not in self.tags:
                hint = nearest(str(tag), self.tags) or f": choose {', '.join(self.tags[:10])}"
                raise UserError(f"{self.name!r} has no label {tag!r}{hint}")
            row[self.tags.index(tag)] = 1
        return row

    def parsed(self, text: str) -> Any:
        """Parse labels: + joins the labels of one image, and a comma begins the next image.

        ``red+round,blue`` are the labels of two images. An image may have no labels. A word that is
        the name of a label, such as ``C++``, is not divided.
        """
        return [
            {word} if word in self.tags else {tag for tag in word.split("+") if tag}
            for word in text.split(",")
        ]

    def __str__(self) -> str:
        return f"{self.name}, any of {counted(len(self.tags), 'label')}: {first_of(self.tags)}"


class Rows(nn.Embedding):
    """The encoder of labels: it maps zeros and ones (B, K + 1) to sums of embedding rows.

    Each sum has the rows of the labels whose value is one.
    """

    def forward(self, chosen: Tensor) -> Tensor:
        return chosen.to(self.weight.dtype) @ self.weight
