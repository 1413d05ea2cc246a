"""Which combinations of CTranslate2, driver, card and number format are known good: compatibility.toml. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .snapshot import Snapshot

TABLE_PATH = Path(__file__).with_name("compatibility.toml")

KNOWN_GOOD, UNKNOWN, KNOWN_BAD = "known_good", "unknown", "known_bad"

_UNKNOWN_FIX = (
    "Install what a row of docs/gpu-reference.md names, as the requirements pin it; or unset WHISPER_STRICT_MATRIX and let the "
    "engine's own proof decide."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompatibilityVerdict:
    """known_good, unknown or known_bad, with the reason, and what to do about the latter two.

    `cause`: the code of the cause that says the same, where there is one.
    """

    verdict: str
    why: str
    fix: str
    cause: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompatibilityRow:
    """One row of the table. A condition that is None holds always."""

    name: str
    because: str
    ctranslate2: tuple[str, str] | None = None
    capability: tuple[str, str] | None = None
    compute_types: tuple[str, ...] | None = None
    gpu: str | None = None
    driver_cuda: str | None = None
    below_cuda: str | None = None
    why: str = ""
    fix: str = ""
    cause: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompatibilityTable:
    """The pinned table."""

    cublas_major: int
    bad: tuple[CompatibilityRow, ...]
    good: tuple[CompatibilityRow, ...]


def load_table(path: Path = TABLE_PATH) -> CompatibilityTable:
    """Read the pinned table."""
    loaded = tomllib.loads(path.read_text(encoding="utf-8"))
    return CompatibilityTable(
        cublas_major=loaded["cublas_major"],
        bad=tuple(map(_row, loaded["bad"])),
        good=tuple(map(_row, loaded["good"])),
    )


def _row(row: Mapping[str, Any]) -> CompatibilityRow:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    return CompatibilityRow(**fields)


def judge(snapshot: Snapshot, table: CompatibilityTable | None = None) -> CompatibilityVerdict:
    """What the table says of this combination; `table` None: the pinned one."""
    table = table or load_table()
    if snapshot.gpu_name is None:
        return CompatibilityVerdict(
            verdict=UNKNOWN, why="there is no GPU to judge", fix="See why no GPU is found."
        )
    for row in table.bad:
        if _matches(row, snapshot) and _is_below(row, snapshot):
            why = f"{_combination(snapshot)}: {row.why}"
            return CompatibilityVerdict(verdict=KNOWN_BAD, why=why, fix=row.fix, cause=row.cause)
    if snapshot.cublas is not None and version(snapshot.cublas)[:1] != (table.cublas_major,):
        why = f"{_combination(snapshot)}: CTranslate2 needs cuBLAS {table.cublas_major}"
        fix = f"Run '.venv/bin/python -m pip install nvidia-cublas-cu{table.cublas_major}'."
        return CompatibilityVerdict(verdict=KNOWN_BAD, why=why, fix=fix, cause="cublas_foreign")
    good = next((row for row in table.good if _matches(row, snapshot) and _has_driver(row, snapshot)), None)
    if good is None:
        why = f"{_combination(snapshot)}: no row of the table speaks of it"
        return CompatibilityVerdict(verdict=UNKNOWN, why=why, fix=_UNKNOWN_FIX)
    why = f"{_combination(snapshot)}: {good.name}, {good.because}"
    return CompatibilityVerdict(verdict=KNOWN_GOOD, why=why, fix="")


def version(text: str) -> tuple[int, ...]:
    """The numbers of a version, to compare; what follows them ('rc1', '+cu128') does not count."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _matches(row: CompatibilityRow, snapshot: Snapshot) -> bool:
    return (
        _is_within(row.ctranslate2, snapshot.ctranslate2)
        and _is_within(row.capability, snapshot.compute_capability)
        and (row.compute_types is None or snapshot.compute_type in row.compute_types)
        and (row.gpu is None or re.search(row.gpu, snapshot.gpu_name or "") is not None)
    )


def _is_within(bounds: tuple[str, str] | None, value: str | None) -> bool:
    """Whether a version is between two, both included; one that is not known is not."""
    if bounds is None:
        return True
    return value is not None and version(bounds[0]) <= version(value) <= version(bounds[1])


def _is_below(row: CompatibilityRow, snapshot: Snapshot) -> bool:
    """Whether the driver speaks less than the row's CUDA; one that is not known does not count as old."""
    if row.below_cuda is None:
        return True
    return snapshot.cuda is not None and version(snapshot.cuda) < version(row.below_cuda)


def _has_driver(row: CompatibilityRow, snapshot: Snapshot) -> bool:
    wanted = row.driver_cuda
    return wanted is None or (snapshot.cuda is not None and version(snapshot.cuda) >= version(wanted))


def _combination(snapshot: Snapshot) -> str:
    return (
        f"CTranslate2 {snapshot.ctranslate2 or 'unknown'} with CUDA {snapshot.cuda or 'unknown'}, cuBLAS "
        f"{snapshot.cublas or 'unknown'} and {snapshot.compute_type or 'no number format'} on {snapshot.gpu_name} "
        f"({snapshot.compute_capability})"
    )


def markdown(table: CompatibilityTable) -> str:
    """The table for docs/gpu-reference.md."""
    head = "| | CTranslate2 | compute capability | number formats | driver | rests on |\n| --- | --- | --- | --- | --- | --- |\n"
    lines = [_line(row, "good") for row in table.good] + [_line(row, "bad") for row in table.bad]
    return head + "".join(lines)


def _line(row: CompatibilityRow, verdict: str) -> str:
    driver = f"CUDA {row.driver_cuda} or later" if row.driver_cuda else ""
    driver = f"below CUDA {row.below_cuda}" if row.below_cuda else driver
    types = ", ".join(row.compute_types or ("any",))
    cells = (_bounds(row.ctranslate2), _bounds(row.capability), types, driver or "any", row.because)
    return f"| {verdict}: {row.name} | " + " | ".join(cells) + " |\n"


def _bounds(bounds: tuple[str, str] | None) -> str:
    if bounds is None:
        return "any"
    return bounds[0] if bounds[0] == bounds[1] else f"{bounds[0]} to {bounds[1]}"
