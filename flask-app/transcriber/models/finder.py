"""Finding a model on this machine: by path, in the models folder, the hub's cache, a package, the hub."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from ..domain.errors import ConfigError, EngineStartError, ModelNotFoundError
from ..system.threads import InThread
from .catalogue import CatalogueModel, canonical_name
from .hub import Fetch, fetch_snapshot
from .packaged import KNOWN, MEMORY_NAME, KnownModels, PackagedModel, parts_of, place
from .verification import Verifier

_log = structlog.get_logger()

T = TypeVar("T")

#: A catalogue name or folder, or a hub repository as owner/name. No path gets through.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")

#: Without tokenizer.json, faster-whisper would fetch one from the hub on its own.
_NEEDED = ("model.bin", "config.json", "tokenizer.json")
_VOCABULARIES = ("vocabulary.txt", "vocabulary.json")

#: A Whisper vocabulary smaller than this has no language tokens to choose from.
_MULTILINGUAL_VOCABULARY = 51_865


def directly(work: Callable[[], T], /) -> T:
    """Run the work here; right where threads are native."""
    return work()


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalModel:
    """A model on this machine. `source`: path, folder, hub_cache, package (not yet put in place), or hub (to be downloaded).

    `verified` is true when every file whose hash is pinned has that hash; a model that the catalogue
    does not know has no pinned hashes and is never verified.
    """

    name: str
    path: Path
    source: str
    repository: str | None
    revision: str | None
    verified: bool
    can_translate: bool
    is_english_only: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A folder that may hold the model, and how it was found."""

    name: str
    path: Path
    source: str
    row: CatalogueModel | None
    revision: str | None = None

    @property
    def removable(self) -> Path:
        """The folder whose removal removes the model: a hub cache keeps the content beside the snapshot."""
        return self.path.parents[1] if self.source == "hub_cache" else self.path


