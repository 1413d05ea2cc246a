"""Messages between the service and its engine child, on one Unix stream socket.

A frame is a 4-byte big-endian length and that many bytes of UTF-8 JSON, an object with a "type".

to the child
  transcribe  job_id, pcm_path, samples (of each channel), pcm_channels, options{TranscriptionOptions' fields}, lane (short|long),
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
  segment        job_id, segment{Segment's fields}      of the window told last
  done           job_id, vad_seconds, language_detection_seconds, transcription_seconds,
                 pool_peak_bytes|null, notices[{code, message, param}]
  error          job_id, code, message, fix             the job failed; the child lives on
  cancelled      job_id                                 at once, though a batch may still compute
  batch_started  batch, job_ids[]                       the model works on these jobs' windows
  batch_ended    batch, sizes[] (windows that went through the model together, for each time)
  batch_shrunk   job_id, before, after                  a batch with its windows did not fit into memory: so many
                                                        windows go together from now on

Order within a job: language, plan (the first), then windows in order, each after the plan that holds it and
followed by its segments. A resumed job tells no language, no plan that it was given, and no finished window.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

Message = dict[str, Any]

#: A frame larger than this is a fault of the sender, not work.
MAX_FRAME_BYTES = 16 * 1024 * 1024

_LENGTH = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent something that is not a frame."""


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
