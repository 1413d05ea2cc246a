"""The hostile corpus in its short form. The long form is scripts/hostile."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile_media import SUFFIXES, HostileFile, hostile_corpus
from hostile_run import ALLOWED_GROWTH_BYTES, TreeMemory, run_files, watch_system_calls
from media_files import ENCODINGS
from transcriber.media.decoder import SandboxedDecoder


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A server on loopback that references point to, and that nobody may call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, listener: socket.socket) -> list[HostileFile]:
    folder = tmp_path_factory.mktemp("hostile")
    return hostile_corpus(folder, mutations=60, port=listener.getsockname()[1])


def test_corpus_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    one, other, third = (
        [
            file.path.read_bytes()
            for file in hostile_corpus(
                tmp_path / name, mutations=len(ENCODINGS), seed=seed, suffixes=("mp3",)
            )
            if file.kind in ("mutated", "random")
        ]
        for name, seed in (("one", 1), ("other", 1), ("third", 2))
    )

    assert one == other
    assert not set(one) & set(third)


def test_every_hostile_file_ends_in_a_result_or_a_coded_failure_within_memory(
    corpus: list[HostileFile], listener: socket.socket, tmp_path: Path
) -> None:
    decoder = SandboxedDecoder(max_audio_seconds=3600, timeout_seconds=20)
    server = decoder.start() and decoder.pids()[0]

    with TreeMemory(decoder) as memory:
        counts = run_files(decoder, corpus, tmp_path / "pcm")

    assert decoder.pids() == (server,)  # it never had to be restarted
    decoder.close()
    assert counts.failures == []
    assert counts.files == len(corpus) > len(SUFFIXES) * 200
    assert memory.growth_bytes <= ALLOWED_GROWTH_BYTES
    assert not any("crashed" in code or "timeout" in code for code in counts.codes), counts.codes
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_no_file_is_opened_and_no_socket_made_for_a_hostile_upload(
    corpus: list[HostileFile], listener: socket.socket, tmp_path: Path
) -> None:
    log = watch_system_calls(tmp_path)
    if log is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is missing; scripts/tools --install brings it")
        pytest.skip("strace is missing: what the sandbox opens was NOT checked (apt-get install strace)")
    decoder = SandboxedDecoder(max_audio_seconds=3600, timeout_seconds=60, python=log.python)
    files = [file for file in corpus if file.kind == "reference" or file.name.endswith(".mp3")]

    counts = run_files(decoder, files, tmp_path / "pcm")
    decoder.close()

    assert counts.failures == []
    assert log.forbidden_calls() == []
    with pytest.raises(BlockingIOError):
        listener.accept()
