"""Messages between the service and its engine child, on one Unix stream socket.

A frame is a 4-byte big-endian length and that many bytes of UTF-8 JSON, an object with a "type".

to the child
  transcribe  job_id, pcm_path, samples (of each channel), pcm_channels, options{TranscriptionOptions' fields}, lane (live|short|long),
              resumption|null{language, language_probability, windows (finished ones, from the first),
              segments (in them), last_ends[[channel|null, s]], history[token]|null,
              plan|null{windows[[start, end]], speech[[[start, end]]], faint[], channels[], duration_after_vad, vad_seconds}}
  cancel      job_id
  selftest    test_id          test the engine between two batches
  shutdown    (a closed socket means the same)

from the child
  ready          pid, device, device_index, device_name|null, device_uuid|null, model, compute_type,
                 requested_compute_type, supported_compute_types[], load_seconds, warmup_seconds,
                 warmup_device, selftest{SelfTestReport's fields}, which has passed,
                 reference|null{what a CPU made of the clip, to be kept: reference.py}
  start_failed   code, message, fix, selftest|null      then the child exits
  selftest_started  test_id
  selftest_ended    test_id, report{SelfTestReport's fields}
  language       job_id, language, language_probability, alternatives[[language, probability]]
  plan           job_id, first_index, windows[[start, end]], speech[[[start, end]]] (chunks of each window;
                 all in samples), faint[] (windows of whose speech VAD is not sure), channels[], is_complete, duration_after_vad, vad_seconds     as windows are found
  window         job_id, index, device, history[token]|null, dropped    device of the encoder's output, read per
                 batch; history: what the next window is conditioned on, if it is; dropped: words of a loop, left out
  segment        job_id, segment{Segment's fields}      of the last window
  done           job_id, vad_seconds, language_detection_seconds, transcription_seconds,
                 pool_peak_bytes|null, notices[{code, message, param}]
  error          job_id, code, message, fix             the job failed; the child lives on
  cancelled      job_id                                 at once, though a batch may still compute
  batch_started  batch, job_ids[]                       the model works on these jobs' windows
  batch_ended    batch, sizes[] (windows that went through the model together, for each time)
  batch_shrunk   job_id, before, after                  a batch with its windows did not fit into memory: `after`
                                                        windows go together from now on

Order within a job: language, plan (the first), then windows in order, each after the plan that holds it and
followed by its segments. A resumed job repeats no language, no plan that it was given, and no finished window.
"""

from __future__ import annotations

import functools
import json
import math
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ..domain.errors import EngineFailedError, JobCancelledError
from ..domain.events import (
    BatchShrunk,
    EngineEvent,
    Finished,
    LanguageDetected,
    Planned,
    Resumption,
    SegmentReady,
    WindowDone,
)
from ..domain.options import TranscriptionOptions
from ..domain.ports import EngineInfo
from ..domain.selftest import SelfTestReport

Message = dict[str, Any]

#: A frame larger than this is a fault of the sender, not work.
MAX_FRAME_BYTES = 16 * 1024 * 1024

#: What a value of the wrong shape raises while it is taken apart.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)

#: No step of a self-test takes longer than a day.
_LONGEST_SECONDS = 86_400.0

_LENGTH = struct.Struct(">I")

#: The messages of a job that carry an event: the event's fields beside `type` and `job_id`.
_EVENTS: dict[str, type[EngineEvent]] = {
    "language": LanguageDetected,
    "plan": Planned,
    "window": WindowDone,
    "batch_shrunk": BatchShrunk,
    "segment": SegmentReady,
    "done": Finished,
}
#: After these a job is over in the child.
JOB_ENDS = frozenset({"done", "error", "cancelled"})

_TYPES = {event: name for name, event in _EVENTS.items()}

Value = TypeVar("Value")


