"""The child that listens: python -m transcriber.live.child FD.

FD is an inherited Unix stream socket with JSON objects, one a line:

to the child
  open     session, path, kind, rate, turns|null      sound becomes the WAV file at path, 16 kHz and 16 bits
  audio    session, audio (base64)
  end      session, why (commit|clear|stop)               the utterance ends here
  close    session

from the child
  ready
  heard    session, of (open|audio|commit|clear|stop), samples, boundaries[[kind, sample]]     one for each message but close
  failed   session, of, message                       it had no effect

It ends at once when the socket closes.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

_LOGGER = logging.getLogger("transcriber.live")

Message = dict[str, Any]


def main(arguments: list[str]) -> NoReturn:
    """Serve until the socket closes. Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sock = socket.socket(fileno=int(arguments[0]))
    threading.Thread(target=_watch, args=(sock,), name="watch", daemon=True).start()
    from .streams import Streams

    streams = Streams()
    with sock.makefile("rb") as lines, sock.makefile("wb") as answers:
        answers.write(b'{"type": "ready"}\n')
        answers.flush()
        for line in lines:
            message = json.loads(line)
            answer = _answered(streams, message)
            if answer is not None:
                answers.write(json.dumps(answer).encode() + b"\n")
                answers.flush()
    os._exit(0)


def _answered(streams: Any, message: Message) -> Message | None:
    session, kind = str(message["session"]), str(message["type"])
    of = str(message["why"]) if kind == "end" else kind
    try:
        found: list[Any] = []
        match kind:
            case "open":
                streams.open(
                    session, Path(message["path"]), message["kind"], int(message["rate"]), message["turns"]
                )
            case "audio":
                found = streams.feed(session, base64.b64decode(message["audio"], validate=True))
            case "end":
                streams.end(session)
            case _:
                streams.close(session)
                return None
        return {
            "type": "heard",
            "session": session,
            "of": of,
            "samples": streams.samples(session),
            "boundaries": [[boundary.kind, boundary.sample] for boundary in found],
        }
    except Exception as error:  # noqa: BLE001 - the session's boundary; the child lives on
        _LOGGER.warning("session_message_failed of=%s error=%r", of, error)
        return {"type": "failed", "session": session, "of": of, "message": str(error)}


def _watch(sock: socket.socket) -> None:
    """Thread: end the process when the service has closed its end."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
