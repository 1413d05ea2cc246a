"""A window whose text the model ends early is decoded on, from the same encoding, to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from transcriber.domain.options import TranscriptionOptions
from transcriber.engine.child.arrays import Features
from transcriber.engine.child.decoding.decoder import Decoder, DecodingRow
from transcriber.engine.child.decoding.prompts import MAX_LENGTH, PromptParts
from transcriber.engine.child.decoding.temperature_fallback import TemperatureAttempt
from transcriber.engine.child.decoding.word_timing import TokenTimes
from transcriber.engine.child.windows import SpeechChunk, Window

SECOND = 16_000
BEGIN = 1000  # the first timestamp token; smaller ones are letters


def stamp(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def written(start: float, text: str, end: float) -> list[int]:
    return [stamp(start), *map(ord, text), stamp(end)]


@dataclass
class Script:
    """A model that answers each call of generate with the next of these texts for each row, by the row's features."""

    texts: dict[int, list[list[int]]]
    asked: list[tuple[tuple[int, ...], list[list[int]], float]] = field(default_factory=list)
    encodings: int = 0
    #: How many tokens each call of align had, for each row.
    aligned: list[int] = field(default_factory=list)

    timestamp_begin = BEGIN
    eot = 900
    can_sample_afresh = False
    device = "cpu"

    def encode(self, features: Sequence[Features]) -> Script:
        self.encodings += 1
        self.rows = [int(one[0, 0]) for one in features]
        return self

    def prompt(self, language: str, task: str, previous: Sequence[int]) -> list[int]:
        return [*previous, 901]

    def timestamp(self, seconds: float) -> int:
        return stamp(seconds)

    def generate(
        self,
        encoded: Script,
        rows: Sequence[int],
        prompts: Sequence[list[int]],
        temperature: float,
        beam_size: int,
        *,
        latest_start: float,
    ) -> list[TemperatureAttempt]:
        names = tuple(self.rows[row] for row in rows)
        self.asked.append((names, list(prompts), latest_start))
        return [attempt(self.texts[name].pop(0)) for name in names]

    def decode_text(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))

    def align(
        self,
        encoded: Script,
        rows: Sequence[int],
        language: str,
        task: str,
        texts: Sequence[Sequence[int]],
        frames: Sequence[int],
    ) -> list[TokenTimes]:
        self.aligned += [len(text) for text in texts]
        if max(self.aligned) > MAX_LENGTH - 5:
            raise RuntimeError("No position encodings are defined for positions >= 448")
        return [
            TokenTimes(
                starts=tuple(16 * place / len(text) for place in range(len(text) + 1)),
                probabilities=(1.0,) * len(text),
            )
            for text in texts
        ]

    def split_to_words(self, tokens: Sequence[int], language: str) -> tuple[list[str], list[list[int]]]:
        return [chr(token) for token in tokens], [[token] for token in tokens]


def attempt(tokens: list[int]) -> TemperatureAttempt:
    return TemperatureAttempt(
        tokens=tuple(tokens), avg_logprob=-0.1, no_speech_prob=0.0, compression_ratio=1.0, temperature=0.0
    )


def row(name: int, seconds: int = 12, *, history: tuple[int, ...] = (), **options: Any) -> DecodingRow:
    end = seconds * SECOND
    return DecodingRow(
        window=Window(index=name, start=0, end=end, speech=(SpeechChunk(start=0, end=end),)),
        features=np.full((1, 1), name, np.float32),
        options=TranscriptionOptions(**options),
        language="en",
        prompt=PromptParts(sot_prev=999),
        history=history,
    )


def decode(script: Script, rows: Sequence[DecodingRow]) -> list[list[tuple[float, float, str]]]:
    windows = Decoder(script).decode(rows)  # type: ignore[arg-type]
    return [[(one.start, one.end, one.text) for one in window.segments] for window in windows]


def test_the_rest_is_decoded_from_where_the_text_ended_and_from_the_same_encoding() -> None:
    script = Script({0: [written(0, " one", 6), written(6.4, " two", 12)], 1: [written(0, " whole", 6)]})

    texts = decode(script, [row(0), row(1, seconds=6)])

    assert texts == [[(0, 6, " one"), (6.4, 12, " two")], [(0, 6, " whole")]]
    assert script.encodings == 1
    assert script.asked == [((0, 1), [[901], [901]], 1.0), ((0,), [[901, stamp(6)]], 30.0)]


def test_a_rest_that_goes_back_in_time_is_no_text() -> None:
    script = Script({0: [written(0, " one", 6), written(1, " one", 6)]})

    assert decode(script, [row(0)]) == [[(0, 6, " one")]]


@pytest.mark.parametrize("answer", [[], [stamp(6)]])
def test_a_rest_without_text_ends_the_window(answer: list[int]) -> None:
    script = Script({0: [written(0, " one", 6), answer]})

    assert decode(script, [row(0)]) == [[(0, 6, " one")]]


def test_a_window_that_makes_hardly_any_progress_is_given_up() -> None:
    script = Script({0: [written(n * 0.1, f" {n}", n * 0.1 + 0.1) for n in range(20)]})

    (segments,) = decode(script, [row(0)])

    assert len(segments) == len(script.asked) == 8


def test_the_rest_of_a_conditioned_window_follows_its_own_text() -> None:
    first = written(0, " one", 6)
    script = Script({0: [list(first), written(6, " two", 12)]})

    (window,) = Decoder(script).decode([row(0, history=(65,), condition_on_previous_text=True)])  # type: ignore[arg-type]

    assert [prompts for _, prompts, _ in script.asked] == [
        [[999, 65, 901]],
        [[999, 65, *first, 901, stamp(6)]],
    ]
    assert window.history == (65, *first, *written(6, " two", 12))


def test_rests_with_prompts_of_different_lengths_go_one_by_one() -> None:
    """CTranslate2 takes prompts of one length only."""
    texts = {
        name: [written(0, " a" * (name + 1), 4), written(4, " b", 8), written(8, " c", 12)] for name in (0, 1)
    }
    script = Script(texts)

    decode(script, [row(name, condition_on_previous_text=True) for name in (0, 1)])

    assert [names for names, _, _ in script.asked] == [(0, 1), (0,), (1,), (0,), (1,)]
    assert all(len({len(prompt) for prompt in prompts}) == 1 for _, prompts, _ in script.asked)


def test_a_text_that_depends_on_nothing_before_tells_no_history() -> None:
    script = Script({0: [written(0, " one", 6)]})

    (window,) = Decoder(script).decode([row(0, seconds=6, history=(65,))])  # type: ignore[arg-type]

    assert window.history is None


def test_more_text_than_the_model_aligns_at_once_is_aligned_in_runs() -> None:
    script = Script({0: [written(4 * part, " " + "x" * 150, 4 * part + 3.9) for part in range(4)]})

    texts = decode(script, [row(0, seconds=16, word_timestamps=True)])

    assert script.aligned == [302, 302]
    assert "".join(text for _, _, text in texts[0]) == (" " + "x" * 150) * 4
