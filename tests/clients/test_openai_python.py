"""OpenAI's own client for Python against a running service: every format, streams, raw answers, errors, time-outs."""

from __future__ import annotations

import base64
import io
import json
import math
import wave
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
    TranslationVerbose,
)

from async_run import run_async
from server import Server
from speakers_mixes import Mix

KEY = "a-key-of-at-least-thirty-two-characters"
WORDS = "ask not what your country can do for you"


@pytest.fixture
def client(served: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def spoken(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ")


def silence(seconds: int = 1) -> bytes:
    """A WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(32_000 * seconds))
    return buffer.getvalue()


def valid(kind: type[Any], body: str | bytes) -> Any:
    """The body by the client's own type, checked: left alone, the client builds its types without looking."""
    return kind.model_validate_json(body)


def test_json_is_a_transcription_with_usage(client: openai.OpenAI, speech: Path) -> None:
    with speech.open("rb") as file:
        raw = client.audio.transcriptions.with_raw_response.create(model="whisper-1", file=file)

    answer = raw.parse()
    assert isinstance(answer, Transcription)
    assert WORDS in spoken(answer.text)
    checked = valid(Transcription, raw.content)
    assert (checked.usage.type, round(checked.usage.seconds)) == ("duration", 11)
    assert [language.code for language in checked.languages] == ["en"]
    assert raw.headers["x-gpu-used"] == "false"
    assert 'model_alias;param="model"' in raw.headers["x-warnings"]


@pytest.mark.parametrize("granularities", [["segment"], ["word"], ["word", "segment"]])
def test_verbose_json_has_what_was_asked_for(
    client: openai.OpenAI, speech: Path, granularities: list[Any]
) -> None:
    with speech.open("rb") as file:
        answer = client.audio.transcriptions.create(
            model="whisper-1",
            file=file,
            response_format="verbose_json",
            timestamp_granularities=granularities,
        )

    assert isinstance(answer, TranscriptionVerbose)
    checked = valid(TranscriptionVerbose, answer.to_json())
    assert (checked.language, round(checked.duration)) == ("english", 11)
    assert (checked.words is not None) == ("word" in granularities)
    assert (checked.segments is not None) == ("segment" in granularities)
    for segment in checked.segments or ():
        assert segment.avg_logprob < 0
        assert segment.compression_ratio > 0
        assert segment.tokens
    if checked.words:
        starts = [word.start for word in checked.words]
        assert starts == sorted(starts)
        assert WORDS in spoken(" ".join(word.word for word in checked.words))


@pytest.mark.parametrize(("kind", "begin"), [("text", ""), ("srt", "1\n00:00:"), ("vtt", "WEBVTT\n\n")])
def test_plain_formats_are_texts(client: openai.OpenAI, speech: Path, kind: Any, begin: str) -> None:
    with speech.open("rb") as file:
        answer = client.audio.transcriptions.create(model="whisper-1", file=file, response_format=kind)

    assert isinstance(answer, str)
    assert answer.startswith(begin)
    assert "country" in answer


def test_token_probabilities_are_those_of_the_text(client: openai.OpenAI, speech: Path) -> None:
    with speech.open("rb") as file:
        answer = client.audio.transcriptions.create(model="whisper-1", file=file, include=["logprobs"])

    tokens = answer.logprobs or []
    joined = b"".join(bytes(map(int, token.bytes or ())) for token in tokens).decode()
    assert joined.strip() == answer.text
    likely = [math.exp(token.logprob or 0) for token in tokens]
    assert all(0 < one <= 1 for one in likely)
    assert sum(likely) / len(likely) > 0.7  # clear speech
    assert len(set(likely)) > len(likely) / 2


def test_stream_is_typed_events(client: openai.OpenAI, speech: Path) -> None:
    with speech.open("rb") as file:
        stream = client.audio.transcriptions.create(
            model="whisper-1", file=file, stream=True, include=["logprobs"]
        )
        events = list(stream)

    *deltas, done = events
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    checked = valid(TranscriptionTextDoneEvent, done.to_json())
    assert checked.usage.total_tokens == checked.usage.input_tokens + checked.usage.output_tokens
    assert "".join(event.delta for event in deltas) == done.text
    assert WORDS in spoken(done.text)
    told = [one.to_dict() for event in deltas for one in event.logprobs or ()]
    assert told == [one.to_dict() for one in done.logprobs or ()] != []


def spoken_by(mix: Mix, segments: Iterable[Any]) -> dict[str, set[str]]:
    """The speakers of the segments, by the voice that is heard in the middle of each."""
    found: dict[str, set[str]] = {}
    for segment in segments:
        middle = (segment.start + segment.end) / 2
        if (voice := mix.voice_at(middle, middle)) is not None:
            found.setdefault(voice, set()).add(segment.speaker)
    return found


def reference(mix: Mix, voice: str) -> str:
    """A data URL of what this voice says first."""
    return "data:audio/wav;base64," + base64.b64encode(mix.reference(voice)).decode()


def test_speakers_and_one_of_them_by_name(client: openai.OpenAI, conversation: Mix) -> None:
    answer = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("talk.wav", conversation.wav),
        response_format="diarized_json",
        chunking_strategy="auto",
        known_speaker_names=["Kennedy"],
        known_speaker_references=[reference(conversation, "jfk")],
    )

    assert isinstance(answer, TranscriptionDiarized)
    checked = valid(TranscriptionDiarized, answer.to_json())
    assert checked.usage and checked.usage.type == "duration"
    found = spoken_by(conversation, checked.segments)
    assert found["jfk"] == {"Kennedy"}
    assert len(found["librivox"]) == 1 and "Kennedy" not in found["librivox"]


def test_stream_of_speakers_is_typed_events(client: openai.OpenAI, conversation: Mix) -> None:
    stream = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("talk.wav", conversation.wav),
        response_format="diarized_json",
        stream=True,
    )
    events = list(stream)

    deltas = [event for event in events if isinstance(event, TranscriptionTextDeltaEvent)]
    segments = [event for event in events if isinstance(event, TranscriptionTextSegmentEvent)]
    assert isinstance(events[-1], TranscriptionTextDoneEvent)
    assert "".join(event.delta for event in deltas) == events[-1].text
    assert " ".join(valid(TranscriptionTextSegmentEvent, one.to_json()).text for one in segments)
    assert all(len(names) == 1 for names in spoken_by(conversation, segments).values())


