"""Receiving files: where the bytes go, what is refused, and that nothing is left behind."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from fakes import FakeService
from transcriber.domain.errors import QueueFullError, StorageFullError, UploadTooLargeError
from transcriber.web.uploads.receiver import FORM_ROOM_BYTES, SpooledFile
from uploading import EndlessBody, post_file

LIMIT = 300_000


@pytest.fixture
def small(build_client: Callable[..., FlaskClient]) -> FlaskClient:
    """An installation that takes LIMIT bytes."""
    return build_client(WHISPER_MAX_UPLOAD_BYTES=str(LIMIT))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(os.urandom(2_500_000), id="random"),
        pytest.param(b"\r\n" * 600_000, id="newlines"),
        pytest.param(b"\r\n--" * 200_000 + b"\r\n-", id="almost boundaries"),
        pytest.param(b"\r" + b"x" * 1_000_000, id="newline first"),
    ],
)
def test_bytes_arrive_as_they_were_sent(client: FlaskClient, service: FakeService, payload: bytes) -> None:
    answer = post_file(client, payload)

    assert service.received[answer.json["job_id"]] == payload


def test_no_file_is_400_missing_audio(client: FlaskClient) -> None:
    answer = client.post("/transcribe", data={"task": "transcribe"}, content_type="multipart/form-data")

    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "missing_audio"


def test_empty_request_is_missing_audio(client: FlaskClient) -> None:
    assert client.post("/transcribe").json["error"]["code"] == "missing_audio"


def test_form_without_a_chosen_file_is_missing_audio(client: FlaskClient, service: FakeService) -> None:
    answer = post_file(client, b"", name="")

    assert answer.json["error"]["code"] == "missing_audio"
    assert list(service.spool.iterdir()) == []


def test_text_in_the_file_field_is_explained(client: FlaskClient) -> None:
    answer = client.post("/transcribe", data={"audio": "speech.mp3"}, content_type="multipart/form-data")

    assert answer.json["error"]["code"] == "missing_audio"
    assert "audio=@speech.mp3" in answer.json["error"]["fix"]


def test_file_in_another_field_is_refused_by_name(client: FlaskClient, service: FakeService) -> None:
    answer = post_file(client, field="audio_file")

    assert answer.status_code == 400
    assert "'audio_file'" in answer.json["error"]["message"]
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize("path", ["/transcribe", "/jobs"])
@pytest.mark.parametrize("disposition", ["form-data", 'form-data; filename="x.wav"'])
def test_part_without_a_name_is_400(
    client: FlaskClient, service: FakeService, path: str, disposition: str
) -> None:
    """Found by schemathesis."""
    part = f"--b\r\nContent-Disposition: {disposition}\r\n\r\nx\r\n"
    audio = '--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nx\r\n'
    body = (part if "filename" in disposition else part + audio) + "--b--\r\n"

    answer = client.post(path, data=body.encode(), content_type="multipart/form-data; boundary=b")

    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "bad_request"
    assert list(service.spool.iterdir()) == []


def test_empty_file_is_400_empty_upload(client: FlaskClient, service: FakeService) -> None:
    answer = post_file(client, b"")

    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "empty_upload"
    assert list(service.spool.iterdir()) == []


def test_two_files_are_refused(client: FlaskClient, service: FakeService) -> None:
    files = {"audio": (io.BytesIO(b"first"), "1.wav"), "file": (io.BytesIO(b"second"), "2.wav")}
    answer = client.post("/transcribe", data=files)

    assert answer.status_code == 400
    assert "more than one file" in answer.json["error"]["message"]
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize("content_type", ["audio/wav", "application/json", "application/octet-stream"])
def test_body_that_is_no_form_is_400(client: FlaskClient, content_type: str) -> None:
    answer = client.post("/transcribe", data=b"RIFF", content_type=content_type)

    assert answer.status_code == 400
    assert content_type in answer.json["error"]["message"]


def test_form_without_boundary_is_400(client: FlaskClient) -> None:
    answer = client.post("/transcribe", data=b"x", content_type="multipart/form-data")

    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "bad_request"


def test_body_that_ends_early_leaves_nothing(client: FlaskClient, service: FakeService) -> None:
    answer = client.post(
        "/transcribe",
        data=EndlessBody.HEAD + b"half of the fi",
        content_type="multipart/form-data; boundary=b",
    )

    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "bad_request"
    assert list(service.spool.iterdir()) == []


def test_client_that_vanishes_leaves_nothing(client: FlaskClient, service: FakeService) -> None:
    builder = EnvironBuilder(
        "/transcribe",
        method="POST",
        input_stream=io.BytesIO(EndlessBody.HEAD + b"RIFF" * 1000),
        content_type="multipart/form-data; boundary=b",
        content_length=1_000_000,
    )

    _, status, _ = run_wsgi_app(client.application.wsgi_app, builder.get_environ())

    assert status.startswith("400")
    assert list(service.spool.iterdir()) == []


def test_file_of_exactly_the_limit_is_taken(small: FlaskClient) -> None:
    assert post_file(small, b"x" * LIMIT).status_code == 200


def test_one_byte_over_the_limit_is_413(small: FlaskClient, tmp_path: Path) -> None:
    answer = post_file(small, b"x" * (LIMIT + 1))

    assert answer.status_code == 413
    assert answer.json["error"]["code"] == "upload_too_large"
    assert "300,000" in answer.json["error"]["message"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_announced_length_over_the_limit_is_refused_unread(small: FlaskClient) -> None:
    body = EndlessBody()
    status, _ = _send_endless(small, body, content_length=str(LIMIT + FORM_ROOM_BYTES + 1))

    assert status.startswith("413")
    assert body.bytes_read == 0


def test_chunked_body_over_the_limit_is_refused_within_a_megabyte(small: FlaskClient, tmp_path: Path) -> None:
    body = EndlessBody()
    status, text = _send_endless(small, body, content_length=None)

    assert status.startswith("413")
    assert b"upload_too_large" in text
    assert body.bytes_read <= LIMIT + 1_000_000
    assert list((tmp_path / "spool").iterdir()) == []


def test_flood_of_fields_is_413(client: FlaskClient) -> None:
    answer = post_file(client, **{f"f{i}": "1" for i in range(100)})

    assert answer.status_code == 413
    assert answer.json["error"]["code"] == "limit_exceeded"


def test_large_text_field_is_413(client: FlaskClient) -> None:
    assert post_file(client, initial_prompt="x" * 600_000).status_code == 413


@pytest.mark.parametrize(
    ("error", "status", "retry_after"), [(QueueFullError(), 429, "5"), (StorageFullError(), 507, "60")]
)
def test_no_room_is_told_with_retry_after(
    client: FlaskClient, service: FakeService, error: QueueFullError, status: int, retry_after: str
) -> None:
    service.begin_error = error

    answer = post_file(client)

    assert answer.status_code == status
    assert answer.headers["Retry-After"] == retry_after


def test_full_disk_while_writing_is_storage_full() -> None:
    file = SpooledFile(Path("/dev/full"), 10**9, lambda: None)

    with pytest.raises(StorageFullError) as caught:
        for _ in range(100):
            file.write(b"x" * 4096)

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    with suppress(StorageFullError):  # what still lies in Python's buffer, if anything does
        file.close()


def test_full_disk_found_at_the_last_bytes_is_storage_full() -> None:
    file = SpooledFile(Path("/dev/full"), 10**9, lambda: None)
    file.write(b"in the buffer")

    with pytest.raises(StorageFullError):
        file.close()


def test_spooled_file_refuses_before_it_writes(tmp_path: Path) -> None:
    file = SpooledFile(tmp_path / "upload", 10, lambda: None)
    file.write(b"12345")

    with pytest.raises(UploadTooLargeError):
        file.write(b"678901")
    file.close()

    assert (tmp_path / "upload").read_bytes() == b"12345"


def test_reserve_that_is_reached_on_the_way_is_507_and_leaves_nothing(
    client: FlaskClient, service: FakeService
) -> None:
    service.room_error = StorageFullError()
    body = EndlessBody()

    status, text = _send_endless(client, body, content_length=None)

    assert status.startswith("507")
    assert b"storage_full" in text
    assert body.bytes_read <= 1024 * 1024 + 200_000
    assert list(service.spool.iterdir()) == []


def test_small_upload_does_not_ask_for_room_again(client: FlaskClient, service: FakeService) -> None:
    service.room_error = StorageFullError()

    assert post_file(client).status_code == 200


@pytest.mark.parametrize("name", ["a\r\nb.wav", "a\nb.wav", "a\r\nX: b.wav", "\r\n"])
@pytest.mark.parametrize("size", [10, 700_000])
def test_line_break_in_a_file_name_is_400(
    client: FlaskClient, service: FakeService, name: str, size: int
) -> None:
    answer = post_file(client, b"x" * size, name=name)

    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "bad_request"
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["a; filename=b.wav", r"C:\clips\a.wav", r"say \"hi\".wav", "été.wav", "a=b;c.wav"]
)
def test_odd_file_names_are_taken(client: FlaskClient, name: str) -> None:
    assert post_file(client, name=name).status_code == 200


@pytest.mark.parametrize("path", ["/transcribe", "/jobs"])
@pytest.mark.parametrize("size", [1000, 600_000])
@pytest.mark.parametrize(
    "content_type", [b"Content-Type: audio/flac\r\n", b"", b"Content-Type: text/plain\r\n"]
)
def test_file_without_a_file_name_is_said_to_be_that(
    client: FlaskClient, path: str, size: int, content_type: bytes
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="audio"\r\n' + content_type + b"\r\n"
    body = head + b"f" * size + b"\r\n--b--\r\n"

    answer = client.post(path, data=body, content_type="multipart/form-data; boundary=b")

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "missing_audio")
    said = answer.json["error"]["message"]
    assert "'audio' has no file name" in said or "'audio' holds text" in said


@pytest.mark.parametrize("path", ["/transcribe", "/jobs"])
@pytest.mark.parametrize("body", [b"audio=@speech.mp3", b"\x00RIFF" * 200_000])
def test_body_that_carries_no_file_is_named(client: FlaskClient, path: str, body: bytes) -> None:
    answer = client.post(path, data=body, content_type="application/x-www-form-urlencoded")

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "missing_audio")
    assert answer.json["error"]["message"].startswith("The body is application/x-www-form-urlencoded")
    assert "-F audio=@" in answer.json["error"]["fix"]


def test_text_fields_keep_their_charset(client: FlaskClient, service: FakeService) -> None:
    part = (
        b'--b\r\nContent-Disposition: form-data; name="initial_prompt"\r\n'
        b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\n\xe9t\xe9\r\n"
    )
    body = part + EndlessBody.HEAD + b"RIFF\r\n--b--\r\n"

    answer = client.post("/transcribe", data=body, content_type="multipart/form-data; boundary=b")

    assert service.jobs[answer.json["job_id"]].request.options.initial_prompt == "été"


def test_other_routes_take_no_files(client: FlaskClient) -> None:
    assert client.post("/", data={"audio": (io.BytesIO(b"x"), "x")}).status_code == 405


def _send_endless(client: FlaskClient, body: EndlessBody, content_length: str | None) -> tuple[str, bytes]:
    environ = EnvironBuilder("/transcribe", method="POST").get_environ()
    environ["CONTENT_TYPE"] = "multipart/form-data; boundary=b"
    environ["wsgi.input"] = body
    environ["wsgi.input_terminated"] = True
    environ.pop("CONTENT_LENGTH", None)
    if content_length is None:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    else:
        environ["CONTENT_LENGTH"] = content_length
    chunks, status, _ = run_wsgi_app(client.application.wsgi_app, environ)
    return status, b"".join(chunks)
