"""/jobs/{id}: status, result page and downloads."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient

from fakes import NOW, FakeService
from transcriber.domain.jobs import Delivery, DeliveryStatus, JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.formats.table import DOWNLOADS
from transcriber.jobs.ids import new_job_id
from transcriber.web.file_names import MAX_NAME, attachment, download_name_of_file, shown_name
from uploading import BROWSER, post_file

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
HOSTILE_IDS = ["x", "job_", "job_../../etc/passwd", "job_%2e%2e", "job_" + "a" * 65, "job_" + "\u202e" * 24]


@pytest.fixture
def done(client: FlaskClient) -> str:
    """The id of a job that succeeded."""
    return str(post_file(client, name="Rede über Bären.mp3").json["job_id"])


def test_finished_job_shows_its_transcription(client: FlaskClient, done: str) -> None:
    answer = client.get(f"/jobs/{done}")

    assert answer.json["status"] == "succeeded"
    assert answer.json["file_name"] == "Rede über Bären.mp3"
    assert answer.json["created_at"] == "2026-11-21T12:00:00+00:00"
    assert answer.json["gpu_used"] is False
    assert answer.json["device"] == "cpu"
    assert answer.json["text"].startswith("Ask not")
    assert answer.json["receipt"]["windows_total"] == 1
    assert answer.json["progress"] is None
    assert answer.json["position"] is None
    assert answer.json["error"] is None
    assert answer.headers["X-Gpu-Used"] == "false"
    assert answer.headers["X-Job-Id"] == done


def test_links_of_a_finished_job_work(client: FlaskClient, done: str) -> None:
    links = client.get(f"/jobs/{done}").json["links"]

    assert set(links) == {"self", "transcript", "media", *DOWNLOADS}
    for link in links.values():
        with client.get(link) as answer:
            assert answer.status_code == 200


def test_finished_job_is_a_page_for_browsers(client: FlaskClient, done: str) -> None:
    answer = client.get(f"/jobs/{done}", headers={"Accept": BROWSER})

    assert answer.mimetype == "text/html"
    assert 'gpu_used <strong data-fact="gpu_used">false' in answer.text
    assert f"/jobs/{done}/transcript.srt" in answer.text
    assert '<span>0:02.5</span><span class="until"> – 0:04.0</span>' in answer.text


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_unfinished_job_says_so(client: FlaskClient, service: FakeService, status: JobStatus) -> None:
    job = service.add_job(new_job_id(), REQUEST, status=status)

    answer = client.get(f"/jobs/{job.id}")
    page = client.get(f"/jobs/{job.id}", headers={"Accept": BROWSER})

    assert answer.json["status"] == status.value
    assert answer.json["gpu_used"] is None
    assert answer.json["text"] is None
    assert answer.json["segments"] == []
    assert set(answer.json["links"]) == {"self", "stream"}
    assert '<noscript><meta http-equiv="refresh"' in page.text


def test_running_job_shows_progress_and_segments_so_far(client: FlaskClient, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST)
    service.start(job.id)
    service.progress(job.id, 41.66)
    service.say(job.id, " Ask <b>not</b>")

    answer = client.get(f"/jobs/{job.id}").json
    page = client.get(f"/jobs/{job.id}", headers={"Accept": BROWSER}).text

    assert answer["progress"]["percent"] == 41.7
    assert answer["position"] == 0
    assert answer["estimated_wait_seconds"] == 0.0
    assert answer["progress"]["stage"] == "transcribing"
    assert answer["progress"]["seconds_left"] == 12.0
    assert [segment["text"] for segment in answer["segments"]] == [" Ask <b>not</b>"]
    assert 'value="41"' in page
    assert "Ask &lt;b&gt;not&lt;/b&gt;" in page
    assert 'data-last-event-id="1"' in page


def test_queued_job_shows_its_place(client: FlaskClient, service: FakeService) -> None:
    service.add_job(new_job_id(), REQUEST)
    second = service.add_job(new_job_id(), REQUEST)

    answer = client.get(f"/jobs/{second.id}").json
    page = client.get(f"/jobs/{second.id}", headers={"Accept": BROWSER}).text

    assert answer["position"] == 2
    assert answer["estimated_wait_seconds"] == 30.0
    assert "place 2 · about 30 s" in page


def test_deliveries_are_shown_without_secret_and_query(client: FlaskClient, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST)
    sent = Delivery(
        id="msg_1",
        job_id=job.id,
        url="https://me:pw@hooks.example/in?token=t0ken",
        secret="s3cret",
        payload="{}",
        status=DeliveryStatus.GIVEN_UP,
        tries=3,
        created_at=NOW,
        next_try_at=NOW,
        last_error="connection refused",
    )
    service.outbox[job.id] = (sent,)

    answer = client.get(f"/jobs/{job.id}")
    page = client.get(f"/jobs/{job.id}", headers={"Accept": BROWSER}).text

    [delivery] = answer.json["deliveries"]
    assert delivery["url"] == "https://hooks.example/in"
    assert delivery["tries"] == 3
    assert delivery["next_try_at"] is None
    assert "connection refused" in page
    assert not any(word in answer.text + page for word in ("t0ken", "s3cret", "me:pw"))


def test_history_is_paged_and_newest_first(client: FlaskClient, service: FakeService) -> None:
    ids = [service.add_job(new_job_id(), REQUEST).id for _ in range(5)]

    first = client.get("/jobs?limit=2").json
    second = client.get(f"/jobs?limit=2&before={first['next_before']}").json
    third = client.get(f"/jobs?limit=2&before={second['next_before']}").json

    pages = [[job["job_id"] for job in page["jobs"]] for page in (first, second, third)]
    assert pages == [ids[:2:-1], ids[2:0:-1], ids[:1]]
    assert third["next_before"] is None


@pytest.mark.parametrize("query", ["status=failed&status=cancelled", "status=failed,cancelled"])
def test_history_is_filtered_by_status(client: FlaskClient, service: FakeService, query: str) -> None:
    for status in JobStatus:
        service.add_job(new_job_id(), REQUEST, status=status)

    answer = client.get(f"/jobs?{query}").json

    assert {job["status"] for job in answer["jobs"]} == {"failed", "cancelled"}
    assert answer["counts"] == {status.value: 1 for status in JobStatus}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("before=0", "before"),
        ("before=-1", "before"),
        ("before=" + "9" * 30, "before"),
        ("status=done", "status"),
    ],
)
def test_odd_history_query_is_422_that_names_it(client: FlaskClient, query: str, param: str) -> None:
    answer = client.get(f"/jobs?{query}")

    assert answer.status_code == 422
    assert answer.json["error"]["param"] == param


def test_history_page_shows_device_and_actions(client: FlaskClient, service: FakeService, done: str) -> None:
    error = JobError(code="no_audio_stream", message="silent", fix="")
    failed = service.add_job(new_job_id(), REQUEST, status=JobStatus.FAILED, error=error)
    running = service.add_job(new_job_id(), REQUEST, status=JobStatus.RUNNING, file_name="<i>.wav")

    page = client.get("/jobs", headers={"Accept": BROWSER})

    assert page.mimetype == "text/html"
    assert '<span class="dot cpu"></span>CPU · int8_float32 · base' in page.text
    assert f'action="/jobs/{failed.id}/retry"' in page.text
    assert f'action="/jobs/{done}/delete"' in page.text
    assert f'action="/jobs/{running.id}/cancel"' in page.text
    assert "no_audio_stream" in page.text
    assert "&lt;i&gt;.wav" in page.text


def test_result_that_can_not_be_read_does_not_hide_the_list(
    client: FlaskClient, service: FakeService, done: str
) -> None:
    del service.results[done]

    [job] = client.get("/jobs").json["jobs"]

    assert job["gpu_used"] is None
    assert job["device"] is None


def test_empty_history_is_a_page(client: FlaskClient) -> None:
    page = client.get("/jobs?status=failed", headers={"Accept": BROWSER}).text

    assert "No jobs with status Failed." in page


def test_failed_job_shows_its_error(client: FlaskClient, service: FakeService) -> None:
    error = JobError(code="undecodable_media", message="No <audio> in it.", fix="Send audio.")
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.FAILED, error=error)

    answer = client.get(f"/jobs/{job.id}")
    page = client.get(f"/jobs/{job.id}", headers={"Accept": BROWSER})

    assert answer.status_code == 200
    assert answer.json["error"] == {
        "code": "undecodable_media",
        "message": "No <audio> in it.",
        "param": None,
        "fix": "Send audio.",
    }
    assert "No &lt;audio&gt; in it." in page.text
    assert "refresh" not in page.text


def test_cancelled_job_is_a_page(client: FlaskClient, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.CANCELLED)

    assert "was cancelled" in client.get(f"/jobs/{job.id}", headers={"Accept": BROWSER}).text


@pytest.mark.parametrize("job_id", ["job_" + "a" * 22, *HOSTILE_IDS])
@pytest.mark.parametrize("rest", ["", "/transcript.srt"])
def test_unknown_job_is_404(client: FlaskClient, job_id: str, rest: str) -> None:
    answer = client.get(f"/jobs/{job_id}{rest}")

    assert answer.status_code == 404
    assert answer.json["error"]["code"] in ("job_not_found", "not_found")


@pytest.mark.parametrize(
    ("ending", "mimetype", "extension"),
    [
        ("txt", "text/plain", "txt"),
        ("srt", "application/x-subrip", "srt"),
        ("vtt", "text/vtt", "vtt"),
        ("tsv", "text/tab-separated-values", "tsv"),
        ("ass", "text/x-ssa", "ass"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
        ("json", "application/json", "json"),
        ("verbose_json", "application/json", "json"),
    ],
)
def test_transcript_downloads_as_an_attachment(
    client: FlaskClient, done: str, ending: str, mimetype: str, extension: str
) -> None:
    answer = client.get(f"/jobs/{done}/transcript.{ending}")

    assert answer.mimetype == mimetype
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; ")
    assert f'filename="Rede uber Baren.{extension}"' in disposition
    assert f"Rede%20%C3%BCber%20B%C3%A4ren.{extension}" in disposition
    assert answer.headers["X-Gpu-Used"] == "false"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_downloaded_json_is_the_answer(client: FlaskClient) -> None:
    posted = post_file(client).json

    assert json.loads(client.get(f"/jobs/{posted['job_id']}/transcript.json").data) == posted


def test_unknown_ending_is_404_that_lists_them(client: FlaskClient, done: str) -> None:
    answer = client.get(f"/jobs/{done}/transcript.pdf")

    assert answer.status_code == 404
    assert "srt" in answer.json["error"]["fix"]


def test_transcript_of_an_unfinished_job_is_409(client: FlaskClient, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.RUNNING)

    answer = client.get(f"/jobs/{job.id}/transcript.txt")

    assert answer.status_code == 409
    assert answer.json["error"]["code"] == "job_not_finished"


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("undecodable_media", None, 422),
        ("audio_too_long", None, 413),
        ("interrupted", None, 503),
        ("cublas_missing", "gpu_required", 503),
        ("task_not_supported", "invalid_parameter", 422),
        ("of_another_version", None, 500),
    ],
)
def test_transcript_of_a_failed_job_is_its_error(
    client: FlaskClient, service: FakeService, code: str, kind: str | None, status: int
) -> None:
    error = JobError(code=code, message="no", fix="", kind=kind)
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.FAILED, error=error)

    answer = client.get(f"/jobs/{job.id}/transcript.txt")

    assert answer.status_code == status
    assert answer.json["error"]["code"] == code


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("speech.mp3", "speech.mp3"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\voice memo.m4a", "voice memo.m4a"),
        ("a\x00b\r\nc\x1b.wav", "abc.wav"),
        ("gpj.\u202egnp.exe", "gpj.gnp.exe"),
        ("", ""),
        ("می\u200cروم.flac", "می\u200cروم.flac"),
        ("\u200dI 🩷 👩\u200d🚒.flac\u200d", "I 🩷 👩\u200d🚒.flac"),
        ("newer than Python \U0001fadc\U0001faea.flac", "newer than Python \U0001fadc\U0001faea.flac"),
        (f"{SCOTLAND}.wav", f"{SCOTLAND}.wav"),
        ("a\U000e0067\ufffe\u200b\ufeff\u2066b.wav", "ab.wav"),
    ],
)
def test_shown_names_are_harmless(sent: str, shown: str) -> None:
    assert shown_name(sent) == shown


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("speech.mp3", "speech.srt"),
        ("no ending", "no ending.srt"),
        ("Vol. 1", "Vol. 1.srt"),
        ("Interview 2026.11.28", "Interview 2026.11.28.srt"),
        ("take.2.WAV", "take.2.srt"),
        (".hidden", "hidden.srt"),
        ("..", "job_1.srt"),
        ("", "job_1.srt"),
        ('a"b;c%d<e>.wav', "a_b_c_d_e_.srt"),
        ("x" * 4000 + ".wav", "x" * 80 + ".srt"),
    ],
)
def test_download_names_are_safe(file_name: str, expected: str) -> None:
    assert download_name_of_file(file_name, "job_1", "srt") == expected


def test_long_names_are_cut() -> None:
    assert len(shown_name("é" * 5000)) == MAX_NAME


@pytest.mark.parametrize(
    ("name", "ascii_name"),
    [
        ("会議録.srt", "job_1.srt"),
        ("Привет.flac", "job_1.flac"),
        ("会議録", "job_1"),
        ("I 🩷 it.srt", "I it.srt"),
        ("Bären.srt", "Baren.srt"),
        ("会議 7.srt", "7.srt"),
    ],
)
def test_old_clients_get_a_name_that_is_more_than_an_ending(name: str, ascii_name: str) -> None:
    plain, whole = attachment(name, "job_1").removeprefix("attachment; ").split("; ")

    assert plain.removeprefix("filename=").strip('"') == ascii_name
    assert unquote(whole.removeprefix("filename*=UTF-8''")) == name


def test_a_title_keeps_its_slashes(client: FlaskClient, done: str) -> None:
    renamed = client.patch(f"/jobs/{done}", json={"title": "Board 11/28 \\ draft. 2"})
    by_form = client.post(f"/jobs/{done}/rename", data={"title": "Board 11/28"})
    download = client.get(f"/jobs/{done}/transcript.srt")

    assert renamed.json["title"] == "Board 11/28 \\ draft. 2"
    assert by_form.json["title"] == "Board 11/28"
    assert 'filename="Board 11_28.srt"' in download.headers["Content-Disposition"]
