"""A model's weights file, turned into eight-bit numbers piece by piece as it is read.

CTranslate2 quantizes too, but only once the whole file is in memory: for base that takes 290 MB for a moment, where
the model itself has 80. The numbers here are the same to the bit.
"""

from __future__ import annotations

import logging
import os
import struct
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

_LOGGER = logging.getLogger("transcriber.engine")

#: The one layout of the file that is read here. Others are left to CTranslate2.
_VERSION = 6

#: How the file numbers its types, of those that matter here.
_FLOAT32, _INT8, _FLOAT16 = 0, 1, 4
_FLOATS: dict[int, np.dtype[np.floating]] = {_FLOAT32: np.dtype("<f4"), _FLOAT16: np.dtype("<f2")}

#: So many numbers are turned at once.
_CHUNK = 1 << 20

_WEIGHTS = "model.bin"

_PREFIX = "transcriber-weights-"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Variable:
    """An entry of the file. offset: where its bytes begin."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int
    size: int

    @property
    def is_turned(self) -> bool:
        """CTranslate2's own choice for Whisper: all matrices but the convolutions'."""
        return self.name.endswith("weight") and "conv" not in self.name and self.type_id in _FLOATS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Contents:
    """head: the bytes before the number of variables. tail: where the aliases begin."""

    head: bytes
    variables: tuple[_Variable, ...]
    tail: int


class QuantizedWeights:
    """The weights of one model's folder as int8, in a file without a name that goes with the process. Not thread-safe.

    It is written when first asked for, so that a model that never samples has none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._is_given_up = False

    @contextmanager
    def as_folder(self) -> Iterator[Path]:
        """A folder to load the model from: the given one where its weights can't be turned, or nothing be written."""
        with ExitStack() as stack:
            folder = self._folder
            written = self._written()
            if written is not None:
                try:
                    folder = self._linked(stack.enter_context(TemporaryDirectory(prefix=_PREFIX)), written)
                except OSError as error:
                    _LOGGER.warning("weights_not_linked error=%s", error)
            yield folder

    def _linked(self, name: str, written: BinaryIO) -> Path:
        """The given folder with other weights."""
        for path in self._folder.iterdir():
            if path.name != _WEIGHTS:
                (Path(name) / path.name).symlink_to(path.resolve())
        (Path(name) / _WEIGHTS).symlink_to(f"/proc/self/fd/{written.fileno()}")
        return Path(name)

    def _written(self) -> BinaryIO | None:
        if self._file is not None or self._is_given_up:
            return self._file
        try:
            with (self._folder / _WEIGHTS).open("rb") as source:
                contents = _read_contents(source)
                if contents is not None and any(one.is_turned for one in contents.variables):
                    self._file = _write_file(source, contents)
                    weakref.finalize(self, self._file.close)
        except (OSError, ValueError, IndexError, ZeroDivisionError, struct.error) as error:
            # No room, or not what it seemed: CTranslate2 reads the file itself, and says what is wrong with it.
            _LOGGER.warning("weights_not_written error=%s", error)
        self._is_given_up = self._file is None
        return self._file


def _write_file(source: BinaryIO, contents: _Contents) -> BinaryIO:
    """Raises OSError when there is no room."""
    target = TemporaryFile(prefix=_PREFIX)
    try:
        _write(source, contents, target)
        target.flush()
    except BaseException:
        target.close()
        raise
    return target


def _read_contents(source: BinaryIO) -> _Contents | None:
    """The file's contents; None for an unknown layout."""
    if _number(source, "<I") != _VERSION:
        return None
    _string(source)
    source.read(4)
    length = source.tell()
    source.seek(0)
    head = source.read(length)
    variables = tuple(_read_variable(source) for _ in range(_number(source, "<I")))
    return _Contents(head=head, variables=variables, tail=source.tell())


def _read_variable(source: BinaryIO) -> _Variable:
    name = _string(source)
    shape = tuple(_number(source, "<I") for _ in range(_number(source, "<B")))
    type_id, size = _number(source, "<B"), _number(source, "<I")
    offset = source.tell()
    source.seek(size, os.SEEK_CUR)
    return _Variable(name=name, shape=shape, type_id=type_id, offset=offset, size=size)


def _number(source: BinaryIO, form: str) -> int:
    return int(struct.unpack(form, source.read(struct.calcsize(form)))[0])


def _string(source: BinaryIO) -> str:
    return source.read(_number(source, "<H"))[:-1].decode()


def _write(source: BinaryIO, contents: _Contents, target: BinaryIO) -> None:
    turned = sum(one.is_turned for one in contents.variables)
    target.write(contents.head + struct.pack("<I", len(contents.variables) + turned))
    for variable in contents.variables:
        source.seek(variable.offset)
        if variable.is_turned:
            _write_quantized(source, variable, target)
        else:
            _write_header(target, variable.name, variable.shape, variable.type_id, variable.size)
            target.write(source.read(variable.size))
    source.seek(contents.tail)
    target.write(source.read())


def _write_header(target: BinaryIO, name: str, shape: tuple[int, ...], type_id: int, size: int) -> None:
    encoded = name.encode() + b"\0"
    target.write(struct.pack("<H", len(encoded)) + encoded)
    target.write(struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, type_id, size))


def _write_quantized(source: BinaryIO, variable: _Variable, target: BinaryIO) -> None:
    """The matrix as int8, row by row, then the scale of each row."""
    kind, columns = _FLOATS[variable.type_id], variable.shape[-1]
    rows = variable.size // (columns * kind.itemsize)
    step = max(1, _CHUNK // columns)
    scales: list[npt.NDArray[np.float32]] = []
    _write_header(target, variable.name, variable.shape, _INT8, rows * columns)
    for first in range(0, rows, step):
        count = min(step, rows - first)
        data = source.read(count * columns * kind.itemsize)
        values = np.frombuffer(data, kind).astype(np.float32).reshape(count, columns)
        most = np.abs(values).max(axis=1)
        most[most == 0] = 127.0
        scales.append(np.float32(127.0) / most)
        target.write(np.rint(values * scales[-1][:, None]).astype(np.int8).tobytes())
    scale = np.concatenate(scales).astype("<f4")
    _write_header(target, f"{variable.name}_scale", (rows,), _FLOAT32, scale.nbytes)
    target.write(scale.tobytes())
