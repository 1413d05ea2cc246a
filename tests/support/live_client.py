"""A client of /v1/realtime for tests and measurements, over the package that OpenAI's own client uses."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
from websockets.sync.client import ClientConnection, connect

TEXT = "conversation.item.input_audio_transcription"
Event = dict[str, Any]


def pcm_of(path: Path, rate: int, codec: str = "s16") -> bytes:
    """The file's sound: 16 bits, one channel."""
    resampler = av.AudioResampler(format=codec, layout="mono", rate=rate)
    with av.open(str(path)) as file:
        frames = [made for frame in file.decode(audio=0) for made in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().tobytes() for frame in frames)


class LiveClient:
    """One connection. Every event that came is kept."""

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, **query: str) -> None:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        address = f"{url.replace('http', 'ws', 1)}/v1/realtime?intent=transcription&{asked}"
        self.socket: ClientConnection = connect(
            address, additional_headers=dict(headers or {}), max_size=None, proxy=None
        )
        self.events: list[Event] = []
        self.session: Event = self.until("session.created", "session.updated")["session"]

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def append(self, sound: bytes, piece: int = 96_000) -> None:
        """Send sound at once."""
        for start in range(0, len(sound), piece):
            audio = base64.b64encode(sound[start : start + piece]).decode()
            self.send("input_audio_buffer.append", audio=audio)

    def receive(self, timeout: float = 120) -> Event:
        event: Event = json.loads(self.socket.recv(timeout))
        self.events.append(event)
        return event

    def until(self, *kinds: str, timeout: float = 120) -> Event:
        """The next event of one of these kinds."""
        while (event := self.receive(timeout))["type"] not in kinds:
            assert event["type"] != "error", event
        return event

    def texts(self) -> list[str]:
        """What was completed."""
        return [event["transcript"] for event in self.events if event["type"] == f"{TEXT}.completed"]

    def close(self) -> None:
        self.socket.close()
