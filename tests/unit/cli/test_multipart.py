"""A file as a multipart body."""

from __future__ import annotations

from pathlib import Path

import pytest
from werkzeug.formparser import parse_form_data
from werkzeug.test import EnvironBuilder

from transcriber.cli.multipart import MultipartBody
from transcriber.domain.errors import TranscriberError


def make_body(file: Path, size: int) -> MultipartBody:
    return MultipartBody(
        file=file, size=size, fields={"model": "tiny.en", "task": "translate"}, boundary="x1"
    )


def test_body_is_what_a_server_reads_and_as_long_as_it_says(tmp_path: Path) -> None:
    file = tmp_path / 'Žižek "live"\r\nat home.wav'
    payload = bytes(range(256)) * 3000
    file.write_bytes(payload)
    body = make_body(file, len(payload))
    told: list[tuple[int, int]] = []

    sent = b"".join(body.iter_pieces(lambda done, size: told.append((done, size))))

    environ = EnvironBuilder(method="POST", data=sent, headers=body.headers).get_environ()
    _, form, files = parse_form_data(environ)
    assert int(body.headers["Content-Length"]) == len(sent)
    assert form.to_dict() == {"model": "tiny.en", "task": "translate"}
    with files["audio"].stream as received:
        assert received.read() == payload
    assert (files["audio"].filename or "").startswith("Žižek ")
    assert told[-1] == (len(payload), len(payload))
    assert len(told) > 2


def test_file_that_grows_is_cut_and_one_that_shrinks_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"0123456789")

    grown = b"".join(make_body(file, 5).iter_pieces(lambda done, size: None))

    assert b"\r\n01234\r\n" in grown
    with pytest.raises(TranscriberError, match="shorter"):
        list(make_body(file, 11).iter_pieces(lambda done, size: None))


def test_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TranscriberError) as caught:
        list(make_body(tmp_path / "none", 1).iter_pieces(lambda done, size: None))

    assert caught.value.code == "file_not_readable"