class ProtocolError(Exception):
    """The other side sent something that is not a frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """What one child is to load, and where: the JSON of its command line.

    cpu_threads, cpu_lanes 0: as fits the cores that the child may use. libraries: files that are loaded first, by these
    absolute paths. reference_path: what a CPU made of the self-test's clip with this model; knows_clip: the model is one
    that writes down the clip's words.
    """

    model: str
    model_path: Path
    device: str
    compute_type: str
    device_index: int = 0
    device_name: str | None = None
    device_uuid: str | None = None
    cpu_threads: int = 0
    cpu_lanes: int = 0
    batch_size: int = 8
    libraries: tuple[str, ...] = ()
    reference_path: Path | None = None
    knows_clip: bool = True

    def to_json(self) -> str:
        """The form that the child reads."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> EngineConfig:
        """Raises ValueError, TypeError or KeyError when it is not such a configuration."""
        given = json.loads(text)
        if given.get("device") not in ("cpu", "cuda"):
            raise ValueError(f"device must be cpu or cuda, never {given.get('device')!r}")
        reference = given.get("reference_path")
        return cls(
            **{
                **given,
                "model_path": Path(given["model_path"]),
                "libraries": tuple(map(str, given.get("libraries", ()))),
                "reference_path": None if reference is None else Path(reference),
            }
        )


def send_message(sock: socket.socket, message: Message) -> None:
    """Send one frame. Raises OSError when the other side is gone. Callers hold their own lock."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(f"frame of {len(body)} bytes")
    sock.sendall(_LENGTH.pack(len(body)) + body)


def receive_message(sock: socket.socket) -> Message | None:
    """The next message; None at the end of the stream. Raises ProtocolError on a broken frame."""
    header = _receive_exactly(sock, _LENGTH.size)
    if header is None:
        return None
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(f"frame of {length} bytes announced")
    body = _receive_exactly(sock, length)
    if body is None:
        raise ProtocolError("stream ended inside a frame")
    message = json.loads(body)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("frame without a type")
    return message


def _receive_exactly(sock: socket.socket, size: int) -> bytes | None:
    """`size` bytes, or None if the stream ended before the first of them."""
    parts: list[bytes] = []
    missing = size
    while missing:
        part = sock.recv(min(missing, 1 << 20))
        if not part:
            if parts:
                raise ProtocolError("stream ended inside a frame")
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOrder:
    """One job for a child: its audio, what is wanted of it, and where it goes on."""

    pcm: Path
    samples: int
    pcm_channels: int
    options: TranscriptionOptions
    lane: str
    resumption: Resumption | None


def transcribe_message(job_id: str, order: JobOrder) -> Message:
    """The request for one job."""
    return {
        "type": "transcribe",
        "job_id": job_id,
        "pcm_path": str(order.pcm),
        "samples": order.samples,
        "pcm_channels": order.pcm_channels,
        "options": asdict(order.options),
        "lane": order.lane,
        "resumption": None if order.resumption is None else _resumption(order.resumption),
    }


def event_message(job_id: str, event: EngineEvent) -> Message:
    """The child's message for an event of a job."""
    return {"type": _TYPES[type(event)], "job_id": job_id, **asdict(event)}


def error_message(job_id: str, *, code: str, message: str, fix: str) -> Message:
    """The child's message for a job that failed."""
    return {"type": "error", "job_id": job_id, "code": code, "message": message, "fix": fix}


def engine_info(message: Message, started_at: datetime, proven_at: datetime) -> EngineInfo:
    """What the child said of itself when it became ready. Raises one of MALFORMED."""
    report = selftest_report(message["selftest"])
    return _read(
        EngineInfo, {**message, "selftest": report, "started_at": started_at, "proven_at": proven_at}
    )


def selftest_report(values: Mapping[str, Any]) -> SelfTestReport:
    """What a child found when it tested itself. Raises one of MALFORMED."""
    report = _read(SelfTestReport, values)
    for seconds in (
        report.seconds,
        report.run_seconds,
        report.cold_seconds,
        *(s.seconds for s in report.steps),
    ):
        # Later tests are held against these times.
        if seconds is not None and not 0 <= seconds <= _LONGEST_SECONDS:
            raise ValueError(f"{seconds!r} seconds")
    return replace(
        report, steps=tuple(replace(step, numbers=_plain(dict(step.numbers))) for step in report.steps)
    )


