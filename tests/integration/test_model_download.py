"""Downloading from the hub: the real client in its child process, against a hub on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hub_server import CHUNK_BYTES, Hub
from standin_start import SystemClock
from transcriber.domain.errors import EngineStartError, ModelNotFoundError
from transcriber.models.catalogue import CatalogueModel
from transcriber.models.downloads import Downloads
from transcriber.models.finder import ModelFinder
from transcriber.models.hub import PART, fetch_snapshot
from transcriber.models.packaged import KnownModels
from transcriber.models.verification import Verifier

REVISION = "d" * 40
FILES = {
    "model.bin": b"weights" * 100_000,
    "config.json": b'{"suppress_ids": []}',
    "tokenizer.json": b"{}",
    "vocabulary.txt": b"token\n" * 10,
    "README.md": b"not needed",
}
ROW = CatalogueModel(
    name="small",
    repository="Pinned/whisper-small",
    revision=REVISION,
    model_bytes=len(FILES["model.bin"]),
    sha256={"model.bin": hashlib.sha256(FILES["model.bin"]).hexdigest()},
    can_translate=True,
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub(ROW.repository, REVISION, FILES) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield hub
        hub.shutdown()
        thread.join()


def test_known_model_is_downloaded_verified_and_found_again_without_the_hub(hub: Hub, tmp_path: Path) -> None:
    known = KnownModels(catalogue=(ROW,), packaged=())
    finder = ModelFinder(None, tmp_path / "models", True, tmp_path / "hub", known=known)

    first = finder.find("small")

    assert (first.verified, first.source, first.revision) == (True, "hub_cache", REVISION)
    assert (first.path / "model.bin").read_bytes() == FILES["model.bin"]
    assert sorted(set(hub.served)) == ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"]
    hub.served.clear()
    offline = ModelFinder(None, tmp_path / "models", False, tmp_path / "hub", known=known)
    assert offline.find("small") == first
    assert hub.served == []


def test_other_weights_from_the_hub_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.bin"] = b"poison"
    known = KnownModels(catalogue=(ROW,), packaged=())

    with pytest.raises(EngineStartError) as caught:
        ModelFinder(None, tmp_path / "models", True, tmp_path / "hub", known=known).find("small")

    assert caught.value.code == "model_damaged"
    assert f"rm -r {tmp_path}/hub/models--Pinned--whisper-small'" in caught.value.fix


def test_hub_without_the_model_is_a_clear_error(hub: Hub, tmp_path: Path) -> None:
    other = replace(ROW, repository="Pinned/gone")

    with pytest.raises(EngineStartError, match=r"small could not be downloaded.*404") as caught:
        fetch_snapshot(other, tmp_path / "hub")

    assert caught.value.code == "model_download_failed"


def test_progress_is_told_while_the_download_runs(hub: Hub, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []

    fetch_snapshot(ROW, tmp_path / "hub", progress=lambda *said: heard.append(said), interval=0.01)

    assert heard
    assert {(name, total) for name, _, total in heard} == {("small", ROW.model_bytes)}


def make_downloads(tmp_path: Path, *, free: int | None = None) -> Downloads:
    return Downloads(
        fetch=fetch_snapshot,
        verifier=Verifier(tmp_path / "memory.json"),
        in_thread=lambda work: work(),
        clock=SystemClock(),
        free_bytes=lambda folder: free,
    )


def blobs(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "hub").glob("models--*/blobs/*"))


def test_connection_that_is_cut_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [CHUNK_BYTES * 2]

    path = make_downloads(tmp_path).fetch(ROW, tmp_path / "hub")

    assert (path / "model.bin").read_bytes() == FILES["model.bin"]
    assert len(hub.begun_at) == 2


def test_download_that_failed_keeps_what_arrived_and_the_next_one_goes_on_there(
    hub: Hub, tmp_path: Path
) -> None:
    downloads = make_downloads(tmp_path)
    part = tmp_path / "hub" / "models--Pinned--whisper-small" / "blobs" / f"{ROW.sha256['model.bin']}{PART}"
    part.parent.mkdir(parents=True)
    part.write_bytes(FILES["model.bin"][:100_000])  # what a killed child leaves behind
    hub.refusal = 500
    with pytest.raises(EngineStartError, match="small could not be downloaded") as caught:
        downloads.fetch(ROW, tmp_path / "hub")
    failed = downloads.all()["small"]
    assert failed is not None
    assert (caught.value.code, failed.state, failed.error is not None) == (
        "model_download_failed",
        "failed",
        True,
    )
    assert caught.value.fix
    assert part.stat().st_size == 100_000

    hub.refusal = 0
    path = downloads.fetch(ROW, tmp_path / "hub")

    done = downloads.all()["small"]
    assert done is not None
    assert (done.state, done.percent, hub.begun_at) == ("done", 100.0, [100_000])
    assert (path / "model.bin").read_bytes() == FILES["model.bin"]
    assert not part.exists()


def test_wrong_content_is_removed_and_told(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.bin"] = b"poison"

    with pytest.raises(EngineStartError, match=r"model\.bin") as caught:
        make_downloads(tmp_path).fetch(ROW, tmp_path / "hub")

    assert caught.value.code == "model_damaged"
    assert blobs(tmp_path) == []


def test_disk_without_room_is_told_before_a_byte_is_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(
        EngineStartError, match=f"{ROW.model_bytes} bytes of it are missing, and 1000"
    ) as caught:
        make_downloads(tmp_path, free=1000).fetch(ROW, tmp_path / "hub")

    assert (caught.value.code, hub.served) == ("model_download_failed", [])


def test_those_who_want_the_same_model_share_one_download(hub: Hub, tmp_path: Path) -> None:
    downloads = make_downloads(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        paths = {
            each.result()
            for each in [threads.submit(downloads.fetch, ROW, tmp_path / "hub") for _ in range(4)]
        }

    assert len(paths) == 1
    assert hub.served.count("model.bin") == 1


def test_model_that_may_be_fetched_is_described_and_not_fetched(hub: Hub, tmp_path: Path) -> None:
    known = KnownModels(catalogue=(ROW,), packaged=())
    finder = ModelFinder(None, tmp_path / "models", True, tmp_path / "hub", known=known)

    described = finder.describe("small")

    assert (described.name, described.source, described.size_bytes) == ("small", "hub", ROW.model_bytes)
    assert [model.name for model in finder.all()] == ["small"]
    assert hub.served == []
    offline = ModelFinder(None, tmp_path / "models", False, tmp_path / "hub", known=known)
    assert offline.all() == ()
    with pytest.raises(ModelNotFoundError):
        offline.describe("small")
