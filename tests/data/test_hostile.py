"""Files that were made to do harm, and temporary faults (issue 23, a, d, i, j, k and p)."""

import errno
import gzip
import io
import json
import os
import struct
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import EpsImagePlugin, Image

from mezzotint.data import decoding, describe, images, prepare, read_image, reading
from mezzotint.data.in_flight import InFlight
from mezzotint.data.sources import cifar10, mnist
from mezzotint.errors import UserError

from trees import grown, plant, png

FAULTS = (errno.EIO, errno.EMFILE, errno.EACCES, errno.ENOMEM, errno.ESTALE)


@pytest.fixture
def folder(tmp_path):
    return plant(tmp_path / "d", grown(["cat", "dog"], 4))


def entries(cache):
    return list((cache / "prepared").iterdir()) if (cache / "prepared").exists() else []


# a. CIFAR-10's pickles


def forged() -> bytes:
    """Return a pickle that names only numpy classes, but makes a dtype with an object field.

    numpy would read the bytes of the array as a pointer.
    """
    text = lambda s: b"X" + struct.pack("<I", len(s)) + s  # noqa: E731
    number = lambda n: b"J" + struct.pack("<i", n)  # noqa: E731
    dtype, ndarray = b"cnumpy\ndtype\n", b"cnumpy\nndarray\n"
    pointer = dtype + text(b"O") + b"\x85R"
    field = b"}" + text(b"f") + pointer + number(0) + b"\x86" + b"s"
    parts = number(3) + text(b"|") + b"N" + text(b"f") + b"\x85" + field
    state = b"(" + parts + number(8) + number(1) + number(0) + b"t"
    array = ndarray + number(1) + b"\x85" + dtype + text(b"V8") + b"\x85R" + state + b"b"
    value = array + b"C\x08AAAAAAAA" + b"\x87R"
    return b"\x80\x03" + ndarray + number(1) + b"\x85" + pointer + b"\x86R)" + value + b"s."


@pytest.fixture
def crafted(tmp_path):
    content = forged()
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("cifar-10-batches-py/batches.meta")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return tmp_path / "c.tar.gz"


def test_a_pickle_is_not_opened_unless_it_is_the_official_one(crafted, monkeypatch) -> None:
    monkeypatch.setattr(cifar10, "_PartsOnly", None)
    with pytest.raises(UserError, match=r"batches\.meta: its MD5 differs\): fetch https"):
        prepare(crafted)


def test_a_pickle_builds_no_object_of_numpys(crafted, monkeypatch) -> None:
    monkeypatch.setattr(cifar10, "_is_official", lambda member, content: True)
    with pytest.raises(UserError, match=r"batches\.meta: its pickle is refused"):
        prepare(crafted)
    for name in (b"cnumpy\ndtype\n", b"cnumpy\nndarray\n"):
        pickled = name + b"U\x02u1\x85R}b."  # name("u1"), then its __setstate__({})
        built = cifar10._PartsOnly(io.BytesIO(pickled), encoding="bytes").load()
        assert type(built) is cifar10._Inert
        assert (built.given, built.state) == ((b"u1",), {})


def test_the_official_sums_are_those_of_every_file_that_is_read() -> None:
    read = {"batches.meta", *cifar10.BATCHES["train"], *cifar10.BATCHES["test"]}
    assert set(cifar10.MD5) == read
    assert all(len(bytes.fromhex(digest)) == 16 for digest in cifar10.MD5.values())


# d. Faults that pass


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("fault", [*FAULTS, None])
def test_a_fault_that_passes_leaves_no_image_out(folder, cache, monkeypatch, fault, skip_bad):
    def fail(path, *_):
        if str(path).endswith("dog/1.png"):
            raise MemoryError if fault is None else OSError(fault, os.strerror(fault), str(path))
        return os.open(path, *_)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_without_waiting", fail)
        with pytest.raises(
            UserError, match=r"dog/1\.png cannot be read \(.*\): remove the cause and try again"
        ) as one:
            prepare(folder, skip_bad=skip_bad)
    assert "\n" not in str(one.value)
    assert not entries(cache)
    assert len(prepare(folder, skip_bad=skip_bad)) == 8


