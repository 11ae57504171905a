"""A user's own data source: one function, and one line that adds it."""

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.data import SOURCES, Item, Kind, Source


@pytest.fixture(autouse=True)
def own_sources():
    """Remove the sources that a test adds from the registry."""
    before = dict(SOURCES)
    yield
    SOURCES.clear()
    SOURCES.update(before)


def test_a_source_with_a_name():
    # docs: begin
    def stripes(data, split):
        """The data source `stripes:SIDE`: vertical and horizontal stripes of 1 to 16 pixels."""
        side = int(data.removeprefix("stripes:"))

        def item(i):
            wave = np.arange(side) // (1 + i // 2) % 2 * 255
            pixels = np.broadcast_to(wave if i % 2 else wave[:, None], (side, side))
            pixels = np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2)
            return Item(f"stripe {i}", lambda wanted: pixels, label=i % 2)

        key = {"kind": "stripes", "side": side, "version": 1}
        return Source("stripes", key, ("horizontal", "vertical"), 32, lambda: map(item, range(32)))

    SOURCES["stripes"] = Kind("stripes:SIDE", stripes)
    data = mz.prepare("stripes:24")
    # docs: end
    assert data.images.shape == (32, 24, 24, 3)
    assert data.labels.tolist() == [0, 1] * 16
    assert (data.images[0] == data.images[0][:, :1]).all()
    assert (data.images[1] == data.images[1][:1]).all()
    assert mz.prepare(data.source).folder == data.folder
    assert mz.prepare("stripes:24", size=16).images.shape == (32, 16, 16, 3)
    with pytest.raises(mz.UserError, match=r"give glyphs, .*, stripes:SIDE or a path that exists"):
        mz.prepare("nowhere")
    with pytest.raises(mz.UserError, match=r"did you mean stripes:SIDE\?"):
        mz.prepare("stripe:24")


PIXELS = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "label", "count", "what"),
    [
        (PIXELS / 255, 0, 2, r"row 0 to float64 \(4, 4, 3\): .* of uint8 or uint16"),
        (PIXELS[0], 0, 2, r"row 0 to uint8 \(4, 3\)"),
        (
            PIXELS.astype(np.float32),
            0,
            2,
            "row 0 to float32 .* of float32 if the source or `range` states the range",
        ),
        (PIXELS, 1, 2, "has 1 class, but row 0 has the label 1"),
        (PIXELS, -1, 2, "has 1 class, but row 0 has the label -1"),
        (PIXELS, 0, 3, "has 2 items, but its `count` is 3"),
        (PIXELS, 0, 1, "has more items than its `count` of 1"),
    ],
)
def test_a_source_that_does_not_keep_its_word(pixels, label, count, what):
    items = [Item(f"row {i}", lambda wanted: pixels, label) for i in range(2)]
    source = Source("odd", {"kind": "odd", "case": what}, ("a",), count, lambda: iter(items))
    SOURCES["odd"] = Kind("odd", lambda data, split: source)
    with pytest.raises(mz.UserError, match=f"the source odd.*{what}"):
        mz.prepare("odd")


def test_a_source_of_files(tmp_path):
    def raw(data, split):
        pixels = np.fromfile(data, np.uint8).reshape(-1, 4, 4, 3)
        items = [Item(f"row {i}", lambda wanted, row=row: row, -1) for i, row in enumerate(pixels)]
        return Source("raw", {"kind": "raw", "path": data}, (), len(items), lambda: iter(items))

    SOURCES["raw"] = Kind("a .raw of 4x4 pixels", raw, lambda path: path.suffix == ".raw")
    pixels = np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3)
    pixels.tofile(tmp_path / "x.raw")
    data = mz.prepare(tmp_path / "x.raw")
    np.testing.assert_array_equal(data.images, pixels)
    assert (data.source, data.classes) == (str(tmp_path / "x.raw"), ())
    (tmp_path / "x.txt").write_text("images")
    with pytest.raises(mz.UserError, match=r"is not a data set: give .*, a \.raw of 4x4 pixels"):
        mz.prepare(tmp_path / "x.txt")
