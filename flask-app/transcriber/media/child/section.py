"""A stretch of a file, read as if it were a file of its own."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO


def section(source: BinaryIO, start: int, end: int) -> BinaryIO:
    """Bytes start to end of a file. Several sections of one file may take turns."""
    return io.BufferedReader(_Section(source, start, end))


class _Section(io.RawIOBase):
    def __init__(self, source: BinaryIO, start: int, end: int) -> None:
        self._source = source
        self._start = start
        self._size = end - start
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._place))
        self._source.seek(self._start + self._place)
        data = self._source.read(count)
        view[: len(data)] = data
        self._place += len(data)
        return len(data)
