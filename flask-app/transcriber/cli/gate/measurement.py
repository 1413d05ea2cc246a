"""What the gate measured on one server: plain values, read from and written to JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from ...domain.errors import TranscriberError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReading:
    """One answer of `POST /transcribe`, reduced to what the gate judges."""

    name: str
    status: int
    #: Measured by the gate, from the first byte sent to the last byte received.
    seconds: float
    text: str = ""
    model: str = ""
    device: str = ""
    compute_type: str = ""
    gpu_used: bool = False
    windows_gpu: int = 0
    windows_total: int = 0
    fallback_code: str = ""
    #: Error code and message where the server refused.
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateLoad:
    """Requests of several clients at once."""

    clients: int
    requests: int
    failed: int
    #: Seconds of the answers that came.
    p50: float
    p95: float
    #: Seconds of audio transcribed in a second.
    throughput: float
    #: Of the server's GPU while the load ran, 0 to 1; None where nothing can be read.
    utilization: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One server, measured."""

    url: str
    verdict: str
    #: Outcome of a self-test made for the gate: passed, failed, slow, skipped, or why there was none.
    selftest: str
    #: The reference set, one file after the other.
    readings: tuple[GateReading, ...]
    load: GateLoad
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * percent // 100).__trunc__() - 1))]


def read_measurement(path: Path) -> Measurement:
    """The measurement in a report that the gate wrote. Raises TranscriberError."""
    try:
        report = json.loads(path.read_text())
        found = report.get("measurement", report)
        readings = tuple(_of(GateReading, row) for row in found["readings"])
        return _of(Measurement, {**found, "readings": readings, "load": _of(GateLoad, found["load"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TranscriberError(
            f"--baseline {path} is not a report of the gate: {error}",
            code="invalid_parameter",
            fix="Write one with --json FILE on a server that is as it should be.",
        ) from error


def _of(kind: type[T], row: Mapping[str, Any]) -> T:
    """A report of another version may have more fields, and misses none that has no default."""
    known = {each.name for each in fields(cast(Any, kind))}
    return kind(**{name: value for name, value in row.items() if name in known})
