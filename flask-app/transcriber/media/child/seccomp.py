"""The system calls a decode child may make: an allow-list as BPF, installed through prctl.

Everything that is not named here answers EPERM: opening a file, making a socket, connecting, starting a
process or a thread, tracing, signalling, io_uring. Memory that is executable can't be made either.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

from ...system import prctl

#: Name → number on x86_64 and on aarch64.
ALLOWED: dict[str, tuple[int, int]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "ftruncate": (77, 46),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
    "rseq": (334, 293),
}

#: Allowed as long as the third argument does not ask for executable memory.
ALLOWED_NOT_EXECUTABLE: dict[str, tuple[int, int]] = {"mmap": (9, 222), "mprotect": (10, 226)}

#: Machine → its audit architecture and its column above.
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

_SECCOMP_MODE_FILTER = 2
_PROT_EXEC = 4

_RET_ALLOW = 0x7FFF0000
_RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000

_BPF_LOAD_WORD = 0x20
_BPF_JUMP_IF_EQUAL = 0x15
_BPF_JUMP_IF_SET = 0x45
_BPF_RETURN = 0x06

# Offsets in struct seccomp_data; both machines are little-endian, so the low word of an argument comes first.
_OFFSET_NUMBER = 0
_OFFSET_ARCHITECTURE = 4
_OFFSET_THIRD_ARGUMENT = 32


class SeccompUnavailableError(Exception):
    """This machine or kernel can't install the filter."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def build_filter(machine: str) -> bytes:
    """The filter for this machine. Raises SeccompUnavailableError for one without numbers here."""
    if machine not in ARCHITECTURES:
        raise SeccompUnavailableError(f"no system call numbers for {machine}")
    architecture, column = ARCHITECTURES[machine]
    refused = _RET_ERRNO | errno.EPERM
    code = [
        _instruction(_BPF_LOAD_WORD, _OFFSET_ARCHITECTURE),
        _instruction(_BPF_JUMP_IF_EQUAL, architecture, if_true=1),
        _instruction(_BPF_RETURN, _RET_KILL_PROCESS),
        _instruction(_BPF_LOAD_WORD, _OFFSET_NUMBER),
    ]
    for numbers in ALLOWED.values():
        code += [
            _instruction(_BPF_JUMP_IF_EQUAL, numbers[column], if_false=1),
            _instruction(_BPF_RETURN, _RET_ALLOW),
        ]
    for numbers in ALLOWED_NOT_EXECUTABLE.values():
        code += [
            _instruction(_BPF_JUMP_IF_EQUAL, numbers[column], if_false=4),
            _instruction(_BPF_LOAD_WORD, _OFFSET_THIRD_ARGUMENT),
            _instruction(_BPF_JUMP_IF_SET, _PROT_EXEC, if_false=1),
            _instruction(_BPF_RETURN, refused),
            _instruction(_BPF_RETURN, _RET_ALLOW),
        ]
    code.append(_instruction(_BPF_RETURN, refused))
    return b"".join(code)


def install_filter() -> None:
    """Bind this process to the allow-list, for good. Needs no_new_privs.

    Raises SeccompUnavailableError.
    """
    code = build_filter(platform.machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    call_prctl(prctl.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def call_prctl(option: int, value: int, address: int = 0) -> None:
    """prctl(2). Raises SeccompUnavailableError when the kernel refuses."""
    try:
        prctl.call(option, value, address)
    except OSError as error:
        raise SeccompUnavailableError(str(error.strerror)) from error


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter."""
    return struct.pack("<HBBI", code, if_true, if_false, value)
