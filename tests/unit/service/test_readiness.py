"""Whether the default model is served, by its newest starts and by what is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fake_gpu import make_engine, make_status, make_status_without_driver
from transcriber.domain.errors import EngineStartError, ModelNotFoundError, TranscriberError
from transcriber.gpu.policy import GpuSituation
from transcriber.models.finder import ModelFinder
from transcriber.models.packaged import KnownModels
from transcriber.service.readiness import DefaultModel, find_fault

GOOD, BAD = make_status(), make_status_without_driver()
ON_GPU = make_engine()
ON_CPU = make_engine(device="cpu", warmup_device="cpu")
NO_MEMORY = EngineStartError("There is no memory.", code="cuda_out_of_memory", fix="Free some.")
CRASH = EngineStartError("It died.", code="engine_start_crashed")
DAMAGED = EngineStartError("The model base is damaged.", code="model_damaged", fix="Remove it.")


def fault(errors: dict[str, TranscriberError], **changes: Any) -> str | None:
    situation = GpuSituation(**{"policy": "preferred", "status": GOOD, **changes})
    found = find_fault(situation, errors.get, "base")
    assert found is None or found.fix
    return found and found.code


@pytest.mark.parametrize(
    ("errors", "situation", "code"),
    [
        ({}, {}, None),
        ({"cuda": NO_MEMORY}, {}, None),  # the CPU will serve
        ({"cuda": NO_MEMORY, "cpu": CRASH}, {}, "engine_start_crashed"),
        ({"cuda": NO_MEMORY, "cpu": CRASH}, {"engines": (ON_CPU,)}, None),
        ({"cpu": CRASH}, {}, None),  # the GPU will serve
        ({"cpu": CRASH}, {"status": BAD}, "engine_start_crashed"),
        ({"cpu": CRASH}, {"wants_gpu": False}, "engine_start_crashed"),
        ({"cpu": CRASH}, {"policy": "off"}, "engine_start_crashed"),
        ({"cpu": CRASH}, {"policy": "off", "engines": (ON_CPU,)}, None),
        ({"cpu": CRASH}, {"policy": "off", "engines": (make_engine(device="cpu", model="tiny.en"),)},
         "engine_start_crashed"),
        ({"cuda": NO_MEMORY}, {"policy": "required"}, "cuda_out_of_memory"),
        ({"cuda": NO_MEMORY}, {"policy": "required", "engines": (ON_CPU,)}, "cuda_out_of_memory"),
        ({"cuda": NO_MEMORY}, {"policy": "required", "engines": (make_engine(warmup_device="cpu"),)},
         "cuda_out_of_memory"),
        ({"cuda": NO_MEMORY}, {"policy": "required", "engines": (ON_GPU,)}, None),
        ({"cuda": DAMAGED}, {}, "model_damaged"),  # no device can load it
        ({"cuda": ModelNotFoundError()}, {}, "model_not_found"),
        ({"cuda": DAMAGED}, {"engines": (ON_GPU,)}, None),
    ],
)  # fmt: skip
def test_fault_is_that_no_engine_serves_the_default_model(
    errors: dict[str, TranscriberError], situation: dict[str, Any], code: str | None
) -> None:
    assert fault(errors, **situation) == code


def make_default(tmp_path: Path, name: str = "own", **changes: Any) -> DefaultModel:
    model_path = changes.pop("model_path", None)
    known = KnownModels(catalogue=(), packaged=())
    finder = ModelFinder(model_path, tmp_path / "models", False, tmp_path / "hub", known=known)
    return DefaultModel(name, finder, model_path=model_path, **({"may_download": False} | changes))


def put_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / file).write_text("{}")


def test_model_that_is_nowhere_is_a_fault_that_names_those_here(tmp_path: Path) -> None:
    put_model(tmp_path / "models" / "other")

    found = make_default(tmp_path).fault()

    assert found is not None
    assert (found.code, "other" in found.message, bool(found.fix)) == ("model_not_found", True, True)


def test_model_that_is_whole_is_no_fault_until_a_file_goes(tmp_path: Path) -> None:
    put_model(tmp_path / "models" / "own")
    default = make_default(tmp_path)
    assert default.fault() is None

    (tmp_path / "models" / "own" / "tokenizer.json").unlink()
    found = default.fault()

    assert found is not None
    assert found.code == "model_incomplete"


def test_known_model_that_may_be_fetched_is_no_fault_and_an_unknown_one_is(tmp_path: Path) -> None:
    assert make_default(tmp_path, "small", may_download=True).fault() is None
    assert make_default(tmp_path, "own", may_download=True).fault() is not None


def test_model_path_that_is_gone_is_a_fault(tmp_path: Path) -> None:
    put_model(tmp_path / "models" / "own")

    found = make_default(tmp_path, model_path=tmp_path / "gone").fault()

    assert found is not None
    assert found.code == "model_path_missing"


def test_looking_without_verifying_makes_no_folder(tmp_path: Path) -> None:
    make_default(tmp_path).fault()

    assert list(tmp_path.iterdir()) == []
