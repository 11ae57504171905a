"""Sheets: images that show many small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GAP, PAPER, INK = 2, (255, 255, 255), (40, 40, 40)
COLUMNS = 10  # pairs side by side


def to_pil(image: Tensor) -> Image.Image:
    """Convert (C, H, W) to a Pillow image: uint8 grey, RGB or RGBA, or uint16 grey."""
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def pairs(above: Tensor, below: Tensor) -> Image.Image:
    """Draw each image of ``above`` directly above the image of ``below`` with the same index.

    Both are uint8 (N, C, H, W). Each row of the drawing has COLUMNS images.
    """
    empty = above.new_full(above.shape[1:], PAPER[0])
    sheet: list[Tensor] = []
    for start in range(0, len(above), COLUMNS):
        for row in (above[start : start + COLUMNS], below[start : start + COLUMNS]):
            sheet += [*row, *[empty] * (COLUMNS - len(row))]
    labels = [k for k in range(len(sheet) // COLUMNS) for _ in range(COLUMNS)]
    return grid(torch.stack(sheet), labels, [""] * len(sheet))


def grid(
    images: Tensor,
    labels: Sequence[int] | None = None,
    names: Sequence[str] = (),
) -> Image.Image:
    """Arrange images uint8 (N, C, H, W) in a sheet, and enlarge small images to about 96 pixels.

    With ``labels`` (N,), each class starts a new row, which has the name of the class beside it,
    and rows have at most 16 images. Without labels, a full row has about sqrt(N) images, or 8 if
    that is more.
    """
    height, width = images.shape[2:]
    zoom = max(1, 96 // max(height, width)) if max(height, width) < 64 else 1
    count = len(images)
    if labels is None:
        groups, columns = [("", list(range(count)))], max(8, round(count**0.5))
    else:
        order = sorted(set(labels))
        groups = [(names[k], [i for i in range(count) if labels[i] == k]) for k in order]
        columns = 16
    rows = [
        (name if at == 0 else "", members[at : at + columns])
        for name, members in groups
        for at in range(0, len(members), columns)
    ]

    font = ImageFont.load_default(size=max(12, height * zoom // 5))
    margin = max((int(font.getlength(name)) + 12 for name, _ in rows if name), default=GAP)
    cell_h, cell_w = height * zoom + GAP, width * zoom + GAP
    used = min(columns, max(len(members) for _, members in rows))
    sheet = Image.new("RGB", (margin + used * cell_w, GAP + len(rows) * cell_h), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (name, members) in enumerate(rows):
        top = GAP + row * cell_h
        if name:
            draw.text((margin - 8, top + cell_h // 2), name, INK, font, anchor="rm")
        for column, i in enumerate(members):
            image = to_pil(images[i]).resize((width * zoom, height * zoom), Image.Resampling.BOX)
            sheet.paste(image, (margin + column * cell_w, top))
    return sheet
