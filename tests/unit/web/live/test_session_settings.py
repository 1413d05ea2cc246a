"""session.update: OpenAI's names become ours, and what has no effect is named."""

from __future__ import annotations

from typing import Any

import pytest

from transcriber.domain.errors import InvalidParameterError
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.live.session import LiveFormat
from transcriber.web.live.session_settings import changed_session

REQUEST = TranscriptionRequest(model="base", use_gpu=False, require_gpu=False, options=TranscriptionOptions())


def change(**sound: Any) -> tuple[Any, str | None]:
    return changed_session({"type": "transcription", "audio": {"input": sound}}, LiveFormat(), REQUEST)


def test_an_empty_update_changes_nothing() -> None:
    made, model = changed_session({}, LiveFormat(), REQUEST)

    assert (made.format, made.request, made.ignored, model) == (LiveFormat(), REQUEST, (), None)


def test_format_turns_and_options_are_taken() -> None:
    made, model = change(
        format={"type": "audio/pcmu"},
        transcription={"model": "whisper-1", "language": "German", "prompt": "Names", "keywords": ["Ada"]},
        turn_detection={"type": "server_vad", "silence_duration_ms": 300},
    )

    assert (made.format.kind, made.format.rate) == ("audio/pcmu", 8000)
    assert made.format.turns == {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 300}
    options = made.request.options
    assert (options.language, options.initial_prompt, options.hotwords) == ("de", "Names", "Ada")
    assert model == "whisper-1"


def test_null_turns_mean_commit() -> None:
    made, _ = change(turn_detection=None)

    assert made.format.turns is None


def test_what_has_no_effect_is_named() -> None:
    made, _ = change(
        noise_reduction={"type": "near_field"}, turn_detection={"type": "semantic_vad", "eagerness": "low"}
    )

    assert set(made.ignored) == {
        "session.audio.input.noise_reduction",
        "session.audio.input.turn_detection.eagerness",
        "session.audio.input.turn_detection.type",
    }


@pytest.mark.parametrize(
    ("sound", "param"),
    [
        ({"format": {"type": "audio/opus"}}, "session.audio.input.format.type"),
        ({"format": {"type": "audio/pcma", "rate": 16000}}, "session.audio.input.format.rate"),
        (
            {"turn_detection": {"type": "server_vad", "threshold": 2}},
            "session.audio.input.turn_detection.threshold",
        ),
        ({"transcription": {"language": "klingon"}}, "language"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(sound: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        change(**sound)

    assert refused.value.param == param


def test_an_update_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidParameterError):
        changed_session("all", LiveFormat(), REQUEST)
