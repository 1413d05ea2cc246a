"""Reading multipart bodies as Werkzeug does, but refusing a part whose file name is broken off."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import IO, cast

from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser, MultiPartParser
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from ...domain.errors import MissingAudioError

#: Names of the file field, the first preferred.
FILE_FIELDS = ("audio", "file")

_NAMES_A_FILE = re.compile(r";\s*filename\*?\s*=", re.IGNORECASE)

Parsed = tuple[MultiDict[str, str], MultiDict[str, FileStorage]]


class StrictDecoder(MultipartDecoder):
    """A line break in a file name ends its header line: left alone, the file then counts as a text field."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        headers = super()._parse_headers(data)
        disposition = headers.get("Content-Disposition", "")
        if _NAMES_A_FILE.search(disposition) and "filename" not in parse_options_header(disposition)[1]:
            raise ValueError("a file name that does not end")
        return headers


class StrictPartParser(MultiPartParser):
    """Werkzeug's loop over the parts, with our decoder: theirs takes no other."""

    def parse(self, stream: IO[bytes], boundary: bytes, content_length: int | None) -> Parsed:
        decoder = StrictDecoder(boundary, self.max_form_memory_size, max_parts=self.max_form_parts)
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        part: Field | File | None = None
        sink: IO[bytes] = io.BytesIO()
        for event in _events(decoder, stream, self.buffer_size):
            if isinstance(event, File):
                part, sink = event, self.start_file_streaming(event, content_length)
            elif isinstance(event, Field):
                part, sink = event, io.BytesIO()
                if part.name in FILE_FIELDS and part.headers.get("Content-Type", "text/plain")[:5] != "text/":
                    raise _no_file_name(part)
            elif isinstance(event, Data):
                sink.write(event.data)
                if isinstance(part, Field):
                    self._check_size(part, sink)
                if event.more_data:
                    continue
                if isinstance(part, Field):
                    fields.append((part.name, self._text(part, cast("io.BytesIO", sink))))
                elif isinstance(part, File):
                    files.append(
                        (part.name, FileStorage(sink, part.filename, part.name, headers=part.headers))
                    )
        return self.cls(fields), self.cls(files)

    def _check_size(self, part: Field, value: IO[bytes]) -> None:
        if self.max_form_memory_size is not None and value.tell() > self.max_form_memory_size:
            raise _no_file_name(part) if part.name in FILE_FIELDS else RequestEntityTooLarge

    def _text(self, part: Field, value: io.BytesIO) -> str:
        return value.getvalue().decode(self.get_part_charset(part.headers), "replace")


class StrictFormParser(FormDataParser):
    """Says when a body is broken, instead of calling it empty."""

    def _parse_multipart(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        boundary = options.get("boundary", "").encode("ascii")
        if not boundary:
            raise ValueError("no boundary")
        parser = StrictPartParser(
            stream_factory=self.stream_factory,
            max_form_memory_size=self.max_form_memory_size,
            max_form_parts=self.max_form_parts,
            cls=self.cls,
        )
        return stream, *parser.parse(stream, boundary, content_length)


def _no_file_name(part: Field) -> MissingAudioError:
    return MissingAudioError(
        f"The part {part.name!r} has no file name, so it counts as text.",
        fix=f'Name the file in its Content-Disposition: form-data; name="{part.name}"; filename="speech.mp3".',
    )


def _events(decoder: MultipartDecoder, stream: IO[bytes], size: int) -> Iterator[Event]:
    for data in chain(iter(partial(stream.read, size), b""), (None,)):
        decoder.receive_data(data)
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            yield event
