"""Recognise image files by their suffix or by their first bytes.

A file with the suffix of an image counts as an image; if it cannot be decoded, the error names it.
Any other file counts as an image if it begins with the first bytes of an image format. Formats that
Pillow cannot read count too, so that an error can name the file and the remedy.
"""

import re
from collections.abc import Callable
from pathlib import PurePath

HEAD = 32
"""How many bytes of a file `is_image` reads."""

SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".gif", ".bmp", ".dib"),
        *(".webp", ".tif", ".tiff", ".avif", ".avifs", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2"),
        *(".j2k", ".jpx", ".jpc", ".jpf", ".tga", ".qoi", ".pcx", ".sgi", ".psd", ".dds", ".ico"),
    )
)
PILLOW = (
    *("PNG", "JPEG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "AVIF", "PPM", "JPEG2000"),
    *("TGA", "QOI", "PCX", "SGI", "PSD", "DDS", "ICO"),
)
"""The formats that Pillow may use. Others are excluded, such as EPS: an EPS file is a program that
its reader runs.
"""
JPEG = b"\xff\xd8\xff"
"""The first bytes of a JPEG file."""
_BEGINNINGS = (
    *(b"\x89PNG\r\n\x1a\n", JPEG, b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"qoif"),
)
_OTHERS = re.compile(
    rb"RIFF....WEBP|BM....\0\0\0\0|P[1-6][ \t\r\n]+(?:#|[0-9])|....ftypavi[fs]", re.DOTALL
)

_HEIC = "HEIC: convert it to PNG or JPEG first"
_SVG = "SVG, which has no pixels: render it to PNG first"
_JXL = "JPEG XL: convert it to PNG first"
_RAW = "a camera's raw file: develop it to PNG or TIFF first"
_FOREIGN_SUFFIXES = {
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIC),
    **dict.fromkeys((".svg", ".svgz"), _SVG),
    ".jxl": _JXL,
}
_RAW_SUFFIXES = frozenset(
    (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw")
)
_FOREIGN_BEGINNINGS = (
    (re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL), _HEIC),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"), _JXL),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<svg[\s>]"), _SVG),
)

_CONTAINERS = {
    ".arrow": "Arrow files of save_to_disk: write parquet files with to_parquet, and give those",
    ".tfrecord": "TFRecord files: write their images to a folder or to parquet files",
    ".rec": "RecordIO files: write their images to a folder or to parquet files",
    ".mdb": "an LMDB database: write its images to a folder or to parquet files",
    ".lmdb": "an LMDB database: write its images to a folder or to parquet files",
    ".h5": "HDF5 files: save the images as .npz",
    ".hdf5": "HDF5 files: save the images as .npz",
    ".mat": "MATLAB files: save the images as .npz",
    ".pkl": "pickles, which are not opened: save the images as .npz",
    ".pt": "torch files: pass the tensors to mz.prepare, or save the images as .npz",
    ".bin": "binary files: save the images as .npz",
    ".mp4": "videos: write their frames to a folder",
    ".avi": "videos: write their frames to a folder",
}
_INSIDE = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".npz", ".npy", ".parquet")


def is_image(name: PurePath, head: Callable[[], bytes | None]) -> bool:
    """Return whether a file is an image.

    Args:
        name: The file's name.
        head: A function that returns the first `HEAD` bytes, or None if the file cannot be read. It
            is not called for a file with the suffix of an image. If it returns None, a file whose
            name has no suffix at all counts as an image, so that a later error names the file.
    """
    suffix = name.suffix.lower()
    if suffix in SUFFIXES or suffix in _FOREIGN_SUFFIXES or suffix in _RAW_SUFFIXES:
        return True
    first = head()
    if first is None:
        return not suffix
    known = first.startswith(_BEGINNINGS) or _OTHERS.match(first) is not None
    return known or any(begins.match(first) for begins, _ in _FOREIGN_BEGINNINGS)


def raw(name: str) -> str:
    """Return the advice for a camera's raw file, and "" for any other file.

    Pillow must not open raw files, because it would read only the thumbnail in them.
    """
    return _RAW if PurePath(name).suffix.lower() in _RAW_SUFFIXES else ""


def foreign(name: str, head: bytes) -> str:
    """Return advice for an image that Pillow did not recognise; "" if there is no advice."""
    for begins, advice in _FOREIGN_BEGINNINGS:
        if begins.match(head):
            return advice
    return _FOREIGN_SUFFIXES.get(PurePath(name).suffix.lower(), "")


def advice(names: list[PurePath]) -> str:
    """Return advice about data without images, chosen by the names of the data's files."""
    for name in names:
        low = name.name.lower()
        if "cifar-100-python" in name.parts:
            return "it holds CIFAR-100's own files: give hub:uoft-cs/cifar100"
        if low.endswith(_INSIDE):
            return f"it holds {name}: give that path"
        if found := _CONTAINERS.get(PurePath(low).suffix):
            return f"it holds {found}"
        if low.startswith(("data_batch_", "train-images-idx3", "t10k-images-idx3")):
            return f"{name} is a part of a data set: put its other files beside it"
    return "give a folder, a zip or a tar of image files"