@pytest.mark.filterwarnings(
    "ignore:deprecated:DeprecationWarning"
)  # OpenAI gives the route up; its clients have it
def test_translation(client: openai.OpenAI, speech: Path) -> None:
    with speech.open("rb") as file:
        answer = client.audio.translations.create(
            model="whisper-1", file=file, response_format="verbose_json"
        )

    assert valid(TranslationVerbose, answer.to_json()).language == "english"


def test_every_field_at_once(client: openai.OpenAI, speech: Path) -> None:
    with speech.open("rb") as file:
        raw = client.audio.transcriptions.with_raw_response.create(
            model="gpt-transcribe",
            file=file,
            prompt="A speech.",
            temperature=0.0,
            chunking_strategy={
                "type": "server_vad",
                "threshold": 0.4,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 200,
            },
            extra_body={"languages": ["en", "de"], "keywords": ["Americans"], "use_gpu": False},
        )

    assert WORDS in spoken(raw.parse().text)
    assert raw.headers["x-warnings"] == 'model_alias;param="model"'


def test_models_are_listed(client: openai.OpenAI) -> None:
    found = {model.id: model for model in client.models.list()}

    assert {"base", "whisper-1", "gpt-4o-transcribe"} <= set(found)
    assert client.models.retrieve("whisper-1").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("someone/nothing")


@pytest.mark.parametrize(
    ("kind", "code", "fields"),
    [
        (openai.BadRequestError, "invalid_parameter", {"temperature": 7}),
        (
            openai.BadRequestError,
            "invalid_parameter",
            {"response_format": "diarized_json", "known_speaker_names": ["Ada"]},
        ),
        (
            openai.BadRequestError,
            "invalid_parameter",  # known only when it is decoded: one second of silence
            {
                "response_format": "diarized_json",
                "known_speaker_names": ["Ada"],
                "known_speaker_references": [
                    "data:audio/wav;base64," + base64.b64encode(silence(1)).decode()
                ],
            },
        ),
        (openai.NotFoundError, "model_not_found", {"model": "large-v9"}),
        (openai.BadRequestError, "empty_upload", {"file": ("a.wav", b"")}),
        (openai.BadRequestError, "undecodable_media", {"file": ("a.wav", b"no audio at all" * 99)}),
    ],
)
def test_errors_are_the_clients_own(
    client: openai.OpenAI, speech: Path, kind: type[openai.APIStatusError], code: str, fields: Any
) -> None:
    sent = {"model": "whisper-1", "file": ("speech.flac", speech.read_bytes())} | fields

    with pytest.raises(kind) as raised:
        client.audio.transcriptions.create(**sent)

    assert raised.value.code == code
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["fix"] in str(raised.value)


def test_wrong_key_is_an_authentication_error(served: Server) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_async_client(served: Server, speech: Path) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=KEY) as client:
            audio = ("speech.flac", speech.read_bytes())
            plain = client.audio.transcriptions.create(model="whisper-1", file=audio)
            stream = await client.audio.transcriptions.create(model="whisper-1", file=audio, stream=True)
            deltas = [event.delta async for event in stream if event.type == "transcript.text.delta"]
            return (await plain).text, "".join(deltas)

    whole, streamed = run_async(ask())

    assert whole == streamed
    assert WORDS in spoken(whole)


def test_request_that_times_out_and_comes_twice_again_is_one_job(stand_in: Callable[..., Server]) -> None:
    server = stand_in(pace=12)
    audio = ("speech.wav", silence())
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=5, max_retries=2) as client:
        answer = client.audio.transcriptions.create(model="base", file=audio)

    assert answer.text == "window 0"
    page = server.get("/jobs", headers={"Authorization": f"Bearer {KEY}"}).json
    assert [job["status"] for job in page["jobs"]] == ["succeeded"]
    assert page["jobs"][0]["attempts"] == 1


def test_body_is_json_that_any_client_reads(served: Server, speech: Path) -> None:
    """What the SDK does not show: the content type, which decides whether clients parse the body."""
    answer = served.transcribe(
        speech, path="/v1/audio/transcriptions", model="whisper-1", accept="application/json"
    )

    assert answer.status == 401
    assert set(json.loads(answer.body)["error"]) >= {"message", "type", "param", "code"}
