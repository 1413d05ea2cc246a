"""Models as people handle them: over the real pool and finder, with engines that compute nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from standin_start import HeldClock, eventually
from tested_engines import TestableEngine, engine_of
from transcriber.domain.errors import (
    DownloadRefusedError,
    EngineStartError,
    ModelBusyError,
    ModelNotFoundError,
)
from transcriber.engine.pool import ChildEnginePool
from transcriber.models.catalogue import CatalogueModel
from transcriber.models.downloads import Downloads
from transcriber.models.finder import ModelFinder
from transcriber.models.hub import Progress
from transcriber.models.memory_budget import DeviceBudget, MemoryBudget
from transcriber.models.packaged import KnownModels
from transcriber.models.verification import Verifier
from transcriber.service.model_manager import HubAccess, ModelManager

ROW = CatalogueModel(
    name="small",
    repository="Pinned/whisper-small",
    revision="d" * 40,
    model_bytes=1000,
    sha256={"model.bin": "0" * 64},
    can_translate=True,
)


class World:
    """One model manager, and what is behind it."""

    def __init__(self, folder: Path, *, may_download: bool) -> None:
        self.clock = HeldClock()
        self.gate = threading.Event()
        self.error: EngineStartError | None = None
        known = KnownModels(catalogue=(ROW,), packaged=())
        put_model(folder / "models" / "mine")
        memory = MemoryBudget(
            DeviceBudget(cpu_bytes=10**9, is_set=True, gpu_bytes=lambda: None),
            compute_type=lambda device: "int8",
            batch_size=1,
            weights_bytes=lambda model: 1000,
            peak=lambda pid: None,
        )
        self.pool = ChildEnginePool(
            launch=self.launch, max_engines=2, clock=self.clock, memory=memory, ttl=60.0
        )
        downloads = Downloads(
            fetch=self.fetch,
            verifier=Verifier(folder / "memory.json"),
            in_thread=lambda work: work(),
            clock=self.clock,
            free_bytes=lambda folder: None,
        )
        finder = ModelFinder(None, folder / "models", may_download, folder / "hub", known=known)
        hub = HubAccess(downloads=downloads, cache=folder / "hub", row=known.row, may_download=may_download)
        self.model_manager = ModelManager(
            finder=finder,
            engines=self.pool,
            memory=memory,
            hub=hub,
            default_model="mine",
            resident=lambda pid: 123,
        )

    def launch(self, device: str, model: str) -> TestableEngine:
        if self.error is not None:
            raise self.error
        engine = engine_of(device)
        engine.info = replace(engine.info, model=model)
        return engine

    def fetch(self, row: CatalogueModel, hub_cache: Path, /, progress: Progress, interval: float) -> Path:
        progress(row.name, 250, 1000)
        assert self.gate.wait(20)
        raise EngineStartError("The hub is away.", code="model_download_failed", fix="Wait.")


def put_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_text("{}")


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    return lambda may_download=False: World(tmp_path, may_download=may_download)


def engine(facts: dict[str, Any]) -> dict[str, Any]:
    (found,) = facts["engines"]
    return dict(found)


def test_model_goes_from_unloaded_to_loaded_and_back_with_its_proof(make_world: Callable[..., World]) -> None:
    world = make_world()
    assert (world.model_manager.get("mine")["state"], world.model_manager.default_engine()["proven_at"]) == (
        "unloaded",
        None,
    )

    loaded = world.model_manager.load("mine", "cpu")
    assert (loaded["state"], engine(loaded)["resident_bytes"], loaded["is_default"]) == ("loaded", 123, True)
    proven_at = world.model_manager.default_engine()["proven_at"]
    assert world.model_manager.default_engine()["state"] == "loaded"
    assert world.model_manager.memory()["cpu"]["counted_bytes"] > 0

    unloaded = world.model_manager.unload("mine")

    assert (unloaded["state"], engine(unloaded)["unloaded_because"]) == ("unloaded", "asked")
    assert world.model_manager.memory()["cpu"]["counted_bytes"] == 0
    assert (
        world.model_manager.default_engine()["state"],
        world.model_manager.default_engine()["proven_at"],
    ) == (
        "unloaded",
        proven_at,
    )
    (resting,) = world.model_manager.unloaded()
    assert (resting["model"], resting["device"], resting["proven_at"]) == ("mine", "cpu", proven_at)


def test_model_at_work_is_not_unloaded(make_world: Callable[..., World]) -> None:
    world = make_world()
    with world.pool.lend("cpu", "mine"):
        with pytest.raises(ModelBusyError):
            world.model_manager.unload("mine")
        assert engine(world.model_manager.get("mine"))["borrowers"] == 1


def test_load_in_the_background_tells_its_failure_in_the_models_facts(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.error = EngineStartError("No GPU.", code="cuda_unavailable", fix="Mend it.")

    world.model_manager.begin_load("mine", "cpu")

    assert eventually(
        lambda: (
            world.model_manager.get("mine")["engines"] and engine(world.model_manager.get("mine"))["error"]
        )
    )
    found = engine(world.model_manager.get("mine"))
    assert (found["state"], found["error"]["code"], found["error"]["fix"]) == (
        "failed",
        "cuda_unavailable",
        "Mend it.",
    )


def test_download_is_refused_where_it_is_not_permitted(make_world: Callable[..., World]) -> None:
    world = make_world()

    with pytest.raises(DownloadRefusedError):
        world.model_manager.download("small")

    assert [facts["id"] for facts in world.model_manager.all()] == ["mine"]


def test_download_is_told_as_it_goes_and_as_it_fails(make_world: Callable[..., World]) -> None:
    world = make_world(may_download=True)
    assert world.model_manager.get("small")["state"] == "absent"

    assert world.model_manager.download("small")["state"] == "downloading"
    assert eventually(lambda: world.model_manager.get("small")["download"]["done_bytes"] == 250)
    assert world.model_manager.get("small")["download"]["percent"] == 25.0
    world.gate.set()

    assert eventually(lambda: world.model_manager.get("small")["state"] == "absent")
    assert world.model_manager.get("small")["download"]["error"] == {
        "code": "model_download_failed",
        "message": "The hub is away.",
        "fix": "Wait.",
    }


def test_repository_of_ones_choice_is_never_fetched(make_world: Callable[..., World]) -> None:
    with pytest.raises(ModelNotFoundError):
        make_world(may_download=True).model_manager.download("evil/whisper")


def test_model_that_is_here_needs_no_download(make_world: Callable[..., World]) -> None:
    assert make_world().model_manager.download("mine")["download"] is None
