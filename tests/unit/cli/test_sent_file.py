"""A file as the body of a form."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from werkzeug.formparser import parse_form_data
from werkzeug.test import EnvironBuilder

from transcriber.cli.sent_file import SentFile
from transcriber.domain.errors import TranscriberError


def request_with(name: str, file: SentFile) -> httpx2.Request:
    return httpx2.Request(
        "POST",
        "http://127.0.0.1/jobs",
        data={"model": "tiny.en", "task": "translate"},
        files={"audio": (name, file)},
    )


def ignore(done: int, size: int) -> None: ...


def test_body_is_what_a_server_reads_and_as_long_as_it_says(tmp_path: Path) -> None:
    file = tmp_path / 'Žižek "live"\r\nat home.wav'
    payload = bytes(range(256)) * 3000
    file.write_bytes(payload)
    told: list[tuple[int, int]] = []
    request = request_with(
        file.name, SentFile(file, len(payload), lambda done, size: told.append((done, size)))
    )

    sent = request.read()

    environ = EnvironBuilder(method="POST", data=sent, headers=dict(request.headers)).get_environ()
    _, form, files = parse_form_data(environ)
    assert int(request.headers["Content-Length"]) == len(sent)
    assert form.to_dict() == {"model": "tiny.en", "task": "translate"}
    with files["audio"].stream as received:
        assert received.read() == payload
    assert (files["audio"].filename or "").startswith("Žižek ")
    assert told[-1] == (len(payload), len(payload))
    assert len(told) > 2


def test_file_that_grows_is_cut_and_one_that_shrinks_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"0123456789")

    grown = request_with("a.wav", SentFile(file, 5, ignore)).read()

    assert b"\r\n01234\r\n" in grown
    with pytest.raises(TranscriberError, match="shorter"):
        request_with("a.wav", SentFile(file, 11, ignore)).read()


def test_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TranscriberError) as caught:
        SentFile(tmp_path / "none", 1, ignore).read()

    assert caught.value.code == "file_not_readable"
