"""The journal of one job: what is done of it, line by line on disk, so that a restart goes on from there."""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...domain.answer import engine_share_from_dict, logprobs_from_list
from ...domain.events import FinishedWindow, LanguageDetected, Planned, Resumption
from ...domain.ports import AudioTrack, DecodedAudio
from ...domain.transcript import EngineShare, MemoryStep, Notice, Segment, Word
from ...system.durable_files import storage_errors, sync_path

Record = dict[str, Any]

#: Takes lines that are on disk here to where others find them.
Ship = Callable[[list[bytes]], None]


@dataclass(slots=True)
class JournalState:
    """What a journal's lines add up to. The same whether they were just written or read from disk."""

    #: The decoded audio, where its samples can be trusted, and the seconds that decoding took.
    audio: DecodedAudio | None = None
    boot_id: str = ""
    decode_seconds: float = 0.0
    language: LanguageDetected | None = None
    plan: Planned | None = None
    windows: list[FinishedWindow] = field(default_factory=list)
    history: tuple[int, ...] | None = None
    #: Of each window, the run that did it.
    window_runs: list[int] = field(default_factory=list)
    #: The engine of each run so far, and the seconds in them up to their last finished window.
    engines: list[EngineShare] = field(default_factory=list)
    engine_seconds: float = 0.0
    #: Attempts that came to nothing: no window was done, and the job was not handed back.
    fruitless: int = 0
    #: What too little memory on the GPU has cost it so far.
    steps: list[MemoryStep] = field(default_factory=list)
    _run_seconds: float = 0.0

    @property
    def runs(self) -> int:
        """Engine runs so far."""
        return len(self.engines)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of all finished windows."""
        return tuple(segment for window in self.windows for segment in window.segments)

    @property
    def worked_seconds(self) -> float:
        """What engines have spent on it so far, up to each run's last finished window."""
        return self.engine_seconds + self._run_seconds

    @property
    def resumption(self) -> Resumption | None:
        """Where the engine is to go on; None: from the beginning."""
        if self.language is None:
            return None
        is_planned = self.plan is not None and self.plan.is_complete
        return Resumption(
            language=self.language.language,
            language_probability=self.language.language_probability,
            plan=self.plan if is_planned else None,
            finished=tuple(self.windows),
            history=self.history,
        )

    def finished_samples(self) -> int:
        """Up to which sample of the file the finished windows reach."""
        if not self.windows or self.plan is None or len(self.plan.windows) < len(self.windows):
            return 0
        return self.plan.windows[len(self.windows) - 1][1]

    def has_audio(self, boot_id: str) -> bool:
        """Whether the samples are on disk, whole. They are not synced, so they are trusted within one boot."""
        if self.audio is None or self.boot_id != boot_id:
            return False
        try:
            return self.audio.path.stat().st_size == self.audio.pcm_bytes
        except OSError:
            return False

    def apply(self, record: Record, folder: Path) -> None:
        """Add one line. Raises ValueError, KeyError or TypeError for one that makes no sense."""
        match record["kind"]:
            case "begin":
                self.fruitless += 1
            case "handed_back":
                self.fruitless = 0
            case "audio":
                self.audio = _audio(record, folder)
                self.boot_id, self.decode_seconds = record["boot_id"], record["seconds"]
            case "run":
                self.engines.append(_engine(record))
                self.engine_seconds += self._run_seconds
                self._run_seconds = 0.0
            case "language":
                self.language = LanguageDetected(
                    language=record["language"],
                    language_probability=record["language_probability"],
                    alternatives=tuple((name, share) for name, share in record.get("alternatives", ())),
                )
            case "plan":
                self.plan = _merged(self.plan, record)
            case "window":
                self._add_window(record)
            case "step":
                self.steps.append(MemoryStep(**{name: record[name] for name in ("code", "before", "after")}))
            case kind:
                raise ValueError(kind)

    def _add_window(self, record: Record) -> None:
        index = record["index"]
        if index > len(self.windows):
            raise ValueError(f"window {index} after {len(self.windows)}")
        segments = tuple(_segment(segment) for segment in record["segments"])
        del self.windows[index:], self.window_runs[index:]
        self.window_runs.append(max(self.runs - 1, 0))
        self.windows.append(
            FinishedWindow(
                index=index, device=record["device"], segments=segments, dropped=record.get("dropped", 0)
            )
        )
        self.history = None if record["history"] is None else tuple(record["history"])
        self.fruitless = 0
        self._run_seconds = record["seconds"]


