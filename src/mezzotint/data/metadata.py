"""Remove the text and the colour profile from a PNG file; they may exceed Pillow's limits."""

import re
import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT = {b"iTXt", b"tEXt", b"zTXt", b"iCCP"}
_XMP = b"XML:com.adobe.xmp\0"
_ORIENTATION = re.compile(rb"""tiff:Orientation(?:="|='|>)([1-8])\D""")
_MOST = 1 << 26  # bytes of text that are searched for the orientation


def without_text(content: bytes) -> bytes | None:
    """Return a PNG file without its text and colour profile, but with its orientation.

    Return None if the file is not a PNG, or has neither text nor profile.
    """
    if not content.startswith(_SIGNATURE):
        return None
    chunks = list(_chunks(content))
    if not any(kind in _TEXT for kind, _, _ in chunks):
        return None
    kept = [_SIGNATURE]
    for kind, data, whole in chunks:
        if kind not in _TEXT:
            kept.append(whole)
        elif data.startswith(_XMP) and (found := _ORIENTATION.search(_text(data))):
            text = b'<x tiff:Orientation="' + found[1] + b'"/>'
            kept.append(_chunk(kind, _XMP + b"\0\0\0\0" + text))
    return b"".join(kept)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the type, the data and all bytes of each chunk of a PNG file."""
    at = len(_SIGNATURE)
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        whole = content[at : at + length + 12]
        yield whole[4:8], whole[8 : 8 + length], whole
        at += length + 12


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _text(data: bytes) -> bytes:
    """Return the XMP text of an iTXt chunk; empty if it cannot be decompressed.

    Of a compressed text, only the first `_MOST` bytes are returned.
    """
    compressed = data[len(_XMP) : len(_XMP) + 1] == b"\1"
    *_, text = data[len(_XMP) + 2 :].split(b"\0", 2)
    if not compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, _MOST)
    except zlib.error:
        return b""
