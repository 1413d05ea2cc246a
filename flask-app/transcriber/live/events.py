"""What a live session says, in order. Samples are counted at 16 kHz from its beginning."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.errors import TranscriberError
from ..service.utterances import Utterance


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks."""

    item: str
    sample: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """And has stopped."""

    item: str
    sample: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The utterance has its end. previous: the one before it."""

    item: str
    previous: str | None


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was not committed is forgotten."""


@dataclass(frozen=True, slots=True)
class Delta:
    """More of an utterance's text, which is not taken back."""

    item: str
    text: str


@dataclass(frozen=True, slots=True)
class Completed:
    """All of an utterance's text; it is on disk."""

    item: str
    text: str
    start: int
    end: int
    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Failed:
    """An utterance has no text."""

    item: str
    error: TranscriberError


@dataclass(frozen=True, slots=True)
class Problem:
    """Something could not be done; the session goes on, unless Ended follows."""

    error: TranscriberError


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over. by_service: since the service stops."""

    by_service: bool = False


LiveEvent = SpeechStarted | SpeechStopped | Committed | Cleared | Delta | Completed | Failed | Problem | Ended
