"""A window whose text the model ends early is decoded on, encoded afresh from there, to its end."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from transcriber.domain.options import TranscriptionOptions
from transcriber.engine.child.arrays import Features
from transcriber.engine.child.decoding.decoder import Decoder
from transcriber.engine.child.decoding.prompts import MAX_LENGTH, PromptParts
from transcriber.engine.child.decoding.rows import DecodingRow
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
    asked: list[tuple[tuple[int, ...], list[list[int]]]] = field(default_factory=list)
    #: Frames of each window of each encoding.
    encodings: list[list[int]] = field(default_factory=list)
    #: Where in its window each encoding begins, in frames, by the second row of the features.
    begins: list[list[int]] = field(default_factory=list)
    #: How many tokens each call of align had, for each row.
    aligned: list[int] = field(default_factory=list)

    timestamp_begin = BEGIN
    eot = 900
    can_sample_afresh = False
    context_padding: float | None = None
    #: What is said of the language of a row, by its features.
    languages: dict[int, dict[str, float]] = field(default_factory=dict)
    #: How the next attempts turn out; the usual good one after that.
    quality: list[dict[str, float]] = field(default_factory=list)
    #: The probability, by the features of a row, that nobody speaks; 0 where nothing is said.
    silence: dict[int, float] = field(default_factory=dict)
    #: When the tokens of each aligned text begin; None: one after the other.
    token_starts: tuple[float, ...] | None = None
    device = "cpu"

    def encode(self, features: Sequence[Features]) -> Script:
        self.encodings.append([one.shape[1] for one in features])
        self.begins.append([int(one[1, 0]) for one in features])
        encoded = copy.copy(self)
        encoded.rows = [int(one[0, 0]) for one in features]
        return encoded

    def language_probabilities(self, encoded: Script, rows: Sequence[int]) -> list[dict[str, float]]:
        return [self.languages[encoded.rows[row]] for row in rows]

    def no_speech_probabilities(
        self, encoded: Script, rows: Sequence[int], prompts: Sequence[list[int]]
    ) -> list[float]:
        return [self.silence.get(encoded.rows[row], 0.0) for row in rows]

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
    ) -> list[TemperatureAttempt]:
        names = tuple(encoded.rows[row] for row in rows)
        self.asked.append((names, list(prompts)))
        return [
            replace(
                attempt(self.texts[name].pop(0), temperature), **(self.quality.pop(0) if self.quality else {})
            )
            for name in names
        ]

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
                starts=self.token_starts or tuple(16 * place / len(text) for place in range(len(text) + 1)),
                probabilities=(1.0,) * len(text),
            )
            for text in texts
        ]

    def split_to_words(self, tokens: Sequence[int], language: str) -> tuple[list[str], list[list[int]]]:
        return [chr(token) for token in tokens], [[token] for token in tokens]


def attempt(tokens: list[int], temperature: float = 0.0) -> TemperatureAttempt:
    return TemperatureAttempt(
        tokens=tuple(tokens),
        avg_logprob=-0.1,
        no_speech_prob=0.0,
        compression_ratio=1.0,
        temperature=temperature,
    )


def row(name: int, seconds: int = 12, *, history: tuple[int, ...] = (), **options: Any) -> DecodingRow:
    end = seconds * SECOND
    return DecodingRow(
        window=Window(index=name, start=0, end=end, speech=(SpeechChunk(start=0, end=end),)),
        features=np.stack([np.full(3000, name, np.float32), np.arange(3000, dtype=np.float32)]),
        options=TranscriptionOptions(**options),
        language="en",
        prompt=PromptParts(sot_prev=999),
        history=history,
    )


def decode(script: Script, rows: Sequence[DecodingRow]) -> list[list[tuple[float, float, str]]]:
    windows = Decoder(script).decode(rows)  # type: ignore[arg-type]
    return [[(one.start, one.end, one.text) for one in window.segments] for window in windows]


def test_the_rest_is_encoded_afresh_from_where_the_text_ended() -> None:
    script = Script({0: [written(0, " one", 6), written(0.4, " two", 6)], 1: [written(0, " whole", 6)]})

    texts = decode(script, [row(0), row(1, seconds=6)])

    assert texts == [[(0, 6, " one"), (6.4, 12, " two")], [(0, 6, " whole")]]
    assert script.begins == [[0, 0], [600]]
    assert script.asked == [((0, 1), [[901], [901]]), ((0,), [[901]])]


def test_a_rest_begins_where_speech_goes_on() -> None:
    script = Script({0: [written(0, " one", 6), written(0, " two", 3)]})
    speech = (SpeechChunk(start=0, end=6 * SECOND), SpeechChunk(start=9 * SECOND, end=12 * SECOND))
    quiet = replace(row(0), window=Window(index=0, start=0, end=12 * SECOND, speech=speech))

    assert decode(script, [quiet]) == [[(0, 6, " one"), (9, 12, " two")]]


def test_a_rest_that_fails_at_every_temperature_is_no_text() -> None:
    wild = {"compression_ratio": 9.0, "avg_logprob": -0.6}
    script = Script({0: [written(0, " one", 6), *[written(0, " loop", 6)] * 6]}, quality=[{}, *[wild] * 6])

    assert decode(script, [row(0)]) == [[(0, 6, " one")]]


@pytest.mark.parametrize(
    ("starts", "calls"), [((0.0, 1.0, 2.0, 3.0, 4.0), 1), ((0.0, 1.0, 1.0, 1.0, 1.0), 2)]
)
def test_a_text_that_repeats_itself_is_kept_if_its_words_have_times(
    starts: tuple[float, ...], calls: int
) -> None:
    again = {"compression_ratio": 4.0}
    script = Script({0: [written(0, " one", 12)] * 2}, quality=[again], token_starts=starts)

    decode(script, [row(0)])

    assert len(script.asked) == calls


def test_a_clip_is_encoded_in_the_room_it_needs_and_whole_if_its_text_is_doubtful() -> None:
    clear = Script({0: [written(0, " one", 4)]}, context_padding=3.0)
    unclear = Script(
        {0: [written(0, " won", 4), written(0, " one", 4)]},
        context_padding=3.0,
        quality=[{"avg_logprob": -0.7}],
    )

    assert decode(clear, [row(0, seconds=4)]) == decode(unclear, [row(0, seconds=4)]) == [[(0, 4, " one")]]
    assert clear.encodings == [[750]]
    assert unclear.encodings == [[750], [3000]]


def faint(name: int) -> DecodingRow:
    return replace(row(name, seconds=6), window=replace(row(name, seconds=6).window, is_faint=True))


def test_vad_and_model_agree_that_nobody_speaks_and_nothing_is_written() -> None:
    script = Script(
        {1: [written(0, " Hello.", 6)], 2: [written(0, " Thank you.", 6)]}, silence={0: 0.9, 1: 0.3, 2: 0.9}
    )

    texts = decode(script, [faint(0), faint(1), row(2, seconds=6)])

    assert texts == [[], [(0, 6, " Hello.")], [(0, 6, " Thank you.")]]
    assert [names for names, _ in script.asked] == [(1, 2)]


def test_text_that_vad_was_not_sure_of_is_suspect() -> None:
    script = Script({0: [written(0, " one", 6)]})

    (window,) = Decoder(script).decode([faint(0)])  # type: ignore[arg-type]

    assert window.segments[0].suspect == ("faint",)


@pytest.mark.parametrize(
    ("quality", "encodings"), [(-0.7, [[3000], [1000]]), (-1.2, [[3000], [1000], [3000]])]
)
def test_a_short_rest_is_made_again_only_if_it_fails(quality: float, encodings: list[list[int]]) -> None:
    """A rest is a few words, of which a model is rarely sure."""
    texts = {0: [written(0, " one", 20), written(0, " two", 5), written(0, " two", 5)]}
    script = Script(texts, context_padding=3.0, quality=[{}, {"avg_logprob": quality}])

    assert decode(script, [row(0, seconds=25)])[0][-1] == (20, 25, " two")
    assert script.encodings == encodings


def test_the_language_is_asked_of_more_windows_where_one_is_not_sure() -> None:
    script = Script(
        {0: [written(0, " one", 6)]}, languages={0: {"el": 0.4, "es": 0.3}, 1: {"es": 0.9, "el": 0.05}}
    )
    other = row(1).features

    (window,) = Decoder(script).decode([replace(row(0, seconds=6), language=None, telling=(other,))])  # type: ignore[arg-type]

    assert (window.language, round(window.language_probability, 3)) == ("es", 0.6)
    assert [name for name, _ in window.alternatives] == ["el"]


def test_a_short_file_is_told_by_its_whole_sound() -> None:
    script = Script({0: [written(0, " one", 6)]}, languages={0: {"el": 0.9}, 1: {"es": 0.8}})

    (window,) = Decoder(script).decode([replace(row(0, seconds=6), language=None, uncut=row(1).features)])  # type: ignore[arg-type]

    assert window.language == "es"


def test_of_several_languages_a_window_that_does_not_tell_is_in_the_usual_one() -> None:
    script = Script(
        {0: [written(0, " one", 6)], 1: [written(0, " uno", 6)]},
        languages={0: {"cy": 0.3, "en": 0.2}, 1: {"es": 0.9}},
    )
    rows = [replace(row(name, seconds=6, multilingual=True), language=None, usual="en") for name in (0, 1)]

    windows = Decoder(script).decode(rows)  # type: ignore[arg-type]

    assert [window.segments[0].language for window in windows] == ["en", "es"]


def test_a_rest_that_has_no_length_is_no_text() -> None:
    script = Script({0: [written(0, " one", 6), written(1, " one", 1)]})

    assert decode(script, [row(0)]) == [[(0, 6, " one")]]


@pytest.mark.parametrize("answer", [[], [stamp(6)]])
def test_a_rest_without_text_ends_the_window(answer: list[int]) -> None:
    script = Script({0: [written(0, " one", 6), answer]})

    assert decode(script, [row(0)]) == [[(0, 6, " one")]]


def test_a_window_that_makes_hardly_any_progress_is_given_up() -> None:
    script = Script({0: [written(0, f" {n}", 0.1) for n in range(20)]})

    (segments,) = decode(script, [row(0)])

    assert len(segments) == len(script.asked) == 8


def test_the_rest_of_a_conditioned_window_follows_its_own_text() -> None:
    first = written(0, " one", 6)
    script = Script({0: [list(first), written(0, " two", 6)]})

    (window,) = Decoder(script).decode([row(0, history=(65,), condition_on_previous_text=True)])  # type: ignore[arg-type]

    assert [prompts for _, prompts in script.asked] == [[[999, 65, 901]], [[999, 65, *first, 901]]]
    assert window.history == (65, *first, *written(0, " two", 6))


def test_rests_with_prompts_of_different_lengths_go_one_by_one() -> None:
    """CTranslate2 takes prompts of one length only."""
    texts = {
        name: [written(0, " a" * (name + 1), 4), written(0, " b", 4), written(0, " c", 4)] for name in (0, 1)
    }
    script = Script(texts)

    decode(script, [row(name, condition_on_previous_text=True) for name in (0, 1)])

    assert [names for names, _ in script.asked] == [(0, 1), (0,), (1,), (0,), (1,)]
    assert all(len({len(prompt) for prompt in prompts}) == 1 for _, prompts in script.asked)


def test_a_text_that_depends_on_nothing_before_tells_no_history() -> None:
    script = Script({0: [written(0, " one", 6)]})

    (window,) = Decoder(script).decode([row(0, seconds=6, history=(65,))])  # type: ignore[arg-type]

    assert window.history is None


def test_each_part_is_aligned_in_its_own_encoding() -> None:
    starts = tuple(3.9 * place / 11 for place in range(12))
    script = Script({0: [written(0, " " + letter * 10, 3.9) for letter in "abcd"]}, token_starts=starts)

    texts = decode(script, [row(0, seconds=16, word_timestamps=True)])

    assert script.aligned == [11] * 4
    assert "".join(text for _, _, text in texts[0]) == "".join(" " + letter * 10 for letter in "abcd")
