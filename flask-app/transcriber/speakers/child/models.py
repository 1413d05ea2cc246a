"""The two networks, verified and opened by ONNX Runtime on one device, which is never another than was asked for."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from .arrays import Floats

#: The files of this package's weights folder: weights/README.md says where they come from.
SHA256 = {
    "segmentation.onnx": "f5a67c9e86db4dfde056f50bac6dc25685962d99874cb09f03884e11762dadfb",
    "embedding.onnx": "791b053eaf684d5158142b396d8d418337c3f3726230c435c54ce0748b454caf",
    "embedding_mean.npy": "1d918d7e9d71b379ab3f8225a1ead41f5557fb065cb910571efdcaea33d8ca82",
}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class SpeakerModelError(Exception):
    """A model can't be used; `code` says why."""

    def __init__(self, code: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.fix = fix


@dataclass(frozen=True)
class SpeakerModels:
    """The networks, the mean voice that embeddings are measured from, and the provider that computes."""

    segmentation: Callable[[Floats], Floats]
    embedding: Callable[[Floats], Floats]
    provider: str


def load_models(folder: Path, device: str, threads: int) -> SpeakerModels:
    """Both networks. Raises SpeakerModelError."""
    for name, digest in SHA256.items():
        _verify(folder / name, digest)
    segmentation = _open(folder / "segmentation.onnx", device, threads)
    embedding = _open(folder / "embedding.onnx", device, threads)
    mean = np.load(folder / "embedding_mean.npy")

    def embed(features: Floats) -> Floats:
        """Embeddings of length one, less the voice that all have in common: so that unlike voices are far apart."""
        vectors = _run(embedding, features)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) - mean)

    return SpeakerModels(lambda sound: _run(segmentation, sound), embed, segmentation.get_providers()[0])


def _verify(path: Path, digest: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SpeakerModelError(
            "speaker_model_missing", f"{path} can't be read: {error.strerror}.", "Install the service again."
        ) from None
    if found != digest:
        raise SpeakerModelError(
            "speaker_model_damaged",
            f"{path} has the SHA-256 {found}, not {digest}.",
            "Install the service again.",
        )


def _open(path: Path, device: str, threads: int) -> onnxruntime.InferenceSession:
    """A session whose nodes all run on `device`: ONNX Runtime would go to the CPU with a warning only."""
    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise SpeakerModelError(
            "speaker_device_unavailable",
            f"This ONNX Runtime has no {provider}.",
            "Set WHISPER_SPEAKERS_DEVICE=cpu, or install onnxruntime-gpu for this CUDA.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if device != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        raise SpeakerModelError(
            "speaker_device_unavailable",
            f"{path.name} can't be opened on {device}: {error}",
            "Set WHISPER_SPEAKERS_DEVICE=cpu.",
        ) from error
    if session.get_providers()[0] != provider:
        raise SpeakerModelError(
            "speaker_device_unavailable",
            f"{path.name} was to run on {provider} and runs on {session.get_providers()[0]}.",
            "Set WHISPER_SPEAKERS_DEVICE=cpu.",
        )
    return session


def _run(session: onnxruntime.InferenceSession, values: Floats) -> Floats:
    (answer,) = session.run(None, {session.get_inputs()[0].name: values})
    return np.asarray(answer)
