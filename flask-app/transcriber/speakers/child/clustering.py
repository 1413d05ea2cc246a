"""Voices into speakers: average linkage by cosine distance, cut where the number of speakers is plausible."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import Flags, Floats, Labels

# Chosen on one set of voices, shown on another: docs/speakers.md has both tables.
DISTANCE = 0.64  # two groups of voices closer than this on average are one speaker
RELIABLE_SECONDS = 0.6  # a voice heard alone for less does not found a speaker
SPEAKER_SHARE = (
    0.02  # who was heard alone for less than this part of the speech is an outlier of another speaker,
)
LEAST_SPEAKER_SECONDS = (
    0.8,
    4.0,
)  # but not below the first of these, and in long recordings not above the second
BLOCK = 1000  # linkage is quadratic: longer recordings are summarised block by block first
SUMMARY_DISTANCE = 0.25  # far below DISTANCE, so that a summary never joins two speakers


@dataclass(frozen=True)
class SpeakerLimits:
    """How many speakers the caller allows."""

    minimum: int = 1
    maximum: int = 2**31


@dataclass(frozen=True)
class Merge:
    """One step of the linkage: clusters `left` and `right` become the next cluster, at `distance`."""

    left: int
    right: int
    distance: float


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def cluster_speakers(voices: Floats, seconds: Floats, limits: SpeakerLimits) -> Labels:
    """The speaker of each voice. `seconds`: how long each was heard alone, which is how far it is believed."""
    voices = unit(voices)
    founders = _founders(seconds)
    weights = np.minimum(seconds, 3.0) + 1e-3
    members, centres, sizes = _summarise(voices[founders], weights[founders])
    least = float(np.clip(SPEAKER_SHARE * weights.sum(), *LEAST_SPEAKER_SECONDS))
    labels = _cut(linkage(centres, sizes), sizes, limits, least)[members]
    speakers = _centroids(voices[founders], weights[founders], labels)
    for _ in range(2):
        labels = _nearest(voices[founders], speakers)
        if len(np.unique(labels)) < len(speakers):
            break
        speakers = _centroids(voices[founders], weights[founders], labels)
    return _nearest(voices, speakers)


def _founders(seconds: Floats) -> Labels:
    reliable = np.flatnonzero(seconds >= RELIABLE_SECONDS)
    return reliable if len(reliable) else np.arange(len(seconds))


def _summarise(voices: Floats, weights: Floats) -> tuple[Labels, Floats, Floats]:
    """Each voice's row in the centres, the centres and their seconds: the voices themselves, unless there are too many."""
    if len(voices) <= BLOCK:
        return np.arange(len(voices)), voices, weights
    members = np.empty(len(voices), np.int64)
    count = 0
    for start in range(0, len(voices), BLOCK):
        part = slice(start, start + BLOCK)
        merges = linkage(voices[part], weights[part])
        labels = _labels(merges, len(voices[part]), sum(m.distance <= SUMMARY_DISTANCE for m in merges))
        members[part] = labels + count
        count += labels.max() + 1
    sizes = np.bincount(members, weights).astype(np.float32)
    return members, _centroids(voices, weights, members), sizes


