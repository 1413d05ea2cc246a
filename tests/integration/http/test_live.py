"""Live captions over a real server, with a real engine."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus

from async_run import run_async
from live_bench import talk
from live_client import TEXT, LiveClient, pcm_of
from server import Server

KEY = "a-key-of-at-least-thirty-two-characters"
BEARER = {"Authorization": f"Bearer {KEY}"}
SILENCE = b"\0" * 48_000


@pytest.fixture(scope="module")
def live(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key, and room for six sessions."""
    env = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_API_KEY": KEY,
        "WHISPER_LIVE_SESSIONS": "6",
    }
    with Server(tmp_path_factory.mktemp("live"), env=env) as server:
        server.wait_for("/health/ready", timeout=180)
        yield server


def job_of(server: Server, job_id: str, *, headers: dict[str, str] | None = None) -> dict[str, object]:
    """The job once it has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = server.get(f"/jobs/{job_id}", headers={"Accept": "application/json", **(headers or BEARER)})
        if answer.status == 200 and answer.json["status"] in ("succeeded", "failed"):
            return answer.json
        time.sleep(0.1)
    raise TimeoutError(job_id)


def words_of(text: str) -> set[str]:
    return {word.strip(".,?!").lower() for word in text.split()}


def test_openais_client_gets_deltas_and_a_job_with_the_same_text(live: Server, speech: Path) -> None:
    sound = pcm_of(speech, 24_000) + SILENCE * 2
    client = AsyncOpenAI(
        api_key=KEY, base_url=f"{live.url}/v1", websocket_base_url=f"ws://127.0.0.1:{live.port}/v1"
    )

    async def talk() -> tuple[str, list[str], list[str], list[str]]:
        job, deltas, texts, devices = "", [], [], []
        async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
            await connection.session.update(session={"type": "transcription"})
            for start in range(0, len(sound), 96_000):
                piece = base64.b64encode(sound[start : start + 96_000]).decode()
                await connection.input_audio_buffer.append(audio=piece)
            # Nothing is left to commit once all of the sound was heard: that is said, and marks the end.
            await connection.input_audio_buffer.commit()
            committed, is_heard = 0, False
            async for event in connection:
                if event.type == "session.created":
                    job = event.session.to_dict()["transcriber"]["job_id"]  # type: ignore[index,call-overload]
                elif event.type == f"{TEXT}.delta":
                    deltas.append(event.delta or "")
                elif event.type == f"{TEXT}.completed":
                    assert event.usage.seconds > 0  # type: ignore[union-attr]
                    texts.append(event.transcript)
                    devices.append(event.to_dict()["transcriber"]["device"])  # type: ignore[index,call-overload]
                elif event.type == "input_audio_buffer.committed":
                    committed += 1
                elif event.type == "error":
                    assert event.error.code == "input_audio_buffer_commit_empty"
                    is_heard = True
                if is_heard and len(texts) == committed:
                    break
        return job, deltas, texts, devices

    job_id, deltas, texts, devices = run_async(asyncio.wait_for(talk(), 120))

    assert "country" in words_of(" ".join(texts))
    assert "".join(deltas).replace(" ", "") == "".join(texts).replace(" ", "")
    assert set(devices) == {"cpu"}
    job = job_of(live, job_id)
    assert job["status"] == "succeeded"
    kept = live.get(f"/jobs/{job_id}/transcript.json", headers=BEARER).json
    assert kept["text"].split() == " ".join(texts).split()
    assert kept["receipt"]["windows_total"] >= len(texts)


def test_words_come_while_somebody_speaks(live: Server, speech: Path) -> None:
    """The short form of scripts/bench-live: that all is measured, not how fast this machine is."""
    session = talk(live.url, pcm_of(speech, 24_000), headers=BEARER)

    assert "country" in words_of(session.text)
    assert all(one.device == "cpu" and one.final > 0 for one in session.said)
    assert any(one.first_words is not None for one in session.said)


def test_telephone_sound_is_transcribed_at_the_commit(live: Server, speech: Path, tmp_path: Path) -> None:
    encoded = tmp_path / "speech.ul"
    with av.open(str(speech)) as source, av.open(str(encoded), "w", format="mulaw") as target:
        stream = target.add_stream("pcm_mulaw", rate=8000, layout="mono")
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    client = LiveClient(live.url, headers=BEARER)
    client.send(
        "session.update",
        session={
            "type": "transcription",
            "audio": {"input": {"format": {"type": "audio/pcmu"}, "turn_detection": None}},
        },
    )
    client.append(encoded.read_bytes(), piece=8000)
    client.send("input_audio_buffer.commit")

    done = client.until(f"{TEXT}.completed")
    client.close()

    assert "country" in words_of(done["transcript"])
    assert 10.5 < done["usage"]["seconds"] < 11.5


def test_cleared_sound_is_forgotten_and_an_empty_commit_is_told(live: Server, speech: Path) -> None:
    client = LiveClient(live.url, headers=BEARER)
    client.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
    client.append(pcm_of(speech, 24_000)[:96_000])
    client.send("input_audio_buffer.clear")
    client.until("input_audio_buffer.cleared")
    client.send("input_audio_buffer.commit", event_id="mine")

    problem = client.receive()
    client.close()

    assert (problem["type"], problem["error"]["code"]) == ("error", "input_audio_buffer_commit_empty")


def test_a_message_that_makes_no_sense_is_told_and_the_session_goes_on(live: Server) -> None:
    client = LiveClient(live.url, headers=BEARER)
    codes = []
    for text in ("{", "[]", '{"type": "response.create"}', '{"type": "input_audio_buffer.append"}'):
        client.socket.send(text)
        codes.append(client.receive()["error"]["code"])
    client.send("input_audio_buffer.append", audio="?" * 8)
    codes.append(client.receive()["error"]["code"])
    client.send("session.update", session={})
    client.until("session.updated")
    client.close()

    assert codes == [
        "bad_request",
        "bad_request",
        "invalid_parameter",
        "invalid_parameter",
        "invalid_request",
    ]


def test_silence_gives_no_text_and_leaves_no_job(live: Server) -> None:
    client = LiveClient(live.url, headers=BEARER)
    client.append(SILENCE * 4)
    client.send("session.update", session={})
    client.until("session.updated")
    client.close()

    assert [event["type"] for event in client.events] == ["session.created", "session.updated"]
    assert live.get(f"/jobs/{client.session['transcriber']['job_id']}", headers=BEARER).status == 404


def test_a_cut_connection_goes_on_with_its_session(live: Server, speech: Path) -> None:
    sound = pcm_of(speech, 24_000)
    client = LiveClient(live.url, headers=BEARER)
    client.append(sound[: len(sound) // 2])
    last = client.until(f"{TEXT}.completed")
    client.socket.socket.close()

    again = LiveClient(
        live.url,
        headers=BEARER,
        session_id=client.session["id"],
        after=str(last["transcriber"]["number"]),
    )
    assert again.session["id"] == client.session["id"]
    assert again.session["transcriber"]["received_bytes"] == len(sound) // 2 // 2 * 2
    again.append(sound[len(sound) // 2 :] + SILENCE)
    again.until(f"{TEXT}.completed")
    again.close()

    job = job_of(live, client.session["transcriber"]["job_id"])
    assert job["status"] == "succeeded"


def test_who_may_not_or_finds_no_room_is_refused_before_the_socket_opens(live: Server) -> None:
    assert live.get("/v1/realtime", headers=BEARER).status == 426
    with pytest.raises(InvalidStatus) as nobody:
        LiveClient(live.url)
    with pytest.raises(InvalidStatus) as unknown:
        LiveClient(live.url, headers=BEARER, model="no-such-model")
    open_ones = []
    # Sessions of the tests before may still be ending.
    with pytest.raises(InvalidStatus) as full:
        for _ in range(7):
            open_ones.append(LiveClient(live.url, headers=BEARER))
    for client in open_ones:
        client.close()

    statuses = [refused.value.response.status_code for refused in (nobody, unknown, full)]
    assert statuses == [401, 404, 429]


def test_a_killed_server_keeps_what_was_final(live: Server, speech: Path) -> None:
    client = connected(live)
    sound = pcm_of(speech, 24_000)
    client.append(sound[: len(sound) // 2])
    client.until(f"{TEXT}.completed")
    client.append(sound[len(sound) // 2 :])
    os.kill(live.pid, signal.SIGKILL)
    live.process.wait()
    with pytest.raises(ConnectionClosed):
        while True:
            client.receive()
    live.log.close()

    live.start()
    job_id = client.session["transcriber"]["job_id"]
    job = job_of(live, job_id)

    assert job["status"] == "succeeded"
    kept = live.get(f"/jobs/{job_id}/transcript.json", headers=BEARER).json["text"].split()
    final = " ".join(client.texts()).split()
    assert final and kept[: len(final)] == final


def connected(live: Server) -> LiveClient:
    """A client, once there is room for one."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return LiveClient(live.url, headers=BEARER)
        except InvalidStatus:
            assert time.monotonic() < deadline
            time.sleep(0.1)
