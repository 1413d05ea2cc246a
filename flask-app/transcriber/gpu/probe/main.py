"""The probe child: `python -m transcriber.gpu.probe.main LIFELINE REQUEST` looks at this machine's GPUs.

It prints one JSON line after each step, so that a driver that hangs or aborts in a later step takes
none of the earlier facts along. It is never imported; `launcher` starts it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from . import ctranslate2_package, driver, libraries, nvml
from .facts import CTranslate2Facts, DriverFacts, GpuDevice
from .lifeline import end_with_parent
from .loading import load_in_child

Report = Callable[[str, dict[str, Any]], None]


def main(arguments: Sequence[str]) -> None:
    lifeline, request = int(arguments[0]), json.loads(arguments[1])
    end_with_parent(lifeline)
    report = _reporter()
    facts = ctranslate2_package.describe_package()
    report("package", {"ctranslate2": asdict(facts)})
    report("libraries", {"libraries": _find_libraries(request, lifeline, facts)})
    cuda, found = driver.open_driver()
    report("driver", {"driver": asdict(found)})
    if cuda is not None:
        found = _start_driver(cuda, found)
        report("cuda", {"driver": asdict(found)})
    devices = [driver.ask_device(cuda, index) for index in range(found.device_count or 0)] if cuda else []
    report("devices", {"devices": [asdict(device) for device in devices]})
    devices = _ask_sharing(devices, request, lifeline)
    report("sharing", {"devices": [asdict(device) for device in devices]})
    facts, devices = _ask_ctranslate2(facts, devices)
    report("compute_types", {"ctranslate2": asdict(facts), "devices": [asdict(d) for d in devices]})


def _reporter() -> Report:
    """Writes to the real standard output; whatever libraries print goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)

    def report(step: str, facts: dict[str, Any]) -> None:
        line = json.dumps({"step": step, **facts}, separators=(",", ":")) + "\n"
        data = line.encode()
        while data:
            data = data[os.write(out, data) :]

    return report


def _find_libraries(request: dict[str, Any], lifeline: int, facts: CTranslate2Facts) -> list[dict[str, Any]]:
    site_packages = request["site_packages"]
    if site_packages is None:
        site_packages = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    places = libraries.list_places(
        os.environ,
        site_packages=map(Path, site_packages),
        extra_dirs=map(Path, request["extra_lib_dirs"]),
        root=Path(request["root"]),
    )
    load = partial(load_in_child, lifeline=lifeline)
    found = (
        *libraries.choose_cublas(places, load),
        libraries.choose_cudnn(places, load, needed=bool(facts.needs_cudnn)),
    )
    return [asdict(library) for library in found]


def _start_driver(cuda: ctypes.CDLL, facts: DriverFacts) -> DriverFacts:
    number = driver.ask_version(cuda)
    version = f"CUDA {number // 1000}.{number % 1000 // 10}" if number is not None else None
    code = int(cuda.cuInit(0))
    facts = replace(facts, version_number=number, version=version, init_code=code)
    if code != 0:
        return replace(facts, init_name=driver.ask_error_name(cuda, code))
    count_code, count = driver.ask_device_count(cuda)
    return replace(facts, count_code=count_code, device_count=count)


def _ask_sharing(devices: list[GpuDevice], request: dict[str, Any], lifeline: int) -> list[GpuDevice]:
    """The devices with what NVML and the system say of their use; the service is this process's parent."""
    if not devices:
        return []
    root, timeout = Path(request["root"]), request["nvml_timeout_seconds"] or nvml.TIMEOUT_SECONDS
    shared = nvml.ask_sharing(devices, os.getppid(), lifeline, os.environ, root, timeout)
    return [replace(device, sharing=facts) for device, facts in zip(devices, shared, strict=True)]


def _ask_ctranslate2(
    facts: CTranslate2Facts, devices: list[GpuDevice]
) -> tuple[CTranslate2Facts, list[GpuDevice]]:
    """CTranslate2's own answers; its exceptions carry the true text of CUDA's error."""
    try:
        import ctranslate2
    except (ImportError, OSError) as error:
        return replace(facts, import_error=str(error)), devices
    logging.getLogger().setLevel(logging.ERROR)
    ask = ctranslate2.get_supported_compute_types
    answers = [_compute_types(ask, "cuda", device.index) for device in devices] or [
        _compute_types(ask, "cuda", 0)
    ]
    facts = replace(
        facts,
        version=ctranslate2.__version__,
        cpu_compute_types=_compute_types(ask, "cpu", 0)[0],
        cuda_error=next((error for _, error in answers if error), None),
    )
    described = zip(devices, answers, strict=False)
    return facts, [
        dataclasses.replace(device, compute_types=types, compute_types_error=error)
        for device, (types, error) in described
    ]


def _compute_types(
    ask: Callable[[str, int], set[str]], device: str, index: int
) -> tuple[tuple[str, ...], str | None]:
    try:
        return tuple(sorted(ask(device, index))), None
    except (RuntimeError, ValueError) as error:
        return (), str(error)


if __name__ == "__main__":
    main(sys.argv[1:])
