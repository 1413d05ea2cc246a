"""The shapes of JSON answers about the service itself: health, self-tests, models, diagnostics."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class HealthAnswer(BaseModel):
    """The state, and what it rests on; without a key the status alone."""

    status: str


class StepAnswer(BaseModel):
    """One step of a self-test; `code`, `message` and `fix` of one that failed."""

    name: str = Field(description="visible, usable, computed, fast")
    outcome: str = Field(description="passed, failed, not_applicable, skipped")
    seconds: float
    numbers: dict[str, Any]
    code: str | None
    message: str | None
    fix: str | None


class SelfTestQuery(BaseModel):
    """Which engine to test."""

    device: Literal["cuda", "cpu"] | None = Field(
        default=None, description="absent: the engine that serves requests without wishes"
    )


class SelfTestAnswer(BaseModel):
    """What a self-test found."""

    outcome: str = Field(description="passed, failed, slow (once; twice in a row is failed), skipped")
    device: str = Field(description="where the encoder's output lay")
    compute_type: str
    model: str
    engine_pid: int | None
    tested_at: datetime
    proven_at: datetime | None = Field(description="when it last passed")
    seconds: float = Field(description="until the answer, with the wait for the batch in work")
    run_seconds: float | None = Field(description="one warm pass over the clip; the median of three on a GPU")
    cold_seconds: float | None = Field(description="the first pass of a new engine")
    steps: list[StepAnswer]
    code: str | None
    message: str | None
    fix: str | None


class ModelDeviceQuery(BaseModel):
    """Where the model is meant to be."""

    device: Literal["cuda", "cpu"] | None = Field(
        default=None,
        description="cuda or cpu; absent: for load where requests without wishes run, for unload anywhere",
    )


class PlainError(BaseModel):
    """Why something did not come about."""

    code: str
    message: str
    fix: str


class DownloadAnswer(BaseModel):
    """The newest download of a model."""

    state: str = Field(description="downloading, verifying, done, failed")
    done_bytes: int
    total_bytes: int
    percent: float
    started_at: datetime
    ended_at: datetime | None
    error: PlainError | None


class ModelEngineAnswer(BaseModel):
    """A model's engine on one device, up or gone."""

    device: str
    state: str = Field(description="loaded, loading, unloaded, failed")
    compute_type: str | None
    pid: int | None
    borrowers: int = Field(description="jobs that are in it or about to be")
    resident_bytes: int | None = Field(description="what its process holds now")
    counted_bytes: int = Field(description="what is counted against the memory that models may take")
    load_seconds: float | None
    proven_at: datetime | None = Field(description="its newest self-test, also while it is unloaded")
    last_used_at: datetime | None
    unloaded_at: datetime | None
    unloaded_because: str | None = Field(description="idle, evicted or asked")
    error: PlainError | None = Field(description="why its newest start failed")


class ModelAnswer(BaseModel):
    """A model that is here, or may be fetched."""

    id: str
    state: str = Field(description="absent, downloading, unloaded, loading, loaded")
    is_default: bool
    source: str = Field(description="path, folder, hub_cache, package, or hub for one that is not here")
    path: str | None
    repository: str | None
    revision: str | None
    verified: bool
    size_bytes: int
    can_translate: bool
    is_english_only: bool
    needs_bytes: dict[str, int | None] = Field(
        description="by device: at its peak, as computed or as measured"
    )
    last_used_at: datetime | None
    engines: list[ModelEngineAnswer]
    download: DownloadAnswer | None


class ModelMemoryAnswer(BaseModel):
    """The memory of one device, as far as models are concerned."""

    limit_bytes: int | None = Field(description="null: not known")
    counted_bytes: int


class ModelsAnswer(BaseModel):
    """Every model, and the memory that they share, by device."""

    models: list[ModelAnswer]
    memory: dict[str, ModelMemoryAnswer]


class DiagnosticsAnswer(BaseModel):
    """The verdict on this installation and everything it rests on."""

    verdict: str
    status: str
