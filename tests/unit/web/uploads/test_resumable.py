"""/uploads: the tus protocol's core, creation, termination and expiration, and the job an upload becomes."""

from __future__ import annotations

import base64
import io
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fakes import FakeService
from job_stores import make_job
from transcriber.domain.errors import (
    ModelNotFoundError,
    QueueFullError,
    StorageFailedError,
    StorageFullError,
    UploadNotFoundError,
)
from transcriber.jobs.files import resumable
from transcriber.jobs.files.resumable import Resting, find_displaced
from uploading import post_file

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"


def create(client: FlaskClient, length: Any = 10, **headers: str) -> TestResponse:
    return client.post("/uploads", headers=TUS | {"Upload-Length": str(length)} | headers)


def send(client: FlaskClient, path: str, offset: Any, data: Any, **headers: str) -> TestResponse:
    return client.patch(
        path, data=data, content_type=BYTES, headers=TUS | {"Upload-Offset": str(offset)} | headers
    )


def named(name: str) -> str:
    return f"filetype YQ==,filename {base64.b64encode(name.encode()).decode()}"


@pytest.fixture
def path(client: FlaskClient) -> str:
    """An upload of ten bytes that waits for them."""
    return create(client, **{"Upload-Metadata": named("../ü talk.mp3")}).headers["Location"]


def test_options_tell_what_is_offered(client: FlaskClient) -> None:
    answer = client.options("/uploads")

    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Extension"] == "creation,termination,expiration"
    assert answer.headers["Tus-Max-Size"] == str(2 * 1024**3)


def test_upload_in_parts_becomes_a_job(client: FlaskClient, service: FakeService, path: str) -> None:
    assert send(client, path, 0, b"01234").headers["Upload-Offset"] == "5"
    standing = client.head(path, headers=TUS)
    assert (standing.headers["Upload-Offset"], standing.headers["Upload-Length"]) == ("5", "10")
    assert standing.headers["Cache-Control"] == "no-store"
    assert standing.headers["Upload-Expires"].endswith("GMT")
    assert send(client, path, 5, b"56789").status_code == 204

    answer = client.post("/jobs", data={"upload": path.rpartition("/")[2], "language": "de", "priority": "3"})

    assert answer.status_code == 202
    [job] = service.jobs.values()
    assert job.id == answer.json["job_id"] == path.rpartition("/")[2]
    assert service.received[job.id] == b"0123456789"
    assert job.file_name == "ü talk.mp3"
    assert (job.request.options.language, job.priority, job.request.ignored) == ("de", 3, ())
    assert client.head(path, headers=TUS).status_code == 404


def test_get_tells_the_same_as_json(client: FlaskClient, path: str) -> None:
    send(client, path, 0, b"012")

    answer = client.get(path)

    assert (answer.json["offset"], answer.json["length"]) == (3, 10)
    assert answer.json["upload_id"] == path.rpartition("/")[2]


def test_what_a_broken_connection_brought_is_kept(client: FlaskClient, path: str) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 4:
                raise OSError("connection reset")
            return super().read(4)

    answer = client.patch(
        path,
        headers=TUS | {"Upload-Offset": "0"},
        content_type=BYTES,
        input_stream=Broken(b"0123456789"),
        content_length=10,
    )

    assert answer.status_code == 400
    assert client.head(path, headers=TUS).headers["Upload-Offset"] == "4"
    assert send(client, path, 4, b"456789").status_code == 204


def test_upload_may_be_larger_than_a_form(client: FlaskClient, service: FakeService) -> None:
    data = b"x" * 3_000_000
    path = create(client, len(data)).headers["Location"]

    assert send(client, path, 0, data).status_code == 204
    assert service.resumable.path(path.rpartition("/")[2]).stat().st_size == len(data)


@pytest.mark.parametrize("offset", [3, 11, 0])
def test_bytes_that_do_not_follow_are_409(client: FlaskClient, path: str, offset: int) -> None:
    send(client, path, 0, b"01234")

    answer = send(client, path, offset, b"x")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "upload_offset_mismatch")
    assert client.head(path, headers=TUS).headers["Upload-Offset"] == "5"


