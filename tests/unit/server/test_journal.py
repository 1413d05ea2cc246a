"""Log lines in the journal have their priorities; elsewhere they are plain JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
log = sys.argv[1]
os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
found = os.fstat(2)
if sys.argv[2] == "journal":
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
from transcriber.server.logging import configure_logging
import structlog
configure_logging("info")
logger = structlog.get_logger("x")
logger.critical("one")
logger.error("two")
logger.warning("three")
logger.info("four")
"""


@pytest.mark.parametrize(
    ("where", "prefixes"), [("journal", ["<2>", "<3>", "<4>", "<6>"]), ("file", [""] * 4)]
)
def test_lines_have_their_priority_in_the_journal_alone(
    tmp_path: Path, where: str, prefixes: list[str]
) -> None:
    log = tmp_path / "log"

    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(log), where],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=60,
    )

    lines = log.read_text().splitlines()
    assert [line[: len(prefix)] for line, prefix in zip(lines, prefixes, strict=True)] == prefixes
    assert [
        json.loads(line[len(prefix) :])["event"] for line, prefix in zip(lines, prefixes, strict=True)
    ] == [
        "one",
        "two",
        "three",
        "four",
    ]
