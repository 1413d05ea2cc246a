"""From the events of a job's engines to its answer: what is kept in the journal, what the evidence proves, and what is put together."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ..domain.events import (
    BatchShrunk,
    EngineEvent,
    Finished,
    FinishedWindow,
    LanguageDetected,
    Planned,
    SegmentReady,
    WindowDone,
)
from ..domain.jobs import Job
from ..domain.options import TranscriptionRequest
from ..domain.ports import Clock, DecodedAudio, EngineInfo
from ..domain.transcript import MemoryStep, Notice, Receipt, Requested, Segment, Timings, Transcription
from ..gpu.degradation_steps import CPU, shrink_step
from ..gpu.policy import DeviceDecision
from ..gpu.receipt.engine_facts import EngineFacts
from ..gpu.receipt.engine_shares import divide, merged
from ..gpu.receipt.evidence import NO_DEVICE, ReceiptVerdict, WindowEvidence, is_cuda, verdict
from ..jobs.files.journal import Journal, JournalState
from .diarization import SpeakerFindings

#: A language that was detected with less than this is a guess.
LEAST_PROBABILITY = 0.5


class EventRecorder:
    """Takes the events of one run in order. Windows of earlier runs, from the journal, count in the receipt."""

    def __init__(self, journal: Journal, info: EngineInfo, decision: DeviceDecision, clock: Clock) -> None:
        self.info = info
        self._journal = journal
        self._decision = decision
        self._clock = clock
        self._begun = clock.monotonic()
        self._own = WindowEvidence()
        self._all = WindowEvidence()
        for window in journal.state.windows:
            self._all.add(WindowDone(index=window.index, device=window.device))
        self._all.begin_attempt(keeps_windows=True)
        self._window: WindowDone | None = None
        self._segments: list[Segment] = []
        #: Until the engine was lent.
        self.load_seconds = 0.0
        #: What was seen of the engine from outside once it was done.
        self.seen = EngineFacts()
        self.finished: Finished | None = None

    def take(self, event: EngineEvent) -> None:
        """Add one event. Raises StorageFullError, StorageFailedError."""
        match event:
            case LanguageDetected():
                self._journal.add_language(event)
            case Planned():
                self._journal.add_plan(event)
            case WindowDone():
                self._end_window()
                self._window = event
                self._own.add(event)
                self._all.add(event)
            case BatchShrunk():
                if self.info.device == "cuda":
                    self._journal.add_step(shrink_step(event.before, event.after))
            case SegmentReady():
                self._segments.append(event.segment)
            case Finished():
                self._end_window()
                self._fill_up_to(self._planned)
                self.finished = event
                self._all.add_peak(event.pool_peak_bytes)

    @property
    def receipt(self) -> Receipt:
        """The evidence of the whole job, beside its plan and the engine that finished it."""
        state = self._journal.state
        self._all.planned = self._planned
        plain = replace(
            self._all.receipt(self.info),
            attempts=state.runs,
            partition=self.seen.partition,
            kernels=self.seen.kernels,
            is_jit=self.seen.is_jit,
            libraries=self.seen.libraries,
            steps=self._steps,
            worker=state.engines[-1].worker if state.engines else None,
        )
        is_on_gpu = {index: is_cuda(device) for index, device in self._all.by_window.items()}
        return merged(plain, divide(state.engines, state.window_runs, is_on_gpu), self.seen.nvml)

    @property
    def _steps(self) -> tuple[MemoryStep, ...]:
        """What was given up. The GPU itself was not, where no window ran on the CPU: it fitted after all."""
        is_on_cpu = any(not is_cuda(device) for device in self._all.by_window.values())
        return tuple(step for step in self._journal.state.steps if is_on_cpu or step.code != CPU)

    @property
    def judged(self) -> ReceiptVerdict:
        """Where the job ran, by its evidence."""
        return verdict(self.receipt, self._decision)

    @property
    def is_lie(self) -> bool:
        """Whether this engine's windows contradict its claim."""
        return verdict(self._own.receipt(self.info), self._decision).is_lie

    @property
    def _planned(self) -> int:
        plan = self._journal.state.plan
        return 0 if plan is None else len(plan.windows)

    def _end_window(self) -> None:
        """The segments of a window are complete once the next event arrives."""
        window, self._window = self._window, None
        if window is None:
            return
        segments, self._segments = self._segments, []
        self._fill_up_to(min(window.index, self._planned))
        self._keep(window, segments)

    def _fill_up_to(self, end: int) -> None:
        """Windows without an event: their text, if any, stays, and where they ran is unknown."""
        for index in range(len(self._journal.state.windows), end):
            segments, self._segments = self._segments, []
            self._keep(WindowDone(index=index, device=NO_DEVICE), segments)

    def _keep(self, window: WindowDone, segments: list[Segment]) -> None:
        done = FinishedWindow(
            index=window.index, device=window.device, segments=tuple(segments), dropped=window.dropped
        )
        self._journal.add_window(done, window.history, self._clock.monotonic() - self._begun)


