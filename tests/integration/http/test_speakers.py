"""Who speaks when, through the real service: real engine, real models of speakers, a conversation of real voices."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import Answer, Server, multipart
from speakers_mixes import Mix, mix

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def talk() -> Mix:
    """Two voices in turn."""
    return mix(2, seed=3, seconds=25, among=("jfk", "librivox"))


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(models)}
    with Server(tmp_path_factory.mktemp("speakers"), env=env) as server:
        server.wait_for("/health/ready")
        yield server


@pytest.fixture(scope="module")
def told(server: Server, talk: Mix) -> Any:
    """The answer of one diarized request."""
    answer = server.transcribe(talk.wav, name="talk.wav", diarize="true")
    assert answer.status == 200, answer.text
    return answer.json


def voices_of(talk: Mix, parts: list[Any]) -> dict[str, set[str]]:
    """The speakers that these words or segments were given, by the voice that is heard alone in the middle of each."""
    found: dict[str, set[str]] = {}
    for part in parts:
        middle = (part["start"] + part["end"]) / 2
        if (voice := talk.voice_at(middle, middle)) is not None:
            found.setdefault(voice, set()).add(part["speaker"])
    return found


def test_two_voices_are_two_speakers(told: Any, talk: Mix) -> None:
    assert [(one["id"], one["name"]) for one in told["speakers"]] == [("A", ""), ("B", "")]
    found = voices_of(talk, told["segments"])
    assert sorted(len(names) for names in found.values()) == [1, 1]
    assert found["jfk"] != found["librivox"]


def test_words_have_the_speaker_of_their_segment(told: Any) -> None:
    assert all(word["speaker"] == one["speaker"] for one in told["segments"] for word in one["words"])
    assert {turn["speaker"] for turn in told["speaker_turns"]} == {"A", "B"}


def test_receipt_says_where_speakers_were_told_apart(told: Any, server: Server) -> None:
    receipt = told["receipt"]["diarization"]

    assert (receipt["device"], receipt["provider"]) == ("cpu", "CPUExecutionProvider")
    assert "transcriber.speakers.child" in server.children()[receipt["pid"]]
    assert told["timings"]["diarization"] == pytest.approx(receipt["seconds"], abs=0.01)


def test_speaker_is_renamed_and_another_merged_in_every_format(server: Server, told: Any) -> None:
    path = f"/jobs/{told['job_id']}/transcript"
    as_they_are = [
        {name: one[name] for name in ("start", "end", "text")} | {"sources": [place]}
        for place, one in enumerate(told["segments"])
    ]

    named = put(server, path, as_they_are, [{"id": "A", "name": "Ada"}])
    texts = {kind: server.get(f"{path}.{kind}").text for kind in ("vtt", "srt", "txt", "tsv")}
    merged = put(server, path, [one | {"speaker": "A"} for one in as_they_are], [])

    assert [(one["id"], one["name"]) for one in named.json["speakers"]] == [("A", "Ada"), ("B", "")]
    assert "<v Ada>" in texts["vtt"] and "<v Speaker B>" in texts["vtt"]
    assert all("Ada: " in texts[kind] and "Speaker B: " in texts[kind] for kind in ("srt", "txt"))
    assert "\tAda\t" in texts["tsv"]
    assert [(one["id"], one["name"]) for one in merged.json["speakers"]] == [("A", "Ada")]


def put(server: Server, path: str, segments: list[Any], speakers: list[Any]) -> Answer:
    body = json.dumps({"segments": segments, "speakers": speakers}).encode()
    headers = {"Content-Type": "application/json", "If-Match": "*"}
    answer = server.request("PUT", path, body=body, headers=headers)
    assert answer.status == 200, answer.text
    return answer


def test_known_voice_has_its_name_and_the_other_has_none(server: Server, talk: Mix) -> None:
    fields = {
        "model": "gpt-4o-transcribe-diarize",
        "response_format": "diarized_json",
        "known_speaker_names[]": "Kennedy",
        "known_speaker_references[]": data_url(talk.reference("jfk")),
    }

    answer = speak(server, talk, fields)

    assert answer.status == 200, answer.text
    found = voices_of(talk, answer.json["segments"])
    assert found["jfk"] == {"Kennedy"}
    assert found["librivox"] < {"A", "B"}


def test_voice_of_somebody_else_names_nobody(server: Server, talk: Mix) -> None:
    stranger = mix(1, seed=5, seconds=8, among=("hi",))
    fields = {
        "response_format": "diarized_json",
        "known_speaker_names[]": "Somebody",
        "known_speaker_references[]": data_url(stranger.reference("hi")),
    }

    answer = speak(server, talk, fields)

    assert {one["speaker"] for one in answer.json["segments"]} == {"A", "B"}


def test_recording_that_is_no_audio_is_a_400_that_says_so(server: Server, talk: Mix) -> None:
    fields = {
        "response_format": "diarized_json",
        "known_speaker_names[]": "Ada",
        "known_speaker_references[]": data_url(b"no audio at all" * 99),
    }

    answer = speak(server, talk, fields)

    assert (answer.status, answer.json["error"]["param"]) == (400, "known_speaker_references[]")


def speak(server: Server, talk: Mix, fields: dict[str, str]) -> Answer:
    body, content_type = multipart(talk.wav, "talk.wav", fields)
    headers = {"Content-Type": content_type}
    return server.request("POST", "/v1/audio/transcriptions", body=body, headers=headers, timeout=120)


def data_url(recording: bytes) -> str:
    return "data:audio/wav;base64," + base64.b64encode(recording).decode()
