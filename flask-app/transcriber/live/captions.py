"""The live sessions of this service: how many there may be, and which of them nobody comes back to."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ..domain.errors import (
    LiveSessionsFullError,
    LiveUnavailableError,
    RequestError,
    ShuttingDownError,
)
from ..domain.options import TranscriptionRequest
from ..domain.ports import SAMPLE_RATE, Clock
from ..service.utterances import UtteranceTranscriber
from .listener import Listener
from .recording import LiveRecording, RecordingParts
from .session import LiveSession

#: Seconds that a session waits for its client to come back, and for sound.
CUT_SECONDS = 45.0
IDLE_SECONDS = 600.0

_TICK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveLimits:
    """sessions: at once; 0: there are no live captions here. minutes: of sound in one."""

    sessions: int
    minutes: int


class LiveCaptions:
    """Opens sessions, finds them again, and ends those that are over. Safe to call from any thread."""

    def __init__(
        self,
        *,
        parts: RecordingParts,
        transcriber: UtteranceTranscriber,
        listener: Listener,
        limits: LiveLimits,
        clock: Clock,
    ) -> None:
        self._parts = parts
        self._transcriber = transcriber
        self._listener = listener
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, tuple[LiveSession, str | None]] = {}
        self._opening = 0
        self._closed = threading.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def check(self) -> None:
        """Raises LiveUnavailableError, LiveSessionsFullError, ShuttingDownError."""
        if not self._limits.sessions:
            raise LiveUnavailableError()
        if self._closed.is_set():
            raise ShuttingDownError()
        with self._lock:
            if len(self._sessions) + self._opening >= self._limits.sessions:
                raise LiveSessionsFullError()

    def open(self, request: TranscriptionRequest, *, owner: str | None, request_id: str) -> LiveSession:
        """A new session. Raises what `check` raises, QueueFullError, StorageFullError, ListenerError."""
        self.check()
        with self._lock:
            self._opening += 1
        try:
            session = LiveSession(
                recording=LiveRecording(self._parts, owner, request_id),
                transcriber=self._transcriber,
                request=request,
                most_samples=self._limits.minutes * 60 * SAMPLE_RATE,
                clock=self._clock,
                on_end=self._forget,
            )
            with self._lock:
                self._sessions[session.id] = session, owner
        finally:
            with self._lock:
                self._opening -= 1
        try:
            session.start(self._listener)
        except BaseException:
            self._forget(session)
            raise
        return session

    def find(self, session_id: str, owner: str | None) -> LiveSession | None:
        """The session of this owner, while it lasts."""
        with self._lock:
            session, its_owner = self._sessions.get(session_id, (None, None))
        return session if its_owner == owner else None

    def start(self) -> None:
        """Begin to look after the sessions."""
        threading.Thread(target=self._tend, name="live-sessions", daemon=True).start()

    def close(self) -> None:
        """Leave all sessions as they are: the next start makes jobs of what is final."""
        self._closed.set()
        for session in self._all():
            session.abandon()
        self._listener.close()

    def _all(self) -> list[LiveSession]:
        with self._lock:
            return [session for session, _ in self._sessions.values()]

    def _forget(self, session: LiveSession) -> None:
        with self._lock:
            self._sessions.pop(session.id, None)

    def _tend(self) -> None:
        """Thread: end sessions that nobody comes back to, or sends sound to."""
        while not self._closed.wait(_TICK_SECONDS):
            now = self._clock.monotonic()
            for session in self._all():
                if session.left_at is not None and now - session.left_at > CUT_SECONDS:
                    session.end()
                elif now - session.heard_at > IDLE_SECONDS:
                    session.end(RequestError("No sound has come for ten minutes.", code="session_idle"))
