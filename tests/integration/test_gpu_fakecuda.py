"""The real probe against a stand-in driver and stand-in libraries: each fault has its own name and fix.

The probe's child, ctypes, the dynamic loader and CTranslate2 are the real ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cublas_faults import CUBLAS_FAULTS, CublasFault, put_text
from fake_gpu import build_cublas, build_driver, healthy_environment
from transcriber.gpu.environment import engine_environment
from transcriber.gpu.probe.facts import GpuStatus
from transcriber.gpu.probe.fault_codes import CUDA_CODES, find_reason_in
from transcriber.gpu.probe.launcher import ProbeRequest, probe

#: Variables of this machine that would change what the probe sees.
_SCRUBBED = (
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_PATH",
    "CUDA_HOME",
    "CONDA_PREFIX",
    "WHISPER_API_KEY",
)

Look = Callable[..., GpuStatus]


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def age(self, moment: datetime) -> float:
        return max(0.0, (self.now() - moment).total_seconds())

    def before(self, ago: timedelta) -> datetime:
        return self.now() - ago


@pytest.fixture(scope="module")
def driver_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver")).parent


@pytest.fixture(scope="module")
def cublas_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cublas")
    build_cublas(folder)
    return folder


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Probe with these library folders and variables; this machine's own libraries stay out of it."""

    def look(*library_dirs: Path, gpu_device: str = "0", timeout: float = 60, **variables: str) -> GpuStatus:
        environ = {name: value for name, value in os.environ.items() if name not in _SCRUBBED}
        environ |= {"LD_LIBRARY_PATH": ":".join(map(str, library_dirs)), **variables}
        request = ProbeRequest(
            environ=environ,
            gpu_device=gpu_device,
            timeout_seconds=timeout,
            site_packages=(),
            root=tmp_path / "empty machine",
        )
        return probe(request, RealClock())

    return look


def _code(status: GpuStatus) -> str:
    assert status.cause is not None
    assert status.cause.fix
    assert status.cause.message
    assert not status.usable
    return status.cause.code


@pytest.mark.parametrize("number", [2, 3, 34, 46, 100, 101, 214, 304, 802, 803, 804, 805, 999])
def test_each_code_of_the_driver_is_its_own_cause(
    look: Look, driver_dir: Path, cublas_dir: Path, number: int
) -> None:
    status = look(driver_dir, cublas_dir, FAKE_CUINIT=str(number), FAKE_COUNT="1")

    assert _code(status) == CUDA_CODES[number]
    assert status.driver.init_code == number
    # CTranslate2's own exception about the same failure leads to the same cause.
    in_its_words = find_reason_in(status.ctranslate2.cuda_error or "")
    assert in_its_words is not None and in_its_words.code == CUDA_CODES[number]


def test_unlisted_code_is_named_by_its_number(look: Look, driver_dir: Path, cublas_dir: Path) -> None:
    assert _code(look(driver_dir, cublas_dir, FAKE_CUINIT="719", FAKE_COUNT="1")) == "cuda_error_719"


def test_old_driver_is_named_with_its_version(look: Look, driver_dir: Path, cublas_dir: Path) -> None:
    status = look(driver_dir, cublas_dir, FAKE_DRVVER="11080", FAKE_COUNT="1")

    assert _code(status) == "driver_too_old"
    assert status.cause is not None and "CUDA 11.8" in status.cause.message


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"FAKE_COUNT": "0"}, "cuda_no_device"),
        ({"FAKE_COUNT": "0", "FAKE_COUNT_CODE": "0"}, "no_cuda_devices"),
        ({"FAKE_COUNT": "0", "CUDA_VISIBLE_DEVICES": "-1"}, "cuda_devices_hidden"),
        ({"FAKE_COUNT": "1", "FAKE_CC": "52"}, "cuda_no_kernel_image"),
        ({"FAKE_COUNT": "2", "gpu_device": "2"}, "gpu_device_not_found"),
        ({"FAKE_COUNT": "1", "FAKE_CT2": "214"}, "cuda_ecc_error"),
        ({"FAKE_COUNT": "1", "FAKE_CT2": "222"}, "cuda_ptx_too_new"),
        ({"FAKE_COUNT": "1", "FAKE_ABORT": "1"}, "gpu_probe_crashed"),
    ],
)
def test_each_fault_of_the_devices_is_its_own_cause(
    look: Look, driver_dir: Path, cublas_dir: Path, variables: dict[str, str], code: str
) -> None:
    assert _code(look(driver_dir, cublas_dir, **variables)) == code


def test_driver_that_hangs_is_given_up_and_the_libraries_are_still_reported(
    look: Look, driver_dir: Path, cublas_dir: Path
) -> None:
    status = look(driver_dir, cublas_dir, FAKE_HANG="1", FAKE_COUNT="1", timeout=5)

    assert _code(status) == "gpu_probe_timeout"
    assert status.stopped_step == "cuda"
    assert status.probe_seconds < 15
    assert status.driver.loaded
    assert status.libraries[0].chosen is not None


def test_no_driver_at_all_is_said_in_plain_words(look: Look, cublas_dir: Path) -> None:
    status = look(cublas_dir)

    if status.driver.loaded:
        pytest.skip("this machine has an NVIDIA driver")
    assert _code(status) == "no_nvidia_gpu"
    assert status.cause is not None and "no NVIDIA driver on this machine" in status.cause.message
    assert "int8" in status.ctranslate2.cpu_compute_types


