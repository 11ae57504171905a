import hashlib
import io
import pickle
import tarfile
from collections import OrderedDict

import numpy as np
import pytest

from mezzotint.data import find_source, prepare
from mezzotint.data.sources import cifar10
from mezzotint.errors import UserError

ROWS = 4
HARMLESS = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4 has it
NAMES = [name.encode() for name in cifar10.CLASSES]


def python2_pickle(content):
    """Pickle content as numpy of Python 2 did: byte-string keys, protocol 2, the old module.

    Python 3 writes bytes at protocol 2 as a call of _codecs.encode. Here they are written with the
    opcodes of Python 2's strings instead.
    """

    class Python2Pickler(pickle._Pickler):
        dispatch = pickle._Pickler.dispatch.copy()

        def save_bytes(self, value):
            self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
            self.memoize(value)

        dispatch[bytes] = save_bytes

        def save_str(self, value):
            self.save_bytes(value.encode())

        dispatch[str] = save_str

    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


@pytest.fixture
def pixels(noise, monkeypatch):
    """Six batches of four images, uint8 (6, 4, 32, 32, 3), with no check of official sums."""
    monkeypatch.setattr(cifar10, "ROWS", ROWS)
    monkeypatch.setattr(cifar10, "_is_official", lambda member, content: True)
    return noise(0, 6, ROWS, 32, 32, 3)


@pytest.fixture
def write(tmp_path, pixels):
    def write(path=tmp_path / "cifar-10-python.tar.gz", **changed):
        """Write an archive like the official one; keywords replace or (None) remove members."""
        members = {"batches_meta": python2_pickle({b"label_names": NAMES})}
        for i, name in enumerate((*cifar10.BATCHES["train"], "test_batch")):
            flat = np.ascontiguousarray(pixels[i].transpose(0, 3, 1, 2).reshape(ROWS, 3072))
            labels = [(i + row) % 10 for row in range(ROWS)]
            members[name] = python2_pickle({b"data": flat, b"labels": labels})
        members |= changed
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w:gz") as tar:
            for name, content in reversed(members.items()):
                if content is not None:
                    real = name.replace("batches_meta", "batches.meta")
                    info = tarfile.TarInfo(f"cifar-10-batches-py/{real}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return path

    return write


def test_pickles_of_the_helper_look_like_python_2s():
    content = python2_pickle({b"data": np.zeros((2, 2), np.uint8)})
    assert content.startswith(b"\x80\x02")
    assert b"cnumpy.core.multiarray\n_reconstruct" in content
    assert b"_codecs" not in content


def test_local_archive(write, pixels):
    path = write()
    train = prepare(str(path))
    np.testing.assert_array_equal(train.images, pixels[:5].reshape(-1, 32, 32, 3))
    assert train.labels.tolist() == [(i + row) % 10 for i in range(5) for row in range(ROWS)]
    assert train.classes[:2] == ("airplane", "automobile")
    test = prepare(str(path), split="test")
    np.testing.assert_array_equal(test.images, pixels[5])
    assert prepare(str(path.parent)).fingerprint == train.fingerprint


def test_size(write):
    assert prepare(str(write()), size=16).images.shape == (20, 16, 16, 3)


def test_no_such_split(write):
    with pytest.raises(UserError, match="no split 'val': choose train, test"):
        find_source(str(write()), "val")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_malicious_pickle_is_refused_and_not_executed(write, tmp_path):
    trap = tmp_path / "sprung"
    for protocol in (0, 2, 4):
        content = pickle.dumps(Evil(trap), protocol=protocol)
        with pytest.raises(
            UserError, match=r"data_batch_2: its pickle is refused .*names \w*\.open"
        ):
            prepare(str(write(data_batch_2=content)))
    assert not trap.exists()


def test_pickle_may_name_nothing_but_arrays(write):
    content = pickle.dumps(OrderedDict(), protocol=2)
    with pytest.raises(UserError, match=r"names collections\.OrderedDict"):
        prepare(str(write(batches_meta=content)))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "it is missing"),
        (b"", "its pickle is refused"),
        (python2_pickle([]), "its pickle is not a dictionary"),
        (python2_pickle({}), "its pixels"),
        (python2_pickle({b"data": np.zeros((ROWS, 3071), np.uint8)}), "its pixels"),
        (python2_pickle({b"data": np.zeros((ROWS, 3072), np.int64)}), "its pixels"),
        (python2_pickle({b"data": np.zeros((ROWS, 3072), np.uint8)}), "its labels"),
        (
            python2_pickle({b"data": np.zeros((ROWS, 3072), np.uint8), b"labels": [0, 1, 2, 10]}),
            "its labels",
        ),
    ],
)
def test_damaged_members(write, content, why, cache):
    with pytest.raises(UserError, match=f"data_batch_3: {why}") as caught:
        prepare(str(write(data_batch_3=content)))
    assert "\n" not in str(caught.value)
    assert not any((cache / "prepared").iterdir())


