"""Opening a file that may be compressed, with a bound on what comes out of it.

The content decides, never the extension. A gzip bomb expands a thousandfold; text of people rarely twentyfold.
"""

import gzip
import io
import zlib
from pathlib import Path
from typing import IO

from vallum.data.table import BadData

__all__ = ["MAX_RATIO", "open_bounded"]

MAX_RATIO = 200  # deflate reaches 1032; logs that repeat themselves about 60
_FREE = 16 << 20  # nothing is a bomb below this
_REFUSED = ((b"PK\x03\x04", "zip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))


def open_bounded(path: Path) -> IO[bytes]:
    """The file's bytes, inflated where they are gzip. Raises BadData for other compressions, and while reading for a
    stream that is broken, cut off, or expands beyond `MAX_RATIO`.
    """
    try:
        file = path.open("rb")
        head = file.read(8)
        file.seek(0)
        size = path.stat().st_size
    except OSError as e:
        raise BadData(f"{path.name}: cannot be read: {e.strerror}") from e
    for magic, format_name in _REFUSED:
        if head.startswith(magic):
            file.close()
            raise BadData(f"{path.name}: is {format_name}, which is not read here: unpack it first")
    if not head.startswith(b"\x1f\x8b"):
        return file
    return io.BufferedReader(_Inflated(file, path.name, max(_FREE, size * MAX_RATIO)), 1 << 18)


class _Inflated(io.RawIOBase):
    def __init__(self, file: IO[bytes], name: str, most: int) -> None:
        self._file = file
        self._gzip = gzip.GzipFile(fileobj=file)
        self._name = name
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]  # io's own stub says WriteableBuffer
        try:
            chunk = self._gzip.read(len(buffer))
        except EOFError as e:
            raise BadData(f"{self._name}: the gzip stream is cut off") from e
        except (OSError, zlib.error) as e:
            raise BadData(f"{self._name}: the gzip stream is broken") from e
        self._left -= len(chunk)
        if self._left < 0:
            raise BadData(f"{self._name}: expands more than {MAX_RATIO} times: a gzip bomb, or unpack it first")
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._file.close()
        super().close()
