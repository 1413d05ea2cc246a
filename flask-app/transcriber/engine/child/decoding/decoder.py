"""One batch through the model: encode, detect languages, generate with fallback, and cut into segments."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ....domain.ports import SAMPLE_RATE
from ....domain.transcript import TokenLogprob
from ..arrays import Features
from ..model.encoded import Encoded
from ..model.log_mel import WINDOW_FRAMES
from ..model.whisper import FRAME_SAMPLES, WhisperModel
from ..windows import find_rest
from .context import short_context
from .language import LEAST_PROBABILITY, Probabilities, choose_language, is_sure
from .prompts import MAX_LENGTH, max_new_tokens, previous_tokens, remember
from .repetition import is_spoken
from .rows import DecodedWindow, DecodingRow, WindowWork
from .segmentation import DraftText, build_segments
from .segments import is_too_long
from .temperature_fallback import (
    NO_SPEECH_THRESHOLD,
    TemperatureAttempt,
    best_of_failed,
    is_only_repetitive,
    needs_fallback,
)
from .timestamps import Draft, parse_window
from .word_timing import TimedWord, TokenTimes, tidy, time_words, usual_duration

_Key = TypeVar("_Key")

#: How often a window is decoded, for what the model left out of it, before that is given up.
_MAX_PARTS = 8

#: Tokens that are aligned at once, with a few places left for what goes before and after the text.
_MAX_ALIGNED_TOKENS = MAX_LENGTH - 8

#: What a probability of nothing counts as: JSON has no infinity.
_LEAST_TOKEN_PROBABILITY = 1e-12


class Decoder:
    """Runs batches on one model. Keeps nothing from batch to batch, so any thread may use it."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model

    def decode(self, rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        """Decode rows that agree in prompt length and search options, in one batch."""
        works = [WindowWork(row=row, language=row.language or "", history=row.history) for row in rows]
        self._first_part(works)
        pending = [work for work in works if self._goes_on(work)]
        while pending:
            self._next_part(pending)
            pending = [work for work in pending if self._goes_on(work)]
        return [self._finish(work) for work in works]

    def _first_part(self, works: Sequence[WindowWork]) -> None:
        """A window without speech is encoded all the same, as evidence of where the work ran."""
        unknown = [work for work in works if work.row.language is None]
        self._next_part([work for work in works if work.row.language is not None])
        if unknown:
            encoded = self._encode(unknown, WINDOW_FRAMES)
            for work in unknown:
                self._find_language(encoded, work)
            self._transcribe(encoded, unknown)

    def _next_part(self, works: Sequence[WindowWork]) -> None:
        """Where the model can, in as little room as the part needs; what is doubtful then, in a whole window."""
        for context, group in _grouped(works, self._context).items():
            self._transcribe(self._encode(group, context), group)
        doubtful = [work for work in works if work.is_doubtful]
        if doubtful:
            self._transcribe(self._encode(doubtful, WINDOW_FRAMES), doubtful)

    def _context(self, work: WindowWork) -> int:
        """Frames of the encoding. A text that is sampled is no measure of doubt."""
        padding = self._model.context_padding
        if padding is None or work.row.options.temperatures[0] > 0:
            return WINDOW_FRAMES
        return short_context(work.duration, padding)

    def _encode(self, works: Sequence[WindowWork], context: int) -> Encoded:
        for position, work in enumerate(works):
            work.position, work.context = position, context
        encoded = self._model.encode([work.features() for work in works])
        for work in works:
            # A part that ran elsewhere decides for the whole window.
            work.device = encoded.device if work.device in ("", encoded.device) else "cpu"
        return encoded

    def _find_language(self, encoded: Encoded, work: WindowWork) -> None:
        started = time.monotonic()
        row = work.row
        if row.uncut is not None:
            found: list[Probabilities] = [self._probabilities(row.uncut)]
        else:
            found = [*self._model.language_probabilities(encoded, [work.position])]
            if not is_sure(found[0]):
                found += [self._probabilities(features) for features in row.telling]
        detected = choose_language(found, row.options.languages)
        work.language, work.probability = detected.language, detected.probability
        work.alternatives = detected.alternatives
        if row.usual is not None and detected.probability < LEAST_PROBABILITY:
            work.language = row.usual
        work.detection_seconds = time.monotonic() - started

    def _probabilities(self, features: Features) -> Probabilities:
        return self._model.language_probabilities(self._model.encode([features]), [0])[0]

    def _transcribe(self, encoded: Encoded, works: Sequence[WindowWork]) -> None:
        """One part of each window: from its encoding to drafts with times."""
        spoken = [work for work in works if work.row.window.speech]
        # What CTranslate2 takes in one call: prompts of one length.
        for group in _grouped(spoken, lambda work: len(self._prompt(work))).values():
            self._generate(encoded, group)
        for work in spoken:
            self._read(work)
        self._align(encoded, [work for work in spoken if work.part])
        for work in spoken:
            self._keep(work)

    def _generate(self, encoded: Encoded, works: Sequence[WindowWork]) -> None:
        """The temperatures in turn, each for the windows only that failed so far.

        Sampling depends on all that was sampled before on the same thread of CTranslate2. Where the model can
        start afresh, each window does, alone, so that its text is the same in every run.
        """
        for work in works:
            work.attempts.clear()
            work.final = None
            work.is_hopeless = False
        works = self._heard(encoded, works)
        if not works:
            return
        temperatures = works[0].row.options.temperatures
        failed = self._degrade(self._model, encoded, works, [one for one in temperatures if one == 0])
        warm = [] if works[0].is_short else [one for one in temperatures if one > 0]
        if warm and self._model.can_sample_afresh:
            failed = [work for each in failed for work in self._climb_afresh(encoded, each, warm)]
        elif warm:
            failed = self._degrade(self._model, encoded, failed, warm)
        for work in works:
            work.is_hopeless = work in failed
            if work.attempts:
                work.final = best_of_failed(work.attempts) if work.is_hopeless else work.attempts[-1]

    def _heard(self, encoded: Encoded, works: Sequence[WindowWork]) -> list[WindowWork]:
        """Without the windows in which neither VAD nor the model hears anybody for sure; the model's first step tells."""
        faint = [work for work in works if work.is_faint]
        if not faint:
            return list(works)
        rows, prompts = [work.position for work in faint], [self._prompt(work) for work in faint]
        found = self._model.no_speech_probabilities(encoded, rows, prompts)
        silent = [work for work, share in zip(faint, found, strict=True) if share > NO_SPEECH_THRESHOLD]
        return [work for work in works if work not in silent]

    def _climb_afresh(
        self, encoded: Encoded, work: WindowWork, temperatures: Sequence[float]
    ) -> list[WindowWork]:
        with self._model.afresh() as fresh:
            return self._degrade(fresh, encoded, [work], temperatures)

    def _degrade(
        self,
        model: WhisperModel,
        encoded: Encoded,
        works: Sequence[WindowWork],
        temperatures: Sequence[float],
    ) -> list[WindowWork]:
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
            )
            for work, attempt in zip(pending, attempts, strict=True):
                work.attempts.append(attempt)
            pending = [work for work in pending if self._fails(encoded, work, work.attempts[-1])]
        return pending

    def _fails(self, encoded: Encoded, work: WindowWork, attempt: TemperatureAttempt) -> bool:
        """Whether to try again. A repetition in which each repeat takes its time was really said."""
        if not needs_fallback(attempt) or work.is_silent(attempt):
            return False
        if not is_only_repetitive(attempt) or self._is_cut_short(work, attempt):
            return True
        tokens = [token for token in attempt.tokens if token < self._model.eot]
        (times,) = self._times(encoded, [work], [tokens], work.language, work.row.options.task)
        return not is_spoken(times)

    def _is_cut_short(self, work: WindowWork, attempt: TemperatureAttempt) -> bool:
        return len(attempt.tokens) >= max_new_tokens(len(self._prompt(work)))

    def _prompt(self, work: WindowWork) -> list[int]:
        parts = work.row.prompt
        previous = previous_tokens(parts.sot_prev, parts.hotwords, work.history)
        return self._model.prompt(work.language, work.row.options.task, previous)

    def _read(self, work: WindowWork) -> None:
        """From tokens to drafts with text, and where the text ends."""
        work.part, work.rest = [], None
        attempt = work.final
        if attempt is None or work.is_silent(attempt):
            return
        if work.is_hopeless and work.parts:
            return  # of a rest that the model can't read it makes text up
        parsed = parse_window(
            attempt.tokens,
            self._model.timestamp_begin,
            work.duration,
            truncated=self._is_cut_short(work, attempt),
        )
        drafts = [self._draft_text(draft, attempt, work.start) for draft in parsed.drafts]
        work.part = [draft for draft in drafts if draft.text.strip() and draft.end > draft.start]
        if work.part and parsed.resume_at is not None:
            resume_at = int((work.start + parsed.resume_at) * SAMPLE_RATE)
            rest = find_rest(work.row.window, resume_at, closed=parsed.closed)
            work.rest = None if rest is None else rest / SAMPLE_RATE

    def _keep(self, work: WindowWork) -> None:
        """The part's drafts as the window's, unless they are to be made again."""
        if work.is_doubtful:
            return
        work.drafts += work.part
        if work.is_conditioned and work.part and work.final is not None:
            written = [token for draft in work.part for token in draft.tokens]
            work.history = remember(work.history, written, work.final.temperature)

    def _goes_on(self, work: WindowWork) -> bool:
        """Whether the model left out a rest, which is to be encoded afresh from where the text ended."""
        rest, work.rest = work.rest, None
        work.parts += 1
        if rest is None or rest <= work.start or work.parts >= _MAX_PARTS:
            return False
        work.start = rest
        return True

    def _draft_text(self, draft: Draft, attempt: TemperatureAttempt, offset: float) -> DraftText:
        text_tokens = tuple(token for token in draft.tokens if token < self._model.eot)
        return DraftText(
            offset=offset,
            start=offset + draft.start,
            end=offset + draft.end,
            tokens=draft.tokens,
            text_tokens=text_tokens,
            text=self._model.decode_text(text_tokens),
            words=None,
            attempt=attempt,
        )

    def _align(self, encoded: Encoded, works: Sequence[WindowWork]) -> None:
        """Word times and token probabilities for the windows that need them: asked for, or a segment is too long."""
        needy = [work for work in works if not work.is_doubtful and _needs_words(work)]
        for (language, task), group in _grouped(
            needy, lambda work: (work.language, work.row.options.task)
        ).items():
            runs = [(work, run) for work in group for run in _runs(work.part)]
            texts = [[token for draft in run for token in draft.text_tokens] for _, run in runs]
            times = self._times(encoded, [work for work, _ in runs], texts, language, task)
            for work in group:
                work.part = []
            for (work, run), found in zip(runs, times, strict=True):
                work.part += self._with_words(work, run, found)

    def _times(
        self,
        encoded: Encoded,
        works: Sequence[WindowWork],
        texts: Sequence[Sequence[int]],
        language: str,
        task: str,
    ) -> list[TokenTimes]:
        return self._model.align(
            encoded,
            [work.position for work in works],
            language,
            task,
            texts,
            [max(1, min(work.context, int(work.duration * SAMPLE_RATE) // FRAME_SAMPLES)) for work in works],
        )

    def _with_words(self, work: WindowWork, run: Sequence[DraftText], times: TokenTimes) -> list[DraftText]:
        timed: list[list[TimedWord]] = []
        place = 0
        for draft in run:
            texts, word_tokens = self._model.split_to_words(draft.text_tokens, work.language)
            words = time_words(texts, word_tokens, times, place, draft.offset)
            wants_logprobs = work.row.options.token_logprobs
            timed.append(self._with_logprobs(words, times, place) if wants_logprobs else words)
            place += len(draft.text_tokens)
        usual = usual_duration(word for words in timed for word in words)
        return [
            replace(draft, words=tuple(tidy(words, usual, draft.start, draft.end)))
            for draft, words in zip(run, timed, strict=True)
        ]

    def _with_logprobs(self, words: list[TimedWord], times: TokenTimes, place: int) -> list[TimedWord]:
        """The words with the probability that the model gave each of their tokens, hearing what went before it."""
        found = []
        for word in words:
            known = times.probabilities[place : place + len(word.tokens)]
            place += len(word.tokens)
            pairs = zip(word.tokens, known, strict=False)
            found.append(replace(word, logprobs=tuple(self._logprob(*pair) for pair in pairs)))
        return found

    def _logprob(self, token: int, probability: float) -> TokenLogprob:
        written = self._model.token_bytes(token)
        return TokenLogprob(
            token=written.decode(errors="replace"),
            bytes=tuple(written),
            logprob=math.log(max(probability, _LEAST_TOKEN_PROBABILITY)),
        )

    def _finish(self, work: WindowWork) -> DecodedWindow:
        options = work.row.options
        made = build_segments(
            work.drafts,
            work.row.window,
            keep_words=options.word_timestamps,
            keep_logprobs=options.token_logprobs,
            language=work.language if options.multilingual else None,
        )
        return DecodedWindow(
            device=work.device,
            language=work.language,
            language_probability=work.probability,
            detection_seconds=work.detection_seconds,
            alternatives=work.alternatives,
            segments=made.segments,
            history=work.history if work.is_conditioned else None,
            dropped=made.dropped,
        )


def _grouped(works: Sequence[WindowWork], key: Callable[[WindowWork], _Key]) -> dict[_Key, list[WindowWork]]:
    """In the order of the works."""
    groups: dict[_Key, list[WindowWork]] = {}
    for work in works:
        groups.setdefault(key(work), []).append(work)
    return groups


def _needs_words(work: WindowWork) -> bool:
    options = work.row.options
    return (
        options.word_timestamps
        or options.token_logprobs
        or any(is_too_long(draft.text, draft.end - draft.start) for draft in work.part)
    )


def _runs(drafts: Sequence[DraftText]) -> list[list[DraftText]]:
    """The drafts, in as few runs as the model has places for."""
    runs: list[list[DraftText]] = []
    left = 0
    for draft in drafts:
        if len(draft.text_tokens) > left:
            runs.append([])
            left = _MAX_ALIGNED_TOKENS
        runs[-1].append(draft)
        left -= len(draft.text_tokens)
    return runs