def test_more_than_was_announced_is_refused(client: FlaskClient, path: str) -> None:
    assert send(client, path, 0, b"x" * 11).status_code == 409
    assert client.head(path, headers=TUS).headers["Upload-Offset"] == "0"


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0"])
def test_other_versions_are_412(client: FlaskClient, path: str, version: str | None) -> None:
    headers = {} if version is None else {"Tus-Resumable": version}

    for method, address in (("POST", "/uploads"), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        answer = client.open(address, method=method, headers=headers)
        assert answer.status_code == 412
        assert answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Resumable"] == "1.0.0"


def test_other_bodies_are_415(client: FlaskClient, path: str) -> None:
    answer = client.patch(path, data=b"x", headers=TUS | {"Upload-Offset": "0"}, content_type="audio/wav")

    assert (answer.status_code, answer.json["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("length", ["", "-1", "1.5", "ten", "9" * 40])
def test_length_has_to_be_a_number(client: FlaskClient, length: str) -> None:
    assert create(client, length).status_code == 422


@pytest.mark.parametrize("metadata", ["filename !", "filename //4=", "filename " + "A" * 5000])
def test_file_name_has_to_be_readable(client: FlaskClient, service: FakeService, metadata: str) -> None:
    assert create(client, **{"Upload-Metadata": metadata}).status_code == 422
    assert list(service.spool.iterdir()) == []


def test_limits_hold_before_a_byte_is_sent(client: FlaskClient, service: FakeService) -> None:
    too_large = create(client, 2 * 1024**3 + 1)
    assert (too_large.status_code, too_large.json["error"]["code"]) == (413, "upload_too_large")
    service.begin_error = QueueFullError()
    assert create(client).status_code == 429
    service.begin_error = StorageFullError()
    assert create(client).status_code == 507
    assert list(service.spool.iterdir()) == []


def test_room_is_looked_at_while_bytes_come(client: FlaskClient, service: FakeService, path: str) -> None:
    service.room_error = StorageFullError()

    assert send(client, path, 0, b"0123456789").status_code == 507


def test_too_many_unfinished_uploads_are_429(
    client: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "MAX_UNFINISHED", 1)

    answer = create(client)

    assert (answer.status_code, answer.json["error"]["code"]) == (429, "too_many_uploads")


def resting(name: str, owner: str, minutes: float, size_bytes: int = 1) -> Resting:
    return Resting(id=name, owner=owner, size_bytes=size_bytes, rested=timedelta(minutes=minutes))


def test_whoever_holds_most_makes_way_for_others() -> None:
    crowd = [resting(f"m{n}", "many", 2) for n in range(990)]
    others = [resting(f"o{n}", f"one {n}", 50, size_bytes=0) for n in range(10)]

    displaced = find_displaced([*others, *crowd, resting("m", "many", 3)], "new")

    assert displaced is not None
    assert displaced.id == "m"
    assert find_displaced([*crowd, *others], "many") is None


def test_bytes_that_came_count_before_rest() -> None:
    crowd = [resting("large", "many", 59, 10**9), resting("small", "many", 2), resting("new", "many", 0, 0)]

    displaced = find_displaced(crowd, "new")

    assert displaced is not None
    assert displaced.id == "small"


def test_behind_one_address_only_what_rested_for_an_hour_makes_way() -> None:
    crowd = [resting(f"m{n}", "proxy", n) for n in range(70)]

    displaced = find_displaced(crowd, "proxy")

    assert displaced is not None
    assert displaced.rested >= timedelta(hours=1)
    assert find_displaced(crowd[:60], "proxy") is None


def test_displaced_upload_is_gone_and_one_that_is_written_stays(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "MAX_UNFINISHED", 3)
    uploads = service.resumable
    held = [uploads.create(10, "a.wav", owner="many") for _ in range(3)]
    an_hour_ago = time.time() - 3599
    for upload in held:
        for entry in (service.spool / upload.id).iterdir():
            os.utime(entry, (an_hour_ago, an_hour_ago))

    with uploads.turn(held[0].id, 0, lambda: None):
        new = uploads.create(10, "b.wav", owner="other")

    left = {entry.name for entry in service.spool.iterdir()}
    assert {held[0].id, new.id} < left
    assert len(left) == 3


def test_terminated_upload_is_gone(client: FlaskClient, service: FakeService, path: str) -> None:
    assert client.delete(path, headers=TUS).status_code == 204
    assert client.head(path, headers=TUS).status_code == 404
    assert client.delete(path, headers=TUS).status_code == 404
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize("name", ["x", "job_" + "z" * 24, "..%2f..%2fetc"])
def test_unknown_upload_is_404(client: FlaskClient, name: str) -> None:
    assert client.head(f"/uploads/{name}", headers=TUS).status_code == 404


def test_job_of_an_unknown_upload_is_404(client: FlaskClient) -> None:
    answer = client.post("/jobs", data={"upload": "job_" + "z" * 24})

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "upload_not_found")


@pytest.mark.parametrize("given", ["x", "http://localhost/uploads/job_" + "z" * 24, "../../etc"])
def test_upload_id_in_another_form_is_refused_by_name(client: FlaskClient, given: str) -> None:
    answer = client.post("/jobs", data={"upload": given})

    assert (answer.status_code, answer.json["error"]["param"]) == (422, "upload")
    assert "the last part of its address" in answer.json["error"]["message"]


def test_upload_is_named_in_multipart_too(client: FlaskClient, path: str) -> None:
    send(client, path, 0, b"0123456789")
    upload_id = path.rpartition("/")[2]

    answer = client.post("/jobs", data={"upload": upload_id}, content_type="multipart/form-data")
    elsewhere = client.post("/transcribe", data={"upload": upload_id}, content_type="multipart/form-data")

    assert (answer.status_code, answer.json["job_id"]) == (202, upload_id)
    assert elsewhere.json["error"]["code"] == "missing_audio"
    assert "'upload' names an upload that arrived before" in elsewhere.json["error"]["message"]


def test_asking_again_for_the_job_of_an_upload_gives_that_job(
    client: FlaskClient, service: FakeService, path: str
) -> None:
    send(client, path, 0, b"0123456789")
    form = {"upload": path.rpartition("/")[2]}
    first = client.post("/jobs", data=form)

    again = client.post("/jobs", data=form)

    assert (again.status_code, again.json["job_id"]) == (first.status_code, first.json["job_id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(service.jobs) == 1


def test_half_an_upload_is_no_job(client: FlaskClient, service: FakeService, path: str) -> None:
    send(client, path, 0, b"012")

    answer = client.post("/jobs", data={"upload": path.rpartition("/")[2]})

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "upload_incomplete")
    assert send(client, path, 3, b"3456789").status_code == 204


def test_refused_job_leaves_the_upload_for_another_try(
    client: FlaskClient, service: FakeService, path: str
) -> None:
    send(client, path, 0, b"0123456789")
    form = {"upload": path.rpartition("/")[2]}
    assert client.post("/jobs", data=form | {"beam_size": "99"}).status_code == 422
    service.submit_error = ModelNotFoundError()
    assert client.post("/jobs", data=form).status_code == 404
    service.submit_error = None

    assert client.post("/jobs", data=form).status_code == 202


def test_broken_disk_leaves_the_upload_for_another_try(
    client: FlaskClient, service: FakeService, path: str
) -> None:
    send(client, path, 0, b"0123456789")
    service.submit_error = StorageFailedError()
    form = {"upload": path.rpartition("/")[2]}

    assert client.post("/jobs", data=form).status_code == 503
    assert client.head(path, headers=TUS).headers["Upload-Offset"] == "10"
    service.submit_error = None
    assert client.post("/jobs", data=form).status_code == 202


def test_store_that_can_not_say_is_asked_again_later(
    client: FlaskClient, service: FakeService, path: str
) -> None:
    send(client, path, 0, b"0123456789")
    service.submit_error = service.store_error = StorageFailedError()
    form = {"upload": path.rpartition("/")[2]}

    assert client.post("/jobs", data=form).status_code == 503
    assert client.post("/jobs", data=form).status_code == 503
    service.submit_error = service.store_error = None
    assert client.post("/jobs", data=form).status_code == 202


def test_claim_of_a_killed_process_is_undone_or_finished_at_start(service: FakeService) -> None:
    uploads = service.resumable
    upload, job = (uploads.create(0, name) for name in ("a.wav", "b.wav"))
    service.jobs[job.id] = make_job().evolve(id=job.id)
    for one in (upload, job):
        folder = service.spool / one.id
        (folder / "resumable").rename(folder / "claimed")

    uploads.settle_all()

    assert uploads.get(upload.id).file_name == "a.wav"
    assert {entry.name for entry in (service.spool / job.id).iterdir()} == {"upload"}


def test_job_that_still_has_its_note_is_no_upload_after_a_start(service: FakeService) -> None:
    job = service.resumable.create(0, "a.wav")
    service.jobs[job.id] = make_job().evolve(id=job.id)

    service.resumable.settle_all()

    with pytest.raises(UploadNotFoundError):
        service.resumable.get(job.id)


def test_claim_is_not_undone_under_whoever_holds_it(service: FakeService) -> None:
    upload = service.resumable.create(0, "a.wav")

    with service.resumable.claimed(upload.id), pytest.raises(UploadNotFoundError):
        service.resumable.get(upload.id)


def test_idempotency_key_finds_the_job_of_an_upload_that_is_gone(client: FlaskClient, path: str) -> None:
    send(client, path, 0, b"0123456789")
    form = {"upload": path.rpartition("/")[2]}
    headers = {"Idempotency-Key": "one"}
    first = client.post("/jobs", data=form, headers=headers)

    again = client.post("/jobs", data=form, headers=headers)

    assert again.json["job_id"] == first.json["job_id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert client.post("/jobs", data=form | {"language": "de"}, headers=headers).status_code == 422


def test_empty_upload_is_refused(client: FlaskClient) -> None:
    path = create(client, 0).headers["Location"]

    answer = client.post("/jobs", data={"upload": path.rpartition("/")[2]})

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "empty_upload")


def test_file_of_the_request_still_counts_where_no_upload_is_named(client: FlaskClient) -> None:
    assert post_file(client, path="/jobs", upload="").status_code == 202


def test_method_may_stand_in_a_header(client: FlaskClient, path: str) -> None:
    answer = client.post(
        path,
        data=b"01234",
        content_type=BYTES,
        headers=TUS | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"},
    )

    assert answer.status_code == 204
    elsewhere = client.post("/jobs/x", headers={"X-HTTP-Method-Override": "DELETE"})
    assert elsewhere.status_code == 405


def test_head_in_a_header_says_that_no_body_comes(client: FlaskClient, path: str) -> None:
    answer = client.post(path, headers=TUS | {"X-HTTP-Method-Override": "HEAD"})

    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == "0"
    assert (answer.headers["Upload-Offset"], answer.headers["Upload-Length"]) == ("0", "10")
    refused = client.post(path, headers={"X-HTTP-Method-Override": "HEAD"})
    assert (refused.status_code, refused.data, refused.headers["Content-Length"]) == (412, b"", "0")


def test_newer_connection_takes_over(service: FakeService) -> None:
    uploads = service.resumable
    upload = uploads.create(10, "a.wav")
    hung_up: list[str] = []
    with uploads.turn(upload.id, 0, lambda: hung_up.append("old")) as old:
        old.write(b"012")
        with uploads.turn(upload.id, 3, lambda: hung_up.append("new")) as new:
            with pytest.raises(Exception, match="Another connection"):
                old.write(b"xxx")
            new.write(b"345")

    assert hung_up == ["old"]
    assert uploads.get(upload.id).offset == 6
    assert uploads.path(upload.id).read_bytes() == b"012345"


def test_names_are_never_on_disk(client: FlaskClient, service: FakeService, path: str) -> None:
    [folder] = service.spool.iterdir()

    assert {entry.name for entry in Path(folder).iterdir()} == {"upload", "resumable"}
