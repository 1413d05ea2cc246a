"""Receiving a file: its bytes go from the socket into the spool, counted, never through memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from flask import Request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.formparser import FormDataParser

from ...domain.errors import BadRequestError, EmptyUploadError, MissingAudioError, UploadTooLargeError
from ...system.durable_files import storage_errors
from ..auth.access import owner_id
from ..cooperative_yield import TURN_BYTES, let_others_run
from ..file_names import shown_name
from .multipart import FILE_FIELDS, StrictFormParser

if TYPE_CHECKING:
    from ...service.ports import JobService
    from ...service.submission import Upload

#: Room for the other fields of a form and for multipart's own bytes.
FORM_ROOM_BYTES = 1024 * 1024

#: The fields of a form without a file take no more.
FORM_FIELDS_BYTES = 64 * 1024

URLENCODED = "application/x-www-form-urlencoded"


class UploadRequest(Request):
    """A request whose file parts go where the route says, and nowhere when it says nothing."""

    open_file: Callable[[], IO[bytes]] | None = None
    #: Room for what is not the file; a route with large fields has more.
    form_room_bytes = FORM_ROOM_BYTES

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if self.open_file is None:
            raise BadRequestError("This address takes no files.")
        return self.open_file()

    form_data_parser_class: type[FormDataParser] = StrictFormParser

    def make_form_data_parser(self) -> FormDataParser:
        """A parser that says when a body is broken instead of calling it empty."""
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser


@dataclass(frozen=True, kw_only=True)
class ReceivedUpload:
    """A file that lies whole in the spool, and the name its sender gave it (for show only)."""

    place: Upload
    file_name: str
    size_bytes: int
    #: SHA-256 of the bytes, where one was asked for.
    digest: str | None = None


class SpooledFile(io.RawIOBase):
    """The spool's side of one file part: writes, counts, refuses what is too large."""

    def __init__(
        self, path: Path, max_bytes: int, check_room: Callable[[], None], *, needs_digest: bool = False
    ) -> None:
        """`check_room` is called at every turn; raises StorageFullError."""
        super().__init__()
        self._check_room = check_room
        self._digest = hashlib.sha256() if needs_digest else None
        with storage_errors():
            self._file = path.open("wb")
        self._max_bytes = max_bytes
        self._until_turn = TURN_BYTES
        self.size = 0
        self._begin(self._file)

    def _begin(self, file: IO[bytes]) -> None:
        """What goes before the bytes that are sent: nothing."""

    def _finish(self, file: IO[bytes]) -> None:
        """What is left to do once all bytes are there: nothing."""

    def write(self, data: Any) -> int:
        """Append; raises UploadTooLargeError before more than is allowed is written, StorageFullError."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise too_large(self._max_bytes)
        with storage_errors():
            self._file.write(data)
        if self._digest is not None:
            self._digest.update(data)
        self._until_turn -= len(data)
        if self._until_turn <= 0:
            self._until_turn = TURN_BYTES
            self._check_room()
            let_others_run()
        return len(data)

    @property
    def digest(self) -> str | None:
        """SHA-256 of what was written so far, where one was asked for."""
        return None if self._digest is None else self._digest.hexdigest()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """The parser rewinds a file it has finished; this one is not read here."""
        return 0

    def close(self) -> None:
        if not self.closed:
            super().close()
            with storage_errors():
                self._finish(self._file)
                self._file.close()


class UploadReceiver:
    """Takes one file out of one request."""

    def __init__(
        self,
        service: JobService,
        request: UploadRequest,
        max_bytes: int,
        *,
        needs_digest: bool = False,
        fields: Sequence[str] = FILE_FIELDS,
        kind: type[SpooledFile] = SpooledFile,
    ) -> None:
        """`fields`: names the file's field may have. `kind`: how its bytes are written."""
        self._service = service
        self._request = request
        self._max_bytes = max_bytes
        self._needs_digest = needs_digest
        self._fields = fields
        self._kind = kind
        self._place: Upload | None = None
        self._file: SpooledFile | None = None

    def receive(self) -> ReceivedUpload:
        """Read the whole form; the file is closed and in the spool on return."""
        request = self._request
        refuse_other_content(request)
        limit = self._max_bytes + request.form_room_bytes
        if (request.content_length or 0) > limit:
            raise too_large(self._max_bytes)
        request.max_content_length = limit
        request.open_file = self._open
        parse_form(request)
        return self._received()

    def abandon(self) -> None:
        """Close and remove what was received."""
        try:
            if self._file is not None:
                self._file.close()
        finally:
            if self._place is not None:
                self._service.abandon_upload(self._place)

    def _open(self) -> IO[bytes]:
        if self._file is not None:
            raise BadRequestError("The request carries more than one file.", fix="Send one file per request.")
        self._place = self._service.begin_upload(
            expected_bytes=self._request.content_length or 0, owner=owner_id()
        )
        self._file = self._kind(
            self._place.path, self._max_bytes, self._service.check_room, needs_digest=self._needs_digest
        )
        return cast("IO[bytes]", self._file)

    def _received(self) -> ReceivedUpload:
        if self._place is None or self._file is None:
            raise _missing(self._request, self._fields)
        field, sent = next(iter(self._request.files.items()))
        self._file.close()
        if field not in self._fields:
            raise MissingAudioError(
                f"The file came in the field {field[:40]!r}; it belongs in {self._fields[0]!r}."
            )
        if self._file.size == 0:
            raise EmptyUploadError() if sent.filename else MissingAudioError()
        return ReceivedUpload(
            place=self._place,
            file_name=shown_name(sent.filename or ""),
            size_bytes=self._file.size,
            digest=self._file.digest,
        )


