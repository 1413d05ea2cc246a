"""Downloading a pinned model from the hub, in a child process, because the hub's client is partly native."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog

from ..domain.errors import EngineStartError
from ..system.durable_files import make_private
from ..system.paths import PACKAGE_PARENT
from .catalogue import CatalogueModel

_log = structlog.get_logger()

#: What faster-whisper needs of a repository.
_FILES = ("config.json", "model.bin", "preprocessor_config.json", "tokenizer.json", "vocabulary.*")

#: The large one of them, and what the name of a part of it ends in.
_WEIGHTS = "model.bin"
PART = ".part"

#: The hub names a blob by its hash: nothing else may become the name of a file.
_ETAG = re.compile(r"[0-9a-f]{32,64}")


#: Bytes that are here, bytes of the whole.
Progress = Callable[[str, int, int], None]


class Fetch(Protocol):
    """Downloads a catalogue model's pinned snapshot into a hub cache and returns its folder."""

    def __call__(self, row: CatalogueModel, hub_cache: Path, /) -> Path: ...


def log_progress(model: str, done_bytes: int, total_bytes: int) -> None:
    """Progress as a log line."""
    _log.info("model_downloading", model=model, done_bytes=done_bytes, total_bytes=total_bytes)


def fetch_snapshot(
    row: CatalogueModel,
    hub_cache: Path,
    /,
    progress: Progress = log_progress,
    interval: float = 5.0,
) -> Path:
    """Download the pinned revision; `progress` hears of it every `interval` seconds.

    What arrived before is not fetched again. Raises EngineStartError (model_download_failed). What was downloaded is
    not verified here.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "transcriber.models.hub", row.repository, row.revision, str(hub_cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )
    try:
        output = _wait(process, row, hub_cache, progress, interval)
    finally:
        _end(process)
    answer = _answer(output)
    if "path" not in answer:
        raise EngineStartError(
            f"The model {row.name} could not be downloaded: {answer['error']}.",
            code="model_download_failed",
            fix="Check the network and HTTPS_PROXY, or put the model's folder in place by hand (docs/models.md).",
        )
    return Path(answer["path"])


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps its files, by its own rules."""
    home = environ.get("HF_HOME") or str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def cache_folder(repository: str, hub_cache: Path) -> Path:
    """Where the hub's cache keeps a repository."""
    return hub_cache / f"models--{repository.replace('/', '--')}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _environment() -> dict[str, str]:
    paths = [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }


def _wait(
    process: subprocess.Popen[bytes],
    row: CatalogueModel,
    hub_cache: Path,
    progress: Progress,
    interval: float,
) -> bytes:
    """The child's whole output: one line, so the pipe can't fill up, and read at the end."""
    while True:
        try:
            process.wait(timeout=interval)
        except subprocess.TimeoutExpired:
            progress(row.name, bytes_here(row, hub_cache), row.model_bytes)
        else:
            return process.stdout.read() if process.stdout else b""


def bytes_here(row: CatalogueModel, hub_cache: Path) -> int:
    """How much of a model the cache holds, whole files and parts."""
    total = 0
    for path in _blobs(row.repository, hub_cache).glob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue  # renamed meanwhile: it is whole now, and counted the next time
    return total


def _answer(output: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(output)
    except ValueError:
        return {"error": "the downloader died"}
    return answer if isinstance(answer, dict) else {"error": "the downloader gave no reason"}


def _end_with_parent() -> None:
    """End this process when its standard input closes: the parent holds the other end."""
    sys.stdin.buffer.read()
    os._exit(1)


def _fetch_weights(repository: str, revision: str, cache: Path) -> None:
    """Put model.bin among the cache's blobs, going on where an earlier try ended: the hub's client begins anew.

    snapshot_download then finds it there. Two services that share a cache take turns.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(repository, _WEIGHTS, revision=revision)
    found = get_hf_file_metadata(url)
    if found.etag is None or not _ETAG.fullmatch(found.etag):
        return
    blob = _blobs(repository, cache) / found.etag
    make_private(blob.parent)
    part = blob.with_name(f"{blob.name}{PART}")
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if blob.exists():
            part.unlink(missing_ok=True)
            return
        # Another process may have written while this one waited; more than there is of it was never right.
        file.seek(0, os.SEEK_END)
        if found.size is not None and file.tell() > found.size:
            file.truncate(0)
            file.seek(0)
        http_get(
            found.location,
            file,
            resume_size=file.tell(),
            # The file may lie with another host: it gets no token of the hub's.
            headers=build_hf_headers() if _is_same_host(url, found.location) else {},
            expected_size=found.size,
        )
        file.flush()
        os.fsync(file.fileno())
        part.replace(blob)


def _is_same_host(one: str, other: str) -> bool:
    return urlsplit(one).netloc == urlsplit(other).netloc


def _blobs(repository: str, cache: Path) -> Path:
    return cache_folder(repository, cache) / "blobs"


def main(arguments: list[str]) -> None:
    """The child: download, and say where it is, or why not, in one line of JSON."""
    repository, revision, cache = arguments
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The child's own import: it must not reach the web process.
    from huggingface_hub import snapshot_download

    try:
        _fetch_weights(repository, revision, Path(cache))
        path = snapshot_download(repository, revision=revision, cache_dir=cache, allow_patterns=list(_FILES))
    except Exception as error:  # noqa: BLE001  the process boundary: any failure becomes the answer
        answer = {"error": f"{type(error).__name__}: {error}"[:500]}
    else:
        answer = {"path": str(path)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
