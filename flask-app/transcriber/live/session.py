"""One live session: sound goes in, captions come out, while it lasts and across a cut connection."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from ..domain.errors import CapacityError, ListenerError, RequestError, TranscriberError
from ..domain.options import TranscriptionRequest
from ..domain.ports import SAMPLE_RATE, Clock
from ..service.utterances import Utterance, UtteranceTranscriber
from .events import (
    Cleared,
    Committed,
    Completed,
    Delta,
    Ended,
    Failed,
    LiveEvent,
    Problem,
    SpeechStarted,
    SpeechStopped,
)
from .listener import Ear, Heard, Listener
from .recording import LiveRecording
from .stable_text import StableText

logger = structlog.get_logger(__name__)

#: Messages that the child may have to work on; whoever sends more waits.
CREDITS = 16

#: Utterances that wait for an engine; whoever sends more sound waits.
MOST_WAITING = 8

#: Seconds that a sender waits for the child, or for the engine.
PATIENCE = 60.0

#: Sound that makes a first look at an open utterance worth its while (it begins with its padding), new sound that makes
#: another one, and the longest utterance that is looked at.
FIRST_LOOK = SAMPLE_RATE * 4 // 5
LOOK_SAMPLES = SAMPLE_RATE * 2 // 5
LONGEST_LOOK = 28 * SAMPLE_RATE

#: An utterance that nobody commits is committed then.
LONGEST_UTTERANCE = 300 * SAMPLE_RATE

#: Events that nobody fetches; more end the session.
MOST_EVENTS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveFormat:
    """How the sound comes, and how utterances end. turns: names and values of the child's TurnDetection; None: by commit."""

    kind: str = "audio/pcm"
    rate: int = 24_000
    turns: Mapping[str, Any] | None = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """An utterance in work."""

    item: str
    start: int
    end: int | None = None
    text: StableText = field(default_factory=StableText)
    #: Up to where it was last looked at.
    looked: int = 0
    #: Where it seems to be over; what was made of it up to there, by the last hypothesis.
    paused: int | None = None
    early: tuple[Utterance, float] | None = None


