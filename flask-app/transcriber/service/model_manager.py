"""The models of this installation as people handle them: what is here, loaded and why not; load, unload, download."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from ..domain.errors import DownloadRefusedError, ModelNotFoundError, TranscriberError
from ..domain.ports import EngineInfo
from ..engine.eviction import EngineMemory
from ..engine.pool import ChildEnginePool, SlotView
from ..models.catalogue import CatalogueModel, canonical_name
from ..models.downloads import Download, Downloads
from ..models.finder import LocalModel, ModelFinder

logger = structlog.get_logger(__name__)

DEVICES = ("cuda", "cpu")


@dataclass(frozen=True, kw_only=True)
class HubAccess:
    """Where known models come from. may_download: WHISPER_MODEL_DOWNLOAD."""

    downloads: Downloads
    cache: Path
    row: Callable[[str], CatalogueModel | None]
    may_download: bool


class ModelManager:
    """Use cases over the finder, the pool and the hub. Safe to call from any thread."""

    def __init__(
        self,
        *,
        finder: ModelFinder,
        engines: ChildEnginePool,
        memory: EngineMemory,
        hub: HubAccess,
        default_model: str,
        resident: Callable[[int], int | None],
    ) -> None:
        """resident: bytes that a process holds now."""
        self._finder = finder
        self._engines = engines
        self._memory = memory
        self._hub = hub
        self._default = canonical_name(default_model)
        self._resident = resident

    def all(self) -> list[dict[str, Any]]:
        """Models that are here, and known ones that may be fetched; plain, for JSON and pages."""
        views = self._engines.views()
        # Before the models: one whose download ends meanwhile is reported as downloading, not as absent.
        downloads = self._hub.downloads.all()
        return [self._facts(model, views, downloads.get(model.name)) for model in self._finder.all()]

    def get(self, name: str) -> dict[str, Any]:
        """One of them. Raises ModelNotFoundError."""
        wanted = canonical_name(name)
        found = next((facts for facts in self.all() if facts["id"] == wanted), None)
        if found is None:
            raise self._unknown(name)
        return found

    def memory(self) -> dict[str, Any]:
        """By device: what engines may take together, and what is counted for those that are up or starting."""
        views = self._engines.views()
        return {
            device: {
                "limit_bytes": self._memory.limit(device),
                "counted_bytes": sum(view.memory_bytes for view in views if view.device == device),
            }
            for device in DEVICES
        }

    def unloaded(self) -> list[dict[str, Any]]:
        """Engines that were ended with nothing wrong and are not up again, with their last proof."""
        views = [view for view in self._engines.views() if view.state == "unloaded" and view.rest is not None]
        return [{"model": view.model, **self._engine(view)} for view in views]

    def load(self, name: str, device: str) -> dict[str, Any]:
        """Load it there, and wait for that; the model as it then is.

        Raises ModelNotFoundError, EngineStartError (engines_busy, memory_too_small, or what went wrong), ShuttingDownError.
        """
        model = self._finder.describe(name)
        with self._engines.lend(device, model.name):
            logger.info("model_loaded", model=model.name, device=device)
        return self.get(model.name)

    def begin_load(self, name: str, device: str) -> None:
        """The same in the background. Raises ModelNotFoundError; what goes wrong later is in the model's facts."""
        model = self._finder.describe(name)
        threading.Thread(
            target=self._load_quietly, args=(model.name, device), name="model-load", daemon=True
        ).start()

    def unload(self, name: str, device: str | None = None) -> dict[str, Any]:
        """End its engines (there); the model as it then is. One that is not loaded is left so.

        Raises ModelNotFoundError, and ModelBusyError while a job is in it.
        """
        facts = self.get(name)
        count = self._engines.unload(facts["id"], device)
        logger.info("model_unloaded", model=facts["id"], engines=count)
        return self.get(name)

    def download(self, name: str) -> dict[str, Any]:
        """Begin to fetch a known model that is not here; the model as it now is.

        Raises ModelNotFoundError (also for repositories that the catalogue does not know) and DownloadRefusedError.
        """
        row = self._hub.row(name)
        if row is None or any(model.name == row.name for model in self._finder.present()):
            return self.get(name)
        if not self._hub.may_download:
            raise DownloadRefusedError(
                f"The model {row.name} is not here, and WHISPER_MODEL_DOWNLOAD is false."
            )
        self._hub.downloads.begin(row, self._hub.cache)
        return self.get(row.name)

    def default_engine(self) -> dict[str, Any]:
        """How the default model's engine stands, in one look, for health: with its last proof, also while unloaded."""
        views = [view for view in self._engines.views() if view.model == self._default]
        order = ("loaded", "loading", "unloaded", "failed")
        view = min(views, key=lambda each: (order.index(each.state), each.device != "cuda"), default=None)
        info = _info(view)
        return {
            "model": self._default,
            "state": view.state if view else "unloaded",
            "device": view.device if view else None,
            "proven_at": _iso(info.proven_at or info.started_at) if info else None,
            "unloaded_at": _iso(view.rest.at) if view and view.rest else None,
        }

    def _load_quietly(self, name: str, device: str) -> None:
        try:
            self.load(name, device)
        except TranscriberError as error:
            logger.warning(
                "model_not_loaded", model=name, device=device, code=error.code, error=error.message
            )

    def _facts(
        self, model: LocalModel, views: tuple[SlotView, ...], download: Download | None
    ) -> dict[str, Any]:
        own = [view for view in views if view.model == model.name]
        used = [view.used_at for view in own if view.used_at is not None]
        return {
            "id": model.name,
            "state": _state(model, own, download),
            "is_default": model.name == self._default,
            "source": model.source,
            "path": None if model.source == "hub" else str(model.path),
            "repository": model.repository,
            "revision": model.revision,
            "verified": model.verified,
            "size_bytes": model.size_bytes,
            "can_translate": model.can_translate,
            "is_english_only": model.is_english_only,
            "needs_bytes": {device: self._memory.need(device, model.name) or None for device in DEVICES},
            "last_used_at": _iso(max(used)) if used else None,
            "engines": [self._engine(view) for view in own],
            "download": _download(download),
        }

    def _engine(self, view: SlotView) -> dict[str, Any]:
        info = _info(view)
        resident = self._resident(view.engine.pid) if view.engine else None
        return {
            "device": view.device,
            "state": view.state,
            "compute_type": info.compute_type if info else None,
            "pid": view.engine.pid if view.engine else None,
            "borrowers": view.borrowers,
            "resident_bytes": resident,
            "counted_bytes": view.memory_bytes,
            "load_seconds": info.load_seconds if info else None,
            "proven_at": _iso(info.proven_at or info.started_at) if info else None,
            "last_used_at": _iso(view.used_at),
            "unloaded_at": _iso(view.rest.at) if view.rest else None,
            "unloaded_because": view.rest.why if view.rest else None,
            "error": _error(view.error),
        }

    def _unknown(self, name: str) -> ModelNotFoundError:
        here = ", ".join(model.name for model in self._finder.present()) or "none"
        return ModelNotFoundError(
            f"The model {name[:80]!r} is not on this machine. Models here: {here}.",
            fix="Name one of those, or add the model as docs/models.md says.",
        )


def _state(model: LocalModel, views: list[SlotView], download: Download | None) -> str:
    """absent, downloading, loaded, loading or unloaded."""
    if download is not None and download.is_running:
        return "downloading"
    states = {view.state for view in views}
    if model.source == "hub":
        return "loading" if "loading" in states else "absent"
    return next((state for state in ("loaded", "loading") if state in states), "unloaded")


def _info(view: SlotView | None) -> EngineInfo | None:
    """The engine's own word, also when it is gone."""
    if view is None:
        return None
    return view.engine or (view.rest.engine if view.rest else None)


def _download(download: Download | None) -> dict[str, Any] | None:
    if download is None:
        return None
    return {
        "state": download.state,
        "done_bytes": download.done_bytes,
        "total_bytes": download.total_bytes,
        "percent": download.percent,
        "started_at": _iso(download.started_at),
        "ended_at": _iso(download.ended_at),
        "error": _error(download.error),
    }


def _error(error: TranscriberError | None) -> dict[str, str] | None:
    return None if error is None else {"code": error.code, "message": error.message, "fix": error.fix}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