class ModelFinder:
    """Finds models and verifies them before use. Never gives another model than the one asked for.

    Hashing and copying run through `in_thread`: under gevent pass the hub's thread pool, and call `find`
    from a greenlet of the main thread, because a download starts a child process.
    """

    def __init__(
        self,
        model_path: Path | None,
        models_dir: Path,
        download: bool,
        hub_cache: Path,
        *,
        in_thread: InThread = directly,
        fetch: Fetch = fetch_snapshot,
        known: KnownModels = KNOWN,
    ) -> None:
        self._model_path = model_path
        self._models_dir = models_dir
        self._download = download
        self._hub_cache = hub_cache
        self._in_thread = in_thread
        self._fetch = fetch
        self._known = known
        self._verifier = Verifier(models_dir / MEMORY_NAME)

    def remember_nothing(self) -> None:
        """From now on hash files each time, whatever was remembered of them, and keep nothing of it."""
        self._verifier = Verifier(None)

    @property
    def path_name(self) -> str | None:
        """Name of the one model that the model path is, used in place of the default; else None."""
        if self._model_path is None or not _holds_model(self._model_path):
            return None
        return _name_of_folder(self._model_path)

    def find(self, name: str) -> LocalModel:
        """The model of this name, whole and verified.

        Raises ModelNotFoundError, EngineStartError (model_damaged, model_incomplete,
        model_folder_not_writable, model_download_failed) and ConfigError (model_path_missing).
        """
        row, candidate = self._look(name)
        candidate = candidate or self._obtain(row)
        if candidate is None:
            raise self._not_found(name)
        return self._verified(candidate)

    def describe(self, name: str) -> LocalModel:
        """The same, for taking a request in: what would have to be fetched is described as the catalogue has it (source hub).

        So nobody waits for gigabytes before the job is accepted. Raises what find raises.
        """
        row, candidate = self._look(name)
        if candidate is None and row is not None and self._comes_from_hub(row):
            return self._of_hub(row)
        return self.find(name)

    def _comes_from_hub(self, row: CatalogueModel) -> bool:
        """Whether a known model that isn't here would be downloaded: it is in no package, and downloads are permitted."""
        return self._download and row.name not in self._known.carried()

    def size_of(self, name: str) -> int | None:
        """Bytes of the model's weights; None for one that is neither known nor here, or can't be looked for."""
        try:
            row, candidate = self._look(name)
        except (ConfigError, ModelNotFoundError):
            return None
        if candidate is not None:
            return _size_of(candidate.path / "model.bin")
        return row.model_bytes if row else None

    def _look(self, name: str) -> tuple[CatalogueModel | None, _Candidate | None]:
        """The catalogue's row and the place of a model, as far as there are any; nothing is fetched or hashed."""
        self._check_path()
        if not _NAME.fullmatch(name):
            raise self._not_found(name)
        row = self._known.row(name)
        wanted = row.name if row else canonical_name(name)
        return row, next(self._candidates(wanted, row), None)

    def _of_hub(self, row: CatalogueModel) -> LocalModel:
        place = next(self._cached(row.name, row))
        return LocalModel(
            name=row.name,
            path=place.path,
            source="hub",
            repository=row.repository,
            revision=row.revision,
            verified=False,
            can_translate=row.can_translate,
            is_english_only=row.is_english_only,
            size_bytes=row.model_bytes,
        )

    def all(self) -> tuple[LocalModel, ...]:
        """The models on this machine, then known ones that may be downloaded (source hub).

        From one look: a model whose download ends meanwhile is in one of the two.
        """
        present = self.present()
        names = {model.name for model in present}
        absent = (row for row in self._known.catalogue if row.name not in names)
        return (*present, *(self._of_hub(row) for row in absent if self._comes_from_hub(row)))

    def present(self) -> tuple[LocalModel, ...]:
        """The models on this machine, by name; `verified` as far as remembered, nothing is hashed."""
        found: dict[str, LocalModel] = {}
        for candidate in self._everything():
            if candidate.name not in found:
                found[candidate.name] = self._describe(candidate, self._is_remembered(candidate))
        for packaged in self._known.packaged:
            if packaged.name not in found and (model := self._describe_packaged(packaged)):
                found[packaged.name] = model
        return tuple(found[name] for name in sorted(found))

    def _check_path(self) -> None:
        if self._model_path is not None and not self._model_path.is_dir():
            raise ConfigError(
                f"WHISPER_MODEL_PATH is {self._model_path}, which is not a folder.",
                code="model_path_missing",
                param="WHISPER_MODEL_PATH",
                fix="Set it to a folder with model.bin, or to a folder of such folders, or unset it.",
            )

    def _candidates(self, name: str, row: CatalogueModel | None) -> Iterator[_Candidate]:
        """Places where this model is now, in the order of resolution."""
        return (each for each in self._places(name, row) if _holds_model(each.path))

    def _places(self, name: str, row: CatalogueModel | None) -> Iterator[_Candidate]:
        if self._model_path is not None and self.path_name == name:
            yield _Candidate(name, self._model_path, "path", row)
        if "/" not in name:
            if self._model_path is not None:
                yield _Candidate(name, self._model_path / name, "path", row)
            yield _Candidate(name, self._models_dir / name, "folder", row)
        yield from self._cached(name, row)

    def _cached(self, name: str, row: CatalogueModel | None) -> Iterator[_Candidate]:
        """The hub cache's snapshot: of the pinned revision, or of an unknown repository's main branch."""
        repository = row.repository if row else name
        folder = self._hub_cache / f"models--{repository.replace('/', '--')}"
        revision = row.revision if row else _main_revision(folder)
        if revision is not None and "/" in repository:
            yield _Candidate(name, folder / "snapshots" / revision, "hub_cache", row, revision)

    def _obtain(self, row: CatalogueModel | None) -> _Candidate | None:
        """Put a packaged model in place, or download it where that is allowed."""
        if row is None:
            return None
        if row.name in self._known.carried():
            self._in_thread(lambda: place([row.name], self._models_dir, self._known))
            return _Candidate(row.name, self._models_dir / row.name, "folder", row)
        if not self._download:
            return None
        snapshot = self._fetch(row, self._hub_cache)
        return _Candidate(row.name, snapshot, "hub_cache", row, row.revision)

    def _verified(self, candidate: _Candidate) -> LocalModel:
        row = candidate.row
        wrong = self._in_thread(lambda: self._verifier.mismatches(candidate.path, row.sha256)) if row else ()
        if wrong:
            raise EngineStartError(
                f"The model {candidate.name} in {candidate.path} is damaged: not the pinned content: "
                f"{', '.join(wrong)}.",
                code="model_damaged",
                fix=f"Run 'rm -r {shlex.quote(str(candidate.removable))}' and start again: a packaged model is put back, another "
                "one is to be copied again. Give a model of your own another folder name than a known model's.",
            )
        missing = _missing_files(candidate.path)
        if missing:
            raise EngineStartError(
                f"The model {candidate.name} in {candidate.path} lacks {', '.join(missing)}.",
                code="model_incomplete",
                fix="Copy the whole converted model; the tokenizer is part of it.",
            )
        if row is None:
            _log.warning("model_not_verified", model=candidate.name, path=str(candidate.path))
        return self._describe(candidate, verified=row is not None)

    def _everything(self) -> Iterator[_Candidate]:
        """Every model folder that can be found, in the order of resolution."""
        if self._model_path is not None and (own := self.path_name) is not None:
            yield _Candidate(own, self._model_path, "path", self._known.row(own))
        for parent, source in ((self._model_path, "path"), (self._models_dir, "folder")):
            for folder in _model_folders(parent):
                yield _Candidate(folder.name, folder, source, self._known.row(folder.name))
        for row in self._known.catalogue:
            yield from (each for each in self._cached(row.name, row) if _holds_model(each.path))
        yield from self._cached_strangers()

    def _cached_strangers(self) -> Iterator[_Candidate]:
        """Whisper models in the hub's cache that the catalogue does not know."""
        for folder in sorted(self._hub_cache.glob("models--*--*")):
            name = _repository_of(folder)
            if self._known.row(name) is None:
                yield from (each for each in self._cached(name, None) if _is_whisper(each.path))

    def _is_remembered(self, candidate: _Candidate) -> bool:
        row = candidate.row
        return row is not None and self._verifier.is_remembered(candidate.path, row.sha256)

    def _describe(self, candidate: _Candidate, verified: bool) -> LocalModel:
        row = candidate.row
        english = row.is_english_only if row else _is_english_only(candidate)
        return LocalModel(
            name=candidate.name,
            path=candidate.path,
            source=candidate.source,
            repository=row.repository if row else (candidate.name if "/" in candidate.name else None),
            revision=row.revision if row else candidate.revision,
            verified=verified,
            # Nothing in an unknown model's files says that it was not trained to translate: turbo's look
            # like large-v3's. Its name is the only hint.
            can_translate=row.can_translate if row else not english and "turbo" not in candidate.name,
            is_english_only=english,
            size_bytes=_size_of(candidate.path / "model.bin"),
        )

    def _describe_packaged(self, packaged: PackagedModel) -> LocalModel | None:
        row = self._known.row(packaged.name)
        parts = parts_of(packaged)
        if row is None or parts is None:
            return None
        return self._describe(
            _Candidate(row.name, parts["model.bin"][0].parent, "package", row), verified=False
        )

    def _not_found(self, name: str) -> ModelNotFoundError:
        here = ", ".join(model.name for model in self.present()) or "none"
        shown = name if len(name) <= 80 else name[:77] + "..."
        return ModelNotFoundError(
            f"The model {shown!r} is not on this machine. Models here: {here}.",
            fix="Name one of those, or add the model as docs/models.md says.",
        )


