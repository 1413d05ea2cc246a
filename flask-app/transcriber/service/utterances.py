"""A stretch of live sound through an engine: its text, and the evidence of where that was computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ..domain.errors import EngineCrashedError, EngineError
from ..domain.events import Finished, FinishedWindow, LanguageDetected, Planned, SegmentReady, WindowDone
from ..domain.options import TranscriptionRequest
from ..domain.ports import EngineInfo, EnginePool
from ..domain.transcript import Receipt, Segment
from ..gpu.policy import DeviceDecision, after_engine_failure
from ..gpu.receipt.evidence import ReceiptVerdict, WindowEvidence, verdict
from .transcription import Transcriber, lie_of

logger = structlog.get_logger(__name__)

#: Engines that may die under one utterance.
_TRIES = 3


@dataclass(kw_only=True, slots=True)
class Utterance:
    """What an engine made of a stretch of sound; times and samples are of that stretch."""

    engine: EngineInfo
    language: LanguageDetected | None = None
    windows: list[FinishedWindow] = field(default_factory=list)
    plan: Planned | None = None
    receipt: Receipt
    judged: ReceiptVerdict

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in order."""
        return tuple(segment for window in self.windows for segment in window.segments)

    @property
    def text(self) -> str:
        """The words."""
        return "".join(segment.text for segment in self.segments).strip()


class UtteranceTranscriber:
    """Sends stretches of sound through the engines that files go through, in a lane that does not wait for theirs."""

    def __init__(self, transcriber: Transcriber, engines: EnginePool) -> None:
        self._transcriber = transcriber
        self._engines = engines

    def run(
        self,
        name: str,
        pcm: Path,
        samples: int,
        request: TranscriptionRequest,
        is_over: Callable[[], bool],
    ) -> Utterance:
        """Transcribe the first samples of a file. Raises EngineError, GpuRequiredError, ModelNotFoundError.

        is_over: whether nobody wants it any more; then an engine that dies is not followed by another.
        """
        decision = self._transcriber.decide_with_memory(request)
        for tries_left in reversed(range(_TRIES)):
            try:
                utterance = self._run_once(name, pcm, samples, request, decision)
            except EngineError as error:
                logger.warning(
                    "utterance_failed", device=decision.device, code=error.code, error=error.message
                )
                if is_over() or not tries_left:
                    raise
                if decision.device == "cuda":
                    decision = after_engine_failure(decision, error)
                elif not isinstance(error, EngineCrashedError):
                    raise
                continue
            self._transcriber.insist(request, utterance.judged)
            return utterance
        raise AssertionError("the last try returns or raises")

    def _run_once(
        self, name: str, pcm: Path, samples: int, request: TranscriptionRequest, decision: DeviceDecision
    ) -> Utterance:
        with self._engines.lend(decision.device, request.model) as engine:
            evidence, found = WindowEvidence(), RunEvents()
            for event in engine.transcribe(name, pcm, samples, request.options, lane="live"):
                if isinstance(event, WindowDone):
                    evidence.add(event)
                elif isinstance(event, Finished):
                    evidence.add_peak(event.pool_peak_bytes)
                found.take(event)
            evidence.planned = 0 if found.plan is None else len(found.plan.windows)
            receipt = evidence.receipt(engine.info)
            judged = verdict(receipt, decision)
            if judged.is_lie:
                self._engines.discard(engine, lie_of(engine.info), blocks=False)
            return Utterance(
                engine=engine.info,
                language=found.language,
                windows=found.windows,
                plan=found.plan,
                receipt=receipt,
                judged=judged,
            )


class RunEvents:
    """The events of one run."""

    def __init__(self) -> None:
        self.language: LanguageDetected | None = None
        self.plan: Planned | None = None
        self.windows: list[FinishedWindow] = []

    def take(self, event: object) -> None:
        match event:
            case LanguageDetected():
                self.language = event
            case Planned():
                self.plan = event if self.plan is None else _joined(self.plan, event)
            case WindowDone():
                self.windows.append(
                    FinishedWindow(index=event.index, device=event.device, segments=(), dropped=event.dropped)
                )
            case SegmentReady():
                last = self.windows[-1]
                self.windows[-1] = FinishedWindow(
                    index=last.index,
                    device=last.device,
                    segments=(*last.segments, event.segment),
                    dropped=last.dropped,
                )


def _joined(plan: Planned, more: Planned) -> Planned:
    return Planned(
        first_index=plan.first_index,
        windows=plan.windows + more.windows,
        is_complete=more.is_complete,
        duration_after_vad=more.duration_after_vad,
        vad_seconds=more.vad_seconds,
        speech=plan.speech + more.speech,
        faint=plan.faint + more.faint,
        channels=plan.channels + more.channels,
    )