class Journal:
    """A journal open for appending. Lines are on disk soon after they are written, and all of them after sync.

    Disk errors (StorageFullError, StorageFailedError) come out of a later call. One thread at a time.
    """

    def __init__(
        self,
        path: Path,
        native: concurrent.futures.Executor,
        descriptor: int,
        state: JournalState,
        ship: Ship,
    ) -> None:
        self._path = path
        self._native = native
        self._descriptor = descriptor
        self._ship = ship
        self._lines: collections.deque[bytes] = collections.deque()
        self._writing: concurrent.futures.Future[None] | None = None
        self.state = state

    @classmethod
    def open(cls, path: Path, native: concurrent.futures.Executor, *, ship: Ship | None = None) -> Journal:
        """The job's journal, with what is in it; a torn last line is cut off. `ship` may raise: as a disk error does."""
        descriptor, state = native.submit(_open, path).result()
        return cls(path, native, descriptor, state, ship or _keep_here)

    def begin(self) -> None:
        """An attempt at the job begins."""
        self._add({"kind": "begin"})

    def hand_back(self) -> None:
        """The attempt ends without a fault of the job's."""
        self._add({"kind": "handed_back"})

    def begin_run(self, engine: EngineShare) -> None:
        """This engine takes the job, or the rest of it."""
        self._add({"kind": "run", "device": engine.claimed_device, "engine": asdict(engine)})

    def add_audio(self, audio: DecodedAudio, boot_id: str, seconds: float) -> None:
        """The file is decoded."""
        facts = {name: value for name, value in asdict(audio).items() if name != "path"}
        facts |= {"file": audio.path.name, "boot_id": boot_id, "seconds": seconds}
        self._add({"kind": "audio", **facts})

    def add_language(self, event: LanguageDetected) -> None:
        self._add({"kind": "language", **asdict(event)})

    def add_plan(self, event: Planned) -> None:
        self._add({"kind": "plan", **asdict(event)})

    def add_window(self, window: FinishedWindow, history: tuple[int, ...] | None, seconds: float) -> None:
        """A window and its segments are done, this long after the engine took the job."""
        self._add({"kind": "window", **asdict(window), "history": history, "seconds": seconds})

    def add_step(self, step: MemoryStep) -> None:
        """Something was given up for want of memory on the GPU; noted twice, it counts once."""
        if step not in self.state.steps:
            self._add({"kind": "step", **asdict(step)})

    def sync(self) -> None:
        """Return when every line is on disk."""
        while self._writing is not None or self._lines:
            if self._writing is not None:
                self._finish_writing()
            if self._lines:
                self._start_writing()

    def close(self) -> None:
        """Close the file. Lines that could not be written are lost; their windows are done again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._writing is not None:
            self._writing.exception()
        os.close(descriptor)

    def _add(self, record: Record) -> None:
        line = json.dumps(record).encode() + b"\n"
        # What was written is what will be read: both go through the same text.
        self.state.apply(json.loads(line), self._path.parent)
        self._lines.append(line)
        if self._writing is not None and self._writing.done():
            self._finish_writing()
        if self._writing is None:
            self._start_writing()

    def _start_writing(self) -> None:
        self._writing = self._native.submit(_write, self._descriptor, self._lines, self._ship)

    def _finish_writing(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def read(path: Path) -> JournalState:
    """What a journal says; nothing when there is none. Blocks on the disk. Raises StorageFailedError."""
    with storage_errors():
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return JournalState()
    return _parse(data, path.parent)[0]


def _open(path: Path) -> tuple[int, JournalState]:
    with storage_errors():
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            state, whole = _parse(path.read_bytes(), path.parent)
            os.ftruncate(descriptor, whole)
            if is_new:
                sync_path(path.parent)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor, state


def _keep_here(lines: list[bytes]) -> None:
    """They are found nowhere else."""


def _write(descriptor: int, lines: collections.deque[bytes], ship: Ship) -> None:
    """Write and sync until nothing is left; lines that come meanwhile go along."""
    while lines:
        taken = [lines.popleft() for _ in range(len(lines))]
        with storage_errors():
            _write_all(descriptor, b"".join(taken))
            os.fsync(descriptor)
        ship(taken)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _parse(data: bytes, folder: Path) -> tuple[JournalState, int]:
    """The state after all lines that are whole, and how many bytes these have."""
    state, whole = JournalState(), 0
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            state.apply(json.loads(line), folder)
        except (ValueError, KeyError, TypeError):
            break
        whole += len(line)
    return state, whole


def _engine(record: Record) -> EngineShare:
    """A run's engine; of an older journal only the device is known."""
    if "engine" in record:
        return engine_share_from_dict(record["engine"])
    return EngineShare(
        claimed_device=record["device"],
        compute_type="unknown",
        requested_compute_type="unknown",
        engine_pid=0,
    )


def _audio(record: Record, folder: Path) -> DecodedAudio:
    return DecodedAudio(
        path=folder / Path(record["file"]).name,
        samples=record["samples"],
        container=record["container"],
        codec=record["codec"],
        channels=record["channels"],
        sample_rate=record["sample_rate"],
        audio_streams=record["audio_streams"],
        stream_index=record["stream_index"],
        notices=tuple(Notice(**notice) for notice in record["notices"]),
        peaks=record.get("peaks", ""),
        pcm_channels=record.get("pcm_channels", 1),
        channels_used=record.get("channels_used", "mix"),
        gain_db=record.get("gain_db", 0.0),
        tracks=tuple(
            AudioTrack(**track | {"marks": tuple(track["marks"])}) for track in record.get("tracks", ())
        ),
    )


def _merged(plan: Planned | None, record: Record) -> Planned:
    """The plan with these windows added."""
    first = record["first_index"]
    known: Iterable[tuple[int, int]] = plan.windows[:first] if plan is not None else ()
    windows = (*known, *((start, end) for start, end in record["windows"]))
    if len(windows) != first + len(record["windows"]):
        raise ValueError(f"a plan from window {first} on, and those before are missing")
    chunks = tuple(tuple((start, end) for start, end in window) for window in record.get("speech", ()))
    return Planned(
        first_index=0,
        windows=windows,
        is_complete=record["is_complete"],
        duration_after_vad=record["duration_after_vad"],
        vad_seconds=record["vad_seconds"],
        speech=(*(plan.speech[:first] if plan is not None else ()), *chunks),
        faint=(*(plan.faint[:first] if plan is not None else ()), *record.get("faint", ())),
        channels=(*(plan.channels[:first] if plan is not None else ()), *record.get("channels", ())),
    )


def _segment(data: Record) -> Segment:
    words = data["words"]
    return Segment(
        **data
        | {
            "tokens": tuple(data["tokens"]),
            "words": None if words is None else tuple(Word(**word) for word in words),
            "logprobs": logprobs_from_list(data.get("logprobs")),
            "suspect": tuple(data.get("suspect", ())),
        }
    )
