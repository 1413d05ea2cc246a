"""The self-test of an engine: a clip of speech through encoder and decoder, and a hard look at what came out.

It is the proof at the start, before which no engine is ready, and the canary's on a live engine. It must not run
beside a batch on a GPU: what the memory pool holds and the speed are its own then.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ....domain.selftest import (
    CLIP_TEXT,
    FIXES,
    MOST_WORD_ERRORS,
    NOT_APPLICABLE,
    SKIPPED,
    STEPS,
    SelfTestReport,
    Step,
)
from ....domain.word_errors import word_errors, words_of
from ..arrays import Features, Samples
from ..decoding.temperature_fallback import TemperatureAttempt
from ..faults import Fault, FaultError, not_finite
from ..model.evidence import CudaDriver
from .device_checks import DeviceChecks, take_step
from .reference import Clip, Reference, difference, make_reference, tolerance

#: Least spread of the encoder's numbers; a broken kernel writes the same number everywhere.
_LEAST_SPREAD = 1e-4

#: The clip has a dozen tokens; text without end is cut here.
_MAX_LENGTH = 64

_BEAM_SIZE = 5

#: Passes whose median is the speed.
_TIMED_PASSES = 3


class Encoding(Protocol):
    """The encoder's output, where it lies."""

    device: str

    @property
    def address(self) -> int | None:
        """Where in the device's memory it begins; None for one in the host's."""
        ...

    def host(self) -> Features: ...


class ModelUnderTest(Protocol):
    """What the self-test needs of a model."""

    is_multilingual: bool
    compute_type: str

    def log_mel(self, samples: Samples) -> Features: ...

    def encode(self, features: Sequence[Features]) -> Any: ...

    def detect_languages(self, encoded: Any, rows: Sequence[int]) -> list[tuple[str, float]]: ...

    def prompt(self, language: str, task: str, previous: Sequence[int]) -> list[int]: ...

    def generate(
        self,
        encoded: Any,
        rows: Sequence[int],
        prompts: Sequence[Sequence[int]],
        temperature: float,
        beam_size: int,
        max_length: int,
    ) -> list[TemperatureAttempt]: ...

    def decode_text(self, tokens: Sequence[int]) -> str: ...


