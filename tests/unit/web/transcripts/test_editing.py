"""/jobs/{id}/transcript: edited, restored, and guarded against lost updates."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fakes import FakeService
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import Speaker
from transcriber.jobs.ids import new_job_id
from transcriber.web.openapi.answers import TranscriptAnswer
from transcriptions import make_segment, make_transcription
from uploading import BROWSER, post_file

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
ONE = {"start": 0.0, "end": 2.0, "text": "Ask now.", "sources": [0]}


@pytest.fixture
def done(client: FlaskClient) -> str:
    return str(post_file(client, name="talk.mp3").json["job_id"])


def put(client: FlaskClient, job_id: str, *segments: Any, tag: str | None = '"r0"') -> TestResponse:
    headers = {} if tag is None else {"If-Match": tag}
    return client.put(f"/jobs/{job_id}/transcript", json={"segments": list(segments)}, headers=headers)


def test_transcript_begins_as_the_engine_wrote_it(client: FlaskClient, done: str) -> None:
    answer = client.get(f"/jobs/{done}/transcript")

    TranscriptAnswer.model_validate_json(answer.data, extra="forbid")
    assert answer.headers["ETag"] == '"r0"'
    assert (answer.json["revision"], answer.json["is_edited"]) == (0, False)
    assert answer.json["segments"] == client.get(f"/jobs/{done}").json["segments"]


def test_saved_transcript_is_what_pages_and_downloads_show(client: FlaskClient, done: str) -> None:
    saved = put(client, done, ONE)

    TranscriptAnswer.model_validate_json(saved.data, extra="forbid")
    assert saved.headers["ETag"] == '"r1"' and saved.json["text"] == "Ask now."
    assert client.get(f"/jobs/{done}/transcript").json == saved.json
    assert client.get(f"/jobs/{done}/transcript.txt").text == "Ask now.\n"
    assert client.get(f"/jobs/{done}/transcript.txt").headers["ETag"] == '"r1"'
    assert "Ask now." in client.get(f"/jobs/{done}", headers={"Accept": BROWSER}).text
    assert client.get("/jobs?q=now").json["jobs"][0]["excerpt"] == [
        {"text": "Ask ", "is_match": False},
        {"text": "now.", "is_match": True},
    ]


def test_what_the_engine_wrote_stays(client: FlaskClient, done: str) -> None:
    before = client.get(f"/jobs/{done}").json["text"]
    put(client, done, ONE)

    assert client.get(f"/jobs/{done}").json["text"] == before
    assert client.get(f"/jobs/{done}/transcript?original=true").json["text"] == before
    assert client.get(f"/jobs/{done}/transcript.txt?original=true").text == f"{before}\n"
    restored = client.delete(f"/jobs/{done}/transcript", headers={"If-Match": '"r1"'})
    assert (restored.json["text"], restored.json["revision"]) == (before, 2)


@pytest.mark.parametrize(
    ("tag", "status", "code"),
    [
        (None, 428, "revision_missing"),
        ('"r0"', 412, "transcript_changed"),
        ('"r2"', 412, "transcript_changed"),
        ('"x"', 412, "transcript_changed"),
        ('W/"r1"', 412, "transcript_changed"),
        ('"r1"', 200, None),
        ('"r7", "r1"', 200, None),
        ("*", 200, None),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_only_who_read_the_last_revision_may_change_it(
    client: FlaskClient, done: str, tag: str | None, status: int, code: str | None, method: str
) -> None:
    put(client, done, ONE)
    headers = {} if tag is None else {"If-Match": tag}

    answer = client.open(f"/jobs/{done}/transcript", method=method, json={"segments": []}, headers=headers)

    assert answer.status_code == status
    assert code is None or answer.json["error"]["code"] == code
    assert client.get(f"/jobs/{done}/transcript").json["revision"] == (2 if status == 200 else 1)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"segments": [ONE | {"end": -1}]}, 422, "segments.0.end"),
        ({"segments": [ONE, ONE | {"start": 3.0}]}, 422, "segments.1.end"),
        ({"segments": [ONE | {"start": "0"}]}, 422, "segments.0.start"),
        ({"segments": [ONE | {"text": None}]}, 422, "segments.0.text"),
        ({"segments": [ONE | {"other": 1}]}, 422, "segments.0.other"),
        ({"segments": {}}, 422, "segments"),
        ({}, 422, "segments"),
        ([], 422, "body"),
    ],
)
def test_what_is_no_transcript_is_refused_with_its_place(
    client: FlaskClient, done: str, body: Any, status: int, param: str
) -> None:
    answer = client.put(f"/jobs/{done}/transcript", json=body, headers={"If-Match": '"r0"'})

    assert (answer.status_code, answer.json["error"]["param"]) == (status, param)
    assert client.get(f"/jobs/{done}/transcript").json["revision"] == 0


@pytest.mark.parametrize(
    ("data", "content_type", "code"),
    [
        (b'{"segments": [', "application/json", "bad_request"),
        (b'{"segments": [{"start": NaN, "end": 1, "text": ""}]}', "application/json", "invalid_parameter"),
        (b"segments=", "application/x-www-form-urlencoded", "bad_request"),
        (b'"\xff"', "application/json", "bad_request"),
    ],
)
def test_what_is_no_json_is_refused(
    client: FlaskClient, done: str, data: bytes, content_type: str, code: str
) -> None:
    answer = client.put(
        f"/jobs/{done}/transcript", data=data, content_type=content_type, headers={"If-Match": "*"}
    )

    assert answer.status_code in (400, 422) and answer.json["error"]["code"] == code


def test_too_large_a_body_is_413(client: FlaskClient, done: str) -> None:
    answer = client.patch(f"/jobs/{done}", data=b" " * 100_000, content_type="application/json")

    assert (answer.status_code, answer.json["error"]["code"]) == (413, "limit_exceeded")


def test_checks_name_the_segments(client: FlaskClient, done: str) -> None:
    put(client, done, ONE, {"start": 2.0, "end": 9.0, "text": "No. " * 30, "sources": []})

    [check] = client.get(f"/jobs/{done}/transcript").json["checks"]

    assert check["segment"] == 1
    assert [one["code"] for one in check["suspicions"]] == ["repetition"]
    assert [one["code"] for one in check["subtitle"]] == ["many_lines"]


def test_a_job_without_a_transcript_has_none_to_edit(client: FlaskClient, service: FakeService) -> None:
    error = JobError(code="undecodable_media", message="no", fix="")
    running = service.add_job(new_job_id(), REQUEST, status=JobStatus.RUNNING)
    failed = service.add_job(new_job_id(), REQUEST, status=JobStatus.FAILED, error=error)

    assert client.get(f"/jobs/{running.id}/transcript").json["error"]["code"] == "job_not_finished"
    assert put(client, failed.id, ONE).json["error"]["code"] == "undecodable_media"


def test_form_takes_the_corrections_back(client: FlaskClient, done: str) -> None:
    put(client, done, ONE)

    missing = client.post(f"/jobs/{done}/restore")
    stale = client.post(f"/jobs/{done}/restore", data={"revision": "0"})
    answer = client.post(f"/jobs/{done}/restore", data={"revision": "1"}, headers={"Accept": BROWSER})

    assert (missing.status_code, stale.status_code, answer.status_code) == (428, 412, 303)
    assert answer.headers["Location"] == f"/jobs/{done}"
    assert client.get(f"/jobs/{done}/transcript").json["is_edited"] is False


# The recording


def test_media_is_sent_in_parts_as_audio_and_as_nothing_else(client: FlaskClient, done: str) -> None:
    with client.get(f"/jobs/{done}/media", headers={"Range": "bytes=1-3"}) as part:
        assert (part.status_code, part.data, part.mimetype) == (206, b"IFF", "audio/flac")
        assert part.headers["Content-Range"] == "bytes 1-3/8"
        assert part.headers["X-Content-Type-Options"] == "nosniff"
        assert part.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    beyond = client.get(f"/jobs/{done}/media", headers={"Range": "bytes=99-"})
    assert (beyond.status_code, beyond.json["error"]["code"]) == (416, "range_not_satisfiable")
    assert beyond.headers["Content-Range"] == "bytes */8"


@pytest.mark.parametrize(
    "asked", ["pages=1-2", "bytes=0-1,4-5", "bytes=5-2", "bytes=abc", "bytes", "", "bytes=0-1" + "0" * 5000]
)
def test_range_that_need_not_be_kept_to_gives_the_whole_file(
    client: FlaskClient, done: str, asked: str
) -> None:
    with client.get(f"/jobs/{done}/media", headers={"Range": asked}) as answer:
        assert (answer.status_code, len(answer.data)) == (200, 8)
        assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=1-3", "1-3"),
        ("Bytes = 6-", "6-7"),
        ("bytes=-2", "6-7"),
        ("bytes=1-99", "1-7"),
        ("bytes=-8", "0-7"),
        ("Bytes = -99", "0-7"),
    ],
)
def test_one_part_is_sent(client: FlaskClient, done: str, asked: str, part: str) -> None:
    with client.get(f"/jobs/{done}/media", headers={"Range": asked}) as answer:
        assert (answer.status_code, answer.headers["Content-Range"]) == (206, f"bytes {part}/8")


def test_no_last_bytes_are_refused_and_a_head_has_no_part(client: FlaskClient, done: str) -> None:
    none = client.get(f"/jobs/{done}/media", headers={"Range": "bytes=-0"})
    assert (none.status_code, none.headers["Content-Range"]) == (416, "bytes */8")
    with client.head(f"/jobs/{done}/media", headers={"Range": "bytes=0-1"}) as answer:
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, "8")


def test_recording_of_another_etag_is_412_without_a_body(client: FlaskClient, done: str) -> None:
    with client.get(f"/jobs/{done}/media", headers={"If-Match": '"another"'}) as answer:
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (412, b"", f'"{done}"')
    with client.get(f"/jobs/{done}/media", headers={"If-Match": f'"{done}"'}) as answer:
        assert (answer.status_code, len(answer.data)) == (200, 8)


@pytest.mark.parametrize(
    ("container", "name", "mimetype"),
    [
        ("mov,mp4,m4a,3gp,3g2,mj2", "a.m4a", "audio/mp4"),
        ("mov,mp4,m4a,3gp,3g2,mj2", "A.MP4", "video/mp4"),
        ("matroska,webm", "a.webm", "video/webm"),
        ("html", "a.html", "application/octet-stream"),
        ("svg_pipe", "a.svg", "application/octet-stream"),
        ("", "a.mp3", "application/octet-stream"),
    ],
)
def test_type_of_media_is_the_container_that_was_recognised(
    client: FlaskClient, service: FakeService, container: str, name: str, mimetype: str
) -> None:
    service.answer = replace(service.answer, media={"container": container})
    job_id = post_file(client, b"<script>1</script>", name=name).json["job_id"]

    with client.get(f"/jobs/{job_id}/media") as answer:
        assert answer.mimetype == mimetype
        is_saved = "attachment" in answer.headers.get("Content-Disposition", "")
        assert is_saved is (mimetype == "application/octet-stream")


def test_media_that_is_not_kept_is_410(client: FlaskClient, service: FakeService, done: str) -> None:
    service.jobs[done] = service.jobs[done].evolve(has_upload=False)

    assert client.get(f"/jobs/{done}/media").json["error"]["code"] == "upload_gone"
    page = client.get(f"/jobs/{done}", headers={"Accept": BROWSER}).text
    assert "has been deleted" in page and "<audio" not in page


# Names, other options, comparison


def test_job_is_renamed(client: FlaskClient, done: str) -> None:
    answer = client.patch(f"/jobs/{done}", json={"title": "Dr. Smith <b>\u202e"})

    assert (answer.json["title"], answer.json["file_name"]) == ("Dr. Smith <b>", "talk.mp3")
    disposition = client.get(f"/jobs/{done}/transcript.srt").headers["Content-Disposition"]
    assert 'filename="Dr. Smith _b_.srt"' in disposition
    assert "Dr. Smith &lt;b&gt;" in client.get("/jobs", headers={"Accept": BROWSER}).text
    assert client.post(f"/jobs/{done}/rename", data={"title": ""}).json["title"] == ""
    assert client.post(f"/jobs/{done}/rename", headers={"Accept": BROWSER}).status_code == 303


def test_job_is_tried_again_with_other_options(client: FlaskClient, service: FakeService) -> None:
    job_id = post_file(client, language="en", word_timestamps="true", use_gpu="false").json["job_id"]

    answer = client.post(f"/jobs/{job_id}/retry", data={"model": "tiny.en", "beam_size": ""})

    assert answer.status_code == 202 and answer.json["job_id"] != job_id
    assert answer.headers["Location"] == f"/jobs/{answer.json['job_id']}"
    assert answer.json["retry_of"] == job_id
    again = service.jobs[answer.json["job_id"]].request
    before = service.jobs[job_id].request
    assert again.model == "tiny.en" and again.options == before.options and again.use_gpu is False


def test_options_of_a_retry_are_checked(client: FlaskClient, done: str) -> None:
    assert client.post(f"/jobs/{done}/retry?beam_size=99").json["error"]["param"] == "beam_size"
    assert client.post(f"/jobs/{done}/retry", json={"model": "x"}).json["error"]["code"] == "bad_request"
    assert client.post(f"/jobs/{done}/retry").json["error"]["code"] == "job_not_failed"


def test_two_transcripts_are_compared(client: FlaskClient, done: str) -> None:
    other = post_file(client).json["job_id"]
    put(client, other, ONE)

    answer = client.get(f"/compare?job={other}&job={done}")

    assert answer.json["jobs"] == [done, other]
    assert answer.json["right_only"] == 1 and answer.json["rows"][0]["start"] == 0
    page = client.get(f"/compare?job={other}&job={done}", headers={"Accept": BROWSER}).text
    assert "<ins>now.</ins>" in page and "<del>" in page


@pytest.mark.parametrize("query", ["", "job=a", "job=a&job=b&job=c"])
def test_other_than_two_are_not_compared(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/compare?{query}")

    assert (answer.status_code, answer.json["error"]["param"]) == (422, "job")


def test_spoken_markup_is_text_on_the_pages(client: FlaskClient, service: FakeService, done: str) -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x>"
    put(client, done, ONE | {"text": hostile})
    client.patch(f"/jobs/{done}", json={"title": hostile})
    other = post_file(client).json["job_id"]

    for path in (f"/jobs/{done}", "/jobs?q=script", f"/compare?job={done}&job={other}"):
        page = client.get(path, headers={"Accept": BROWSER}).text
        assert "<script>alert" not in page and "<img src=x" not in page and "&lt;img src=x&gt;" in page
    assert json.loads(client.get(f"/jobs/{done}/transcript.json").data)["text"] == hostile


@pytest.fixture
def talk(client: FlaskClient, service: FakeService) -> str:
    """A job in which A and B speak."""
    service.answer = make_transcription(
        make_segment(text=" Hello.", speaker="A"),
        make_segment(id=1, start=2.5, end=4.0, text=" Goodbye.", speaker="B"),
        speakers=(Speaker(id="A", name="", seconds=2.5), Speaker(id="B", name="", seconds=1.5)),
    )
    return str(post_file(client, diarize="true").json["job_id"])


def said_by(*speakers: str) -> list[dict[str, Any]]:
    times = ((0.0, 2.5, "Hello."), (2.5, 4.0, "Goodbye."))
    return [
        {"start": start, "end": end, "text": text, "sources": [number], "speaker": speakers[number]}
        for number, (start, end, text) in enumerate(times)
    ]


def save(client: FlaskClient, job_id: str, *speakers: str, **names: str) -> Any:
    body = {
        "segments": said_by(*speakers),
        "speakers": [{"id": one, "name": name} for one, name in names.items()],
    }
    return client.put(f"/jobs/{job_id}/transcript", json=body, headers={"If-Match": "*"})


def test_a_name_is_in_every_format_and_stays_over_a_later_edit(client: FlaskClient, talk: str) -> None:
    named = save(client, talk, "A", "B", A="Ada   Lovelace")
    save(client, talk, "A", "B", B="Bob")

    assert [(one["id"], one["name"]) for one in named.json["speakers"]] == [("A", "Ada Lovelace"), ("B", "")]
    for format, lines in {
        "vtt": ["<v Ada Lovelace>Hello.", "<v Bob>Goodbye."],
        "srt": ["Ada Lovelace: Hello.", "Bob: Goodbye."],
        "txt": ["Ada Lovelace: Hello.", "Bob: Goodbye."],
        "tsv": ["Ada Lovelace\tHello.", "Bob\tGoodbye."],
    }.items():
        text = client.get(f"/jobs/{talk}/transcript.{format}").text
        assert [line for line in lines if line not in text] == [], text


def test_moving_the_last_segment_of_a_speaker_merges_them(client: FlaskClient, talk: str) -> None:
    merged = save(client, talk, "A", "A").json

    assert [(one["id"], one["seconds"]) for one in merged["speakers"]] == [("A", 4.0)]
    assert {segment["speaker"] for segment in merged["segments"]} == {"A"}
    assert "Speaker B" not in client.get(f"/jobs/{talk}/transcript.txt").text


def test_what_the_diarizer_found_can_be_restored(client: FlaskClient, talk: str) -> None:
    save(client, talk, "A", "A", A="Ada")

    restored = client.delete(f"/jobs/{talk}/transcript", headers={"If-Match": "*"}).json

    assert [(one["id"], one["name"]) for one in restored["speakers"]] == [("A", ""), ("B", "")]


@pytest.mark.parametrize("speaker", ["", "a b", "A" * 65, "<b>"])
def test_speaker_that_is_no_id_is_refused(client: FlaskClient, talk: str, speaker: str) -> None:
    assert save(client, talk, "A", speaker).status_code == 422
