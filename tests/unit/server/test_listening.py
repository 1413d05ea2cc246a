"""The address of a socket that systemd passes is the one that counts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

PROGRAM = """
import json, os
from transcriber.server.listening import adopt_socket
os.environ["LISTEN_PID"] = os.environ.get("AS_PID") or str(os.getpid())
adopt_socket(os.environ)
print(json.dumps([os.environ.get("WHISPER_HOST"), os.environ.get("WHISPER_PORT")]))
"""


def adopted(environ: dict[str, str], listener: socket.socket) -> str:
    def pass_socket() -> None:
        os.dup2(listener.fileno(), 3)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environ},
        capture_output=True,
        text=True,
        check=True,
        pass_fds=(3,),
        preexec_fn=pass_socket,
        timeout=30,
    )
    return done.stdout.strip() + done.stderr


def test_socket_beats_the_settings_and_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        said = adopted({"LISTEN_FDS": "1", "WHISPER_PORT": "5001"}, listener)

    assert f'["127.0.0.1", "{port}"]' in said
    assert "address_of_socket" in said


def test_socket_of_another_process_is_not_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said = adopted({"LISTEN_FDS": "1", "AS_PID": "1", "WHISPER_PORT": "5001"}, listener)

    assert '[null, "5001"]' in said