class SelfTestFailedError(FaultError):
    """An engine that is not fit to serve, with all that its self-test found."""

    def __init__(self, report: SelfTestReport) -> None:
        step = report.failure
        super().__init__(
            Fault(
                code=(step and step.code) or "engine_failed",
                message=(step and step.message) or "The self-test failed.",
                fix=(step and step.fix) or "",
            )
        )
        self.report = report


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What a model must make of the clip. reference None: only what needs none is checked.

    knows_clip: the model is one of those that write down the clip's words; of others only their own are expected.
    """

    model: str
    knows_clip: bool
    reference: Reference | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pass:
    """The clip went through the model once."""

    device: str
    numbers: Features
    attempt: TemperatureAttempt
    text: str
    language: tuple[str, float] | None
    seconds: float
    memory: str | None
    ordinal: int | None
    pool_used: int | None
    pool_growth: int | None


class SelfTest:
    """Tests one engine, as often as it is asked."""

    def __init__(
        self,
        *,
        model: ModelUnderTest,
        device: str,
        checks: DeviceChecks,
        clip: Clip,
        expectation: Expectation,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._device = device
        self._checks = checks
        self._clip = clip
        self._expectation = expectation
        self._clock = clock
        self._features = model.log_mel(clip.samples)
        #: What this engine made of the clip, for those that come after it; of a CPU's only.
        self.reference: Reference | None = None

    def run(self, *, is_cold: bool = False) -> SelfTestReport:
        """Test it now. is_cold: the engine is new, so its first pass is timed by itself."""
        started = self._clock()
        steps = [self._checks.visible(), self._checks.usable()]
        device, run_seconds, cold_seconds = "unknown", None, None
        if not any(step.code for step in steps):
            passes: list[_Pass] = []
            steps.append(take_step("computed", lambda numbers: self._compute(numbers, passes, is_cold)))
            device = passes[-1].device if passes else device
            cold_seconds = round(passes[0].seconds, 4) if is_cold and passes else None
            if steps[-1].code is None:
                steps.append(take_step("fast", lambda numbers: self._measure(numbers, passes)))
                steps[-1] = self._without_verdict(steps[-1])
                run_seconds = steps[-1].numbers.get("seconds")
        return SelfTestReport(
            device=device,
            compute_type=self._model.compute_type,
            steps=complete(steps),
            seconds=round(self._clock() - started, 4),
            run_seconds=run_seconds,
            cold_seconds=cold_seconds,
        )

    # Computing

    def _compute(self, numbers: dict[str, Any], passes: list[_Pass], is_cold: bool) -> None:
        passes.append(self._pass())
        if is_cold and self._device == "cuda":
            # Its memory and its time are those of loading and compiling.
            passes.append(self._pass())
        self._judge(passes[-1], numbers)
        self._judge_numbers(passes[-1], numbers)
        self._judge_words(passes[-1], numbers)
        if self._device == "cpu":
            made = passes[-1]
            self.reference = make_reference(
                self._expectation.model, self._model.compute_type, self._clip, made.numbers, made.text
            )

    def _pass(self) -> _Pass:
        """Encode and generate the clip; the numbers are fetched in between, which waits for the device."""
        driver, started = self._checks.driver, self._clock()
        before = driver.pool_used_bytes() if driver else None
        encoded = self._model.encode([self._features])
        numbers = encoded.host()
        after = driver.pool_used_bytes() if driver else None
        memory, ordinal = _locate(driver, encoded)
        language = self._model.detect_languages(encoded, [0])[0] if self._model.is_multilingual else None
        prompt = self._model.prompt("en", "transcribe", ())
        attempt = self._model.generate(encoded, [0], [prompt], 0.0, _BEAM_SIZE, _MAX_LENGTH)[0]
        return _Pass(
            device=encoded.device.partition(":")[0],
            numbers=numbers,
            attempt=attempt,
            text=self._model.decode_text(attempt.tokens).strip(),
            language=language,
            seconds=self._clock() - started,
            memory=memory,
            ordinal=ordinal,
            # A pool that holds nothing is not the one that CTranslate2 takes its memory from.
            pool_used=after if before else None,
            pool_growth=None if not before or after is None else after - before,
        )

    # Judging

    def _judge(self, made: _Pass, numbers: dict[str, Any]) -> None:
        """Where it was computed: by CTranslate2, by the driver, and by the memory that was taken for it."""
        numbers["device"] = made.device
        if self._device == "cuda":
            numbers |= {"memory": made.memory, "ordinal": made.ordinal}
            numbers |= {"pool_used_bytes": made.pool_used, "pool_growth_bytes": made.pool_growth}
        if made.device != self._device:
            raise _fault(
                "engine_device_mismatch",
                f"The engine was to compute on {self._device}, and its encoder's output lay on {made.device}.",
            )
        if made.memory not in (None, "device", "unified"):
            raise _fault(
                "engine_device_mismatch",
                f"By the driver, the encoder's output lies in {made.memory} memory and not on the GPU.",
            )
        # Growth is reported, not judged: what the pass before it left may be freed meanwhile. Nor does the pool overrule
        # the driver's word on the output itself.
        if made.memory is None and made.pool_used is not None and made.pool_used < _least_bytes(made.numbers):
            raise _fault(
                "engine_device_mismatch",
                f"The GPU's memory pool holds {made.pool_used} bytes, too few for the encoder's output.",
            )

    def _judge_numbers(self, made: _Pass, numbers: dict[str, Any]) -> None:
        """Numbers, not all the same, and near those of the reference."""
        if not np.isfinite(made.numbers).all():
            raise FaultError(not_finite("encoder"))
        numbers |= {"mean": round(float(made.numbers.mean()), 5), "std": round(float(made.numbers.std()), 5)}
        if numbers["std"] < _LEAST_SPREAD:
            raise _fault("numbers_differ", "The encoder gave the same number everywhere.")
        reference = self._expectation.reference
        if reference is None:
            numbers["reference"] = "none is known for this model; the numbers are finite and not constant"
            return
        allowed = tolerance(self._model.compute_type, reference)
        apart = difference(made.numbers, reference, self._clip)
        numbers |= {
            "reference": f"{reference.model} on the CPU in {reference.compute_type}",
            "difference": round(apart, 5) if math.isfinite(apart) else None,
            "tolerance": round(allowed, 5),
        }
        if not apart <= allowed:
            raise _fault(
                "numbers_differ",
                f"The encoder's numbers are {apart:.3g} from those of a CPU; {allowed:g} is allowed in {self._model.compute_type}.",
            )

    def _judge_words(self, made: _Pass, numbers: dict[str, Any]) -> None:
        """The expected words, or at least words."""
        if not math.isfinite(made.attempt.avg_logprob):
            raise FaultError(not_finite("decoding"))
        numbers |= {"text": made.text[:200], "avg_logprob": round(made.attempt.avg_logprob, 4)}
        if made.language is not None:
            numbers |= {"language": made.language[0], "language_probability": round(made.language[1], 4)}
        expected = self._expected_text()
        if expected is None:
            numbers["words"] = "not judged: it is not known what this model makes of the clip"
        elif words_of(expected):
            numbers["word_errors"] = round(word_errors(made.text, expected), 3)
            if numbers["word_errors"] > MOST_WORD_ERRORS:
                raise _fault(
                    "words_differ", f"The clip says {expected!r}, and the engine heard {made.text[:200]!r}."
                )
            return
        if not words_of(made.text) and self._device == "cuda":
            raise _fault("words_differ", f"The engine heard no word in the clip: {made.text[:200]!r}.")

    def _expected_text(self) -> str | None:
        if self._expectation.knows_clip:
            return CLIP_TEXT
        reference = self._expectation.reference
        return reference.text if reference else None

    # Speed

    def _measure(self, numbers: dict[str, Any], passes: list[_Pass]) -> None:
        """The median of three warm passes; on a CPU one pass is enough."""
        timed = passes[-1:]
        if self._device == "cuda":
            timed += [self._pass() for _ in range(_TIMED_PASSES - 1)]
        numbers |= {
            "seconds": round(statistics.median(each.seconds for each in timed), 4),
            "passes": [round(each.seconds, 4) for each in timed],
            "clip_seconds": round(self._clip.seconds, 2),
        }

    def _without_verdict(self, step: Step) -> Step:
        """A CPU's time is reported, not judged."""
        if self._device == "cuda" or step.code is not None:
            return step
        message = "A CPU is shared with other work: its time is shown and not judged."
        return Step(
            name=step.name,
            outcome=NOT_APPLICABLE,
            seconds=step.seconds,
            numbers=step.numbers,
            message=message,
        )


def complete(steps: Sequence[Step]) -> tuple[Step, ...]:
    """All four steps: those that the first failure left out are there as such."""
    done = tuple(steps)
    return done + tuple(Step(name=name, outcome=SKIPPED) for name in STEPS[len(done) :])


def _least_bytes(output: Features) -> int:
    """What the encoder's output takes at least where it was made: no format has fewer than two bytes a number."""
    return 2 * int(output.size)


def _locate(driver: CudaDriver | None, encoded: Encoding) -> tuple[str | None, int | None]:
    """The driver's word on the encoder's output: the kind of memory, and the device's number."""
    address = encoded.address if driver else None
    if driver is None or address is None:
        return None, None
    return driver.locate(address)


def _fault(code: str, message: str) -> FaultError:
    return FaultError(Fault(code=code, message=message, fix=FIXES[code]))
