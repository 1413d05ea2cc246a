"""Questions to NVML, by ctypes on libnvidia-ml.so.1: `python -m transcriber.gpu.probe.nvml LIFELINE REQUEST`.

It runs in a process of its own, so that an NVML that hangs or aborts costs its facts and nothing else. It prints
one JSON object: from a device's UUID to its facts.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .driver import DRIVER_DIRS
from .facts import GpuDevice
from .lifeline import end_with_parent
from .nvml_errors import meaning
from .processes import is_descendant, name_of, runs_here
from .sharing import SharingFacts

LIBNVML = "libnvidia-ml.so.1"

#: An NVML that takes longer than this will not answer.
TIMEOUT_SECONDS = 8

MPS_SERVER = "nvidia-cuda-mps-server"

_COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")
_VIRTUALIZATION = ("none", "passthrough", "vgpu", "host_vgpu", "host_vsga")
_NO_SUCH_CALL, _MANY_PROCESSES = 13, 1024

#: NVML_VALUE_NOT_AVAILABLE, in place of a process's bytes.
_UNKNOWN_BYTES = 2**64 - 1

Facts = dict[str, Any]


class NvmlError(Exception):
    """NVML did not give a fact; the text says why."""


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Process(ctypes.Structure):
    """nvmlProcessInfo_t of the calls that end in _v2 and _v3."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used_bytes", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


def ask_sharing(
    devices: Sequence[GpuDevice],
    service_pid: int,
    lifeline: int,
    environ: Mapping[str, str],
    root: Path,
    timeout: float = TIMEOUT_SECONDS,
) -> list[SharingFacts]:
    """What NVML, asked in a child with this environment, and the system say of the use of these devices."""
    answers = ask_in_child([device.uuid for device in devices], service_pid, lifeline, environ, timeout)
    signs, is_wsl = signs_of_mps(environ, root), (root / "dev/dxg").exists()
    shared = []
    for device in devices:
        facts = answers[device.uuid]
        facts["mps_signs"] = (*signs, *facts.get("mps_signs", ()))
        facts["mig_profile"] = device.name.partition(" MIG ")[2] or None
        shared.append(SharingFacts(**facts, is_wsl=is_wsl))
    return shared


def ask_in_child(
    uuids: Sequence[str], service_pid: int, lifeline: int, environ: Mapping[str, str], timeout: float
) -> dict[str, Facts]:
    """The facts of these devices, from a child; where it failed, each device has the reason."""
    request = json.dumps({"uuids": list(uuids), "service_pid": service_pid})
    command = [sys.executable, "-P", "-m", __name__, str(lifeline), request]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            pass_fds=(lifeline,),
            env=dict(environ),
        )
    except subprocess.TimeoutExpired:
        return _nothing(uuids, f"NVML did not answer within {timeout:g} s")
    if done.returncode != 0:
        return _nothing(uuids, f"asking NVML ended the process with status {done.returncode}")
    answer: dict[str, Facts] = json.loads(done.stdout)
    return answer


def _nothing(uuids: Sequence[str], why: str) -> dict[str, Facts]:
    return {uuid: {"unavailable": {"nvml": why}} for uuid in uuids}


def ask(uuids: Sequence[str], service_pid: int) -> dict[str, Facts]:
    """The facts of these devices, in this process."""
    try:
        with _started() as nvml:
            driver = _fact(lambda: _text(nvml, "nvmlSystemGetDriverVersion"), {}, "")
            return {uuid: {"nvml_driver": driver, **_ask_device(nvml, uuid, service_pid)} for uuid in uuids}
    except (OSError, NvmlError) as error:
        return _nothing(uuids, str(error))


@contextmanager
def _started() -> Iterator[ctypes.CDLL]:
    nvml = _open()
    _call(nvml, "nvmlInit_v2")
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def _open() -> ctypes.CDLL:
    """NVML as the dynamic linker finds it, else from a folder known to hold the driver. Raises OSError."""
    try:
        return ctypes.CDLL(LIBNVML)
    except OSError:
        path = next((path for folder in DRIVER_DIRS if (path := Path(folder, LIBNVML)).exists()), None)
        if path is None:
            raise
        return ctypes.CDLL(str(path))


def _call(nvml: ctypes.CDLL, function: str, *arguments: Any) -> None:
    """Call NVML. Raises NvmlError with what its number means; a call that this driver lacks counts as 13."""
    call: Callable[..., int] | None = getattr(nvml, function, None)
    code = _NO_SUCH_CALL if call is None else call(*arguments)
    if code != 0:
        raise NvmlError(meaning(code))


def _text(nvml: ctypes.CDLL, function: str, *arguments: Any) -> str:
    text = ctypes.create_string_buffer(256)
    _call(nvml, function, *arguments, text, ctypes.c_uint(len(text)))
    return text.value.decode(errors="replace")


def _number(nvml: ctypes.CDLL, function: str, device: ctypes.c_void_p, kind: Any = ctypes.c_uint) -> int:
    value = kind(0)
    _call(nvml, function, device, ctypes.byref(value))
    return int(value.value)


