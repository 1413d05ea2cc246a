"""The filter itself: what it lets through and what it answers with EPERM, tried in a real process."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from transcriber.media.child.seccomp import ALLOWED, ARCHITECTURES, SeccompUnavailableError, build_filter

PACKAGE_ROOT = Path(__file__).resolve().parents[4] / "flask-app"

#: Installs the filter, tries things, and prints the errno of each (0: it worked).
PROGRAM = """
import ctypes, json, mmap, os, resource, signal, socket, sys, threading
from transcriber.media.child import seccomp

libc = ctypes.CDLL(None, use_errno=True)

def raw(number, *arguments):
    def call():
        if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments]) < 0:
            raise OSError(ctypes.get_errno(), "")
    return call

IO_URING, PTRACE = 425, {"x86_64": 101, "aarch64": 117}[os.uname().machine]
reader, writer = os.pipe()
existing = socket.socket()
attempts = {
    "open": lambda: os.open("/etc/hostname", os.O_RDONLY),
    "create": lambda: os.open("/tmp/never", os.O_CREAT | os.O_WRONLY),
    "list": lambda: os.listdir("/"),
    "unlink": lambda: os.unlink("/tmp/never"),
    "stat": lambda: os.stat("/etc/hostname"),
    "socket": lambda: socket.socket(),
    "unix_socket": lambda: socket.socketpair(),
    "connect": lambda: existing.connect(("127.0.0.1", 9)),
    "fork": os.fork,
    "thread": lambda: threading.Thread(target=int).start(),
    "execve": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), 0),
    "ptrace": raw(PTRACE, 0, 0, 0, 0),
    "io_uring": raw(IO_URING, 1, 0),
    "executable_memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "raise_limit": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
    "prctl": raw({"x86_64": 157, "aarch64": 167}[os.uname().machine], 1, 0, 0, 0, 0),
    "write": lambda: os.write(writer, b"x"),
    "read": lambda: os.read(reader, 1),
    "memory": lambda: bytearray(50_000_000),
}
seccomp.call_prctl(38, 1)
seccomp.install_filter()
results = {}
for name, attempt in attempts.items():
    try:
        attempt()
        results[name] = 0
    except OSError as error:
        results[name] = error.errno
    except (RuntimeError, ValueError):  # how threading and resource say EPERM
        results[name] = 1
os.write(1, json.dumps(results).encode())
os._exit(0)
"""

ALLOWED_ATTEMPTS = {"write", "read", "memory"}


@pytest.fixture(scope="module")
def results() -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(PACKAGE_ROOT)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answers: dict[str, int] = json.loads(done.stdout)
    return answers


def test_everything_that_reaches_outside_is_refused_with_eperm(results: dict[str, int]) -> None:
    forbidden = {name: number for name, number in results.items() if name not in ALLOWED_ATTEMPTS}

    assert len(forbidden) == 17
    assert set(forbidden.values()) == {1}, forbidden


def test_reading_writing_and_memory_are_allowed(results: dict[str, int]) -> None:
    assert {results[name] for name in ALLOWED_ATTEMPTS} == {0}


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_filter_is_whole_instructions_within_the_kernels_limit(machine: str) -> None:
    code = build_filter(machine)

    assert len(code) % 8 == 0
    assert 2 * len(ALLOWED) < len(code) // 8 < 4096


def test_unknown_machine_has_no_filter() -> None:
    with pytest.raises(SeccompUnavailableError, match="riscv64"):
        build_filter("riscv64")


def test_this_machine_is_known() -> None:
    assert platform.machine() in ARCHITECTURES
