"""Downloads of known models: one at a time for each, in the background, verified, and cleared away if they are wrong."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from ..domain.errors import EngineStartError, TranscriberError
from ..domain.ports import Clock
from .catalogue import CatalogueModel
from .hub import Progress, bytes_here, cache_folder
from .verification import Verifier

_log = structlog.get_logger()

#: How often progress is asked for, and how often it is logged, in seconds.
_TELL_SECONDS = 1.0
_LOG_SECONDS = 10.0

DOWNLOADING, VERIFYING, DONE, FAILED = "downloading", "verifying", "done", "failed"


class FetchSnapshot(Protocol):
    """Downloads a pinned snapshot and returns its folder; see hub.fetch_snapshot."""

    def __call__(
        self, row: CatalogueModel, hub_cache: Path, /, progress: Progress, interval: float
    ) -> Path: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """One download, as it stands: downloading, verifying, done or failed."""

    model: str
    state: str
    total_bytes: int
    done_bytes: int = 0
    started_at: datetime
    ended_at: datetime | None = None
    error: TranscriberError | None = None

    @property
    def percent(self) -> float:
        return round(100.0 * self.done_bytes / self.total_bytes, 1) if self.total_bytes else 0.0

    @property
    def is_running(self) -> bool:
        return self.ended_at is None


class Downloads:
    """Every download since the start. Safe to call from any thread.

    Under gevent, call it from greenlets of the main thread, because a download starts a child process; hashing runs
    through `in_thread`.
    """

    def __init__(
        self,
        *,
        fetch: FetchSnapshot,
        verifier: Verifier,
        in_thread: Callable[[Callable[[], tuple[str, ...]]], tuple[str, ...]],
        clock: Clock,
        free_bytes: Callable[[Path], int | None],
    ) -> None:
        """free_bytes: of the disk that this folder is on, less what others are to be left; None: unknown."""
        self._fetch = fetch
        self._verifier = verifier
        self._in_thread = in_thread
        self._clock = clock
        self._free_bytes = free_bytes
        self._changed = threading.Condition()
        self._downloads: dict[str, Download] = {}
        self._paths: dict[str, Path] = {}
        self._logged: dict[str, float] = {}

    def all(self) -> dict[str, Download]:
        """The newest download of each model, by name."""
        with self._changed:
            return dict(self._downloads)

    def begin(self, row: CatalogueModel, hub_cache: Path) -> Download:
        """Start it in the background, unless it runs already."""
        with self._changed:
            running = self._downloads.get(row.name)
            if running is not None and running.is_running:
                return running
            begun = Download(
                model=row.name,
                state=DOWNLOADING,
                total_bytes=row.model_bytes,
                started_at=self._clock.now(),
            )
            self._downloads[row.name] = begun
        threading.Thread(
            target=self._run, args=(row, hub_cache), name=f"download-{row.name}", daemon=True
        ).start()
        return begun

    def fetch(self, row: CatalogueModel, hub_cache: Path, /) -> Path:
        """The same, and wait for its end: the verified snapshot. Raises EngineStartError (model_download_failed, model_damaged)."""
        self.begin(row, hub_cache)
        with self._changed:
            while self._downloads[row.name].is_running:
                self._changed.wait()
            ended = self._downloads[row.name]
            if ended.error is not None:
                raise ended.error.with_traceback(None)
            return self._paths[row.name]

    def _run(self, row: CatalogueModel, hub_cache: Path) -> None:
        """Thread: from the first byte to the last hash."""
        _log.info("model_download_started", model=row.name, total_bytes=row.model_bytes)
        try:
            self._check_room(row, hub_cache)
            path = self._fetch(row, hub_cache, progress=self._note, interval=_TELL_SECONDS)
            self._change(row.name, state=VERIFYING, done_bytes=row.model_bytes)
            self._verify(row, path, hub_cache)
        except Exception as error:  # noqa: BLE001  the thread's boundary: those who wait hear of any failure
            failure = error if isinstance(error, TranscriberError) else _failed(row, repr(error))
            _log.error("model_download_failed", model=row.name, code=failure.code, error=failure.message)
            self._change(row.name, state=FAILED, error=failure, ended_at=self._clock.now())
        else:
            _log.info("model_downloaded", model=row.name, path=str(path))
            self._paths[row.name] = path
            self._change(row.name, state=DONE, ended_at=self._clock.now())

    def _check_room(self, row: CatalogueModel, hub_cache: Path) -> None:
        free = self._free_bytes(hub_cache)
        missing = row.model_bytes - bytes_here(row, hub_cache)
        if free is not None and free < missing:
            raise _failed(
                row,
                f"{missing} bytes of it are missing, and {free} may be used of the disk under {hub_cache}",
                fix=f"Free space on the disk under {hub_cache}, or set HF_HUB_CACHE to a larger one.",
            )

    def _verify(self, row: CatalogueModel, path: Path, hub_cache: Path) -> None:
        """Content that is not the pinned one is removed, so that the next try begins anew."""
        wrong = self._in_thread(lambda: self._verifier.mismatches(path, row.sha256))
        if not wrong:
            return
        shutil.rmtree(cache_folder(row.repository, hub_cache), ignore_errors=True)
        raise EngineStartError(
            f"The hub sent other content for {row.name} than is pinned: {', '.join(wrong)}. It was removed.",
            code="model_damaged",
            fix="Send it again; if it happens again, what answers as the hub (HF_ENDPOINT, a proxy) is not to be trusted.",
        )

    def _note(self, model: str, done_bytes: int, total_bytes: int) -> None:
        self._change(model, done_bytes=min(done_bytes, total_bytes))
        now = self._clock.monotonic()
        if now - self._logged.get(model, float("-inf")) < _LOG_SECONDS:
            return
        self._logged[model] = now
        _log.info(
            "model_downloading",
            model=model,
            done_bytes=done_bytes,
            total_bytes=total_bytes,
            percent=round(100.0 * min(done_bytes, total_bytes) / total_bytes, 1),
        )

    def _change(self, model: str, **changes: object) -> None:
        with self._changed:
            self._downloads[model] = replace(self._downloads[model], **changes)  # type: ignore[arg-type]
            self._changed.notify_all()


def _failed(row: CatalogueModel, why: str, fix: str = "") -> EngineStartError:
    return EngineStartError(
        f"The model {row.name} could not be downloaded: {why}.",
        code="model_download_failed",
        fix=fix or "Send it again: what has arrived is kept. The log names the cause.",
    )
