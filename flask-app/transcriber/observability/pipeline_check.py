"""The pipeline check: a short clip of speech goes the whole way of an upload, and its words are compared.

It is what readiness rests on: a server whose engine is proven still can't transcribe with a broken decoder, a full
disk, or a VAD that finds no speech. The check borrows no engine: it neither wakes one nor keeps one up.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from ..domain.errors import (
    EngineCrashedError,
    EngineError,
    JobCancelledError,
    ShuttingDownError,
    TranscriberError,
)
from ..domain.events import Finished, Planned, SegmentReady
from ..domain.options import TranscriptionOptions
from ..domain.ports import Clock, DecodedAudio, MediaDecoder
from ..domain.selftest import CLIP_TEXT, MOST_WORD_ERRORS
from ..domain.transcript import FallbackReason
from ..domain.word_errors import word_errors, words_of
from ..engine.slots import PooledEngine
from .pipeline_stages import (
    DECODE,
    ENGINE,
    FAILED,
    PASSED,
    STAGES,
    STORAGE,
    VAD,
    WORDS,
    StageState,
    as_reason,
    reason_for,
)

logger = structlog.get_logger(__name__)

CLIP_PATH = Path(__file__).with_name("pipeline_clip.opus")

#: The check's name where jobs have an id. No job id has this shape.
CHECK_ID = "pipeline-check"

#: How often it is looked whether a check is due, in seconds.
TICK_SECONDS = 1.0

#: A first failure is confirmed by a second check after the first of these, in seconds; a confirmed one is checked again after the other.
CONFIRM_SECONDS, RETRY_SECONDS = 2.0, 10.0

#: Jobs that fail ask for a check. The least time between two checks, in seconds.
LEAST_SECONDS = 5.0

#: Checks take at most this share of an engine's time: those of a slow engine are further apart.
SHARE = 0.05

#: An engine that fails the check is replaced, and one that comes after it not sooner than this, in seconds.
REPLACE_SECONDS = 600.0


class RenewableDecoder(MediaDecoder, Protocol):
    """A decoder whose process can be replaced."""

    def renew(self) -> None:
        """Have the next file decoded by a fresh process."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineParts:
    """What the check goes through. They are those that jobs go through.

    folder: in the spool, for the check alone. native: runs what blocks on the disk. check_room, check_store: raise
    what an upload would meet. engines: those of the default model that are up, the one that is preferred first.
    knows_words: whether that model is one that writes down the clip's words. replace: ends an engine that fails.
    """

    folder: Path
    native: Callable[[Callable[[], None]], None]
    check_room: Callable[[], None]
    check_store: Callable[[], None]
    decoder: RenewableDecoder
    engines: Callable[[], tuple[PooledEngine, ...]]
    knows_words: bool
    replace: Callable[[PooledEngine, EngineError], None]


class _StageFailedError(Exception):
    """The clip did not get through this stage."""

    def __init__(self, stage: str, error: FallbackReason, engine: PooledEngine | None = None) -> None:
        super().__init__(stage)
        self.stage = stage
        self.error = error
        self.engine = engine


