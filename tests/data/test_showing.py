"""A data set described in words and as a grid of examples."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import mezzotint as mz
from mezzotint.data.showing import understood

from commands import call


def test_it_is_said_in_words(noise, animals):
    data = mz.prepare(noise(0, 6, 5, 7), [0, 0, 0, 1, 1, 1])
    assert understood(data) == (
        "6 images of 5x7 (height x width), grey, uint8 from 0 to 255, 2 classes of 3 images"
    )
    data = mz.prepare(noise(0, 6, 5, 7, 3), [0, 0, 0, 0, 1, 1], mode="rgba", size=(4, 6))
    assert understood(data) == (
        "6 images of 4x6 (height x width), RGBA, uint8 from 0 to 255, 2 classes of 2 to 4 images"
    )
    assert understood(mz.prepare(noise(0, 2, 5, 7), [0, 1])).endswith("2 classes of 1 image")
    fields = np.zeros((6, 5, 7, 5))
    data = mz.prepare(fields, layout="NHWC", range=(-1, 2.5))
    assert understood(data) == (
        "6 images of 5x7 (height x width), 5 channels, float32 from -1 to 2.5, no classes; "
        "float64 values are kept as float32"
    )
    data = mz.prepare(animals, size=(4, 6), mode="grey")
    assert "scaled and cropped to 4x6, converted to grey" in understood(data)


def test_examples_are_of_all_classes(noise):
    pixels = noise(0, 200, 8, 12)
    labels = np.arange(200) % 4
    sheet = mz.example_grid(mz.prepare(pixels, labels))
    assert sheet.mode == "RGB"
    assert sheet.height >= 4 * 8 * (96 // 12)  # four rows of enlarged images
    assert sheet.width >= 8 * 12 * (96 // 12)
    plain = mz.example_grid(mz.prepare(noise(1, 9, 8, 12, 5), layout="NHWC"))
    assert plain.mode == "RGB"
    with pytest.raises(mz.UserError, match=r"`data` is of type ndarray: prepare it first"):
        mz.example_grid(pixels)


def test_from_the_shell(noise, tmp_path, capsys):
    np.save(tmp_path / "x.npy", noise(0, 20, 8, 12, 5).astype(np.float32))
    grid = tmp_path / "grids" / "x.png"
    words = ["data", str(tmp_path / "x.npy"), "--range", "0", "255", "--size", "6x8"]
    code, out, err = call(capsys, *words, "--examples", str(grid))
    assert code == 0, err
    assert "for training: 20 images of 6x8 (height x width), 5 channels, float32 from 0" in out
    assert "the grid shows channels 1, 2 and 3 of 5 as red, green and blue" in out
    with Image.open(grid) as sheet:
        assert sheet.mode == "RGB"
    assert call(capsys, *words, "--examples", str(grid))[0] == 0  # our own grid is replaced
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"mine")
    code, _, err = call(capsys, *words, "--examples", str(mine))
    assert (code, mine.read_bytes()) == (2, b"mine")
    assert (
        "mine.png exists and is not a grid of examples: choose another file for --examples" in err
    )
    assert "end it in .png" in call(capsys, *words, "--examples", "grid.jpg")[2]
    code, _, err = call(capsys, *words)
    assert code == 2
    assert "--size, --range can only be used with --examples: give --examples a file" in err
    code, _, err = call(capsys, "data", str(tmp_path / "x.npy"), "--examples", str(grid))
    assert code == 2
    assert "give the values of black and white, such as --range 0 1 or --range -1 1" in err
