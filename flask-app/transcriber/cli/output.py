"""Where transcripts go: to standard output, or as files beside one another in a folder."""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..domain.errors import TranscriberError
from ..domain.file_names import without_ending

#: Formats whose transcripts can follow one another and still be told apart or read.
_ONE_AFTER_ANOTHER = frozenset({"txt", "json", "verbose_json"})


@dataclass(frozen=True, kw_only=True)
class Output:
    """The formats asked for, and the names of the files. folder None: standard output."""

    formats: tuple[str, ...]
    folder: Path | None
    stems: Mapping[Path, str]

    @classmethod
    def plan(cls, files: Sequence[Path], formats: Sequence[str], folder: Path | None) -> Output:
        """Raises TranscriberError (invalid_parameter, output_not_writable) for what can't be written."""
        chosen = tuple(dict.fromkeys(formats)) or ("txt",)
        if folder is None:
            _check_standard_output(chosen, len(files))
        else:
            _make(folder)
        return cls(formats=chosen, folder=folder, stems=stems_of(files))

    def write(self, file: Path, transcripts: Mapping[str, str]) -> None:
        """Put one file's transcripts (by format) where they belong, each whole or not at all."""
        if self.folder is None:
            for text in transcripts.values():
                sys.stdout.write(text)
            sys.stdout.flush()
            return
        for ending, text in transcripts.items():
            _write_whole(self.folder / f"{self.stems[file]}.{_extension(ending)}", text)


def stems_of(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file's transcripts that no other has: NAME, else NAME.EXT, else with a number."""
    common = Counter(without_ending(file.name) for file in files)
    taken: set[str] = set()
    stems = {}
    for file in files:
        plain = without_ending(file.name)
        base = plain if common[plain] == 1 else file.name
        stem, number = base, 2
        while stem in taken:
            stem, number = f"{base}-{number}", number + 1
        taken.add(stem)
        stems[file] = stem
    return stems


def _extension(ending: str) -> str:
    return "verbose.json" if ending == "verbose_json" else ending


def _check_standard_output(formats: Sequence[str], files: int) -> None:
    problem = "several formats" if len(formats) > 1 else f"several files as {formats[0]}"
    if len(formats) > 1 or (files > 1 and formats[0] not in _ONE_AFTER_ANOTHER):
        raise TranscriberError(
            f"Standard output can't take {problem}.",
            code="invalid_parameter",
            fix="Give --output-dir DIR.",
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as target:
            target.write(text)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> TranscriberError:
    return TranscriberError(
        f"{path} can't be written: {error.strerror or error}.",
        code="output_not_writable",
        fix="Choose another --output-dir, or make this one writable.",
    )
