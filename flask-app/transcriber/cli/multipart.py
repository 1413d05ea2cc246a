"""One file and some fields as a multipart body that is read from the disk while it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..domain.errors import TranscriberError
from .backend import Told

_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class MultipartBody:
    """The body; it can be begun anew for another try. Its length is fixed, so a file that grows is cut."""

    file: Path
    size: int
    fields: Mapping[str, str]
    boundary: str

    @property
    def headers(self) -> dict[str, str]:
        """What is told of it before it."""
        length = len(self._head()) + self.size + len(self._tail())
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(length),
        }

    def iter_pieces(self, told: Told) -> Iterator[bytes]:
        """The bytes, telling how far they are. Raises TranscriberError (file_not_readable)."""
        yield self._head()
        left = self.size
        for piece in iter_file(self.file, self.size):
            yield piece
            left -= len(piece)
            told(self.size - left, self.size)
        yield self._tail()

    def _head(self) -> bytes:
        parts = [self._disposition(f'name="{name}"') + value + "\r\n" for name, value in self.fields.items()]
        file = self._disposition(f'name="audio"; filename="{_quoted(self.file.name)}"')
        return ("".join(parts) + file).encode(errors="replace")

    def _disposition(self, what: str) -> str:
        return f"--{self.boundary}\r\nContent-Disposition: form-data; {what}\r\n\r\n"

    def _tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()


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


def _quoted(name: str) -> str:
    """As browsers write file names into a form."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
