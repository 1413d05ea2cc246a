"""Downloading from the hub: the real client in its child process, against a hub on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from transcriber.domain.errors import EngineStartError
from transcriber.engine.catalogue import CatalogueModel
from transcriber.engine.hub import fetch_snapshot
from transcriber.engine.models import ModelFinder
from transcriber.engine.packaged import KnownModels

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


class Hub(ThreadingHTTPServer):
    """As much of a hub as a download of one repository asks for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubPages)
        self.served: list[str] = []
        self.files = dict(FILES)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HubPages(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        if path == f"/api/models/{ROW.repository}/revision/{REVISION}":
            siblings = [{"rfilename": name} for name in self.server.files]
            return self.reply(
                json.dumps({"id": ROW.repository, "sha": REVISION, "siblings": siblings}).encode(), body
            )
        if path == f"/api/models/{ROW.repository}/tree/{REVISION}":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in self.server.files.items()
            ]
            return self.reply(json.dumps(tree).encode(), body)
        name = path.removeprefix(f"/{ROW.repository}/resolve/{REVISION}/")
        if name not in self.server.files:
            return self.send_error(404)
        if body:
            self.server.served.append(name)
        return self.reply(self.server.files[name], body)

    def reply(self, content: bytes, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as hub:
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
    assert sorted(hub.served) == ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"]
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
