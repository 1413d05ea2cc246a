"""What Open WebUI and Bazarr send, byte by byte: their servers are too large to run for each change."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import numpy as np

from server import Server

KEY = "a-key-of-at-least-thirty-two-characters"


def send(
    server: Server, path: str, body: bytes, headers: dict[str, str], *, chunked: bool = False
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    pieces = iter([body[:1000], body[1000:]]) if chunked else body
    connection.request("POST", path, body=pieces, headers=headers, encode_chunked=chunked)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def part(disposition: str, data: bytes, kind: str = "") -> bytes:
    head = f"--b0undary\r\nContent-Disposition: form-data; {disposition}\r\n{kind}\r\n"
    return head.encode() + data + b"\r\n"


def test_open_webui(served: Server, speech: Path) -> None:
    """aiohttp's form: `model` and `file`, the whole body chunked, no length on any part."""
    body = (
        part('name="model"', b"whisper-1", "Content-Type: text/plain; charset=utf-8\r\n")
        + part('name="language"', b"en", "Content-Type: text/plain; charset=utf-8\r\n")
        + part('name="file"; filename="0d9a.flac"', speech.read_bytes(), "Content-Type: audio/flac\r\n")
        + b"--b0undary--\r\n"
    )
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": "Python/3.11 aiohttp/3.13",
        "Content-Type": "multipart/form-data; boundary=b0undary",
        "Transfer-Encoding": "chunked",
    }

    status, found, answer = send(served, "/v1/audio/transcriptions", body, headers, chunked=True)

    assert status == 200
    assert found["content-type"].startswith("application/json")
    assert "country" in json.loads(answer)["text"]


def bazarr(server: Server, path: str, pcm: bytes) -> tuple[int, dict[str, str], bytes]:
    """requests' form: one part named audio_file, its file name the same, the key in the URL as Basic's password."""
    body = part('name="audio_file"; filename="audio_file"', pcm) + b"--b0undary--\r\n"
    import base64

    headers = {
        "Authorization": "Basic " + base64.b64encode(f"bazarr:{KEY}".encode()).decode(),
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate, br",
        "Connection": "keep-alive",
        "User-Agent": "Subliminal/2.1",
        "Content-Type": "multipart/form-data; boundary=b0undary",
    }
    return send(server, path, body, headers)


def pcm_of(speech: Path) -> bytes:
    """s16le, 16 kHz, mono, as Bazarr's ffmpeg writes it."""
    from faster_whisper.audio import decode_audio

    samples = decode_audio(str(speech), sampling_rate=16_000)
    return (samples * 32767).astype(np.int16).tobytes()


def test_bazarr_detects_and_transcribes(served: Server, speech: Path) -> None:
    pcm = pcm_of(speech)

    status, _, answer = bazarr(
        served, "//detect-language?encode=false&video_file=%2Ftv%2FShow%20S01E01.mkv", pcm
    )
    assert status == 200
    found = json.loads(answer)
    assert (found["language_code"], found["detected_language"]) == ("en", "english")
    assert found["confidence"] > 0.8

    status, headers, answer = bazarr(
        served,
        "//asr?task=transcribe&language=en&output=srt&encode=false&video_file=%2Ftv%2FShow%20S01E01.mkv",
        pcm,
    )
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert answer.decode().startswith("1\n00:00:")
    assert b"country" in answer


def test_bazarrs_connection_test_finds_a_version(served: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", "/status", headers={"Authorization": f"Bearer {KEY}"})

    assert json.loads(connection.getresponse().read())["version"].startswith("Transcriber ")
    connection.close()
