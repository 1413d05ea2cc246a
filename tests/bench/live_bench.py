"""Live sessions at the pace of speech: what was said when, and when it was shown."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed

from live_client import TEXT, Event, LiveClient

RATE = 24_000
PIECE_SECONDS = 0.1

#: The silence that ends an utterance.
SILENCE_MS = 500

#: Sound after the last word, so that the last utterance ends.
TAIL_SECONDS = 2.0


@dataclass(kw_only=True)
class Said:
    """One utterance: seconds from its beginning in the sound to its first words, and from its end to its final text."""

    first_words: float | None
    final: float
    text: str
    device: str


@dataclass(kw_only=True)
class Session:
    """What one session showed."""

    said: list[Said] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(one.text for one in self.said)


def talk(url: str, sound: bytes, *, headers: Mapping[str, str] | None = None) -> Session:
    """Send 24 kHz sound as it would be spoken. Times count from when each part of it was sent."""
    client = LiveClient(url, headers=headers)
    client.send(
        "session.update",
        session={
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": RATE},
                    "turn_detection": {"type": "server_vad", "silence_duration_ms": SILENCE_MS},
                }
            },
        },
    )
    client.until("session.updated")
    session, done = Session(), threading.Event()
    begun = time.monotonic()
    reader = threading.Thread(target=_read, args=(client, session, begun, done))
    reader.start()
    piece = int(RATE * PIECE_SECONDS) * 2
    whole = sound + b"\0" * int(RATE * TAIL_SECONDS) * 2
    for number, start in enumerate(range(0, len(whole), piece)):
        wait = begun + (number + 1) * PIECE_SECONDS - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        client.send(
            "input_audio_buffer.append", audio=base64.b64encode(whole[start : start + piece]).decode()
        )
    _wait_for_the_last(session, done)
    client.close()
    reader.join()
    session.said = _told(session.events)
    return session


def talk_at_once(url: str, sounds: Sequence[bytes]) -> list[Session]:
    """Several sessions side by side."""
    made: list[Session | None] = [None] * len(sounds)

    def one(place: int) -> None:
        made[place] = talk(url, sounds[place])

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(sounds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [session for session in made if session is not None]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def _read(client: LiveClient, session: Session, begun: float, done: threading.Event) -> None:
    try:
        while True:
            event = client.receive(timeout=300)
            session.events.append((time.monotonic() - begun, event))
    except (ConnectionClosed, TimeoutError):
        done.set()


def _wait_for_the_last(session: Session, done: threading.Event) -> None:
    """Until every utterance that was committed has its text."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not done.wait(0.2):
        kinds = [event["type"] for _, event in tuple(session.events)]
        ends = sum(kind in (f"{TEXT}.completed", f"{TEXT}.failed") for kind in kinds)
        started = kinds.count("input_audio_buffer.speech_started")
        if started <= ends and kinds.count("input_audio_buffer.committed") <= ends:
            return


def _told(events: Sequence[tuple[float, Event]]) -> list[Said]:
    """Speech ends where the silence began that ended the utterance: silence_duration_ms before the event's own time."""
    started: dict[str, float] = {}
    stopped: dict[str, float] = {}
    first: dict[str, float] = {}
    told: list[Said] = []
    for at, event in events:
        item = event.get("item_id", "")
        match event["type"]:
            case "input_audio_buffer.speech_started":
                started[item] = event["audio_start_ms"] / 1000 + 0.3
            case "input_audio_buffer.speech_stopped":
                stopped[item] = event["audio_end_ms"] / 1000 - SILENCE_MS / 1000
            case kind if kind == f"{TEXT}.delta":
                first.setdefault(item, at)
            case kind if kind == f"{TEXT}.completed" and item in stopped:
                told.append(
                    Said(
                        first_words=first[item] - started[item] if item in first else None,
                        final=at - stopped[item],
                        text=event["transcript"],
                        device=event["transcriber"]["device"],
                    )
                )
    return told
