"""One process that computes on one device, and says in JSON what it saw: see gpu_proof.py, which starts it.

`python gpu_proof_child.py STEP '{"model": …, "device": …, "compute_type": …, "numbers": …, "repeats": …}'`
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper.audio import decode_audio

from cuda_questions import Cuda
from cupti_count import counting, find_cupti
from transcriber.engine.child.model.encoded import Encoded
from transcriber.engine.child.model.whisper import ModelSpec, WhisperModel

JFK = Path(__file__).parents[1] / "data" / "jfk.flac"


def load(order: dict[str, Any]) -> WhisperModel:
    return WhisperModel(
        ModelSpec(
            path=Path(order["model"]),
            device=order["device"],
            device_index=0,
            compute_type=order["compute_type"],
            cpu_threads=len(os.sched_getaffinity(0)),
            num_workers=1,
        )
    )


def features(model: WhisperModel) -> Any:
    return model.log_mel(decode_audio(str(JFK), sampling_rate=16_000))


def pointer_of(encoded: Encoded) -> int:
    """The address of the encoder's output, in whichever memory it lies."""
    on_gpu = encoded.address
    return int(encoded._view.__array_interface__["data"][0]) if on_gpu is None else on_gpu


def prove(order: dict[str, Any]) -> dict[str, Any]:
    """Proofs A to D on one window of speech, with the times of load, first and later passes."""
    begun = time.perf_counter()
    model = load(order)
    loaded = time.perf_counter()
    cuda = Cuda()
    cuda.enter()
    window = features(model)
    before = cuda.pool()
    cuda.reset_high()
    first = time.perf_counter()
    encoded = model.encode([window])
    numbers = encoded.host()
    text = _text(model, encoded)
    done = time.perf_counter()
    after = cuda.pool()
    np.save(order["numbers"], numbers)
    return {
        "device": encoded.device,
        "compute_type": model.compute_type,
        "where": cuda.where(pointer_of(encoded)),
        "pool_before": before,
        "pool_after": after,
        "is_finite": bool(np.isfinite(numbers).all()),
        "spread": float(numbers.std()),
        "text": text,
        "load_seconds": loaded - begun,
        "first_seconds": done - first,
        "encode_seconds": _median_seconds(lambda: model.encode([window]).host(), order["repeats"]),
        "window_seconds": _median_seconds(lambda: _text(model, model.encode([window])), order["repeats"]),
    }


def _text(model: WhisperModel, encoded: Encoded) -> str:
    attempt = model.generate(encoded, [0], [model.prompt("en", "transcribe", ())], 0.0, 5)[0]
    return model.decode_text(attempt.tokens).strip()


def _median_seconds(work: Any, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return sorted(times)[repeats // 2]


def fork(order: dict[str, Any]) -> dict[str, Any]:
    """How many devices a child sees that was forked after CUDA had started in its parent."""
    model = load(order)
    model.encode([features(model)]).host()
    here = ctranslate2.get_cuda_device_count()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(ctranslate2.get_cuda_device_count()).encode())
        os._exit(0)
    os.close(writing)
    there = os.read(reading, 16).decode()
    os.waitpid(child, 0)
    return {"in_parent": here, "in_forked_child": int(there) if there else None}


def without_cublas(order: dict[str, Any]) -> dict[str, Any]:
    """Where cuBLAS can't be found: whether the model loads all the same, and what the first pass says."""
    model = load(order)
    try:
        model.encode([features(model)]).host()
    except RuntimeError as error:
        return {"is_loaded": True, "error": str(error)}
    return {"is_loaded": True, "error": None}


def unload(order: dict[str, Any]) -> dict[str, Any]:
    """Memory of the device that a process still holds once its model was unloaded."""
    cuda = Cuda()
    cuda.enter()
    at_first = cuda.free_bytes() or 0
    model = load(order)
    model.encode([features(model)]).host()
    loaded = cuda.free_bytes() or 0
    # CTranslate2 leaves a model loaded, without a word, while it still counts a batch whose result is out already.
    deadline = time.monotonic() + 10
    while model._model.num_active_batches and time.monotonic() < deadline:
        time.sleep(0.01)
    model._model.unload_model()
    unloaded = cuda.free_bytes() or 0
    return {
        "is_loaded": bool(model._model.model_is_loaded),
        "held_loaded_bytes": at_first - loaded,
        "held_unloaded_bytes": at_first - unloaded,
    }


def free(order: dict[str, Any]) -> dict[str, Any]:
    """Memory of the device that is free, seen by a process that holds a context and nothing else."""
    cuda = Cuda()
    cuda.enter()
    return {"free_bytes": cuda.free_bytes()}


def count_kernels(order: dict[str, Any]) -> dict[str, Any]:
    """Kernels of one window, by CUPTI, and what counting them costs."""
    cupti = find_cupti()
    if cupti is None:
        return {"why": "no libcupti.so is here (package nvidia-cuda-cupti-cu12, or the toolkit)"}
    model = load(order)
    window = features(model)
    plain = _median_seconds(lambda: _text(model, model.encode([window])), order["repeats"])
    try:
        with counting(cupti) as counter:
            begun = time.perf_counter()
            _text(model, model.encode([window]))
            counted = time.perf_counter() - begun
    except RuntimeError as error:
        # Sandboxes and drivers without a profiler refuse it; the other proofs stand without.
        return {"why": str(error)}
    return {"kernels": counter.kernels, "window_seconds": plain, "counted_seconds": counted}


STEPS = {step.__name__: step for step in (prove, fork, without_cublas, unload, free, count_kernels)}

if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)  # whatever the libraries print
    answer = STEPS[sys.argv[1]](json.loads(sys.argv[2]))
    os.write(out, json.dumps(answer).encode())
    os._exit(0)  # no clean-up of CUDA, which may hang
