"""What the clients of whisper-asr-webservice send; everything but the file stands in the query."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...domain.options import TranscriptionRequest
from ..forms import Flag, OptionsForm

Output = Literal["txt", "vtt", "srt", "tsv", "json"]

_FLAG = "true or false (also 1/0, yes/no, on/off)"

#: Whisper looks at this much of a file to detect its language, in seconds.
DETECTION_SECONDS = 30.0


class SampleForm(OptionsForm):
    """What both routes take."""

    encode: Flag = Field(True, description=f"{_FLAG}; false: the file is raw s16le, 16 kHz, mono")
    video_file: str | None = Field(None, max_length=4000, description="text of up to 4000 characters")


class AsrForm(SampleForm):
    """Query of POST /asr."""

    output: Output = Field("txt", description="txt, vtt, srt, tsv or json")


class DetectionForm(SampleForm):
    """Query of POST /detect-language."""

    def to_request(self, *, model: str, use_gpu: bool, vad_filter: bool) -> TranscriptionRequest:
        """The first window alone, decoded as quickly as can be: its language is all that is wanted."""
        request = super().to_request(model=model, use_gpu=use_gpu, vad_filter=vad_filter)
        return request.evolve(language=None, task="transcribe", beam_size=1, clip_seconds=DETECTION_SECONDS)
