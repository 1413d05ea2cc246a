"""What the command line takes stands in docs/cli.md."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from transcriber.cli import main
from transcriber.cli.backend import ENDINGS
from transcriber.cli.transcribe import add_parser

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text()


def test_every_option_of_transcribe_has_its_line() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_parser(commands)
    [transcribe] = commands.choices.values()
    options = [name for action in transcribe._actions for name in action.option_strings]

    missing = [name for name in options if name not in ("-h", "--help") and f"`{name}" not in PAGE]

    assert len(options) > 10
    assert missing == []
    assert "\\|".join(ENDINGS) in PAGE


def test_every_command_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    listed = re.findall(r"^ {4}(\S+)", capsys.readouterr().out, re.MULTILINE)

    assert {"doctor", "models", "serve", "transcribe"} <= set(listed)
    assert [name for name in listed if f"`{name}" not in PAGE] == []
