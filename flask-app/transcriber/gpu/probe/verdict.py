"""From the facts of a probe to its verdict: which causes hold, the deciding one first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ...domain.transcript import FallbackReason
from .. import compatibility, snapshot
from . import fault_codes
from .facts import GpuDevice, Library, LibraryCandidate, ProbeReport

#: cuDriverGetVersion below which CTranslate2's CUDA runtime refuses to start.
OLDEST_DRIVER = 12000
#: The CUDA version of the PTX in CTranslate2's wheel (since 4.6.3).
PTX_DRIVER = 12080
#: The least compute capability for which the wheel has machine code.
OLDEST_CAPABILITY = (6, 0)

_HIDING_VALUES = ("", "-1", "none", "void", "NoDevFiles")

#: From what is wrong with a candidate to the cause; in this order, the worst that can be fixed first.
_CUBLAS_CODES = {
    "lt_mismatch": "cublas_lt_mismatch",
    "lt_broken": "cublaslt_broken",
    "lt_missing": "cublaslt_missing",
    "wrong_version": "cublas_wrong_version",
    "broken": "cublas_broken",
    "foreign": "cublas_foreign",
}

Check = Callable[[ProbeReport], FallbackReason | None]
Reasons = tuple[FallbackReason, ...]


def judge(report: ProbeReport) -> tuple[Reasons, Reasons]:
    """Every problem, the deciding one first, and the notes. No problem: the GPU looks usable."""
    if not report.driver.loaded and not report.hardware.present and report.stopped_how is None:
        return tuple(_found(report, (_driver_library,))), ()
    problems = tuple(_found(report, _CHECKS))
    notes = tuple(_found(report, (_old_driver_for_gpu, _unclear_answer, _known_bad)))
    decided = {problem.code for problem in problems}
    return problems, tuple(note for note in notes if note.code not in decided)


def _found(report: ProbeReport, checks: tuple[Check, ...]) -> Iterator[FallbackReason]:
    seen: set[str] = set()
    for check in checks:
        problem = check(report)
        if problem is not None and problem.code not in seen:
            seen.add(problem.code)
            yield problem


def _driver_library(report: ProbeReport) -> FallbackReason | None:
    driver = report.driver
    if driver.loaded or driver.load_error is None:
        return None
    if driver.libcuda_path is None and "libcuda.so.1: cannot open shared object file" in driver.load_error:
        code = "no_nvidia_driver" if report.hardware.present else "no_nvidia_gpu"
        return fault_codes.reason(code, ", ".join(report.hardware.found[:3]))
    return fault_codes.reason("libcuda_unloadable", driver.load_error)


def _stopped_probe(report: ProbeReport) -> FallbackReason | None:
    if report.stopped_how is None:
        return None
    detail = f"in the step '{report.stopped_step}': {report.stopped_how}"
    is_timeout = report.stopped_how.startswith("no answer within")
    return fault_codes.reason("gpu_probe_timeout" if is_timeout else "gpu_probe_crashed", detail)


def _driver_start(report: ProbeReport) -> FallbackReason | None:
    """The code of cuInit, or else of cuDeviceGetCount."""
    driver = report.driver
    code = driver.init_code or driver.count_code
    if not code:
        return None
    if code == 100 and _hides_all(report.visible_devices):
        return fault_codes.reason("cuda_devices_hidden", repr(report.visible_devices))
    return fault_codes.cuda_reason(code, driver.init_name or "", _circumstances(report, code))


def _hides_all(visible_devices: str | None) -> bool:
    return visible_devices is not None and visible_devices.strip() in _HIDING_VALUES


def _circumstances(report: ProbeReport, code: int) -> str:
    """What else was seen that helps with this code."""
    if code == 34:
        return report.driver.libcuda_path or "libcuda.so.1"
    if code == 803:
        return f"kernel module {report.driver.kernel_module_version}, library {report.driver.libcuda_path}"
    if code == 100 and report.visible_devices is not None:
        return f"CUDA_VISIBLE_DEVICES={report.visible_devices}"
    return ""


def _driver_age(report: ProbeReport) -> FallbackReason | None:
    driver = report.driver
    if driver.version_number is None or driver.version_number >= OLDEST_DRIVER:
        return None
    return fault_codes.reason("driver_too_old", driver.version or str(driver.version_number))


def _device_count(report: ProbeReport) -> FallbackReason | None:
    driver = report.driver
    if driver.init_code != 0 or driver.count_code != 0 or driver.device_count:
        return None
    if _hides_all(report.visible_devices):
        return fault_codes.reason("cuda_devices_hidden", repr(report.visible_devices))
    return fault_codes.reason("no_cuda_devices")


def _selection(report: ProbeReport) -> FallbackReason | None:
    if not report.devices or report.selected is not None:
        return None
    there = "; ".join(f"{device.index} {device.name} {device.uuid}" for device in report.devices)
    return fault_codes.reason("gpu_device_not_found", f"'{report.gpu_device}', among {there}")


def _architecture(report: ProbeReport) -> FallbackReason | None:
    device = report.selected
    if device is None or device.capability >= OLDEST_CAPABILITY:
        return None
    return fault_codes.reason("cuda_no_kernel_image", f"{device.name} has {device.compute_capability}")


def _package(report: ProbeReport) -> FallbackReason | None:
    facts = report.ctranslate2
    if facts.import_error is not None:
        return fault_codes.reason("ctranslate2_missing", facts.import_error)
    if facts.cuda_compiled is False:
        return fault_codes.reason("ctranslate2_without_cuda", f"version {facts.version}")
    return None


def _cublas(report: ProbeReport) -> FallbackReason | None:
    library = _library(report, "libcublas.so.")
    if library is None or library.chosen is not None:
        return None
    faults = [c for c in library.candidates if c.rejected_code is not None]
    for fault, code in _CUBLAS_CODES.items():
        matching = [candidate for candidate in faults if candidate.rejected_code == fault]
        if matching:
            return fault_codes.reason(code, "; ".join(map(_describe, matching[:3])))
    return fault_codes.reason("cublas_missing")


def _describe(candidate: LibraryCandidate) -> str:
    if candidate.rejected_code == "foreign":
        return f"{candidate.path}, found via {candidate.found_via}"
    return f"{candidate.path} ({candidate.found_via}): {candidate.rejected}"


def _cudnn(report: ProbeReport) -> FallbackReason | None:
    library = _library(report, "libcudnn.so.")
    if library is None or not library.needed or library.chosen is not None:
        return None
    return fault_codes.reason("cudnn_missing", f"version {report.ctranslate2.version}")


def _library(report: ProbeReport, prefix: str) -> Library | None:
    return next((library for library in report.libraries if library.name.startswith(prefix)), None)


def _known_answer(report: ProbeReport) -> FallbackReason | None:
    """CTranslate2's own words on the selected GPU, where they name a cause."""
    text = _answer(report.selected)
    return fault_codes.find_reason_in(text) if text else None


