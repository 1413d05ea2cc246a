"""The tables of scripts/bench-words, and which of its promises were broken."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from words_score import Score

SERVICE = "service"
BATCHED = "bare, batched"

#: Points of word errors that a joined recording may have more than its clips alone, and any than the best bare way.
ABOVE_ALONE, ABOVE_BARE = 0.01, 0.005

#: Recordings whose clips are compared with the same clips alone.
JOINED = "joined"

#: Seconds beside bare batched at its best size, by the recording's first word and model; None: any other model.
TIMES: dict[str, dict[str | None, float]] = {
    JOINED: {"tiny.en": 0.95, None: 0.8},
    "recurring": {None: 1.0},
}
CPU = 1.0

_BEGIN, _END = "<!-- words -->", "<!-- /words -->"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One way through one recording."""

    recording: str
    way: str
    audio_seconds: float
    seconds: float
    cpu_seconds: float
    score: Score
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Way:
    """All runs of one way through one recording as one; seconds are medians."""

    recording: str
    name: str
    runs: tuple[Run, ...]

    @property
    def score(self) -> Score:
        return sum((run.score for run in self.runs), Score())

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        return statistics.median(run.cpu_seconds for run in self.runs)

    def cells(self) -> list[str]:
        count = len(self.runs)
        return [
            f"{self.recording}, {self.runs[0].audio_seconds:.0f} s",
            self.name,
            percent(self.score),
            *(f"{len(found) / count:g}" for found in (self.score.lost,)),
            f"{self.score.invented_words / count:g}",
            f"{len(self.score.repeats) / count:g}",
            f"{self.seconds:.1f}",
            f"{self.cpu_seconds:.1f}",
        ]


def ways_of(runs: Sequence[Run]) -> list[list[Way]]:
    """The ways through each recording, in the order of the runs."""
    found: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        found.setdefault(run.recording, {}).setdefault(run.way, []).append(run)
    return [
        [Way(recording=recording, name=name, runs=tuple(some)) for name, some in ways.items()]
        for recording, ways in found.items()
    ]


def table(runs: Sequence[Run], alone: Score | None) -> str:
    lines = [
        "| recording | way | word errors | lost stretches | invented words | repeats | s | CPU s |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *("| " + " | ".join(way.cells()) + " |" for ways in ways_of(runs) for way in ways),
    ]
    if alone is not None:
        lines.append(f"| the clips alone | service | {percent(alone)} | {len(alone.lost)} | | | | |")
    return "\n".join(lines) + "\n"


def percent(found: Score) -> str:
    errors = found.errors
    return f"{100 * errors.rate:.1f} % ({errors.deletions} left out)" if errors.words else "–"


def ratios(runs: Sequence[Run]) -> dict[str, tuple[float, float]]:
    """By recording: seconds and CPU seconds of the service by those of bare batched at its best size."""
    found = {}
    for ways in ways_of(runs):
        ours = next(way for way in ways if way.name == SERVICE)
        batched = [way for way in ways if way.name.startswith(BATCHED)]
        if batched:
            best = min(batched, key=lambda way: way.seconds)
            found[ours.recording] = (ours.seconds / best.seconds, ours.cpu_seconds / best.cpu_seconds)
    return found


def broken_words(
    model: str, runs: Sequence[Run], alone: Score | None, floor: float | None = None
) -> list[str]:
    """Promises on words that these runs break. floor: the most word errors; None: as bare, or as the clips alone."""
    broken = []
    for ways in ways_of(runs):
        ours, others = _parted(ways)
        where = f"{model}, {ours.recording}"
        for kind in ("lost", "invented", "repeats"):
            if found := getattr(ours.score, kind):
                broken.append(f"{where}: {kind}: {len(found)}")
        errors = ours.score.errors
        if not errors.words:
            continue
        if floor is not None:
            if errors.rate > floor:
                broken.append(f"{where}: {percent(ours.score)}, more than {100 * floor:.0f} %")
            continue
        if others and errors.rate > min(way.score.errors.rate for way in others) + ABOVE_BARE:
            broken.append(f"{where}: {percent(ours.score)}, more than the best bare way")
        if alone and ours.recording == JOINED and errors.rate > alone.errors.rate + ABOVE_ALONE:
            broken.append(f"{where}: {percent(ours.score)}, alone {percent(alone)}")
    return broken


def broken_times(model: str, runs: Sequence[Run]) -> list[str]:
    """Promises on times that these runs break."""
    broken = []
    for recording, (seconds, cpu) in ratios(runs).items():
        limits = TIMES.get(recording.split(",")[0], {})
        limit = limits.get(model, limits.get(None))
        if limit is not None and seconds > limit:
            broken.append(f"{model}, {recording}: {seconds:.2f} times bare batched, {limit} promised")
        if limit is not None and cpu > CPU:
            broken.append(f"{model}, {recording}: {cpu:.2f} times bare batched's CPU time, {CPU} promised")
    return broken


def with_results(page: str, text: str) -> str:
    """The page with the text between its marks. Raises ValueError where there are none."""
    before, mark, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not mark or not end:
        raise ValueError(f"no {_BEGIN} … {_END} in the page")
    return f"{before}{_BEGIN}\n{text}\n{_END}{after}"


def _parted(ways: Sequence[Way]) -> tuple[Way, list[Way]]:
    ours = next(way for way in ways if way.name == SERVICE)
    return ours, [way for way in ways if way is not ours]