def test_other_classes(write):
    content = python2_pickle({b"label_names": [b"apple", b"pear"]})
    with pytest.raises(UserError, match="class names are not the official ones"):
        prepare(str(write(batches_meta=content)))


def test_broken_archive(write):
    path = write()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"not a whole tar\.gz"):
        prepare(str(path))
    path.write_bytes(b"not gzip at all")
    with pytest.raises(UserError, match=r"not a whole tar\.gz"):
        prepare(str(path))


def serve(monkeypatch, path, sha256):
    monkeypatch.setattr(cifar10, "URL", path.as_uri())
    monkeypatch.setattr(cifar10, "SHA256", sha256)


def test_download(write, pixels, tmp_path, monkeypatch, cache):
    path = write(tmp_path / "site" / "cifar.tar.gz")
    serve(monkeypatch, path, hashlib.sha256(path.read_bytes()).hexdigest())
    train = prepare("cifar10")
    np.testing.assert_array_equal(train.images, pixels[:5].reshape(-1, 32, 32, 3))
    assert [file.name for file in (cache / "downloads").iterdir()] == ["cifar-10-python.tar.gz"]
    path.unlink()
    assert len(prepare("cifar10", split="test").images) == ROWS  # from the download kept


def test_failed_download(tmp_path, monkeypatch, cache):
    serve(monkeypatch, tmp_path / "nowhere.tar.gz", "0" * 64)
    with pytest.raises(
        UserError, match=r"cannot download.*path of your own cifar-10-python\.tar\.gz"
    ):
        prepare("cifar10")
    assert not any((cache / "prepared").iterdir())


def test_the_extracted_archive(write, pixels, tmp_path):
    with tarfile.open(write()) as tar:
        tar.extractall(tmp_path / "there", **HARMLESS)
    for data in ("there", "there/cifar-10-batches-py"):
        train = prepare(tmp_path / data)
        np.testing.assert_array_equal(train.images, pixels[:5].reshape(-1, 32, 32, 3))
        assert train.classes == cifar10.CLASSES
        assert len(prepare(tmp_path / data, split="test")) == ROWS
    assert train.fingerprint == prepare(str(write())).fingerprint
    (tmp_path / "there" / cifar10.FOLDER / "data_batch_2").write_bytes(b"x")
    with pytest.raises(UserError, match="data_batch_2: its pickle is refused"):
        prepare(tmp_path / "there")
    (tmp_path / "there" / cifar10.FOLDER / "data_batch_2").unlink()
    with pytest.raises(UserError, match="data_batch_2: it is missing"):
        prepare(tmp_path / "there")


def test_the_archive_under_another_name(write, tmp_path):
    path = write().rename(tmp_path / "mine.tgz")
    assert len(prepare(path)) == 5 * ROWS
    (tmp_path / "other.tgz").write_bytes(b"not gzip at all")
    with pytest.raises(UserError, match=r"other\.tgz cannot be read as a tar"):
        prepare(tmp_path / "other.tgz")