class PipelineCheck:
    """Checks at an interval, at once when jobs fail, and again soon while something is wrong."""

    def __init__(self, parts: PipelineParts, *, clock: Clock, interval: float) -> None:
        """interval: seconds between two checks; 0: only of new engines, when jobs fail, and while something is wrong."""
        self._parts = parts
        self._clock = clock
        self._interval = interval
        #: One check at a time.
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._states = {name: StageState(name=name) for name in STAGES}
        self._suspected: str | None = None
        self._checked_at: float | None = None
        self._engine_pid: int | None = None
        self._engine_seconds = 0.0
        self._replaced_at: float | None = None
        self._is_stopping: Callable[[], bool] = lambda: False

    def watch(self, closing: threading.Event) -> None:
        """Thread: check what is due, until the service closes."""
        self._is_stopping = closing.is_set
        while not closing.is_set():
            self._asked.wait(TICK_SECONDS)
            if not closing.is_set():
                self.round()

    def round(self) -> None:
        """One check, if it is due."""
        if self._is_due():
            self._asked.clear()
            self.run()

    def ask(self) -> None:
        """Check soon: a job failed for a reason that is not its file's."""
        self._asked.set()

    def settle(self) -> None:
        """Check until something is certain: a first failure is looked at once more."""
        self.run()
        if self._suspected is not None:
            self.run()

    def run(self) -> None:
        """Check now. No failure leaves it; `failure` has what was found."""
        with self._lock:
            try:
                self._run()
            except (JobCancelledError, ShuttingDownError):
                return
            except Exception:  # noqa: BLE001  the thread's boundary: the check must outlive any fault
                logger.exception("pipeline_check_failed")

    @property
    def failure(self) -> tuple[str, FallbackReason] | None:
        """The first stage that fails, and why; None while none is known to."""
        failed = next((state for state in self._states.values() if state.outcome == FAILED), None)
        return None if failed is None or failed.error is None else (failed.name, failed.error)

    @property
    def states(self) -> tuple[StageState, ...]:
        """All stages, in order."""
        return tuple(self._states.values())

    @property
    def age_seconds(self) -> float | None:
        """Since the newest check; None where checks have no interval, and before the first."""
        if not self._interval or self._checked_at is None:
            return None
        return max(0.0, self._clock.monotonic() - self._checked_at)

    # When

    def _is_due(self) -> bool:
        if self._checked_at is None:
            return True
        since = self._clock.monotonic() - self._checked_at
        if self._suspected is not None:
            return since >= CONFIRM_SECONDS
        if self.failure is not None:
            return since >= max(min(RETRY_SECONDS, self._interval or RETRY_SECONDS), self._engine_seconds)
        if since >= LEAST_SECONDS and (self._asked.is_set() or self._has_new_engine()):
            return True
        return self._interval > 0 and since >= max(self._interval, self._engine_seconds / SHARE)

    def _has_new_engine(self) -> bool:
        engine = self._engine()
        return engine is not None and engine.info.pid != self._engine_pid

    # What

    def _run(self) -> None:
        passed: dict[str, float] = {}
        failed: _StageFailedError | None = None
        try:
            self._walk(passed)
        except _StageFailedError as failure:
            failed = failure
        self._checked_at = self._clock.monotonic()
        for stage, seconds in passed.items():
            self._note(StageState(name=stage, outcome=PASSED, seconds=round(seconds, 3)))
        if self._suspected in passed:
            self._suspected = None
        if failed is not None:
            self._judge(failed)

    def _walk(self, passed: dict[str, float]) -> None:
        """Through the stages as far as there are parts for them; `passed` gets each one's seconds.

        Raises _StageFailedError.
        """
        with self._stage(STORAGE, passed):
            self._parts.check_room()
            self._parts.native(self._put_clip)
            self._parts.check_store()
        try:
            with self._stage(DECODE, passed):
                audio = self._decode()
            engine = self._engine()
            if engine is not None:
                self._transcribe(engine, audio, passed)
        finally:
            self._parts.native(self._remove_files)

    @contextmanager
    def _stage(
        self, stage: str, passed: dict[str, float], engine: PooledEngine | None = None
    ) -> Iterator[None]:
        """Times the stage, and names it in what goes wrong."""
        begun = time.monotonic()
        try:
            yield
        except (JobCancelledError, ShuttingDownError, _StageFailedError):
            raise
        except Exception as error:
            raise _StageFailedError(stage, reason_for(stage, error), engine) from error
        passed[stage] = time.monotonic() - begun

    def _put_clip(self) -> None:
        """As an upload: on the spool's disk, for good."""
        folder = self._parts.folder
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / "upload").open("wb") as file:
            file.write(CLIP_PATH.read_bytes())
            file.flush()

    def _remove_files(self) -> None:
        for name in ("upload", "audio.pcm"):
            (self._parts.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            self._parts.folder.rmdir()

    def _decode(self) -> DecodedAudio:
        folder = self._parts.folder
        return self._parts.decoder.decode(
            folder / "upload", folder / "audio.pcm", job_id=CHECK_ID, cancelled=self._is_stopping
        )

    def _engine(self) -> PooledEngine | None:
        """Of the default model, and up; none is started for a check."""
        return next((engine for engine in self._parts.engines() if engine.alive), None)

    def _transcribe(self, engine: PooledEngine, audio: DecodedAudio, passed: dict[str, float]) -> None:
        """The short lane's turn comes within a batch, so a busy engine answers, too; how long it may be silent is the
        engine's own limit, as for any job."""
        self._engine_pid = engine.info.pid
        begun, texts = time.monotonic(), list[str]()
        try:
            for event in engine.transcribe(
                CHECK_ID, audio.path, audio.samples, TranscriptionOptions(), lane="short"
            ):
                if isinstance(event, Planned) and event.is_complete:
                    self._judge_speech(engine, event)
                    passed[VAD] = time.monotonic() - begun
                elif isinstance(event, SegmentReady):
                    texts.append(event.segment.text)
                elif isinstance(event, Finished):
                    self._engine_seconds = event.transcription_seconds
        except EngineCrashedError as error:
            if error.is_ours:
                return  # unloaded or replaced meanwhile: nothing to judge
            raise _StageFailedError(ENGINE, reason_for(ENGINE, error), engine) from error
        except EngineError as error:
            stage = ENGINE if VAD in passed else VAD
            raise _StageFailedError(stage, reason_for(stage, error), engine) from error
        except OSError as error:
            raise _StageFailedError(ENGINE, reason_for(ENGINE, error), engine) from error
        passed[ENGINE] = time.monotonic() - begun
        self._judge_words(engine, " ".join(texts))
        passed[WORDS] = 0.0

    def _judge_speech(self, engine: PooledEngine, plan: Planned) -> None:
        if plan.duration_after_vad > 0:
            return
        message = "Voice activity detection finds no speech in a clip of speech."
        raise _StageFailedError(VAD, as_reason(VAD, "vad_failed", message), engine)

    def _judge_words(self, engine: PooledEngine, text: str) -> None:
        """The clip's words of a model that writes them down; of another model none can be expected."""
        is_right = word_errors(text, CLIP_TEXT) <= MOST_WORD_ERRORS
        if is_right or not (self._parts.knows_words or not words_of(text) and _heard_words(engine)):
            return
        message = f"The clip says {CLIP_TEXT!r}, and its transcript {text.strip()[:200]!r}."
        raise _StageFailedError(WORDS, as_reason(WORDS, "words_differ", message), engine)

    # What follows

    def _judge(self, failed: _StageFailedError) -> None:
        """A stage that fails twice in a row, or has not passed before, fails; what can be replaced, is."""
        if failed.stage == DECODE:
            self._parts.decoder.renew()
        is_known = self._states[failed.stage].outcome == FAILED
        if not is_known and self._suspected is None:
            self._suspected = failed.stage
            logger.warning("pipeline_stage_suspected", stage=failed.stage, code=failed.error.code)
            return
        self._suspected = None
        self._note(StageState(name=failed.stage, outcome=FAILED, error=failed.error))
        if failed.engine is not None:
            self._replace(failed.engine, failed.error)

    def _note(self, state: StageState) -> None:
        before = self._states[state.name]
        self._states[state.name] = replace(state, checked_at=self._clock.now())
        if state.error is not None and state.error == before.error:
            return  # the log has it; a failure that lasts is checked every few seconds
        if state.error is not None:
            logger.error(
                "pipeline_stage_failed",
                stage=state.name,
                code=state.error.code,
                error=state.error.message,
                fix=state.error.fix,
            )
        elif before.outcome == FAILED:
            logger.info("pipeline_stage_recovered", stage=state.name)

    def _replace(self, engine: PooledEngine, reason: FallbackReason) -> None:
        """End it, unless that was done a moment ago and did not help: the jobs in it would pay for nothing."""
        now = self._clock.monotonic()
        if not engine.alive or (self._replaced_at is not None and now - self._replaced_at < REPLACE_SECONDS):
            return
        self._replaced_at = now
        self._parts.replace(engine, EngineError(reason.message, code=reason.code, fix=reason.fix))


def check_decoder(decoder: MediaDecoder, now: datetime) -> StageState:
    """The decode stage alone, of an installation that is not running here; nothing stays on disk."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            decoder.decode(CLIP_PATH, Path(folder, "audio.pcm"), job_id=CHECK_ID)
        except (TranscriberError, OSError) as error:
            return StageState(name=DECODE, outcome=FAILED, checked_at=now, error=reason_for(DECODE, error))
    return StageState(name=DECODE, outcome=PASSED, checked_at=now, seconds=round(time.monotonic() - begun, 3))


def _heard_words(engine: PooledEngine) -> bool:
    """Whether its self-test made words of the clip."""
    report = engine.info.selftest
    texts = (str(step.numbers.get("text", "")) for step in report.steps) if report else ()
    return any(words_of(text) for text in texts)