def linkage(vectors: Floats, sizes: Floats) -> list[Merge]:
    """Average linkage by nearest-neighbour chains, in ascending distance; clusters are numbered as in scipy's."""
    count = len(vectors)
    distances = (1.0 - vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    weights = sizes.astype(np.float64)
    alive = np.ones(count, bool)
    found: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(found) < count - 1:
        chain = chain or [int(np.argmax(alive))]
        last = chain[-1]
        nearest = int(np.argmin(distances[last]))
        if len(chain) > 1 and distances[last, chain[-2]] <= distances[last, nearest]:
            other = chain[-2]
            del chain[-2:]
            found.append((float(distances[last, other]), other, last))
            _join(distances, weights, alive, other, last)
        else:
            chain.append(nearest)
    return _numbered(sorted(found), count)


def _join(
    distances: NDArray[np.float64], weights: NDArray[np.float64], alive: Flags, into: int, gone: int
) -> None:
    total = weights[into] + weights[gone]
    row = (distances[into] * weights[into] + distances[gone] * weights[gone]) / total
    distances[into], distances[:, into] = row, row
    distances[gone], distances[:, gone] = np.inf, np.inf
    distances[into, into] = np.inf
    weights[into] = total
    alive[gone] = False


def _numbered(found: list[tuple[float, int, int]], count: int) -> list[Merge]:
    number = list(range(count))
    root = list(range(count))

    def find(item: int) -> int:
        while root[item] != item:
            root[item] = root[root[item]]
            item = root[item]
        return item

    merges = []
    for step, (distance, left, right) in enumerate(found):
        a, b = find(left), find(right)
        merges.append(Merge(number[a], number[b], distance))
        root[b] = a
        number[a] = count + step
    return merges


def _cut(merges: list[Merge], sizes: Floats, limits: SpeakerLimits, least: float) -> Labels:
    """Labels at the level nearest to DISTANCE whose number of speakers is allowed; outliers join their nearest later."""
    counts = _speakers_by_level(merges, sizes, least)
    usual = sum(merge.distance <= DISTANCE for merge in merges)
    wanted = range(max(1, limits.minimum), max(limits.minimum, limits.maximum) + 1)
    allowed = [level for level, count in enumerate(counts) if count in wanted]
    level = min(allowed, key=lambda level: abs(level - usual)) if allowed else _closest(counts, wanted)
    return _without_outliers(_labels(merges, len(sizes), level), sizes, least)


def _closest(counts: list[int], wanted: range) -> int:
    return min(
        range(len(counts)),
        key=lambda level: (min(abs(counts[level] - wanted[0]), abs(counts[level] - wanted[-1])), -level),
    )


def _speakers_by_level(merges: list[Merge], sizes: Floats, least: float) -> list[int]:
    """How many clusters are long enough to be a speaker after 0, 1, 2, … merges; one at least."""
    total = [float(size) for size in sizes]
    count = sum(size >= least for size in total)
    counts = [max(1, count)]
    for merge in merges:
        left, right = total[merge.left], total[merge.right]
        total.append(left + right)
        count += (left + right >= least) - (left >= least) - (right >= least)
        counts.append(max(1, count))
    return counts


def _labels(merges: list[Merge], count: int, level: int) -> Labels:
    """The cluster of each leaf after `level` merges, numbered from 0 by first appearance."""
    top = list(range(count + level))
    for step in reversed(range(level)):
        merge = merges[step]
        top[merge.left] = top[merge.right] = top[count + step]
    return _renumbered(np.array(top[:count], np.int64))


def _renumbered(labels: Labels) -> Labels:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return np.asarray(order[inverse.reshape(-1)])


def _without_outliers(labels: Labels, sizes: Floats, least: float) -> Labels:
    """-1 for the members of clusters that are too short to be a speaker, unless all are."""
    totals = np.bincount(labels, sizes)
    speakers = totals >= least
    if not speakers.any():
        speakers[int(np.argmax(totals))] = True
    kept = np.where(speakers[labels], labels, -1)
    numbers = np.full(len(totals), -1)
    numbers[np.flatnonzero(speakers)] = np.arange(int(speakers.sum()))
    return np.where(kept >= 0, numbers[kept], -1)


def _centroids(voices: Floats, weights: Floats, labels: Labels) -> Floats:
    count = int(labels.max()) + 1
    sums = np.zeros((count, voices.shape[1]), np.float32)
    np.add.at(sums, labels[labels >= 0], (voices * weights[:, None])[labels >= 0])
    return unit(sums)


def _nearest(voices: Floats, speakers: Floats) -> Labels:
    return np.asarray(np.argmax(voices @ speakers.T, axis=1), np.int64)