class LiveSession:
    """Safe to call from any thread, or greenlet. Whoever sends sound may have to wait: that is the back-pressure."""

    def __init__(
        self,
        *,
        recording: LiveRecording,
        transcriber: UtteranceTranscriber,
        request: TranscriptionRequest,
        most_samples: int,
        clock: Clock,
        on_end: Callable[[LiveSession], None],
    ) -> None:
        self.id = f"sess_{secrets.token_hex(12)}"
        self.request = request
        self.format = LiveFormat()
        self._recording = recording
        self._transcriber = transcriber
        self._most_samples = most_samples
        self._clock = clock
        self._on_end = on_end
        self._changed = threading.Condition()
        self._credits = threading.Semaphore(CREDITS)
        self._events: deque[LiveEvent] = deque()
        self._first_event = 1
        self._ear: Ear | None = None
        self._samples = 0
        self._current: _Open | None = None
        self._waiting: deque[_Open] = deque()
        self._last_item: str | None = None
        self._cuts = 0
        self._attached = 0
        self._ending = False
        self._abandoned = False
        #: When its last connection was lost; None: it has one.
        self.left_at: float | None = clock.monotonic()
        #: When sound last came, and its bytes so far.
        self.heard_at = clock.monotonic()
        self.received_bytes = 0

    @property
    def job_id(self) -> str:
        """The job that keeps it, from the first word on."""
        return self._recording.job_id

    def start(self, listener: Listener) -> None:
        """Raises ListenerError."""
        self._ear = listener.open(self.id, self._take)
        self._set_up()
        threading.Thread(target=self._run, name=self.id, daemon=True).start()

    # The client's side

    def configure(self, format: LiveFormat, request: TranscriptionRequest) -> None:
        """From here on. Raises ListenerError."""
        self.request = request
        if format != self.format:
            self.format = format
            self._set_up()

    def hear(self, audio: str) -> None:
        """Sound in base64. Waits while the child, or the engine, is behind. Raises ListenerError."""
        with self._changed:
            is_served = self._changed.wait_for(
                lambda: len(self._waiting) < MOST_WAITING or self._ending, PATIENCE
            )
        if not is_served:
            raise ListenerError(
                "The engine can't keep up with the sound.", fix="Send less at once, or use a smaller model."
            )
        self.heard_at = self._clock.monotonic()
        self.received_bytes += len(audio) * 3 // 4 - audio[-2:].count("=")
        self._ask(lambda ear: ear.hear(audio))

    def commit(self) -> None:
        """The utterance ends here. Raises ListenerError."""
        self._ask(lambda ear: ear.end_utterance("commit"))

    def clear(self) -> None:
        """Forget what was not committed. Raises ListenerError."""
        self._ask(lambda ear: ear.end_utterance("clear"))

    def stop(self) -> None:
        """The client is done: what it has sent is transcribed, then the session ends."""
        try:
            self._ask(lambda ear: ear.end_utterance("stop"))
        except ListenerError as error:
            self.end(error)

    def attach(self) -> int:
        """A connection takes the session; one that had it before is to let go."""
        with self._changed:
            self._attached += 1
            self.left_at = None
            self._changed.notify_all()
            return self._attached

    def detach(self, connection: int) -> None:
        """The connection is lost."""
        with self._changed:
            if connection == self._attached:
                self.left_at = self._clock.monotonic()

    def is_held_by(self, connection: int) -> bool:
        """Whether no other connection has taken it."""
        return connection == self._attached

    def events(self, after: int, connection: int, timeout: float) -> list[tuple[int, LiveEvent]]:
        """The events numbered above `after`, as soon as there is one; none after the time, or where it is not held."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._last_event > after or not self.is_held_by(connection), timeout
            )
            if not self.is_held_by(connection):
                return []
            first = max(after + 1, self._first_event)
            return list(enumerate(list(self._events)[first - self._first_event :], first))

    def end(self, error: TranscriberError | None = None) -> None:
        """No more sound comes; what has come is still transcribed. A second call does nothing."""
        with self._changed:
            if self._ending:
                return
            if error is not None:
                self._say(Problem(error))
            self._ending = True
            if self._current is not None:
                self._close_current(self._samples, is_told=False)
            self._changed.notify_all()

    def abandon(self) -> None:
        """The service stops: what is final is kept, and the rest is left."""
        with self._changed:
            self._ending = self._abandoned = True
            self._changed.notify_all()

    # The child's side

    def _set_up(self) -> None:
        form = self.format
        self._ask(lambda ear: ear.set_up(self._recording.sound, form.kind, form.rate, form.turns))

    def _ask(self, send: Callable[[Ear], None]) -> None:
        if self._ending or self._ear is None:
            return
        if not self._credits.acquire(timeout=PATIENCE):
            raise ListenerError("The child that listens does not answer.")
        send(self._ear)

    def _take(self, heard: Heard | None) -> None:
        """The child has worked on a message, or is gone."""
        if heard is None:
            self.end(ListenerError())
            return
        self._credits.release()
        with self._changed:
            if heard.fault is not None:
                self._say(Problem(RequestError(f"The audio can't be read: {heard.fault}", param="audio")))
                return
            before, self._samples = self._samples, heard.samples
            for kind, sample in heard.boundaries:
                self._note(kind, sample)
            if self.format.turns is None and heard.of == "audio" and self._current is None:
                self._open(before)
            if heard.of in ("commit", "clear"):
                self._end_by_word(heard)
            elif heard.of == "stop":
                self.end()
            self._enforce_lengths()
            self._changed.notify_all()

    def _note(self, kind: str, sample: int) -> None:
        current = self._current
        if kind == "started":
            opened = self._open(sample)
            self._say(SpeechStarted(opened.item, sample))
        elif current is None:
            return
        elif kind == "stopped":
            self._close_current(sample, is_told=True)
        elif kind == "paused":
            current.paused = sample
        else:
            current.paused = current.early = None

    def _open(self, sample: int) -> _Open:
        self._current = _Open(item=f"item_{secrets.token_hex(12)}", start=sample, looked=sample)
        return self._current

    def _close_current(self, sample: int, *, is_told: bool) -> None:
        current, self._current = self._current, None
        if current is None:
            return
        current.end = sample
        if current.paused is not None and current.paused > sample:
            current.paused = current.early = None
        if is_told:
            self._say(SpeechStopped(current.item, sample))
        self._say(Committed(current.item, self._last_item))
        self._last_item = current.item
        self._waiting.append(current)

    def _end_by_word(self, heard: Heard) -> None:
        if heard.of == "clear":
            self._current = None
            self._say(Cleared())
        elif self._current is None:
            self._say(
                Problem(
                    RequestError(
                        "There is no sound to commit.",
                        code="input_audio_buffer_commit_empty",
                        fix="Append sound first; with server_vad, speech is committed by itself.",
                    )
                )
            )
        else:
            self._close_current(heard.samples, is_told=False)

    def _enforce_lengths(self) -> None:
        if self._current is not None and self._samples - self._current.start >= LONGEST_UTTERANCE:
            self._close_current(self._samples, is_told=False)
        if self._samples >= self._most_samples and not self._ending:
            minutes = self._most_samples // SAMPLE_RATE // 60
            message = f"The session has lasted its {minutes} minutes."
            self.end(RequestError(message, code="session_expired", fix="Connect again for a new session."))

    # The engine's side

    def _run(self) -> None:
        """Thread: look at what is said, until the session has ended."""
        try:
            while (utterance := self._next()) is not None:
                self._caption(utterance)
        except Exception as error:  # noqa: BLE001  the session's boundary: whatever failed, its client is told
            logger.exception("live_session_failed", session=self.id)
            told = error if isinstance(error, TranscriberError) else TranscriberError()
            self.end(told)
        finally:
            self._finish()

    def _next(self) -> _Open | None:
        """What an engine is to look at next; None: the session is over."""
        while True:
            with self._changed:
                if self._abandoned:
                    return None
                if self._waiting:
                    return self._waiting[0]
                if self._ending:
                    return None
                if self._current is not None and self._is_due(self._current):
                    return self._current
                self._changed.wait()

    def _is_due(self, current: _Open) -> bool:
        if current.paused is not None:
            return current.early is None
        length = self._samples - current.start
        is_new = self._samples - current.looked >= LOOK_SAMPLES
        return is_new and FIRST_LOOK <= length <= LONGEST_LOOK

    def _caption(self, utterance: _Open) -> None:
        with self._changed:
            is_final, paused = utterance.end is not None, utterance.paused
            end = utterance.end if is_final else paused or self._samples
            early = utterance.early
        assert end is not None
        self._recording.begin(self.request)
        try:
            made, seconds = early if is_final and early else self._look(utterance, end, is_final or paused)
        except CapacityError:
            raise
        except TranscriberError as error:
            self._fail(utterance, error, end)
            return
        if is_final:
            self._complete(utterance, made, seconds)
        else:
            self._show(utterance, made, seconds, end, paused)

    def _look(self, utterance: _Open, end: int, is_last: object) -> tuple[Utterance, float]:
        """What an engine makes of it up to here; a quick look where more will come."""
        self._cuts += 1
        request = self.request if is_last else quick(self.request)
        begun = self._clock.monotonic()
        part = self._recording.cut(self._cuts, utterance.start, end)
        try:
            name = f"{self.id}-{self._cuts}"
            made = self._transcriber.run(name, part, end - utterance.start, request, lambda: self._abandoned)
        finally:
            part.unlink(missing_ok=True)
        return made, self._clock.monotonic() - begun

    def _show(self, utterance: _Open, made: Utterance, seconds: float, end: int, paused: int | None) -> None:
        more = utterance.text.hear(made.text)
        with self._changed:
            utterance.looked = end
            if paused is not None and paused == utterance.paused:
                utterance.early = made, seconds
            if more:
                self._say(Delta(utterance.item, more))

    def _complete(self, utterance: _Open, made: Utterance, seconds: float) -> None:
        rest = utterance.text.end(made.text)
        text = utterance.text.text.strip()
        assert utterance.end is not None
        self._recording.add(utterance.start, text, made, seconds)
        with self._changed:
            self._waiting.popleft()
            if rest:
                self._say(Delta(utterance.item, rest))
            self._say(Completed(utterance.item, text, utterance.start, utterance.end, made))

    def _fail(self, utterance: _Open, error: TranscriberError, end: int) -> None:
        """No text for it; of one that goes on, the next look may be better."""
        logger.warning("live_utterance_failed", session=self.id, code=error.code, error=error.message)
        with self._changed:
            utterance.looked, utterance.paused = end, None
            if utterance.end is not None:
                self._waiting.popleft()
                self._say(Failed(utterance.item, error))

    def _finish(self) -> None:
        try:
            if self._ear is not None:
                self._ear.close()
        except ListenerError:
            logger.info("listener_gone", session=self.id)
        try:
            if self._abandoned:
                self._recording.leave()
            else:
                self._recording.finish()
        except TranscriberError as error:
            logger.warning("live_session_not_kept", session=self.id, code=error.code, error=error.message)
        with self._changed:
            self._say(Ended(by_service=self._abandoned))
            self._changed.notify_all()
        self._on_end(self)

    @property
    def _last_event(self) -> int:
        return self._first_event + len(self._events) - 1

    def _say(self, event: LiveEvent) -> None:
        """Under the lock."""
        self._events.append(event)
        if len(self._events) > MOST_EVENTS:
            self._events.popleft()
            self._first_event += 1
        self._changed.notify_all()


def quick(request: TranscriptionRequest) -> TranscriptionRequest:
    """The same, for a look at what is not over yet, without second tries.

    A narrower beam would save a tenth of the time, and its early mistakes stay: 6.5 % word errors in place of none
    with tiny.en, and looks agree later.
    """
    return replace(request, options=replace(request.options, temperature=0.0))
