import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets beside the checkout. Tests are skipped without it."""
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data sets at {folder}")
    return folder


Encode = Callable[..., bytes]


@pytest.fixture
def encode() -> Encode:
    def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    def noise(seed: int, *shape: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return noise


@pytest.fixture
def animals(tmp_path: Path, encode: Encode, noise: Callable[..., np.ndarray]) -> Path:
    """A folder with three cats, one of them in a subfolder, and two dogs: 8 wide, 6 high."""
    root = tmp_path / "animals"
    for i, name in enumerate(
        ("cats/a.png", "cats/b.png", "cats/more/c.png", "dogs/a.png", "dogs/d")
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode(Image.fromarray(noise(i, 6, 8, 3))))
    return root


@pytest.fixture
def write_parquet() -> Callable[..., Path]:
    def write(
        path: Path,
        images: Sequence[bytes | None],
        labels: Sequence[int | None] | None = None,
        names: Sequence[str] | None = None,
        image: str = "image",
        label: str = "label",
    ) -> Path:
        columns: dict[str, object] = {
            image: pa.array(
                [{"bytes": content, "path": None} for content in images],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            )
        }
        if labels is not None:
            columns[label] = pa.array(labels, pa.int64())
        table = pa.table(columns)
        if names is not None:
            feature = {label: {"names": list(names), "_type": "ClassLabel"}}
            table = table.replace_schema_metadata(
                {"huggingface": json.dumps({"info": {"features": feature}})}
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        return path

    return write