def _ask_device(nvml: ctypes.CDLL, uuid: str, service_pid: int) -> Facts:
    device = ctypes.c_void_p()
    try:
        _call(nvml, "nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(device))
    except NvmlError as error:
        return {"unavailable": {"nvml": str(error)}}
    card = _card_of(nvml, device)
    missing: dict[str, str] = {}
    memory = _fact(lambda: _ask_memory(nvml, device), missing, "free_bytes") or {}
    processes = _fact(lambda: _ask_processes(nvml, device, service_pid), missing, "other_processes") or {}
    facts = {
        "mig_mode": lambda: ("off", "on")[_ask_mig_mode(nvml, card)],
        "compute_mode": lambda: _COMPUTE_MODES[_number(nvml, "nvmlDeviceGetComputeMode", card)],
        "virtualization": lambda: _VIRTUALIZATION[_number(nvml, "nvmlDeviceGetVirtualizationMode", card)],
        "utilization_percent": lambda: _ask_utilization(nvml, device),
        "energy_millijoules": lambda: _number(
            nvml, "nvmlDeviceGetTotalEnergyConsumption", card, ctypes.c_ulonglong
        ),
        "temperature_celsius": lambda: _ask_temperature(nvml, card),
    }
    asked = {name: _fact(question, missing, name) for name, question in facts.items()}
    return {**memory, **processes, **asked, "unavailable": missing}


def _fact(question: Callable[[], Any], missing: dict[str, str], name: str) -> Any:
    """The answer, or None with the reason noted; a value that no table here knows is no answer."""
    try:
        return question()
    except NvmlError as error:
        missing[name] = str(error)
    except IndexError:
        missing[name] = "NVML answered with a value that is not known here"
    return None


def _card_of(nvml: ctypes.CDLL, device: ctypes.c_void_p) -> ctypes.c_void_p:
    """The card that a MIG slice is cut from; a whole card is its own."""
    card = ctypes.c_void_p()
    try:
        _call(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", device, ctypes.byref(card))
    except NvmlError:
        return device
    return card


def _ask_memory(nvml: ctypes.CDLL, device: ctypes.c_void_p) -> Facts:
    memory = _Memory()
    _call(nvml, "nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
    return {"free_bytes": memory.free, "total_bytes": memory.total}


def _ask_mig_mode(nvml: ctypes.CDLL, card: ctypes.c_void_p) -> int:
    now, after_reset = ctypes.c_uint(0), ctypes.c_uint(0)
    _call(nvml, "nvmlDeviceGetMigMode", card, ctypes.byref(now), ctypes.byref(after_reset))
    return now.value


def _ask_utilization(nvml: ctypes.CDLL, device: ctypes.c_void_p) -> int:
    rates = _Utilization()
    _call(nvml, "nvmlDeviceGetUtilizationRates", device, ctypes.byref(rates))
    return int(rates.gpu)


def _ask_temperature(nvml: ctypes.CDLL, card: ctypes.c_void_p) -> int:
    """Of the GPU's die, which is sensor 0."""
    value = ctypes.c_uint(0)
    _call(nvml, "nvmlDeviceGetTemperature", card, ctypes.c_uint(0), ctypes.byref(value))
    return value.value


def _ask_processes(nvml: ctypes.CDLL, device: ctypes.c_void_p, service_pid: int) -> Facts:
    listed = _list_processes(nvml, device)
    own = {str(pid): size for pid, size in listed.items() if is_descendant(pid, service_pid)}
    others = [pid for pid in listed if str(pid) not in own]
    names = [_process_name(nvml, pid) for pid in others]
    has_mps = any(name.endswith(MPS_SERVER) for name in names)
    return {
        "other_processes": len(others),
        "unseen_processes": sum(not runs_here(pid) for pid in others),
        "own_processes": own,
        "mps_signs": [f"{MPS_SERVER} is on it"] if has_mps else [],
    }


def _list_processes(nvml: ctypes.CDLL, device: ctypes.c_void_p) -> dict[int, int | None]:
    """From the number of each process on the device to its bytes there; None where NVML does not say."""
    name = "nvmlDeviceGetComputeRunningProcesses_v3"
    if getattr(nvml, name, None) is None:
        name = "nvmlDeviceGetComputeRunningProcesses_v2"
    count, processes = ctypes.c_uint(_MANY_PROCESSES), (_Process * _MANY_PROCESSES)()
    _call(nvml, name, device, ctypes.byref(count), processes)
    listed = processes[: min(count.value, _MANY_PROCESSES)]
    return {one.pid: None if one.used_bytes == _UNKNOWN_BYTES else one.used_bytes for one in listed}


def _process_name(nvml: ctypes.CDLL, pid: int) -> str:
    """The program, as NVML or the system names it; empty where neither may say."""
    try:
        return _text(nvml, "nvmlSystemGetProcessName", ctypes.c_uint(pid)) or name_of(pid)
    except NvmlError:
        return name_of(pid)


def signs_of_mps(environ: Mapping[str, str], root: Path = Path("/")) -> list[str]:
    """Where the system shows MPS: its variable, or the folder of its daemon."""
    variable = environ.get("CUDA_MPS_PIPE_DIRECTORY")
    if variable:
        return [f"CUDA_MPS_PIPE_DIRECTORY={variable}"]
    return ["/tmp/nvidia-mps is there"] if (root / "tmp/nvidia-mps/control").exists() else []


def main(arguments: Sequence[str]) -> None:
    end_with_parent(int(arguments[0]))
    out = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints
    request = json.loads(arguments[1])
    data = json.dumps(ask(request["uuids"], request["service_pid"])).encode()
    while data:
        data = data[os.write(out, data) :]


if __name__ == "__main__":
    main(sys.argv[1:])
