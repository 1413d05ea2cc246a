"""A file that is read while it is sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..domain.errors import TranscriberError
from .backend import Told

_PIECE_BYTES = 256 * 1024


class SentFile:
    """The first `size` bytes of a file, for a request's body: read from the disk as they are sent, saying how far they are.

    The length is fixed, so that a file that grows is cut. It has no descriptor, so that nobody else measures it.
    Raises TranscriberError (file_not_readable), never the system's own.
    """

    def __init__(self, file: Path, size: int, told: Told) -> None:
        self._pieces = iter_file(file, size)
        self._rest = b""
        self._size = size
        self._told = told
        self._sent = 0

    def read(self, size: int = -1) -> bytes:
        """Up to this many bytes; none at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        piece, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        self._sent += len(piece)
        if piece:
            self._told(self._sent, self._size)
        return piece

    def tell(self) -> int:
        """How far it is."""
        return self._sent

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Nothing moves: the length is asked for by a seek to the end and back."""
        return self._size if whence == os.SEEK_END else offset

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_PIECE_BYTES):
            yield piece


def iter_file(file: Path, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file. Raises TranscriberError (file_not_readable), never the system's own."""
    try:
        with file.open("rb") as source:
            while size:
                piece = source.read(min(size, _PIECE_BYTES))
                if not piece:
                    raise OSError("it became shorter while it was read")
                size -= len(piece)
                yield piece
    except OSError as error:
        raise file_error(file, error) from error


def file_error(file: Path, error: OSError) -> TranscriberError:
    """The error of a file that can't be read."""
    return TranscriberError(
        f"{file} can't be read: {error.strerror or error}.",
        code="file_not_readable",
        fix="Check the path and who may read the file.",
    )
