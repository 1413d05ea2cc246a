"""The witness itself: a log of strace's is read rightly, or the hostile tests would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostile_run import SystemCallLog

BEFORE = [
    '10 openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3',
    '10 sendto(3, "{\\"type\\":\\"ready\\",\\"pid\\":10}", 27, MSG_DONTWAIT|MSG_NOSIGNAL, NULL, 0) = 27',
]


def forbidden_calls(folder: Path, lines: list[str]) -> list[str]:
    path = folder / "log"
    path.write_text("\n".join(BEFORE + lines))
    return SystemCallLog("python", path).forbidden_calls()


@pytest.mark.parametrize(
    "line",
    [
        '11 openat(AT_FDCWD, "/etc/hostname", O_RDONLY) = 4',
        '11 openat(AT_FDCWD, "/etc/hostname", O_RDONLY) = -1 EPERM (Operation not permitted)',
        "11 openat(AT_FDCWD, 0x1234, O_RDONLY|O_CLOEXEC) = 4",
        '11 openat(AT_FDCWD, "/usr/lib/gconv/X.so", O_RDONLY|O_CLOEXEC) = 4',
        "11 socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = -1 EPERM (Operation not permitted)",
        '11 execve("/bin/sh", ["sh"], 0x0) = 0',
    ],
)
def test_forbidden_call_is_seen(line: str, tmp_path: Path) -> None:
    assert forbidden_calls(tmp_path, [line]) == [line]


@pytest.mark.parametrize(
    "line",
    [
        '10 sendto(5, "{}", 2, MSG_DONTWAIT|MSG_NOSIGNAL, NULL, 0) = 2',
        '11 openat(AT_FDCWD, "/usr/lib/gconv/X.so", O_RDONLY|O_CLOEXEC) = -1 EPERM (Operation not permitted)',
        "11 openat(AT_FDCWD, 0x1234, O_RDONLY|O_CLOEXEC) = -1 EPERM (Operation not permitted)",
        "10 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---",
    ],
)
def test_what_belongs_to_decoding_is_not(line: str, tmp_path: Path) -> None:
    assert forbidden_calls(tmp_path, [line]) == []


def test_interrupted_call_is_put_together(tmp_path: Path) -> None:
    lines = [
        '11 openat(AT_FDCWD, "/usr/lib/gconv/X.so", O_RDONLY|O_CLOEXEC <unfinished ...>',
        '10 sendto(5, "{}", 2, 0, NULL, 0) = 2',
        "11 <... openat resumed>) = -1 EPERM (Operation not permitted)",
        "11 socket(AF_INET, SOCK_STREAM, 0 <unfinished ...>",
    ]

    assert forbidden_calls(tmp_path, lines) == ["11 socket(AF_INET, SOCK_STREAM, 0"]