def _answer(device: GpuDevice | None) -> str | None:
    return device.compute_types_error if device else None


def _old_driver_for_gpu(report: ProbeReport) -> FallbackReason | None:
    """Likely fatal, by what is known of PTX; only the engine's own start proves it, so it decides nothing."""
    device, number = report.selected, report.driver.version_number
    if device is None or number is None or number >= PTX_DRIVER or not device.is_compiled_at_first_use:
        return None
    return fault_codes.reason("driver_too_old_for_gpu", f"{report.driver.version}, {device.name}")


def _unclear_answer(report: ProbeReport) -> FallbackReason | None:
    """An error of CTranslate2's that names no known cause decides nothing: the engine's start will."""
    text = _answer(report.selected)
    if not text or fault_codes.find_reason_in(text) is not None:
        return None
    return fault_codes.reason("ctranslate2_refused", text)


def _known_bad(report: ProbeReport) -> FallbackReason | None:
    """A combination that is known to fail or to be wrong; only WHISPER_STRICT_MATRIX refuses it."""
    if report.selected is None:
        return None
    verdict = compatibility.judge(snapshot.take(report, {}, {}))
    if verdict.verdict != compatibility.KNOWN_BAD or verdict.cause is not None:
        return None
    return replace(fault_codes.reason("combination_known_bad", verdict.why), fix=verdict.fix)


def _strict_matrix(report: ProbeReport) -> FallbackReason | None:
    """Under WHISPER_STRICT_MATRIX, whatever the pinned table does not call known good."""
    if not report.strict_matrix or report.selected is None:
        return None
    verdict = compatibility.judge(snapshot.take(report, {}, {}))
    if verdict.verdict == compatibility.KNOWN_GOOD:
        return None
    return replace(fault_codes.reason("combination_not_known_good", verdict.why), fix=verdict.fix)


_CHECKS: tuple[Check, ...] = (
    _driver_library,
    _driver_start,
    _driver_age,
    _device_count,
    _stopped_probe,
    _selection,
    _architecture,
    _package,
    _cublas,
    _cudnn,
    _known_answer,
    _strict_matrix,
)