def test_short_memory_while_decoding_leaves_no_image_out(folder, cache, monkeypatch) -> None:
    def short(image, wanted):
        raise MemoryError

    monkeypatch.setattr(images, "_one", short)
    with pytest.raises(UserError, match="cannot be read \\(out of memory\\)"):
        prepare(folder, skip_bad=True)
    assert not entries(cache)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_fault_that_passes_in_an_archive(tmp_path, monkeypatch, kind) -> None:
    path = tmp_path / f"d.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("cat/0.png", png(0))
        target, name = zipfile.ZipFile, "read"
    else:
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("cat/0.png")
            member.size = len(png(0))
            archive.addfile(member, io.BytesIO(png(0)))
        target, name = os, "pread"

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(target, name, fail)
        with pytest.raises(UserError, match=r"d\.\w+ cannot be read \(Input/output error"):
            prepare(path, skip_bad=True)
    assert len(prepare(path)) == 1


def test_a_file_that_vanishes_is_not_skipped(folder, monkeypatch) -> None:
    read = reading.check_regular

    def vanish(path):
        path.unlink(missing_ok=True)
        read(path)

    monkeypatch.setattr(reading, "check_regular", vanish)
    with pytest.raises(UserError, match=r"there is no file .*: give the path"):
        prepare(folder, skip_bad=True)


