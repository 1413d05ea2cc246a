"""python -m transcriber doctor: exit status 1 on an installation that could take no work, and nothing is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from transcriber.models.packaged import place

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


def test_default_model_that_was_damaged_on_the_disk_is_a_problem_whatever_was_remembered(
    tmp_path: Path,
) -> None:
    home = tmp_path / "data"
    folder = home / "models" / "tiny.en"
    place(["tiny.en"], home / "models")
    settings = {"WHISPER_DATA_DIR": str(home), "WHISPER_MODEL": "tiny.en"}
    before = sorted(path.stat().st_mtime_ns for path in (home / "models").iterdir())
    assert doctor(**settings)[0] == 0

    # A bit turns; size and time stay, as on a disk that fails.
    weights = folder / "model.bin"
    state = weights.stat()
    weights.chmod(0o644)
    with weights.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    status, facts = doctor(**settings)

    [problem] = facts["problems"]
    assert (status, facts["status"], problem["code"]) == (1, "failed", "model_damaged")
    assert "model.bin" in problem["message"]
    assert f"rm -r {folder}" in problem["fix"]
    assert sorted(path.stat().st_mtime_ns for path in (home / "models").iterdir()) == before