def event_or_error(message: Message) -> EngineEvent | None:
    """The message's event; raises what the message says went wrong: EngineFailedError, JobCancelledError."""
    try:
        if message["type"] == "cancelled":
            raise JobCancelledError()
        if message["type"] == "error":
            raise EngineFailedError(
                str(message["message"]), code=str(message["code"]), fix=str(message.get("fix", ""))
            )
        return engine_event(message)
    except MALFORMED as error:
        raise EngineFailedError(
            f"The engine child sent a message that can't be read: {error!r}.", code="engine_protocol_error"
        ) from error


def engine_event(message: Message) -> EngineEvent | None:
    """The event a message carries; None for a message that carries none.

    Raises one of MALFORMED, and EngineFailedError (numbers_not_finite) for text that rests on no numbers.
    """
    kind = _EVENTS.get(message["type"])
    if kind is None:
        return None
    if kind is Planned:
        unknown = {"faint": [False] * len(message["windows"]), "channels": [None] * len(message["windows"])}
        return _read(Planned, {**unknown, **message})
    event = _read(kind, message)
    match event:
        case LanguageDetected():
            _check_finite("language_probability", event.language_probability)
        case SegmentReady():
            for name in _RESTS_ON:
                _check_finite(name, getattr(event.segment, name))
    return event


def batch_sizes(message: Message) -> tuple[int, ...]:
    """How many windows went through the model together, for each time; empty where that is unknown."""
    sizes = message.get("sizes")
    return tuple(size for size in sizes if isinstance(size, int)) if isinstance(sizes, list) else ()


def _resumption(resumption: Resumption) -> Message:
    """Where the child goes on: counts and places, not the text that is done."""
    finished = [segment for window in resumption.finished for segment in window.segments]
    return {
        "language": resumption.language,
        "language_probability": resumption.language_probability,
        "windows": len(resumption.finished),
        "segments": len(finished),
        "last_ends": list({segment.channel: segment.end for segment in finished}.items()),
        "history": resumption.history,
        "plan": _known_plan(resumption.plan),
    }


def _known_plan(plan: Planned | None) -> Message | None:
    """The plan, if the child can work by it: all windows, with the speech in them."""
    if (
        plan is None
        or not plan.is_complete
        or plan.first_index
        or not len(plan.windows) == len(plan.speech) == len(plan.faint) == len(plan.channels)
    ):
        return None
    return {
        "windows": plan.windows,
        "speech": plan.speech,
        "faint": plan.faint,
        "channels": plan.channels,
        "duration_after_vad": plan.duration_after_vad,
        "vad_seconds": plan.vad_seconds,
    }


#: Numbers that a text rests on.
_RESTS_ON = ("avg_logprob", "compression_ratio", "no_speech_prob")


def _check_finite(name: str, value: float) -> None:
    """A device that computes wrongly gives NaN, and no error."""
    if math.isfinite(value):
        return
    raise EngineFailedError(
        f"The device computed numbers that are not finite ({name} is {value}).",
        code="numbers_not_finite",
        fix="Use another compute type: float32 or int8_float32 in place of float16 (cards such as GTX 16xx need it).",
    )


def _plain(value: Any) -> Any:
    """The same for JSON, which has no NaN and no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _read(kind: type[Value], values: Mapping[str, Any]) -> Value:
    """A value of the domain from its fields, each checked against its type. Raises ValueError."""
    key: Any = kind  # mypy takes a class of a type variable for unhashable
    value: Value = _reader(key).validate_python(values)
    return value


@functools.cache
def _reader(kind: Any) -> Any:
    # Imported here: the child reads no event, and is spared its memory.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