@dataclass(frozen=True, slots=True)
class AnswerBuilder:
    """Puts a job's answer together: the text from its journal, the evidence from its engines."""

    job: Job
    state: JournalState
    audio: DecodedAudio
    recorder: EventRecorder
    judged: ReceiptVerdict

    def build(
        self, found: SpeakerFindings, *, worked: float, total: float, requested: Requested
    ) -> Transcription:
        """The answer. `worked`: seconds of work over all attempts, of `total` seconds since the upload."""
        request, state, audio = self.job.request, self.state, self.audio
        receipt, segments = self.recorder.receipt, in_order(state.segments)
        return Transcription(
            job_id=self.job.id,
            text="".join(segment.text for segment in segments).strip(),
            language=state.language.language if state.language else "",
            language_probability=state.language.language_probability if state.language else 0.0,
            duration=audio.duration,
            segments=found.segments,
            speakers=found.speakers,
            speaker_turns=found.turns,
            model=request.model,
            task=request.options.task,
            gpu_used=self.judged.gpu_used,
            device=self.judged.device,
            compute_type=receipt.compute_type,
            requested=requested,
            fallback_reason=self.judged.fallback_reason,
            receipt=replace(receipt, diarization=found.receipt),
            timings=self._timings(found, worked, total),
            rtfx=audio.duration / worked if worked > 0 else 0.0,
            warnings=(*self._warnings(), *found.notices),
            media=_media(audio),
            peaks=audio.peaks,
        )

    def _timings(self, found: SpeakerFindings, worked: float, total: float) -> Timings:
        """Where the time went, over all attempts; what was no work, also between them, is the queue's."""
        state, recorder, done = self.state, self.recorder, self.recorder.finished
        vad = state.plan.vad_seconds if state.plan is not None else 0.0
        return Timings(
            queue=total - worked,
            audio_decode=state.decode_seconds,
            model_load=recorder.load_seconds,
            vad=max(vad, done.vad_seconds) if done else vad,
            language_detection=done.language_detection_seconds if done else 0.0,
            transcription=state.engine_seconds + (done.transcription_seconds if done else 0.0),
            diarization=found.seconds,
            total=total,
        )

    def _warnings(self) -> tuple[Notice, ...]:
        request, finished = self.job.request, self.recorder.finished
        return (
            *_ignored(request),
            *self.audio.notices,
            *(finished.notices if finished else ()),
            *_doubts(request, self.state),
            *self.judged.notices,
        )


def _media(audio: DecodedAudio) -> dict[str, Any]:
    """What the file was made of."""
    return {
        "container": audio.container,
        "codec": audio.codec,
        "channels": audio.channels,
        "sample_rate": audio.sample_rate,
        "audio_streams": audio.audio_streams,
        "stream_index": audio.stream_index,
        "channels_used": audio.channels_used,
        "gain_db": audio.gain_db,
        "tracks": [asdict(track) for track in audio.tracks],
    }


def _doubts(request: TranscriptionRequest, state: JournalState) -> list[Notice]:
    """What the answer is not sure of: its language, and what the model made up."""
    notices = []
    found = state.language
    if (
        found is not None
        and request.options.language is None
        and found.language_probability < LEAST_PROBABILITY
    ):
        others = ", ".join(f"{name} ({share:.2f})" for name, share in found.alternatives)
        message = (
            f"The language is a guess: {found.language} ({found.language_probability:.2f}), "
            f"then {others}. Send language, or languages to choose from."
        )
        notices.append(Notice(code="language_uncertain", message=message, param="language"))
    dropped = sum(window.dropped for window in state.windows)
    if dropped:
        message = f"The model repeated itself: {dropped} words without a time in the audio were left out."
        notices.append(Notice(code="repetition_dropped", message=message))
    return notices


def in_order(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """By time, where several channels were transcribed each on its own."""
    if all(segment.channel is None for segment in segments):
        return segments
    ordered = sorted(segments, key=lambda segment: (segment.start, segment.channel or 0))
    return tuple(replace(segment, id=number) for number, segment in enumerate(ordered))


def _ignored(request: TranscriptionRequest) -> tuple[Notice, ...]:
    return tuple(
        Notice(code="ignored_parameter", message=f"{name} has no effect here.", param=name)
        for name in request.ignored
    )
