"""What scripts/bench says: ratios with their targets, a Markdown table, an SVG plot, and the comparison with a baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.sax.saxutils import escape

from bench_runs import CrowdRun, LongRun, percentile

Json = dict[str, Any]

#: A ratio may be so much worse than the baseline's before --compare calls it a loss.
TOLERANCE = 0.15


_BEGIN, _END = "<!-- results -->", "<!-- /results -->"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One number that was promised. `limit` is what it may be at most, or at least where more is better."""

    name: str
    value: float
    limit: float
    more_is_better: bool = False

    @property
    def is_kept(self) -> bool:
        return self.value >= self.limit if self.more_is_better else self.value <= self.limit

    def is_worse_than(self, baseline: float) -> bool:
        if self.more_is_better:
            return self.value < baseline * (1 - TOLERANCE)
        return self.value > baseline * (1 + TOLERANCE)

    @property
    def line(self) -> str:
        sign = "≥" if self.more_is_better else "≤"
        return (
            f"{self.name}: {self.value:.3f} ({sign} {self.limit:g}: {'kept' if self.is_kept else 'MISSED'})"
        )


def long_ratios(runs: Sequence[LongRun]) -> list[Ratio]:
    """Of the medians of each way; for word errors, the service's less the best that bare has, in points."""
    ours, batched = _of(runs, "service"), _of(runs, "batched")
    seconds = _median(ours, "seconds")
    ratios = [
        Ratio(
            name="long file: time against bare batched",
            value=seconds / _median(batched, "seconds"),
            limit=1.0,
        ),
        Ratio(
            name="long file: WER less bare batched, points",
            value=100 * (_median(ours, "wer") - _median(batched, "wer")),
            limit=0.0,
        ),
        Ratio(
            name="long file: first segment, share of the whole",
            value=_median(ours, "first_segment_seconds") / seconds,
            limit=0.15,
        ),
    ]
    sequential = _of(runs, "sequential")
    if sequential:
        ratios.append(
            Ratio(
                name="long file: time against bare sequential",
                value=seconds / _median(sequential, "seconds"),
                limit=0.5,
            )
        )
    return ratios


def crowd_ratios(ours: CrowdRun, serial: CrowdRun, throughput_limit: float) -> list[Ratio]:
    who = f"{ours.clients} clients"
    return [
        Ratio(
            name=f"{who}: throughput against the serial server",
            value=ours.throughput / serial.throughput,
            limit=throughput_limit,
            more_is_better=True,
        ),
        Ratio(
            name=f"{who}: p95 against the serial server",
            value=percentile(ours.latencies, 95) / percentile(serial.latencies, 95),
            limit=0.75,
        ),
    ]


def alone_ratios(ours: CrowdRun, bare: CrowdRun) -> list[Ratio]:
    """One client: what the median takes beyond 1.1 times bare, in milliseconds."""
    beyond = statistics.median(ours.latencies) - 1.1 * statistics.median(bare.latencies)
    return [Ratio(name="1 client: ms beyond 1.1 × bare", value=1000 * beyond, limit=150)]


def long_table(runs: Sequence[LongRun]) -> str:
    rows = [
        [
            way,
            f"{_median(some, 'seconds'):.1f}",
            f"{some[0].audio_seconds / _median(some, 'seconds'):.1f}",
            f"{_median(some, 'first_segment_seconds'):.1f}",
            f"{100 * _median(some, 'wer'):.1f}",
            f"{_median(some, 'cpu_seconds'):.1f}",
            f"{_median(some, 'peak_bytes') / 1e6:.0f}",
            _percent([run.gpu_percent for run in some]),
        ]
        for way in dict.fromkeys(run.way for run in runs)
        for some in [_of(runs, way)]
    ]
    head = ["way", "s", "RTFx", "first segment s", "WER %", "CPU s", "memory MB", "GPU %"]
    return _table(head, rows)


def stage_table(runs: Sequence[LongRun]) -> str:
    """Where the service's time went, of the newest run on each device."""
    newest = {run.timings["device"]: run.timings for run in runs if run.timings}
    stages = ["queue", "audio_decode", "vad", "language_detection", "transcription", "total"]
    return _table(
        ["device", *(f"{stage} s" for stage in stages)],
        [[device, *(f"{timings[stage]:.2f}" for stage in stages)] for device, timings in newest.items()],
    )


def crowd_table(runs: Sequence[CrowdRun]) -> str:
    rows = [
        [
            str(run.clients),
            run.way,
            f"{run.throughput:.2f}",
            *(f"{percentile(run.latencies, share):.2f}" for share in (50, 95, 99)),
            f"{statistics.pstdev(run.latencies):.2f}",
            f"{100 * run.errors.rate:.1f}",
            f"{run.usage.cpu_seconds:.1f}",
            f"{run.usage.peak_bytes / 1e6:.0f}",
            _percent([run.usage.gpu_percent]),
        ]
        for run in runs
    ]
    head = [
        "clients",
        "way",
        "RTFx",
        "p50 s",
        "p95 s",
        "p99 s",
        "jitter s",
        "WER %",
        "CPU s",
        "memory MB",
        "GPU %",
    ]
    return _table(head, rows)


def losses(ratios: Json, baseline: Json) -> list[str]:
    """What is worse than in the saved run by more than the tolerance. A ratio that one of them lacks says nothing."""
    found = []
    for name, fields in ratios.items():
        if name in baseline and Ratio(**fields).is_worse_than(baseline[name]["value"]):
            found.append(f"{name}: {fields['value']:.3f}, was {baseline[name]['value']:.3f}")
    return found


def ratios_to_dict(model: str, ratios: Sequence[Ratio]) -> Json:
    return {f"{model}, {ratio.name}": asdict(ratio) for ratio in ratios}


def plot(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars of seconds of audio in a second, as SVG."""
    most = max((value for _, value in bars), default=1.0)
    height, left, width = 26, 330, 380
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{40 + height * len(bars)}" '
        f'font-family="sans-serif" font-size="13"><title>{escape(title)}</title>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="10" y="20" font-weight="bold" fill="#222222">{escape(title)}</text>',
    ]
    for number, (label, value) in enumerate(bars):
        y = 34 + height * number
        colour = "#1f6f8b" if "service" in label else "#b8b8b8"
        long = width * value / most
        parts += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end" fill="#222222">{escape(label)}</text>',
            f'<rect x="{left}" y="{y}" width="{long:.1f}" height="{height - 8}" fill="{colour}"/>',
            f'<text x="{left + long + 6:.1f}" y="{y + 14}" fill="#222222">{value:.1f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def replace_marked(page: str, results: str) -> str:
    """The page with new results between its marks. Raises ValueError when it has none."""
    begin, end = page.find(_BEGIN), page.find(_END)
    if not 0 <= begin < end:
        raise ValueError(f"the page has no {_BEGIN} … {_END}")
    return f"{page[: begin + len(_BEGIN)]}\n{results}{page[end:]}"


def _of(runs: Sequence[LongRun], way: str) -> list[LongRun]:
    return [run for run in runs if run.way == way]


def _median(runs: Sequence[LongRun], field: str) -> float:
    return float(statistics.median(getattr(run, field) for run in runs))


def _percent(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.0f}" if known else "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])
