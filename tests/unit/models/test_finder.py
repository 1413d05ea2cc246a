from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from transcriber.domain.errors import ConfigError, EngineStartError, ModelNotFoundError
from transcriber.models.catalogue import CatalogueModel
from transcriber.models.finder import LocalModel, ModelFinder
from transcriber.models.packaged import MEMORY_NAME, KnownModels, PackagedModel, place
from transcriber.models.verification import Verifier

REVISION = "a" * 40
MULTILINGUAL = b"token\n" * 51_865
ENGLISH = b"token\n" * 51_864

Find = Callable[..., ModelFinder]


def files_of(name: str, vocabulary: bytes = MULTILINGUAL) -> dict[str, bytes]:
    return {
        "model.bin": f"weights of {name}".encode() * 100,
        "config.json": json.dumps({"suppress_ids": [], "of": name}).encode(),
        "tokenizer.json": b"{}",
        "vocabulary.txt": vocabulary,
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def row(name: str, *, can_translate: bool = True) -> CatalogueModel:
    files = files_of(name)
    return CatalogueModel(
        name=name,
        repository=f"Pinned/whisper-{name}",
        revision=REVISION,
        model_bytes=len(files["model.bin"]),
        sha256={each: hashlib.sha256(content).hexdigest() for each, content in files.items()},
        can_translate=can_translate,
    )


PACKAGED = PackagedModel(
    name="base",
    files={
        "model.bin": (("carrier_one", "data/model.bin.part1"), ("carrier_two", "data/model.bin.part2")),
        **{
            name: (("carrier_one", f"data/{name}"),)
            for name in ("config.json", "tokenizer.json", "vocabulary.txt")
        },
    },
)
KNOWN = KnownModels(catalogue=(row("base"), row("small", can_translate=False)), packaged=(PACKAGED,))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def hub_cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def make_finder(models_dir: Path, hub_cache: Path) -> Find:
    def make(model_path: Path | None = None, *, download: bool = False, fetch=None) -> ModelFinder:
        return ModelFinder(
            model_path, models_dir, download, hub_cache, known=KNOWN, **({"fetch": fetch} if fetch else {})
        )

    return make


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installed packages that carry `base` in two parts."""
    site = tmp_path / "site"
    files = files_of("base")
    weights = files.pop("model.bin")
    # Importing them would fail: they are to be found, not imported.
    write(site / "carrier_one", {"__init__.py": b"raise RuntimeError"})
    write(site / "carrier_two", {"__init__.py": b"raise RuntimeError"})
    write(site / "carrier_one" / "data", {**files, "model.bin.part1": weights[:700]})
    write(site / "carrier_two" / "data", {"model.bin.part2": weights[700:]})
    monkeypatch.syspath_prepend(str(site))
    return site


def snapshot(hub_cache: Path, repository: str, files: dict[str, bytes], revision: str = REVISION) -> Path:
    folder = hub_cache / f"models--{repository.replace('/', '--')}"
    write(folder / "refs", {"main": revision.encode()})
    for name, content in files.items():
        write(folder / "blobs", {name: content})
        link = folder / "snapshots" / revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../../blobs") / name)
    return folder / "snapshots" / revision


# Where a model is found


def test_model_in_the_models_folder_is_verified(make_finder: Find, models_dir: Path) -> None:
    folder = write(models_dir / "base", files_of("base"))

    assert make_finder().find("base") == LocalModel(
        name="base",
        path=folder,
        source="folder",
        repository="Pinned/whisper-base",
        revision=REVISION,
        verified=True,
        can_translate=True,
        is_english_only=False,
        size_bytes=1500,
    )


def test_path_that_is_a_model_is_found_by_its_folder_s_name(make_finder: Find, tmp_path: Path) -> None:
    folder = write(tmp_path / "my-whisper", files_of("mine"))
    finder = make_finder(folder)

    assert finder.path_name == "my-whisper"
    model = finder.find("my-whisper")
    assert (model.path, model.source, model.verified) == (folder, "path", False)


def test_path_that_is_a_snapshot_has_its_repository_s_name(make_finder: Find, hub_cache: Path) -> None:
    folder = snapshot(hub_cache, "Systran/faster-whisper-base", files_of("base"))

    finder = make_finder(folder)

    assert finder.path_name == "base"
    assert finder.find("base").source == "path"


def test_path_of_folders_is_looked_up_by_name_before_the_models_folder(
    make_finder: Find, tmp_path: Path, models_dir: Path
) -> None:
    write(models_dir / "base", files_of("base"))
    preferred = write(tmp_path / "mine" / "base", files_of("base"))
    finder = make_finder(tmp_path / "mine")

    assert finder.path_name is None
    assert finder.find("base").path == preferred


def test_path_that_is_no_folder_is_an_error_and_not_passed_over(
    make_finder: Find, tmp_path: Path, models_dir: Path
) -> None:
    write(models_dir / "base", files_of("base"))

    with pytest.raises(ConfigError) as caught:
        make_finder(tmp_path / "mistyped").find("base")

    assert (caught.value.code, caught.value.param) == ("model_path_missing", "WHISPER_MODEL_PATH")


def test_size_of_what_cannot_be_looked_for_is_unknown(make_finder: Find, tmp_path: Path) -> None:
    assert make_finder(tmp_path / "mistyped").size_of("base") is None
    assert make_finder().size_of("../base") is None


def test_hub_cache_s_pinned_snapshot_is_found(make_finder: Find, hub_cache: Path) -> None:
    folder = snapshot(hub_cache, "Pinned/whisper-small", files_of("small"))

    model = make_finder().find("small")

    assert (model.path, model.source, model.verified) == (folder, "hub_cache", True)
    assert not model.can_translate


def test_other_revision_in_the_hub_cache_is_not_the_pinned_model(make_finder: Find, hub_cache: Path) -> None:
    snapshot(hub_cache, "Pinned/whisper-small", files_of("small"), revision="b" * 40)

    with pytest.raises(ModelNotFoundError):
        make_finder().find("small")


def test_unknown_repository_in_the_hub_cache_is_used_unverified(make_finder: Find, hub_cache: Path) -> None:
    folder = snapshot(hub_cache, "someone/distil-turbo", files_of("x"), revision="c" * 40)

    model = make_finder().find("someone/distil-turbo")

    assert (model.path, model.revision, model.verified) == (folder, "c" * 40, False)
    assert not model.can_translate


def test_packaged_model_is_joined_and_put_in_place(
    make_finder: Find, packages: Path, models_dir: Path
) -> None:
    model = make_finder().find("base")

    assert (model.path, model.verified) == (models_dir / "base", True)
    assert (models_dir / "base" / "model.bin").read_bytes() == files_of("base")["model.bin"]


def test_missing_model_names_those_that_are_here_and_nothing_replaces_it(
    make_finder: Find, models_dir: Path, packages: Path
) -> None:
    write(models_dir / "my-whisper", files_of("mine"))

    with pytest.raises(ModelNotFoundError, match=r"'small' is not on this machine.*: base, my-whisper\."):
        make_finder().find("small")


def test_download_is_not_tried_unless_allowed(make_finder: Find, hub_cache: Path) -> None:
    def fetch(row: CatalogueModel, cache: Path) -> Path:
        return snapshot(cache, row.repository, files_of(row.name))

    with pytest.raises(ModelNotFoundError):
        make_finder(fetch=fetch).find("small")
    assert not hub_cache.exists()

    assert make_finder(download=True, fetch=fetch).find("small").verified


def test_downloaded_model_is_verified_too(make_finder: Find) -> None:
    def fetch(row: CatalogueModel, cache: Path) -> Path:
        return snapshot(cache, row.repository, files_of("something else"))

    with pytest.raises(EngineStartError) as caught:
        make_finder(download=True, fetch=fetch).find("small")

    assert caught.value.code == "model_damaged"


def test_unknown_repository_is_never_downloaded(make_finder: Find) -> None:
    asked: list[str] = []

    def fetch(row: CatalogueModel, cache: Path) -> Path:
        asked.append(row.name)
        return cache

    with pytest.raises(ModelNotFoundError):
        make_finder(download=True, fetch=fetch).find("someone/whisper")
    assert asked == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../base",
        "a/../base",
        "/etc",
        "base/",
        "a/b/c",
        ".hidden",
        "ba\0se",
        "base\n",
        "x" * 200,
    ],
)
def test_name_that_could_be_a_path_is_no_model(make_finder: Find, models_dir: Path, name: str) -> None:
    for folder in (models_dir, models_dir.parent, models_dir / "base", models_dir / ".hidden"):
        write(folder, files_of("base"))

    with pytest.raises(ModelNotFoundError):
        make_finder().find(name)


# Verification


@pytest.mark.parametrize("file", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"])
def test_changed_file_of_a_known_model_is_damage(make_finder: Find, models_dir: Path, file: str) -> None:
    folder = write(models_dir / "base", files_of("base"))
    make_finder().find("base")
    content = bytearray((folder / file).read_bytes())
    content[-1] ^= 1
    (folder / file).write_bytes(content)

    with pytest.raises(EngineStartError, match=file) as caught:
        make_finder().find("base")

    assert caught.value.code == "model_damaged"
    assert f"rm -r {folder}'" in caught.value.fix


def test_missing_file_of_a_known_model_is_damage(make_finder: Find, models_dir: Path) -> None:
    (write(models_dir / "base", files_of("base")) / "tokenizer.json").unlink()

    with pytest.raises(EngineStartError, match=r"tokenizer\.json") as caught:
        make_finder().find("base")

    assert caught.value.code == "model_damaged"


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "vocabulary.txt"])
def test_missing_file_of_an_own_model_is_named(make_finder: Find, models_dir: Path, file: str) -> None:
    (write(models_dir / "mine", files_of("mine")) / file).unlink()

    with pytest.raises(EngineStartError, match=file) as caught:
        make_finder().find("mine")

    assert caught.value.code == "model_incomplete"


def test_verified_file_is_not_read_again_until_it_changes(make_finder: Find, models_dir: Path) -> None:
    """Content that changes behind an unchanged size, time and inode shows whether the file was read."""
    path = write(models_dir / "base", files_of("base")) / "model.bin"
    make_finder().find("base")
    state = path.stat()
    with path.open("r+b") as file:
        file.write(b"W")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    assert make_finder().find("base").verified

    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with pytest.raises(EngineStartError):
        make_finder().find("base")


@pytest.mark.parametrize("memory", [b"", b"not json", b"[]", b'{"x": 1}', b"\xff"])
def test_spoilt_memory_of_verified_files_is_ignored(
    make_finder: Find, models_dir: Path, memory: bytes
) -> None:
    write(models_dir / "base", files_of("base"))
    write(models_dir, {".verified.json": memory})

    assert make_finder().find("base").verified


def test_models_folder_that_can_t_be_written_is_still_used(make_finder: Find, models_dir: Path) -> None:
    write(models_dir / "base", files_of("base"))
    (models_dir / ".verified.json").mkdir()  # not even root can replace it

    assert make_finder().find("base").verified


def test_hashing_runs_where_the_caller_says(models_dir: Path, hub_cache: Path) -> None:
    write(models_dir / "base", files_of("base"))
    ran: list[str] = []

    def in_thread(work):
        ran.append("work")
        return work()

    ModelFinder(None, models_dir, False, hub_cache, in_thread=in_thread, known=KNOWN).find("base")

    assert ran == ["work"]


# What is here


def test_present_models_are_listed_from_everywhere(
    make_finder: Find, models_dir: Path, hub_cache: Path, packages: Path
) -> None:
    write(models_dir / "mine.en", files_of("mine", ENGLISH))
    write(models_dir / "not-a-model", {"readme": b""})
    snapshot(hub_cache, "Pinned/whisper-small", files_of("small"))
    snapshot(hub_cache, "someone/whisper", files_of("x"))
    snapshot(hub_cache, "someone/translator", {**files_of("x"), "config.json": b"{}"})

    present = {model.name: model for model in make_finder().present()}

    assert {name: model.source for name, model in present.items()} == {
        "base": "package",
        "mine.en": "folder",
        "small": "hub_cache",
        "someone/whisper": "hub_cache",
    }
    assert present["mine.en"].is_english_only
    assert not present["mine.en"].can_translate
    assert present["someone/whisper"].can_translate
    assert not any(model.verified for model in present.values())


def test_present_model_counts_as_verified_once_it_was(make_finder: Find, models_dir: Path) -> None:
    write(models_dir / "base", files_of("base"))
    finder = make_finder()
    assert [model.verified for model in finder.present()] == [False]

    finder.find("base")

    assert [model.verified for model in finder.present()] == [True]


class ArrivingCatalogue(tuple[CatalogueModel, ...]):
    """A catalogue whose model arrives after what is here was listed: when it is read for the second time."""

    snapshot: Path
    reads = 0

    def __iter__(self) -> Iterator[CatalogueModel]:
        self.reads += 1
        if self.reads == 2:
            write(self.snapshot, files_of("small"))
        return super().__iter__()


def test_model_that_arrives_while_models_are_listed_is_listed_once(models_dir: Path, hub_cache: Path) -> None:
    catalogue = ArrivingCatalogue((row("small"),))
    catalogue.snapshot = hub_cache / "models--Pinned--whisper-small" / "snapshots" / REVISION
    known = KnownModels(catalogue=catalogue, packaged=())
    finder = ModelFinder(None, models_dir, True, hub_cache, known=known)

    assert [model.name for model in finder.all()] == ["small"]
    assert [model.source for model in finder.all()] == ["hub_cache"]


def test_nothing_here_is_an_empty_list(make_finder: Find) -> None:
    assert make_finder().present() == ()
    with pytest.raises(ModelNotFoundError, match="Models here: none"):
        make_finder().find("base")


# Putting packaged models in place


def test_place_leaves_no_traces_and_does_its_work_once(packages: Path, models_dir: Path) -> None:
    (folder,) = place(["base"], models_dir, KNOWN)
    before = (folder / "model.bin").stat()

    assert place(["base"], models_dir, KNOWN) == (folder,)

    assert (folder / "model.bin").stat() == before
    assert sorted(path.name for path in models_dir.iterdir()) == [".verified.json", "base"]


def test_place_replaces_a_damaged_model(packages: Path, models_dir: Path) -> None:
    write(models_dir / "base", {**files_of("base"), "model.bin": b"half"})

    place(["base"], models_dir, KNOWN)

    assert (models_dir / "base" / "model.bin").read_bytes() == files_of("base")["model.bin"]
    assert sorted(path.name for path in models_dir.iterdir()) == [".verified.json", "base"]


def test_place_removes_what_a_killed_one_left_behind(packages: Path, models_dir: Path) -> None:
    abandoned = write(models_dir / ".placing-base-4194399-0", {"model.bin": b"half"})  # above the largest pid
    in_use = write(models_dir / f".placing-base-{os.getpid()}-0", {"model.bin": b"half"})

    place(["base"], models_dir, KNOWN)

    assert not abandoned.exists()
    assert in_use.exists()


def test_package_with_other_weights_is_refused_and_nothing_is_placed(
    packages: Path, models_dir: Path
) -> None:
    write(packages / "carrier_two" / "data", {"model.bin.part2": b"poison"})

    with pytest.raises(EngineStartError) as caught:
        place(["base"], models_dir, KNOWN)

    assert caught.value.code == "model_damaged"
    assert list(models_dir.iterdir()) == []


def test_place_of_a_model_no_package_carries_is_an_error(models_dir: Path) -> None:
    for name in ("base", "small", "made-up"):
        with pytest.raises(ModelNotFoundError):
            place([name], models_dir, KNOWN)


def test_place_where_nothing_can_be_written_names_the_folder(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(EngineStartError, match="file/models") as caught:
        place(["base"], tmp_path / "file" / "models", KNOWN)

    assert caught.value.code == "model_folder_not_writable"


@pytest.mark.model
@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_packaged_weights_are_the_official_ones(tmp_path: Path, name: str) -> None:
    place([name], tmp_path)

    model = ModelFinder(None, tmp_path, False, tmp_path / "hub").find(name)

    assert model.verified
    assert model.is_english_only == (name == "tiny.en")


def test_models_folder_is_made_for_our_user_alone(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x")
    before = os.umask(0o022)
    try:
        Verifier(tmp_path / "data" / "models" / MEMORY_NAME).mismatches(tmp_path, {"weights": "0" * 64})
        Verifier(tmp_path / "data" / "models" / MEMORY_NAME).mismatches(
            tmp_path, {"weights": hashlib.sha256(b"x").hexdigest()}
        )
    finally:
        os.umask(before)

    for folder in (tmp_path / "data", tmp_path / "data" / "models"):
        assert folder.stat().st_mode & 0o777 == 0o700
