"""One batch through the model: encode, detect languages, generate with fallback, and cut into segments."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ....domain.options import TranscriptionOptions
from ....domain.ports import SAMPLE_RATE
from ....domain.transcript import Segment, TokenLogprob
from ..arrays import Features
from ..model.encoded import Encoded
from ..model.log_mel import WINDOW_FRAMES
from ..model.whisper import FRAME_SAMPLES, MAX_FIRST_TIMESTAMP, WINDOW_SECONDS, WhisperModel
from ..windows import Window, has_rest
from .prompts import MAX_LENGTH, PromptParts, max_new_tokens, previous_tokens, remember
from .segmentation import DraftText, build_segments
from .segments import is_too_long
from .temperature_fallback import TemperatureAttempt, best_of_failed, is_silence, needs_fallback
from .timestamps import Draft, parse_window
from .word_timing import TimedWord, TokenTimes, tidy, time_words, usual_duration

#: How often a window is decoded, for what the model left out of it, before that is given up.
_MAX_PARTS = 8

#: Tokens that are aligned at once, with a few places left for what goes before and after the text.
_MAX_ALIGNED_TOKENS = MAX_LENGTH - 8


#: What a probability of nothing counts as: JSON has no infinity.
_LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingRow:
    """One window as the model takes it. language None: find out. history: the text so far, or the initial prompt.

    stopped: set when nobody wants its text any more, so that it is not tried again.
    """

    window: Window
    features: Features
    options: TranscriptionOptions
    language: str | None
    prompt: PromptParts
    history: tuple[int, ...] = ()
    stopped: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedWindow:
    """What became of a row. segments have times in the file and no id yet.

    history: what a next window is conditioned on, None where nothing is.
    """

    device: str
    language: str
    language_probability: float
    detection_seconds: float
    segments: tuple[Segment, ...] = ()
    history: tuple[int, ...] | None = None


@dataclass(slots=True)
class _WindowWork:
    """A row on its way through the steps. resume_at: seconds from its start, where the text written so far ends."""

    position: int
    row: DecodingRow
    language: str
    probability: float
    history: tuple[int, ...]
    detection_seconds: float = 0.0
    parts: int = 0
    resume_at: float = 0.0
    attempts: list[TemperatureAttempt] = field(default_factory=list)
    final: TemperatureAttempt | None = None
    drafts: list[DraftText] = field(default_factory=list)

    @property
    def duration(self) -> float:
        return self.row.window.samples / SAMPLE_RATE

    @property
    def is_conditioned(self) -> bool:
        return self.row.options.condition_on_previous_text


class Decoder:
    """Runs batches on one model. Keeps nothing from batch to batch, so any thread may use it."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model

    def decode(self, rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        """Decode rows that agree in prompt length and search options, in one batch."""
        encoded = self._model.encode([row.features for row in rows])
        works = self._with_languages(encoded, rows)
        spoken = [work for work in works if work.row.window.speech]
        pending = spoken
        while pending:
            for group in self._alike(pending):
                self._generate(encoded, group)
            pending = [work for work in pending if self._read(work)]
        self._align(encoded, [work for work in spoken if work.drafts])
        return [self._finish(work, encoded.device) for work in works]

    def _with_languages(self, encoded: Encoded, rows: Sequence[DecodingRow]) -> list[_WindowWork]:
        works = [
            _WindowWork(
                position=position,
                row=row,
                language=row.language or "",
                probability=1.0,
                history=row.history,
            )
            for position, row in enumerate(rows)
        ]
        unknown = [work for work in works if work.row.language is None]
        if not unknown:
            return works
        started = time.monotonic()
        candidates = [work.row.options.languages for work in unknown]
        found = self._model.detect_languages(encoded, [work.position for work in unknown], candidates)
        seconds = time.monotonic() - started
        for work, (language, probability) in zip(unknown, found, strict=True):
            work.language, work.probability, work.detection_seconds = language, probability, seconds
        return works

    def _alike(self, works: Sequence[_WindowWork]) -> list[list[_WindowWork]]:
        """What CTranslate2 takes in one call: prompts of one length."""
        groups: dict[int, list[_WindowWork]] = {}
        for work in works:
            groups.setdefault(len(self._prompt(work)), []).append(work)
        return list(groups.values())

    def _generate(self, encoded: Encoded, works: Sequence[_WindowWork]) -> None:
        """The temperatures in turn, each for the windows only that failed so far.

        Sampling depends on all that was sampled before on the same thread of CTranslate2. Where the model can
        start afresh, each window does, alone, so that its text is the same in every run.
        """
        for work in works:
            work.attempts.clear()
            work.final = None
        temperatures = works[0].row.options.temperatures
        failed = self._degrade(self._model, encoded, works, [one for one in temperatures if one == 0])
        warm = [one for one in temperatures if one > 0]
        if warm and self._model.can_sample_afresh:
            failed = [work for each in failed for work in self._climb_afresh(encoded, each, warm)]
        elif warm:
            failed = self._degrade(self._model, encoded, failed, warm)
        hopeless = {work.position for work in failed}
        for work in works:
            if work.attempts:
                is_hopeless = work.position in hopeless
                work.final = best_of_failed(work.attempts) if is_hopeless else work.attempts[-1]

    def _climb_afresh(
        self, encoded: Encoded, work: _WindowWork, temperatures: Sequence[float]
    ) -> list[_WindowWork]:
        with self._model.afresh() as fresh:
            return self._degrade(fresh, encoded, [work], temperatures)

    def _degrade(
        self,
        model: WhisperModel,
        encoded: Encoded,
        works: Sequence[_WindowWork],
        temperatures: Sequence[float],
    ) -> list[_WindowWork]:
        """Decode at these temperatures until it is good; gives back the windows that never were."""
        pending = list(works)
        for temperature in temperatures:
            pending = [work for work in pending if not work.row.stopped.is_set()]
            if not pending:
                break
            attempts = model.generate(
                encoded,
                [work.position for work in pending],
                [self._prompt(work) for work in pending],
                temperature,
                pending[0].row.options.beam_size,
                latest_start=MAX_FIRST_TIMESTAMP if pending[0].parts == 0 else WINDOW_SECONDS,
            )
            for work, attempt in zip(pending, attempts, strict=True):
                work.attempts.append(attempt)
            pending = [work for work in pending if needs_fallback(work.attempts[-1])]
        return pending

    def _prompt(self, work: _WindowWork) -> list[int]:
        """For the rest of a window, it ends with the time from which on there is no text yet."""
        parts = work.row.prompt
        previous = previous_tokens(parts.sot_prev, parts.hotwords, work.history)
        prompt = self._model.prompt(work.language, work.row.options.task, previous)
        return [*prompt, self._model.timestamp(work.resume_at)] if work.parts else prompt

    def _read(self, work: _WindowWork) -> bool:
        """From tokens to drafts with text. Whether the model left out a rest, which is to be decoded next."""
        if work.final is None or is_silence(work.final):
            return False
        tokens = work.final.tokens
        parsed = parse_window(
            tokens,
            self._model.timestamp_begin,
            work.duration,
            truncated=len(tokens) >= max_new_tokens(len(self._prompt(work))),
        )
        drafts = [self._draft_text(draft, work.final) for draft in parsed.drafts]
        # A rest that begins again before its time is text that was written already.
        new = [
            draft for draft in drafts if draft.text.strip() and draft.end > max(draft.start, work.resume_at)
        ]
        if not new:
            return False
        work.drafts += new
        if work.is_conditioned:
            written = [token for draft in new for token in draft.tokens]
            work.history = remember(work.history, written, work.final.temperature)
        return parsed.resume_at is not None and self._goes_on(work, parsed.resume_at, closed=parsed.closed)

    def _goes_on(self, work: _WindowWork, resume_at: float, *, closed: bool) -> bool:
        work.parts += 1
        if resume_at <= work.resume_at or work.parts >= _MAX_PARTS:
            return False
        work.resume_at = resume_at
        return has_rest(work.row.window, int(resume_at * SAMPLE_RATE), closed=closed)

    def _draft_text(self, draft: Draft, attempt: TemperatureAttempt) -> DraftText:
        text_tokens = tuple(token for token in draft.tokens if token < self._model.eot)
        return DraftText(
            start=draft.start,
            end=draft.end,
            tokens=draft.tokens,
            text_tokens=text_tokens,
            text=self._model.decode_text(text_tokens),
            words=None,
            attempt=attempt,
        )

    def _align(self, encoded: Encoded, works: Sequence[_WindowWork]) -> None:
        """Word times and token probabilities for the windows that need them: asked for, or a segment is too long."""
        groups: dict[tuple[str, str], list[tuple[_WindowWork, list[DraftText]]]] = {}
        for work in works:
            options = work.row.options
            if (
                options.word_timestamps
                or options.token_logprobs
                or any(is_too_long(draft.text, draft.end - draft.start) for draft in work.drafts)
            ):
                runs = groups.setdefault((work.language, work.row.options.task), [])
                runs += [(work, run) for run in _runs(work.drafts)]
                work.drafts = []
        for (language, task), group in groups.items():
            times = self._model.align(
                encoded,
                [work.position for work, _ in group],
                language,
                task,
                [[token for draft in run for token in draft.text_tokens] for _, run in group],
                [_frames(work.row.window) for work, _ in group],
            )
            for (work, run), found in zip(group, times, strict=True):
                work.drafts += self._with_words(work, run, found)

    def _with_words(self, work: _WindowWork, run: Sequence[DraftText], times: TokenTimes) -> list[DraftText]:
        timed: list[list[TimedWord]] = []
        offset = 0
        for draft in run:
            texts, word_tokens = self._model.split_to_words(draft.text_tokens, work.language)
            words = time_words(texts, word_tokens, times, offset)
            timed.append(
                self._with_logprobs(words, times, offset) if work.row.options.token_logprobs else words
            )
            offset += len(draft.text_tokens)
        usual = usual_duration(word for words in timed for word in words)
        return [
            replace(draft, words=tuple(tidy(words, usual, draft.start, draft.end)))
            for draft, words in zip(run, timed, strict=True)
        ]

    def _with_logprobs(self, words: list[TimedWord], times: TokenTimes, offset: int) -> list[TimedWord]:
        """The words with the probability that the model gave each of their tokens, hearing what went before it."""
        found = []
        for word in words:
            known = times.probabilities[offset : offset + len(word.tokens)]
            offset += len(word.tokens)
            pairs = zip(word.tokens, known, strict=False)
            found.append(replace(word, logprobs=tuple(self._logprob(*pair) for pair in pairs)))
        return found

    def _logprob(self, token: int, probability: float) -> TokenLogprob:
        written = self._model.token_bytes(token)
        return TokenLogprob(
            token=written.decode(errors="replace"),
            bytes=tuple(written),
            logprob=math.log(max(probability, _LEAST_PROBABILITY)),
        )

    def _finish(self, work: _WindowWork, device: str) -> DecodedWindow:
        return DecodedWindow(
            device=device,
            language=work.language,
            language_probability=work.probability,
            detection_seconds=work.detection_seconds,
            segments=build_segments(
                work.drafts,
                work.row.window,
                keep_words=work.row.options.word_timestamps,
                keep_logprobs=work.row.options.token_logprobs,
            ),
            history=work.history if work.is_conditioned else None,
        )


def _runs(drafts: Sequence[DraftText]) -> list[list[DraftText]]:
    """The drafts, in as few runs as the model has places for: the parts of a window may hold more text than one."""
    runs: list[list[DraftText]] = []
    left = 0
    for draft in drafts:
        if len(draft.text_tokens) > left:
            runs.append([])
            left = _MAX_ALIGNED_TOKENS
        runs[-1].append(draft)
        left -= len(draft.text_tokens)
    return runs


def _frames(window: Window) -> int:
    return max(1, min(WINDOW_FRAMES, window.samples // FRAME_SAMPLES))