@pytest.mark.parametrize("content", [b"", b"this is no library\n" * 20])
def test_file_that_is_no_driver_is_named(
    look: Look, tmp_path: Path, cublas_dir: Path, content: bytes
) -> None:
    (tmp_path / "libcuda.so.1").write_bytes(content)

    status = look(tmp_path, cublas_dir)

    assert _code(status) == "libcuda_unloadable"
    assert status.cause is not None and str(tmp_path) in status.cause.message


@pytest.mark.parametrize("fault", CUBLAS_FAULTS, ids=lambda fault: fault.name)
def test_each_fault_of_cublas_is_its_own_cause(
    look: Look, driver_dir: Path, tmp_path: Path, fault: CublasFault
) -> None:
    fault.arrange(tmp_path)

    status = look(driver_dir, tmp_path, FAKE_COUNT="1")

    assert _code(status) == fault.code
    assert status.cause is not None and fault.words in status.cause.message


def test_good_pair_behind_a_broken_one_is_chosen(
    look: Look, driver_dir: Path, cublas_dir: Path, tmp_path: Path
) -> None:
    put_text(tmp_path)

    status = look(driver_dir, tmp_path, cublas_dir, FAKE_COUNT="1")

    assert status.usable
    assert status.library_dirs == (str(cublas_dir),)
    assert "not an ELF file" in str(status.libraries[0].candidates[0].rejected)


def test_healthy_stand_in_is_usable_with_all_its_facts(look: Look, tmp_path: Path) -> None:
    variables = healthy_environment(tmp_path)
    folder = Path(variables.pop("LD_LIBRARY_PATH"))

    status = look(
        folder,
        **variables | {"FAKE_COUNT": "2", "FAKE_CC": "90"},
        gpu_device="GPU-fafafafa-fafa-fafa-fafa-fafafafafa01",
    )

    assert status.usable
    assert status.cause is None
    assert status.driver.version == "CUDA 12.8"
    assert status.driver.libcuda_path == str(tmp_path / "libcuda.so.1")
    assert status.selected is not None
    assert (status.selected.index, status.selected.compute_capability) == (1, "9.0")
    assert (status.selected.pci_bus_id, status.selected.memory_bytes) == ("0000:02:00.0", 8 * 1024**3)
    assert status.libraries[0].chosen is not None
    assert (status.libraries[0].chosen.version, status.libraries[0].chosen.found_via) == (
        "12.9.1",
        "LD_LIBRARY_PATH",
    )
    assert status.ctranslate2.needs_cudnn is False
    environ = engine_environment({}, device="cuda", status=status, cache_dir=tmp_path)
    assert environ["CUDA_VISIBLE_DEVICES"] == "GPU-fafafafa-fafa-fafa-fafa-fafafafafa01"
    assert environ["LD_LIBRARY_PATH"] == str(tmp_path)


_PARENT = """
import os, sys
from pathlib import Path
from typing import Any
from transcriber.gpu.probe.launcher import ProbeRequest, probe
class Clock:
    def now(self): return None
    def monotonic(self): return 0.0
probe(ProbeRequest(environ=os.environ, timeout_seconds=600, site_packages=(), root=Path("/nowhere")), Clock())
"""


def test_probe_child_ends_with_a_parent_that_is_killed(driver_dir: Path, tmp_path: Path) -> None:
    reached = tmp_path / "cuInit was reached"
    environ = {
        **os.environ,
        "LD_LIBRARY_PATH": str(driver_dir),
        "PYTHONPATH": _package_root(),
        "FAKE_HANG": "1",
        "FAKE_TOUCH": str(reached),
    }
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], env=environ)
    _await(reached.exists)
    child = _find_child(parent.pid)
    assert child is not None

    parent.kill()
    parent.wait()

    try:
        _await(lambda: not _is_running(child))
    finally:
        if _is_running(child):
            os.kill(child, signal.SIGKILL)


_IN_GEVENT = """
import gevent.monkey; gevent.monkey.patch_all()
import os, time, gevent
from datetime import datetime, UTC
from pathlib import Path
from typing import Any
from transcriber.gpu.probe.launcher import GpuProbe, ProbeRequest
class Clock:
    def now(self): return datetime.now(UTC)
    def monotonic(self): return time.monotonic()
beats = []
def beat():
    while True:
        beats.append(1); gevent.sleep(0.02)
gevent.spawn(beat)
request = ProbeRequest(environ=os.environ, timeout_seconds=3, site_packages=(), root=Path("/nowhere"))
probe = GpuProbe(request, Clock())
found = [g.value for g in gevent.joinall([gevent.spawn(probe.status) for _ in range(3)])]
assert found[0] is found[1] is found[2]
import sys
assert "ctranslate2" not in sys.modules and "transcriber.gpu.probe.driver" not in sys.modules
print(found[0].cause.code if found[0].cause else "usable", len(beats))
"""


@pytest.mark.parametrize(("hang", "code"), [("0", "cublas_missing"), ("1", "gpu_probe_timeout")])
def test_probe_lets_other_greenlets_run_under_gevent(driver_dir: Path, hang: str, code: str) -> None:
    environ = {
        **os.environ,
        "LD_LIBRARY_PATH": str(driver_dir),
        "PYTHONPATH": _package_root(),
        "FAKE_COUNT": "1",
        "FAKE_HANG": hang,
    }

    done = subprocess.run(
        [sys.executable, "-c", _IN_GEVENT],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found, beats = done.stdout.split()
    assert found == code
    assert int(beats) >= 5


def _package_root() -> str:
    return str(Path(__file__).parents[2] / "flask-app")


def _find_child(pid: int) -> int | None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


def _is_running(pid: int) -> bool:
    """Whether it runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _await(question: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not happen within 10 s")
