"""Every reason why a GPU does not serve: one row each, with what it means and the exact fix.

docs/gpu-reference.md is checked against this table. `{detail}` is what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...domain.selftest import FIXES
from ...domain.transcript import FallbackReason


@dataclass(frozen=True, slots=True)
class Cause:
    """One row: a sentence that says what is wrong, and what to run or set."""

    message: str
    fix: str


_INSTALL_DRIVER = (
    "Install the driver and reboot: 'sudo ubuntu-drivers install' on Ubuntu, 'sudo apt install nvidia-driver' "
    "on Debian (component non-free). In a container, start it with '--gpus all' (NVIDIA Container Toolkit)."
)
_UPDATE_DRIVER = (
    "Install a newer driver and reboot: 'sudo ubuntu-drivers install' on Ubuntu, 'sudo apt install nvidia-driver' "
    "on Debian. CUDA 12 needs 525 or later, and 570 or later on Hopper and Blackwell cards."
)
_INSTALL_CUBLAS = (
    "Start with 'scripts/run --gpu', which installs it, or run "
    "'.venv/bin/python -m pip install nvidia-cublas-cu12' in the service's folder, and restart."
)

CAUSES: dict[str, Cause] = {
    # The request and the settings.
    "gpu_policy_off": Cause(
        "The GPU was asked for, and this server is set never to use it.",
        "Set WHISPER_GPU_POLICY=preferred (and unset WHISPER_DEVICE=cpu) and restart; or send use_gpu=false.",
    ),
    "gpu_device_not_found": Cause(
        "The GPU that WHISPER_GPU_DEVICE names is not here: {detail}.",
        "Set WHISPER_GPU_DEVICE to an index or UUID that 'nvidia-smi -L' lists and CUDA_VISIBLE_DEVICES does not hide.",
    ),
    "setting_without_effect": Cause(
        "CT2_USE_CUDNN is set, and CTranslate2 has no such variable; cuDNN {detail}.",
        "Unset CT2_USE_CUDNN.",
    ),
    "combination_not_known_good": Cause(
        "WHISPER_STRICT_MATRIX allows known good combinations only, and this is none ({detail}).",
        "Install what a row of docs/gpu-reference.md names, as the requirements pin it; or unset WHISPER_STRICT_MATRIX and let "
        "the engine's own proof decide.",
    ),
    "combination_known_bad": Cause(
        "This combination is known to fail: {detail}.",
        "Do what the row of docs/gpu-reference.md says, or set WHISPER_GPU_COMPUTE_TYPE=float32.",
    ),
    "gpu_memory_short": Cause(
        "The GPU may have too little memory free: {detail}.",
        "Set WHISPER_MODEL, WHISPER_GPU_COMPUTE_TYPE or WHISPER_BATCH_SIZE as it says and restart; or see with "
        "'nvidia-smi' who holds the memory, and end that.",
    ),
    "gpu_memory_steps": Cause(
        "The GPU had too little memory for this job, and something was given up: {detail}.",
        "Set WHISPER_BATCH_SIZE, WHISPER_GPU_COMPUTE_TYPE or a smaller WHISPER_MODEL so that it fits; or see with "
        "'nvidia-smi' who holds the memory, and end that.",
    ),
    # The driver and its library.
    "no_nvidia_gpu": Cause(
        "There is no NVIDIA driver on this machine, and no NVIDIA GPU was seen in it (no PCI device of vendor "
        "10de, no /dev/nvidia*, no /dev/dxg).",
        "If it should have none, set WHISPER_GPU_POLICY=off. If it should: see whether 'lspci -d 10de:' lists it, "
        "then install the driver ('sudo ubuntu-drivers install' or 'sudo apt install nvidia-driver'); "
        "start a container with '--gpus all'.",
    ),
    "no_nvidia_driver": Cause(
        "There is no NVIDIA driver on this machine, although it has an NVIDIA GPU ({detail}).",
        _INSTALL_DRIVER,
    ),
    "libcuda_unloadable": Cause(
        "The driver's library libcuda.so.1 is there and can't be loaded: {detail}.",
        "Remove the file named here if it is not the driver's ('dpkg -S FILE' shows it), then reinstall the driver: "
        "'sudo apt install --reinstall libcuda1' on Debian, 'sudo ubuntu-drivers install' on Ubuntu.",
    ),
    "driver_too_old": Cause(
        "The NVIDIA driver is too old: it speaks {detail}, and CTranslate2 needs CUDA 12.0.", _UPDATE_DRIVER
    ),
    "driver_too_old_for_gpu": Cause(
        "The NVIDIA driver is too old for CTranslate2's code on this GPU ({detail}): the code must be compiled "
        "from PTX of CUDA 12.8.",
        "Install driver 570 or later and reboot: 'sudo ubuntu-drivers install nvidia:570' on Ubuntu.",
    ),
    # What the driver answered. One row for each number that has a meaning of its own.
    "cuda_out_of_memory": Cause(
        "The GPU has no memory left (CUDA error 2).",
        "See who holds it with 'nvidia-smi' and end that, or set WHISPER_GPU_COMPUTE_TYPE=int8_float16, a smaller "
        "WHISPER_MODEL, or a lower WHISPER_BATCH_SIZE.",
    ),
    "cuda_initialization_error": Cause(
        "The driver could not initialise (CUDA error 3).",
        "Run 'sudo modprobe nvidia && sudo nvidia-modprobe -c0 -u' and restart the service; if it stays, reboot and "
        "read 'sudo dmesg | grep -i -e nvrm -e xid'.",
    ),
    "cuda_stub_library": Cause(
        "A stub took the place of the driver's library (CUDA error 34): {detail}.",
        "Take the folder that ends in 'stubs' out of LD_LIBRARY_PATH ('echo $LD_LIBRARY_PATH') and out of "
        "/etc/ld.so.conf.d, then run 'sudo ldconfig' and restart.",
    ),
    "cuda_device_busy": Cause(
        "The GPU is busy or can't be had (CUDA error 46); another process may hold it exclusively.",
        "Run 'nvidia-smi -q -d COMPUTE' and, if the mode is exclusive, 'sudo nvidia-smi -c DEFAULT'; end the "
        "process that 'nvidia-smi' lists.",
    ),
    "cuda_no_device": Cause(
        "The driver finds no GPU (CUDA error 100).",
        "Run 'nvidia-smi -L' and 'ls -l /dev/nvidia*'. No nodes: 'sudo nvidia-modprobe -c0 -u'. Under systemd: "
        "PrivateDevices=no and DeviceAllow as in systemd/transcriber.service. MIG without a slice: "
        "'sudo nvidia-smi mig -cgi 19 -C'. In a container: '--gpus all'.",
    ),
    "cuda_devices_hidden": Cause(
        "CUDA_VISIBLE_DEVICES hides every GPU: it is {detail}.",
        "Unset CUDA_VISIBLE_DEVICES (or name a GPU that 'nvidia-smi -L' lists) and restart.",
    ),
    "no_cuda_devices": Cause(
        "The driver works and reports no device.",
        "Run 'nvidia-smi -L'; unset CUDA_VISIBLE_DEVICES; with MIG on, make a slice: 'sudo nvidia-smi mig -cgi 19 -C'.",
    ),
    "cuda_invalid_device": Cause(
        "The driver refused the device number (CUDA error 101).",
        "Set WHISPER_GPU_DEVICE to an index or UUID that 'nvidia-smi -L' lists, and unset CUDA_VISIBLE_DEVICES.",
    ),
    "cuda_no_kernel_image": Cause(
        "CTranslate2 has no code for this GPU (CUDA error 209): it needs compute capability 6.0 or higher.",
        "Set WHISPER_GPU_POLICY=off, choose a newer card with WHISPER_GPU_DEVICE, or build CTranslate2 with "
        "-DCUDA_ARCH_LIST for this card.",
    ),
    "cuda_ecc_error": Cause(
        "The GPU reports a memory error that can't be corrected (CUDA error 214).",
        "Run 'nvidia-smi -q -d ECC', then 'sudo nvidia-smi --gpu-reset' or reboot; replace the card if it comes back.",
    ),
    "cuda_ptx_too_new": Cause(
        "The driver is too old to compile CTranslate2's code for this GPU (CUDA error 222).",
        "Install driver 570 or later and reboot: 'sudo ubuntu-drivers install nvidia:570' on Ubuntu.",
    ),
    "cuda_os_call_failed": Cause(
        "The operating system refused a call of the driver's (CUDA error 304); a sandbox may forbid it.",
        "Under systemd compare the unit with systemd/transcriber.service (PrivateDevices=no, DeviceAllow, no "
        "SystemCallFilter on ioctl); in Docker try '--security-opt seccomp=unconfined' to confirm.",
    ),
    "cuda_not_ready": Cause(
        "The GPU system is not initialised yet (CUDA error 802); with NVSwitch the fabric manager is down.",
        "Run 'sudo systemctl enable --now nvidia-fabricmanager' (its version must equal the driver's) and restart.",
    ),
    "cuda_driver_mismatch": Cause(
        "The driver's library and its kernel module have different versions (CUDA error 803), as after an "
        "upgrade without a reboot.",
        "Reboot. If it comes back: 'cat /proc/driver/nvidia/version' must equal the version of 'dpkg -l libcuda1 "
        "libnvidia-compute-*'.",
    ),
    "cuda_compat_unsupported": Cause(
        "Forward compatibility was tried on a card that has none (CUDA error 804): a cuda-compat package "
        "stands in front of the driver.",
        "Run 'sudo apt purge \"cuda-compat-*\"' (in the image, too), take its folder out of LD_LIBRARY_PATH, restart.",
    ),
    "cuda_mps_failed": Cause(
        "The MPS daemon can't be reached (CUDA error 805).",
        "Start it with 'sudo nvidia-cuda-mps-control -d', or stop it with 'echo quit | sudo nvidia-cuda-mps-control' "
        "and unset CUDA_MPS_PIPE_DIRECTORY.",
    ),
    "cuda_unknown_error": Cause(
        "The driver failed for a reason it does not know (CUDA error 999); mostly nvidia-uvm is missing or "
        "did not survive a suspend.",
        "Run 'sudo rmmod nvidia_uvm; sudo modprobe nvidia_uvm && sudo nvidia-modprobe -c0 -u' and restart; else reboot.",
    ),
    "cuda_error": Cause(
        "The driver answered with an error of its own: {detail}.",
        "Run 'nvidia-smi' and 'sudo dmesg | grep -i -e nvrm -e xid', look the number up under CUresult in NVIDIA's "
        "driver API, and reboot if nothing explains it.",
    ),
    # CUDA's libraries.
    "cublas_missing": Cause("libcublas.so.12 is not on this machine.", _INSTALL_CUBLAS),
    "cublas_foreign": Cause(
        "cuBLAS is here in another major version only ({detail}); CTranslate2 opens libcublas.so.12 by that name.",
        _INSTALL_CUBLAS + " It can lie beside the other version.",
    ),
    "cublas_broken": Cause(
        "libcublas.so.12 can't be loaded: {detail}.",
        "Run '.venv/bin/python -m pip install --force-reinstall nvidia-cublas-cu12', and remove the damaged file.",
    ),
    "cublas_wrong_version": Cause(
        "The file libcublas.so.12 is not version 12: {detail}.",
        "Run '.venv/bin/python -m pip install --force-reinstall nvidia-cublas-cu12', and remove the file or link named here.",
    ),
    "cublaslt_missing": Cause(
        "libcublas.so.12 is here without its libcublasLt.so.12: {detail}.",
        "Run '.venv/bin/python -m pip install --force-reinstall nvidia-cublas-cu12'; both files come in it.",
    ),
    "cublaslt_broken": Cause(
        "libcublasLt.so.12 can't be loaded: {detail}.",
        "Run '.venv/bin/python -m pip install --force-reinstall nvidia-cublas-cu12', and remove the damaged file.",
    ),
    "cublas_lt_mismatch": Cause(
        "libcublas.so.12 and libcublasLt.so.12 do not belong together: {detail}.",
        "Run '.venv/bin/python -m pip install --force-reinstall nvidia-cublas-cu12', and take the other folder out of LD_LIBRARY_PATH.",
    ),
    "cudnn_missing": Cause(
        "This CTranslate2 ({detail}) needs cuDNN 9, and no libcudnn.so.9 can be loaded.",
        "Run '.venv/bin/python -m pip install \"ctranslate2>=4.6.3\"', which needs none; or install nvidia-cudnn-cu12.",
    ),
    # CTranslate2 itself.
    "ctranslate2_missing": Cause(
        "CTranslate2 can't be imported: {detail}.",
        "Run '.venv/bin/python -m pip install --require-hashes -r requirements.txt' (or scripts/run, which does).",
    ),
    "ctranslate2_without_cuda": Cause(
        "The installed CTranslate2 was built without CUDA ({detail}); the wheels for ARM are.",
        "Build CTranslate2 with -DWITH_CUDA=ON and install it into .venv, run on an x86-64 machine, or set "
        "WHISPER_GPU_POLICY=off.",
    ),
    "compute_type_unsupported": Cause(
        "The GPU can't compute in the type that is set: {detail}.",
        "Set WHISPER_GPU_COMPUTE_TYPE=auto, or one of the types that /diagnostics lists for this GPU.",
    ),
    "cublas_failed": Cause(
        "cuBLAS failed on this GPU: {detail}.",
        "Set WHISPER_GPU_COMPUTE_TYPE=float16 (or float32); see whether 'nvidia-smi' shows free memory.",
    ),
    "ctranslate2_refused": Cause(
        "CTranslate2 could not say what this GPU can do: {detail}.",
        "Nothing to do if the GPU engine starts, since its own proof decides; else run 'python -m transcriber doctor' "
        "and follow the engine's error.",
    ),
    # The engine child.
    "engine_start_crashed": Cause(
        "The engine child died before it was ready: {detail}.",
        "See the log for the child's last words. If it was killed, the machine may lack memory; if it aborted over "
        "cuDNN, run '.venv/bin/python -m pip install \"ctranslate2>=4.6.3\"'.",
    ),
    "engine_start_timeout": Cause(
        "The engine child was not ready in time: {detail}.",
        "Raise WHISPER_ENGINE_START_TIMEOUT_SECONDS if it was still loading, or if the driver was compiling its code "
        "for this card; else run 'timeout 60 nvidia-smi' and see the log.",
    ),
    "engine_crashed": Cause(
        "The engine child died at work: {detail}.",
        "See the log for the child's last words and 'sudo dmesg | grep -i -e nvrm -e xid'. If it happens with one "
        "file only, the file is the cause.",
    ),
    "engine_stalled": Cause(
        "The engine child was ended, since it had work and said nothing: {detail}.",
        "Run 'timeout 60 nvidia-smi'; if that hangs, reboot and read 'sudo dmesg | grep -i -e nvrm -e xid'.",
    ),
    # The probe itself.
    "gpu_probe_timeout": Cause(
        "The driver did not answer in time: {detail}.",
        "Run 'timeout 60 nvidia-smi'; if that hangs, reboot and read 'sudo dmesg | grep -i -e nvrm -e xid'. Slow first "
        "answers: 'sudo nvidia-smi -pm 1'.",
    ),
    "gpu_probe_crashed": Cause(
        "Looking for the GPU crashed: {detail}.",
        "Run 'nvidia-smi'; if that fails too, reinstall the driver and reboot ('sudo apt install --reinstall "
        "libcuda1'). Then 'python -m transcriber doctor' to look again.",
    ),
    # What the work itself showed.
    "engine_device_mismatch": Cause(
        "The engine said it ran on one device, and its windows ran on another: {detail}.",
        FIXES["engine_device_mismatch"],
    ),
    # What the self-test showed.
    "numbers_not_finite": Cause(
        "The device computed numbers that are not finite: {detail}.", FIXES["numbers_not_finite"]
    ),
    "numbers_differ": Cause(
        "The engine's numbers are not those that a CPU computes: {detail}.", FIXES["numbers_differ"]
    ),
    "words_differ": Cause(
        "The engine did not hear the words of the self-test's clip: {detail}.", FIXES["words_differ"]
    ),
    "engine_too_slow": Cause(
        "The engine is more than three times as slow as it was on this GPU: {detail}.",
        FIXES["engine_too_slow"],
    ),
    "selftest_timeout": Cause(
        "The engine did not answer when it was to test itself: {detail}.", FIXES["selftest_timeout"]
    ),
    "cublas_not_the_chosen": Cause(
        "Another libcublas.so.12 was loaded than the one that was chosen: {detail}.",
        "Run '.venv/bin/python -m pip install --force-reinstall nvidia-cublas-cu12', take other folders with a libcublas "
        "out of LD_LIBRARY_PATH, and restart.",
    ),
    # What a job showed.
    "mixed_devices": Cause(
        "Only a part of this job ran on the GPU: {detail}.",
        "Send it again with require_gpu=true for a run on the GPU alone; 'python -m transcriber doctor' says why the GPU engine ended.",
    ),
    "no_gpu_evidence": Cause(
        "There is no evidence that all of this job ran on the GPU.",
        "Send it again; if it comes back, run 'sudo systemctl restart transcriber' and read 'journalctl -u transcriber'.",
    ),
    "gpu_not_used": Cause(
        "The GPU was chosen, and every window ran on the CPU.",
        "Run 'python -m transcriber doctor' for why the GPU engine is not up, fix that, and run 'sudo systemctl restart transcriber'.",
    ),
    "gpu_not_proven": Cause(
        "The GPU looks usable, and no engine has proven it yet.",
        "Send one request with use_gpu=true, or set WHISPER_ENGINE_START=boot so that the proof is made at start.",
    ),
}

#: The driver's numbers (CUresult) that have a row of their own.
CUDA_CODES: dict[int, str] = {
    2: "cuda_out_of_memory",
    3: "cuda_initialization_error",
    34: "cuda_stub_library",
    46: "cuda_device_busy",
    100: "cuda_no_device",
    101: "cuda_invalid_device",
    209: "cuda_no_kernel_image",
    214: "cuda_ecc_error",
    222: "cuda_ptx_too_new",
    304: "cuda_os_call_failed",
    802: "cuda_not_ready",
    803: "cuda_driver_mismatch",
    804: "cuda_compat_unsupported",
    805: "cuda_mps_failed",
    999: "cuda_unknown_error",
}

#: What CTranslate2 puts into its exceptions, and the row it means. The first that is contained counts.
_ENGINE_WORDS: tuple[tuple[str, str], ...] = (
    ("driver version is insufficient", "driver_too_old"),
    ("stub library", "cuda_stub_library"),
    ("out of memory", "cuda_out_of_memory"),
    ("initialization error", "cuda_initialization_error"),
    ("busy or unavailable", "cuda_device_busy"),
    ("no CUDA-capable device", "cuda_no_device"),
    ("invalid device ordinal", "cuda_invalid_device"),
    ("no kernel image", "cuda_no_kernel_image"),
    ("uncorrectable ECC", "cuda_ecc_error"),
    ("unsupported toolchain", "cuda_ptx_too_new"),
    ("OS call failed", "cuda_os_call_failed"),
    ("system not yet initialized", "cuda_not_ready"),
    ("unsupported display driver", "cuda_driver_mismatch"),
    ("forward compatibility was attempted", "cuda_compat_unsupported"),
    ("MPS client failed", "cuda_mps_failed"),
    ("CUDA failed with error unknown error", "cuda_unknown_error"),
    ("not compiled with CUDA", "ctranslate2_without_cuda"),
    ("libcublas.so.12 is not found", "cublas_broken"),
    ("from library libcublas", "cublas_broken"),
    ("compute type, but the target device", "compute_type_unsupported"),
    ("cuBLAS failed with status", "cublas_failed"),
)


def reason(code: str, detail: str = "") -> FallbackReason:
    """The row of this code with what was seen: inside its sentence, or as a sentence of its own."""
    cause = CAUSES[code]
    message = cause.message.format(detail=detail.strip().rstrip("."))
    if detail and "{detail}" not in cause.message:
        message = f"{message} Seen: {detail.strip().rstrip('.')}."
    return FallbackReason(code=code, message=message, fix=cause.fix)


def cuda_reason(number: int, name: str = "", detail: str = "") -> FallbackReason:
    """The row of a driver's number; numbers without a row get a code of their own, cuda_error_N."""
    code = CUDA_CODES.get(number)
    if code is not None:
        return reason(code, detail)
    seen = f"CUDA error {number}" + (f", {name}" if name else "") + (f"; {detail}" if detail else "")
    unnamed = reason("cuda_error", seen)
    return FallbackReason(code=f"cuda_error_{number}", message=unnamed.message, fix=unnamed.fix)


def find_reason_in(text: str) -> FallbackReason | None:
    """The row that an exception text of CTranslate2's means, as an engine reports it at start or later."""
    code = next((code for words, code in _ENGINE_WORDS if words in text), None)
    if code is None:
        return None
    detail = f"older than CUDA 12.0, by CTranslate2's words “{text}”" if code == "driver_too_old" else text
    return reason(code, detail)
