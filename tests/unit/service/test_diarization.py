"""The speakers of a job: found by a diarizer, named by the voices that were sent along, and never the job's end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fake_ports import FakeDecoder
from job_stores import make_job
from transcriber.domain.errors import DiarizationError, InvalidParameterError, UndecodableMediaError
from transcriber.domain.jobs import Job
from transcriber.domain.ports import SAMPLE_RATE, DecodedAudio
from transcriber.domain.speakers import Diarization
from transcriber.domain.word_speakers import Turn
from transcriber.service.diarization import decode_references, find_speakers
from transcriptions import make_segment

SEGMENTS = (
    make_segment(start=0.0, end=2.0, words=None),
    make_segment(id=1, start=2.0, end=4.0, words=None),
)


@dataclass
class FakeDiarizer:
    """Finds what it is told, and remembers what it was asked."""

    references: tuple[int | None, ...] = ()
    silent: tuple[int, ...] = ()
    turns: tuple[Turn, ...] = (
        Turn(speaker=0, start=0.0, end=2.0),
        Turn(speaker=1, start=2.0, end=4.0),
    )
    error: DiarizationError | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def diarize(self, pcm: Path, samples: int, **asked: Any) -> Diarization:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return Diarization(
            turns=self.turns,
            voices=tuple((1.0,) for _ in {turn.speaker for turn in self.turns}),
            references=self.references,
            silent_references=self.silent,
            device="cpu",
            provider="CPUExecutionProvider",
            pid=7,
            seconds=0.1,
        )

    def close(self) -> None: ...


def job_with(**options: Any) -> Job:
    job = make_job()
    return job.evolve(request=job.request.evolve(**({"diarize": True} | options)))


def audio(seconds: float = 10.0) -> DecodedAudio:
    return DecodedAudio(
        path=Path("/nowhere.pcm"),
        samples=int(seconds * SAMPLE_RATE),
        container="wav",
        codec="pcm",
        channels=1,
        sample_rate=SAMPLE_RATE,
        audio_streams=1,
        stream_index=0,
    )


def find(diarizer: FakeDiarizer, job: Job, references: Sequence[DecodedAudio] = ()) -> Any:
    return find_speakers(diarizer, job, audio(), SEGMENTS, lambda: False, references)


def test_a_known_voice_gives_its_speaker_a_name() -> None:
    diarizer = FakeDiarizer(references=(None, 0))
    references = (audio(3.0), audio(4.0))

    found = find(diarizer, job_with(known_speakers=("Ada", "Bob")), references)

    assert [(one.id, one.name) for one in found.speakers] == [("A", ""), ("B", "Ada")]
    assert diarizer.asked[0]["references"] == references
    assert found.notices == ()


def test_a_recording_in_which_nobody_speaks_is_named() -> None:
    found = find(FakeDiarizer(silent=(1,)), job_with(known_speakers=("Ada", "Bob")))

    (notice,) = found.notices
    assert (notice.code, notice.param) == ("speaker_reference_silent", "known_speaker_references[]")
    assert "Bob" in notice.message


def test_no_voice_at_all_is_no_secret() -> None:
    found = find(FakeDiarizer(turns=()), job_with())

    assert [notice.code for notice in found.notices] == ["no_speakers_found"]
    assert found.segments == SEGMENTS


def test_another_number_than_was_asked_for_is_no_secret() -> None:
    found = find(FakeDiarizer(), job_with(min_speakers=3, max_speakers=3))

    assert [notice.code for notice in found.notices] == ["speaker_count_differs"]


def test_a_failure_is_a_warning() -> None:
    found = find(FakeDiarizer(error=DiarizationError(code="diarization_timeout")), job_with())

    assert [notice.code for notice in found.notices] == ["diarization_timeout"]
    assert (found.segments, found.speakers, found.receipt) == (SEGMENTS, (), None)


def test_a_job_that_does_not_ask_for_speakers_costs_nothing() -> None:
    diarizer = FakeDiarizer()

    assert find(diarizer, job_with(diarize=False)).segments == SEGMENTS
    assert diarizer.asked == []


def decode(decoder: FakeDecoder, tmp_path: Path, count: int = 1) -> tuple[DecodedAudio, ...]:
    files = [tmp_path / f"reference-{number}" for number in range(count)]
    return decode_references(decoder, make_job(), files, tmp_path, lambda: False)


@pytest.mark.parametrize("seconds", [1.9, 2.0, 10.0, 10.1])
def test_recordings_of_two_to_ten_seconds_are_decoded(tmp_path: Path, seconds: float) -> None:
    decoder = FakeDecoder(seconds={make_job().id: seconds})

    first, second = decode(decoder, tmp_path, 2)

    assert first.path != second.path
    assert first.duration == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [1.0, 11.0])
def test_a_recording_of_another_length_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(InvalidParameterError, match=rf"number 1: {seconds:.1f} s") as raised:
        decode(FakeDecoder(seconds={make_job().id: seconds}), tmp_path)

    assert raised.value.param == "known_speaker_references[]"


def test_a_recording_that_is_no_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="number 1"):
        decode(FakeDecoder(error=UndecodableMediaError()), tmp_path)
