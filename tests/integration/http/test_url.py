"""Files fetched by URL on a real server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from server import Server
from webhook_receiver import receiving


def _submit(server: Server, url: str) -> str:
    answer = server.request(
        "POST",
        "/jobs",
        body=urlencode({"url": url}).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status == 202, answer.text
    return str(answer.json["job_id"])


def _ended(server: Server, job_id: str) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while (job := server.get(f"/jobs/{job_id}").json)["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    return dict(job)


def test_files_are_fetched_transcribed_or_refused_with_their_codes(
    serve: Callable[..., Server], speech: Path
) -> None:
    server = serve(WHISPER_SOURCE_ALLOW_CIDR="127.0.0.1/32", WHISPER_MAX_UPLOAD_BYTES="5000000")
    data = speech.read_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: audio/flac\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    with receiving(head + data) as media, receiving(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n") as gone:
        done = _ended(server, _submit(server, media.url))
        missing = _ended(server, _submit(server, gone.url))

    assert done["status"] == "succeeded" and "country" in str(done["text"])
    assert done["size_bytes"] == len(data) and done["gpu_used"] is False
    assert missing["error"]["code"] == "url_refused"  # type: ignore[index]
    refused = server.request(
        "POST",
        "/jobs",
        body=b"url=http%3A%2F%2F169.254.169.254%2Flatest",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (refused.status, refused.json["error"]["code"]) == (403, "url_not_allowed")
