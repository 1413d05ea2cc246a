"""Whether requests without wishes can be served: their model, and how the last starts of its engine went."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..domain.errors import EngineError, ModelNotFoundError, TranscriberError
from ..domain.ports import EngineInfo
from ..domain.transcript import FallbackReason
from ..gpu.policy import GpuSituation, find_proven, reason_of_engine_failure
from ..models.catalogue import canonical_name, find_model
from ..models.finder import ModelFinder

_FIX = "Look at the log for the engine's last output, fix what it says and restart."


class DefaultModel:
    """The model of requests that name none."""

    def __init__(
        self, name: str, finder: ModelFinder, *, model_path: Path | None, may_download: bool
    ) -> None:
        self.name = name
        self._finder = finder
        self._model_path = model_path
        self._may_download = may_download

    def fault(self) -> FallbackReason | None:
        """Why it can't be used. It is looked for as for a request, but never fetched.

        A model that is there is checked, too: files that the finder does not remember are hashed.
        """
        source = self._source()
        is_folder = self._model_path is None or self._model_path.is_dir()
        if is_folder and source == "package":
            return None
        if is_folder and source is None and self._may_download and find_model(self.name) is not None:
            return None
        try:
            self._finder.find(self.name)
        except TranscriberError as error:
            return reason_of(error)
        return None

    def find_service_fault(
        self, situation: GpuSituation, error_on: Callable[[str], TranscriberError | None]
    ) -> FallbackReason | None:
        """Why the service takes no work: no engine serves this model, or it can't be used."""
        return find_fault(situation, error_on, self.name) or self.fault()

    def _source(self) -> str | None:
        """Where it is; None: nowhere."""
        wanted = canonical_name(self.name)
        return next((model.source for model in self._finder.present() if model.name == wanted), None)


def find_fault(
    situation: GpuSituation, error_on: Callable[[str], TranscriberError | None], model: str
) -> FallbackReason | None:
    """Why no engine serves the default model: its newest starts failed wherever it may run, and none is up."""
    devices = _devices(situation)
    if any(_serves(engine, situation, model) and engine.device in devices for engine in situation.engines):
        return None
    errors = {device: error_on(device) for device in devices}
    for device, error in errors.items():
        if error is not None and (_is_of_model(error) or None not in errors.values()):
            return _reason_on(device, error)
    return None


def _devices(situation: GpuSituation) -> tuple[str, ...]:
    """Where requests without wishes may run, the last resort first: its failure is what stops the server."""
    if situation.policy == "required":
        return ("cuda",)
    tries_gpu = situation.policy != "off" and situation.wants_gpu
    is_usable = situation.proven is not None or situation.status.usable
    return ("cpu", "cuda") if tries_gpu and is_usable else ("cpu",)


def _serves(engine: EngineInfo, situation: GpuSituation, model: str) -> bool:
    is_honest = engine.device != "cuda" or find_proven((engine,)) is not None
    return is_honest and canonical_name(engine.model) == canonical_name(model)


def _is_of_model(error: TranscriberError) -> bool:
    """Whether the model is at fault, so that it starts on no device."""
    return isinstance(error, ModelNotFoundError) or error.code.startswith("model_")


def _reason_on(device: str, error: TranscriberError) -> FallbackReason:
    if device == "cuda" and isinstance(error, EngineError):
        return reason_of_engine_failure(error)
    return reason_of(error)


def reason_of(error: TranscriberError) -> FallbackReason:
    """An error as a cause, always with a fix."""
    return FallbackReason(code=error.code, message=error.message, fix=error.fix or _FIX)