def _holds_model(folder: Path) -> bool:
    return (folder / "model.bin").is_file()


def _model_folders(parent: Path | None) -> list[Path]:
    """Folders with a model directly in `parent`, whose names a request can carry."""
    if parent is None or not parent.is_dir():
        return []
    return sorted(each for each in parent.iterdir() if _NAME.fullmatch(each.name) and _holds_model(each))


def _name_of_folder(folder: Path) -> str:
    """The model's name after its folder; for a snapshot in a hub cache, after its repository."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return canonical_name(_repository_of(folder.parent.parent))
    return re.sub(r"[^A-Za-z0-9._-]", "-", folder.name).lstrip("._-") or "model"


def _repository_of(cache_folder: Path) -> str:
    """owner/name from a hub cache's models--owner--name."""
    return cache_folder.name.removeprefix("models--").replace("--", "/", 1)


def _main_revision(cache_folder: Path) -> str | None:
    try:
        revision = (cache_folder / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        return None
    return revision if re.fullmatch(r"[0-9a-f]{40}", revision) else None


def _missing_files(folder: Path) -> tuple[str, ...]:
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        missing.append(_VOCABULARIES[0])
    return tuple(missing)


def _is_whisper(folder: Path) -> bool:
    """Whether the folder holds a whole converted Whisper model, not some other converted model."""
    if _missing_files(folder):
        return False
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "suppress_ids" in config


def _is_english_only(candidate: _Candidate) -> bool:
    """Whether the model knows English only, by the size of its vocabulary."""
    count = _vocabulary_size(candidate.path)
    return candidate.name.endswith(".en") if count is None else count < _MULTILINGUAL_VOCABULARY


def _vocabulary_size(folder: Path) -> int | None:
    try:
        if (folder / _VOCABULARIES[0]).is_file():
            return (folder / _VOCABULARIES[0]).read_bytes().count(b"\n")
        return len(json.loads((folder / _VOCABULARIES[1]).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
