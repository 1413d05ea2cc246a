"""python -m transcriber doctor: exit status 1 on an installation that could take no work, and nothing is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def doctor(**settings: str) -> tuple[int, dict[str, Any]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WHISPER_")}
    done = subprocess.run(
        [sys.executable, "-m", "transcriber", "doctor", "--json"],
        cwd=ROOT / "flask-app",
        env=inherited | {"WHISPER_GPU_POLICY": "off"} | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the model "own"."""
    folder = tmp_path / "models" / "own"
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_text("{}")
    return folder.parent


def test_sound_installation_is_exit_status_0_and_no_folder_is_made(tmp_path: Path, models: Path) -> None:
    data = tmp_path / "not" / "yet"

    status, facts = doctor(WHISPER_DATA_DIR=str(data), WHISPER_MODEL="own", WHISPER_MODEL_PATH=str(models))

    assert (status, facts["problems"]) == (0, [])
    assert not data.parent.exists()


def test_missing_default_model_is_a_problem(tmp_path: Path, models: Path) -> None:
    status, facts = doctor(
        WHISPER_DATA_DIR=str(tmp_path / "data"), WHISPER_MODEL="nonsuch", WHISPER_MODEL_PATH=str(models)
    )

    assert (status, facts["status"], facts["problems"][0]["code"]) == (1, "failed", "model_not_found")
    assert "own" in facts["problems"][0]["message"]
    assert facts["verdict"].startswith("This server takes no work: the model 'nonsuch'")


def test_data_folder_that_can_t_be_made_is_a_problem(tmp_path: Path, models: Path) -> None:
    (tmp_path / "file").write_text("")

    status, facts = doctor(
        WHISPER_DATA_DIR=str(tmp_path / "file" / "data"), WHISPER_MODEL="own", WHISPER_MODEL_PATH=str(models)
    )

    assert (status, [problem["code"] for problem in facts["problems"]]) == (1, ["data_dir_not_writable"])
    assert "WHISPER_DATA_DIR" in facts["problems"][0]["fix"]
