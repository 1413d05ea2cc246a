"""What the user of the command line asks for, the same for every file."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscribeRequest:
    """Options of the submissions. None: the installation's default."""

    model: str | None = None
    language: str | None = None
    languages: str | None = None
    multilingual: bool = False
    task: str | None = None
    use_gpu: bool | None = None
    require_gpu: bool = False
    word_timestamps: bool = False
    channels: str = "mix"
    audio_track: int | None = None
    diarize: bool = False
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    priority: int = 0

    def to_fields(self) -> dict[str, str]:
        """The fields of POST /jobs; what is not said stays out."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        unsaid = {field.name: field.default for field in fields(self)}
        return {name: _spelled(value) for name, value in given.items() if value != unsaid[name]}


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