@pytest.mark.parametrize("name", ["dataset.json", "labels.csv"])
def test_a_table_that_cannot_be_read_now_is_not_taken_for_none(tmp_path, monkeypatch, name) -> None:
    root = plant(
        tmp_path / "d", ["train/a/0.png", "train/b/0.png", "val/x.png"], {f"val/{name}": ""}
    )

    def fail(path, *_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(reading, "_without_waiting", fail)
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        prepare(root, split="val")


# i. Bombs


def test_a_label_may_not_be_so_large_that_its_classes_fill_the_memory(tmp_path, write_parquet):
    images = [png(0), png(1)]
    path = write_parquet(tmp_path / "a.parquet", images, [0, 1_700_000_000])
    with pytest.raises(UserError, match=r"has the label 1700000000, too large for a class"):
        prepare(path)
    assert prepare(path, conditional=False).classes == ()
    root = plant(tmp_path / "edm", ["00000/img00000000.png"])
    labels = {"labels": [["00000/img00000000.png", 1_700_000_000]]}
    (root / "dataset.json").write_text(json.dumps(labels))
    with pytest.raises(UserError, match=r"has the label 1700000000, too large for a class"):
        prepare(root)
    assert prepare(root, conditional=False).classes == ()


def test_members_and_files_have_a_most(tmp_path, folder, monkeypatch) -> None:
    most = len(png(0, 64))
    monkeypatch.setattr(reading.check_size, "__defaults__", (most,))
    monkeypatch.setattr(reading.read_file, "__defaults__", (most,))
    monkeypatch.setattr("mezzotint.data.sources.zip._read.__defaults__", (most,))
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k, content in enumerate((png(0), png(1, 64), bytes(50 * most))):
            archive.writestr(f"cat/{k}.png", content)
    assert (tmp_path / "z.zip").stat().st_size < 2 * most
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        for k, content in enumerate((png(0), png(1, 64), bytes(50 * most))):
            member = tarfile.TarInfo(f"cat/{k}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with (folder / "cat" / "9.png").open("wb") as sparse:
        sparse.truncate(1 << 40)
    for data, count in ((tmp_path / "z.zip", 2), (tmp_path / "t.tar.gz", 2), (folder, 8)):
        with pytest.raises(UserError, match=r"\(too large: [\d,]+ bytes, but at most"):
            prepare(data, size=4)
        assert len(prepare(data, size=4, skip_bad=True)) == count


def test_a_tar_with_a_name_of_gigabytes(tmp_path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 3 << 30
    path = tmp_path / "t.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    for name in ("t.tar.gz", cifar10.ARCHIVE):
        path = path.rename(tmp_path / name)
        with pytest.raises(UserError, match=r"a name or a file of 3,221,225,472 bytes"):
            prepare(path)


def test_a_tar_of_names_within_names(tmp_path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 4
    one = member.tobuf(tarfile.GNU_FORMAT) + b"name".ljust(512, b"\0")
    (tmp_path / "t.tar").write_bytes(one * 3000)
    with pytest.raises(UserError, match=r"t\.tar cannot be read as a tar"):
        prepare(tmp_path / "t.tar")


def test_a_tar_that_would_fill_the_disk_when_decompressed(tmp_path, monkeypatch) -> None:
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("cat/0.png")
        member.size = len(png(0))
        archive.addfile(member, io.BytesIO(png(0)))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match=r"decompressed, but .* free: set TMPDIR to a larger disk"):
        prepare(tmp_path / "t.tar.gz")


def test_an_idx_file_that_unpacks_to_gigabytes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mnist, "_MOST", 1 << 16)
    head = struct.pack(">4B3I", 0, 0, 8, 3, 1 << 20, 8, 8)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(head + bytes(1 << 20)))
    with pytest.raises(UserError, match=r"is damaged \(too large: 65,537 bytes"):
        prepare(tmp_path)


def test_an_array_of_images_that_are_too_large(tmp_path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        shape = (1, 1 << 17, 1 << 17, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 3 * (1 << 34))
    with pytest.raises(UserError, match="scale the images to at most 134,217,728 pixels each"):
        prepare(tmp_path / "a.npy")


def test_pipes_and_devices_are_not_waited_for(tmp_path) -> None:
    """Opening one would hang, or fill the memory."""
    (tmp_path / "p").mkdir()
    for name in ("p/train.parquet", "a.npz", "a.png"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=r"parquet cannot be read as parquet \(not a regular"):
        prepare(tmp_path / "p")
    for name in ("a.npz", "a.png", "p/train.parquet"):
        with pytest.raises(UserError):
            prepare(tmp_path / name)
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("a.png", "zero.png"):
        with pytest.raises(UserError, match="not a regular file"):
            read_image(tmp_path / name)


def test_so_many_pixels_are_in_flight_and_no_more(folder, monkeypatch) -> None:
    limit, seen = InFlight(16), []
    monkeypatch.setattr(images, "IN_FLIGHT", limit)
    one = images._one
    monkeypatch.setattr(images, "_one", lambda *a: (seen.append(limit.used), one(*a))[1])
    assert len(prepare(folder)) == 8  # of 16 pixels each
    assert seen == [16] * 8
    with limit(10**9):  # larger than the limit: alone
        assert limit.used == 16
    assert limit.used == 0


@pytest.mark.parametrize("held", [0, 200, 1 << 30])
def test_images_come_in_order_however_few_are_held(tmp_path, monkeypatch, held) -> None:
    """The order must not depend on how many large images are held in memory."""
    root = tmp_path / "d"
    root.mkdir()
    for i in range(150):
        Image.new("L", (3, 3), i).save(root / f"{i:03}.bmp")
    monkeypatch.setattr(decoding, "_HELD", held)
    assert prepare(root).images[:, 0, 0, 0].tolist() == list(range(150))
    assert prepare(root, size=2).images[:, 0, 0, 0].tolist() == list(range(150))


def test_folders_within_folders(tmp_path) -> None:
    """Each case once exceeded Python's recursion limit."""
    deep = "/".join(["a"] * 3000)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(f"{deep}/0.png", png(0))
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        member = tarfile.TarInfo(f"{deep}/0.png")
        member.size = len(png(0))
        archive.addfile(member, io.BytesIO(png(0)))
    plant(tmp_path / "d", [f"{deep[:1000]}/0.png"])
    for data in ("z.zip", "t.tar", "d"):
        with pytest.raises(UserError, match=r"holds folders that are nested more than 100 deep"):
            prepare(tmp_path / data)
    plant(tmp_path / "e", [f"{deep[:180]}/0.png"])
    assert len(prepare(tmp_path / "e")) == 1


def test_a_side_has_a_most(folder) -> None:
    with pytest.raises(UserError, match="give a side of at most 11,585 pixels"):
        prepare(folder, size=100_000)


# j. Files that nest too deeply, and columns that are there twice


def test_deeply_nested_json(tmp_path, write_parquet, cache) -> None:
    deep = "[" * 100_000
    root = plant(tmp_path / "l", ["x/0.png", "y/0.png"], {"Labels.json": deep})
    with pytest.raises(UserError, match=r"Labels\.json cannot be read as JSON \(it is nested"):
        prepare(root)
    path = write_parquet(tmp_path / "a.parquet", [png(0), png(1)], [0, 1])
    table = pq.read_table(path).replace_schema_metadata({"huggingface": deep})
    pq.write_table(table, path)
    first = prepare(path)
    assert first.classes == ("0", "1")
    (first.folder / "meta.json").write_text(deep)
    assert prepare(path).fingerprint == first.fingerprint  # built anew


def test_a_column_that_is_there_twice(tmp_path) -> None:
    image, label = pa.array([{"bytes": png(0)}]), pa.array([0])
    pq.write_table(pa.table([image, image], names=["image", "image"]), tmp_path / "i.parquet")
    with pytest.raises(UserError, match=r"several columns called image: keep one"):
        prepare(tmp_path / "i.parquet")
    twice = pa.table([image, label, label], names=["image", "label", "label"])
    pq.write_table(twice, tmp_path / "l.parquet")
    with pytest.raises(UserError, match=r"several columns called label: keep one"):
        prepare(tmp_path / "l.parquet")
    assert prepare(tmp_path / "l.parquet", conditional=False).classes == ()


def test_labels_that_are_no_text(tmp_path) -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "s.npz", images=images, labels=np.array([b"caf\xe9", b"dog"]))
    assert prepare(tmp_path / "s.npz").classes == (r"caf\xe9", "dog")
    far = np.full((2, 3), 0x7FFFFFFF, np.uint32).view("<U3").reshape(2)
    np.savez(tmp_path / "u.npz", images=images, labels=far)
    with pytest.raises(UserError, match="has characters that are not valid Unicode"):
        prepare(tmp_path / "u.npz")
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as archive:
        with archive.open("images.npy", "w") as file:
            np.save(file, images)
        with archive.open("labels.npy", "w") as file:
            header = {"descr": "<U0", "fortran_order": False, "shape": (2,)}
            np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(UserError, match="with 0 bytes per item"):
        prepare(tmp_path / "z.npz")


def test_a_struct_of_other_fields_than_bytes(tmp_path) -> None:
    path = pa.array([b"\xe9"], pa.binary()).view(pa.string())  # which is not UTF-8
    struct = pa.StructArray.from_arrays([pa.array([png(0)]), path], ["bytes", "path"])
    pq.write_table(pa.table({"image": struct}), tmp_path / "p.parquet")
    assert len(prepare(tmp_path / "p.parquet")) == 1
    text = pa.StructArray.from_arrays([pa.array(["an image"])], ["bytes"])
    pq.write_table(pa.table({"image": text}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"column image is struct<bytes: string>: make it a struct"):
        prepare(tmp_path / "t.parquet")


# k. PostScript


@pytest.mark.parametrize("name", ["0.jpg", "0.eps", "0"])
def test_postscript_starts_no_program(tmp_path, monkeypatch, name) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", None)  # calling it would be a TypeError
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    root = plant(tmp_path / "d", ["a.png"])
    (root / name).write_bytes(content)
    with pytest.raises(UserError, match="not an image"):
        read_image(content)
    assert len(prepare(root, skip_bad=True)) == 1
    assert describe(root).splits[0].sizes == {(4, 4): 1}


# p. A skip has a cap


@pytest.mark.parametrize(("bad", "refused"), [(20, False), (21, True), (38, True)])
def test_more_than_half_is_not_skipped(tmp_path, cache, bad, refused) -> None:
    root = plant(tmp_path / "d", [f"{i:02}.png" for i in range(40)])
    for i in range(bad):
        (root / f"{i:02}.png").write_bytes(b"x")
    if not refused:
        assert len(prepare(root, skip_bad=True)) == 40 - bad
        return
    with pytest.raises(UserError, match=f"{bad} of 40 images cannot be read, and .skip_bad=True"):
        prepare(root, skip_bad=True)
    assert not entries(cache)
