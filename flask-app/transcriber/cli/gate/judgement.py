"""Whether a measured server may take traffic: one check a line, and what it was held against. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .measurement import GateReading, Measurement
from .words import word_error_rate

#: Word error rate against the book; `tiny.en`, the weakest model, makes about 0.05 on the reference set.
MAX_WORD_ERRORS = 0.25

#: Word error rate against the baseline's own texts. Two compute types of one model differ by less.
MAX_WORD_CHANGES = 0.10

#: A server with traffic is busier than one at the gate: how many times the gate's limit its latency may be.
LIVE_FACTOR = 2.0

#: A pause of the machine is no slower server: below this difference, in seconds, latency passes.
LATENCY_SLACK = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One demand, with what was measured."""

    name: str
    passed: bool
    measured: str
    limit: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Demands:
    """What the operator asks of the server."""

    #: gpu, cpu or any.
    device: str = "any"
    #: How many times slower than the baseline a server may be.
    window: float = 1.5
    #: Least utilisation of the GPU under the load, 0 to 1.
    min_utilization: float = 0.0


def judge(
    found: Measurement, references: Mapping[str, str], demands: Demands, baseline: Measurement | None
) -> tuple[Check, ...]:
    """Every check that applies."""
    return (
        *_answers(found),
        *_device(found, demands.device),
        *_words(found, references),
        *_utilization(found, demands),
        *(() if baseline is None else _against(found, baseline, demands.window)),
    )


def breaches(row: GateReading, gated: Measurement, demands: Demands) -> list[str]:
    """What is wrong with one answer of a server that has traffic, beside what it showed at the gate."""
    if row.status != 200:
        return [f"{row.name}: {row.status or 'no answer'} {row.error}".strip()]
    found = list(_contradictions(row))
    device = {"gpu": "cuda", "cpu": "cpu"}.get(demands.device, row.device)
    if row.device != device:
        found.append(f"{row.name} ran on {row.device} ({row.fallback_code or 'no reason given'})")
    text = next((each.text for each in gated.readings if each.name == row.name), row.text)
    if word_error_rate([(text, row.text)]) > MAX_WORD_CHANGES:
        found.append(f"{row.name}: the words are {row.text!r}, and were {text!r}")
    limit = LIVE_FACTOR * demands.window * gated.load.p95 + LATENCY_SLACK
    if row.seconds > limit:
        found.append(f"{row.name} took {row.seconds:.1f} s; at most {limit:.1f} s")
    return found


def _answers(found: Measurement) -> Iterator[Check]:
    refused = [f"{row.name}: {row.status} {row.error}" for row in found.readings if row.status != 200]
    yield Check(
        name="answers",
        passed=not refused and not found.load.failed,
        measured="; ".join(refused)
        or f"{found.load.failed} of {found.load.requests} requests under load failed",
        limit="every request is answered",
        fix="The server's log has the cause: journalctl -u transcriber.",
    )
    yield Check(
        name="self-test",
        passed=found.selftest == "passed",
        measured=found.selftest,
        limit="passed now: the encoder's numbers are those of the reference",
        fix="/diagnostics shows the step that failed.",
    )


def _device(found: Measurement, demanded: str) -> Iterator[Check]:
    wrong = [problem for row in _answered(found) for problem in _contradictions(row)]
    yield Check(
        name="device facts",
        passed=not wrong,
        measured="; ".join(wrong) or "gpu_used, device and the receipt agree",
        limit="gpu_used only if every window ran on the GPU",
    )
    if demanded == "any":
        return
    device = {"gpu": "cuda", "cpu": "cpu"}[demanded]
    other = sorted(
        {
            f"{row.device} ({row.fallback_code or 'no reason given'})"
            for row in _answered(found)
            if row.device != device
        }
    )
    yield Check(
        name=f"runs on the {demanded.upper()}",
        passed=not other and bool(_answered(found)),
        measured=", ".join(other) or (f"every window on {device}" if _answered(found) else "no answer"),
        limit=f"every window on {device}",
        fix="python -m transcriber doctor, on that machine, names the cause." if demanded == "gpu" else "",
    )


def _contradictions(row: GateReading) -> Iterator[str]:
    if row.windows_total < 1:
        yield f"{row.name}: the receipt counts no window"
    if row.gpu_used is not (0 < row.windows_total == row.windows_gpu):
        yield f"{row.name}: gpu_used is {row.gpu_used} with {row.windows_gpu} of {row.windows_total} windows on the GPU"
    if row.device != ("cuda" if row.gpu_used else "cpu"):
        yield f"{row.name}: device is {row.device!r} with gpu_used {row.gpu_used}"


def _words(found: Measurement, references: Mapping[str, str]) -> Iterator[Check]:
    rate = word_error_rate([(references[row.name], row.text) for row in found.readings])
    yield Check(
        name="words",
        passed=rate <= MAX_WORD_ERRORS,
        measured=f"word error rate {rate:.3f} on {len(found.readings)} files",
        limit=f"at most {MAX_WORD_ERRORS:.2f}",
        fix="Wrong model, or damaged weights: python -m transcriber models verifies them.",
    )


def _utilization(found: Measurement, demands: Demands) -> Iterator[Check]:
    if demands.min_utilization <= 0:
        return
    used = found.load.utilization
    yield Check(
        name="GPU utilisation",
        passed=used is not None and used >= demands.min_utilization,
        measured="no reading" if used is None else f"{used:.0%} under {found.load.clients} clients",
        limit=f"at least {demands.min_utilization:.0%}",
        fix="The GPU waits for something: decoding on the CPU, a small batch, or another process.",
    )


def _against(found: Measurement, baseline: Measurement, window: float) -> Iterator[Check]:
    model, before = _models(found), _models(baseline)
    yield Check(
        name="same model as the baseline",
        passed=model == before,
        measured=model or "none",
        limit=before or "none",
        fix="Another model on purpose? Leave out --baseline, and keep this report as the new one.",
    )
    texts = {row.name: row.text for row in baseline.readings}
    rate = word_error_rate([(texts[row.name], row.text) for row in found.readings if row.name in texts])
    yield Check(
        name="same words as the baseline",
        passed=rate <= MAX_WORD_CHANGES,
        measured=f"{rate:.3f} of the words differ",
        limit=f"at most {MAX_WORD_CHANGES:.2f}",
    )
    for percent in ("p50", "p95"):
        now, then = getattr(found.load, percent), getattr(baseline.load, percent)
        yield Check(
            name=f"latency {percent}",
            passed=0 < now <= max(window * then, then + LATENCY_SLACK),
            measured=f"{now:.2f} s with {found.load.clients} clients",
            limit=f"at most {window:g} times {then:.2f} s",
        )
    yield Check(
        name="throughput",
        passed=found.load.throughput >= baseline.load.throughput / window,
        measured=f"{found.load.throughput:.1f} s of audio in a second",
        limit=f"at least {baseline.load.throughput:.1f} / {window:g}",
    )


def _models(found: Measurement) -> str:
    return ", ".join(sorted({row.model for row in _answered(found)}))


def _answered(found: Measurement) -> list[GateReading]:
    return [row for row in found.readings if row.status == 200]