@contextmanager
def received_upload(
    service: JobService,
    request: UploadRequest,
    max_bytes: int,
    *,
    needs_digest: bool = False,
    fields: Sequence[str] = FILE_FIELDS,
    kind: type[SpooledFile] = SpooledFile,
) -> Iterator[ReceivedUpload]:
    """The request's file; it is removed again when the body of the `with` does not end well."""
    receiver = UploadReceiver(
        service, request, max_bytes, needs_digest=needs_digest, fields=fields, kind=kind
    )
    try:
        yield receiver.receive()
    except BaseException:  # also a greenlet that is killed: nothing may stay in the spool
        receiver.abandon()
        raise


@contextmanager
def received_bytes(
    service: JobService, pieces: Iterable[bytes], max_bytes: int, *, name: str, expected_bytes: int
) -> Iterator[ReceivedUpload]:
    """A file that came inside another body, with its digest; removed again as in received_upload."""
    place = service.begin_upload(expected_bytes=expected_bytes, owner=owner_id())
    try:
        with SpooledFile(place.path, max_bytes, service.check_room, needs_digest=True) as file:
            for piece in pieces:
                file.write(piece)
        if file.size == 0:
            raise EmptyUploadError()
        yield ReceivedUpload(
            place=place, file_name=shown_name(name), size_bytes=file.size, digest=file.digest
        )
    except BaseException:  # see received_upload
        service.abandon_upload(place)
        raise


#: Fields that stand for a file: the id of an upload that arrived before, and where the file is fetched from.
STAND_INS = ("upload", "url")


def find_stand_in(request: UploadRequest) -> str | None:
    """The field that stands for the file, where a form of fields alone came."""
    if request.mimetype != URLENCODED or (request.content_length or 0) > FORM_FIELDS_BYTES:
        return None
    parse_form(request)
    return _stand_in(request)


def find_stand_in_alone(request: UploadRequest) -> str | None:
    """The same for multipart, once it was read to its end, where no file came."""
    was_read = request.mimetype == "multipart/form-data" and "form" in vars(request)
    return _stand_in(request) if was_read and not request.files else None


def _stand_in(request: UploadRequest) -> str | None:
    return next((name for name in STAND_INS if request.form.get(name, "").strip()), None)


def parse_form(request: UploadRequest) -> None:
    """Read the body to its end. Raises BadRequestError when it is broken or ends early."""
    try:
        request._load_form_data()
    except (ValueError, ClientDisconnected) as error:
        raise BadRequestError(
            "The request body is not a whole multipart form.",
            fix="Check that the client sends the boundary it announces, and that the connection holds.",
        ) from error
    if None in request.form or None in request.files:
        raise BadRequestError(
            "A part of the form has no name.", fix="Give each part a name in its Content-Disposition."
        )


def refuse_other_content(request: UploadRequest) -> None:
    """Raises BadRequestError for a body that is no form, MissingAudioError for one without room for a file."""
    if request.mimetype == "multipart/form-data":
        return
    if request.mimetype == URLENCODED:
        raise MissingAudioError(
            f"The body is {URLENCODED}, which carries no file; this address takes multipart/form-data.",
            fix="With curl, send the file by -F audio=@speech.mp3, not by -d or --data-binary.",
        )
    if request.content_length in (None, 0) and "Transfer-Encoding" not in request.headers:
        raise MissingAudioError()
    raise BadRequestError(
        f"The body is {request.mimetype[:80] or 'of no stated type'}; this address takes multipart/form-data.",
        fix=MissingAudioError.fix,
    )


def too_large(max_bytes: int) -> UploadTooLargeError:
    """The refusal, with the limit in it."""
    return UploadTooLargeError(f"The upload is larger than the {max_bytes:,} bytes that are allowed.")


def _missing(request: UploadRequest, fields: Sequence[str]) -> MissingAudioError:
    named = [field for field in fields if field in request.form]
    if named:
        return MissingAudioError(
            f"The field {named[0]!r} holds text, not a file.",
            fix=f"With curl, put an @ before the path: -F {named[0]}=@speech.mp3",
        )
    if "upload" in request.form:
        return MissingAudioError(
            "The field 'upload' names an upload that arrived before; this address takes a file.",
            fix="Make a job of it: curl -d upload=ID http://HOST/jobs",
        )
    address = f"{request.host_url.rstrip('/')}{request.path}"
    return MissingAudioError(
        fix=f"Send the file as the multipart field {fields[0]!r}: curl -F {fields[0]}=@speech.mp3 {address}"
    )
