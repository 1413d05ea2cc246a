"""Messages of the decode server, on Unix sockets that keep message boundaries (SEQPACKET); JSON objects.

control socket, to the server
  decode      job_id, max_samples, max_bytes, timeout_seconds, selection{channels, audio_track}; with three open files: the
              upload, the PCM, the job's report socket
  kill        job_id                     (a closed socket ends the server and its children)
control socket, from the server
  ready       pid, sandbox{seccomp, problem, machine, headroom_bytes}
  failed      problem                    it can't start; the last message

report socket of a job, from the server
  started     pid of the child
  exited      returncode, negative for a signal; the last message
  unstarted                              no child could be forked; the last message
report socket of a job, from the child (to be taken with care: the child may belong to an attacker)
  progress    samples
  done        samples, pcm_channels, container, codec, channels, channels_used, sample_rate, audio_streams,
              stream_index, tracks[{codec, channels, sample_rate, language, marks[], is_used}], gain_db, notices[code],
              peaks (media/peaks.py)
  error       reason                     a key of outcome.ERRORS
"""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, Any]

#: Larger than any message here; a longer one is cut by the kernel and then is no JSON.
MAX_MESSAGE_BYTES = 16 * 1024


class MessageError(Exception):
    """The other side sent something that is not a message."""


def encode_message(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def parse_message(data: bytes) -> Message:
    """The message in these bytes. Raises MessageError."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MessageError("not JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise MessageError("message without a type")
    return message
