"""The adapter of faster-whisper and CTranslate2, and with encoded.py and log_mel.py the only file that names them.

Every option is passed explicitly: the library's own defaults differ between its two paths.
"""

from __future__ import annotations

import copy
import json
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import ctranslate2
import numpy as np
import tokenizers
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens
from faster_whisper.vad import get_vad_model

from ..arrays import Features, Samples
from ..decoding.prompts import MAX_LENGTH
from ..decoding.temperature_fallback import TemperatureAttempt, compression_ratio
from ..decoding.word_timing import TokenTimes, token_times
from ..faults import Fault, FaultError, not_finite
from ..memory import give_back
from ..vad import VadSession
from .encoded import Encoded
from .log_mel import choose_log_mel
from .permits import Permits
from .weights import QuantizedWeights

#: The length of a frame of log-mel in samples.
FRAME_SAMPLES = 160

#: The encoder halves the frames, so one step of an alignment, or of timestamps, is 20 ms.
_STEP_SECONDS = 0.02

#: Candidates when sampling, and the options of beam search.
_BEST_OF = 5

#: On a CPU they come in turns: all at once would take the encoder's output, and all made from it, once for each.
_CPU_CANDIDATES = (2, 2, 1)

#: On a CPU, the least number of workers that encode or sample at once: one fewer than there are, as the last one
#: is kept for clips and would only share the cores with them.
_LEAST_HEAVY = 2

#: Weights of which a second copy may be sampled from beside the first, so that no lane waits for another's turn.
_MOST_TWICE_FRESH_BYTES = 200_000_000

#: The least weights for which a window may be encoded in fewer frames: those of tiny have 76 MB, those of base 145 MB.
_LEAST_SHORT_CONTEXT_BYTES = 100_000_000

#: Seconds of silence that such a window ends with.
_CONTEXT_PADDING = 3.0
_PATIENCE = 1.0
_LENGTH_PENALTY = 1.0
_REPETITION_PENALTY = 1.0
_NO_REPEAT_NGRAM_SIZE = 0

#: The latest timestamp that a text may begin with (1 s), as in Whisper.
_FIRST_TIMESTAMP = 50

_MEDIAN_FILTER_WIDTH = 7

_FLOOR_LOGPROB = -100.0

#: Fixed, so that a fresh model samples alike. CTranslate2 reads it once for each of its threads.
_SEED = 20221121

_NEEDED_FILES = ("model.bin", "config.json", "tokenizer.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """Which weights to load, and where."""

    path: Path
    device: str
    device_index: int
    compute_type: str
    cpu_threads: int
    num_workers: int


def load_vad_session() -> VadSession:
    """Silero's VAD as faster-whisper ships it: ONNX on one CPU thread."""
    session: VadSession = get_vad_model().session
    return session


def supported_compute_types(device: str, device_index: int) -> tuple[str, ...]:
    """What CTranslate2 offers on this device."""
    return tuple(sorted(ctranslate2.get_supported_compute_types(device, device_index)))


class WhisperModel:
    """One loaded model on one device, with its tokenizer and its log-mel."""

    def __init__(self, spec: ModelSpec) -> None:
        """Load it. Raises FaultError(model_damaged), or what CTranslate2 raises."""
        _check_files(spec.path)
        ctranslate2.set_random_seed(_SEED)
        self._spec = spec
        self._weights_bytes = (spec.path / "model.bin").stat().st_size
        self._model = _load(spec)
        self._vocabulary = tokenizers.Tokenizer.from_file(str(spec.path / "tokenizer.json"))
        self._log_mel = choose_log_mel(int(self._model.n_mels))
        self._loading = threading.Lock()
        self._fresh = Permits(2 if self._weights_bytes <= _MOST_TWICE_FRESH_BYTES else 1)
        self._quantized = QuantizedWeights(spec.path)
        self._heavy = Permits(max(_LEAST_HEAVY, spec.num_workers - 1))
        self.compute_type: str = self._model.compute_type
        self.is_multilingual: bool = self._model.is_multilingual
        self._tokenizer = lru_cache(maxsize=256)(self._build_tokenizer)
        self._suppressed = list(get_suppressed_tokens(self._tokenizer("en", "transcribe"), [-1]))

    @property
    def can_sample_afresh(self) -> bool:
        """Whether `afresh` is worth its price: on a CPU, where a second copy of the weights is soon there."""
        return self._is_on_cpu

    @property
    def context_padding(self) -> float | None:
        """Seconds of silence after the speech of a window that is encoded in fewer frames; None: always encode 30 s.

        On a CPU each window is encoded alone, and that is most of the work of a clip. A GPU takes windows of one length only
        in a pass, and is done with 30 s as soon. The smallest models write a few more wrong words then.
        """
        is_large_enough = self._weights_bytes >= _LEAST_SHORT_CONTEXT_BYTES
        return _CONTEXT_PADDING if self._is_on_cpu and is_large_enough else None

    @property
    def alone_is_alike(self) -> bool:
        """Whether a window gives the same numbers in any batch. Measured: int8 on the CPU does, float32 does not."""
        return self._is_on_cpu and self.compute_type.startswith("int8")

    @contextmanager
    def afresh(self) -> Iterator[WhisperModel]:
        """The same weights on a new thread, whose random numbers start from the seed; of large models one copy at a time."""
        with self._fresh.one():
            other = copy.copy(self)
            with self._loading:
                other._model = self._load_again()
                give_back()
            try:
                yield other
            finally:
                del other._model
                give_back()

    def _load_again(self) -> ctranslate2.models.Whisper:
        """A second copy, without the room that loading takes where the weights are turned into int8."""
        spec = replace(self._spec, num_workers=1)
        if not self.alone_is_alike:
            return _load(spec)
        with self._quantized.as_folder() as folder:
            return _load(replace(spec, path=folder))

    @property
    def _is_on_cpu(self) -> bool:
        return self._spec.device == "cpu"

    @property
    def n_mels(self) -> int:
        return int(self._model.n_mels)

    @property
    def timestamp_begin(self) -> int:
        return int(self._tokenizer("en", "transcribe").timestamp_begin)

    @property
    def sot_prev(self) -> int:
        return int(self._tokenizer("en", "transcribe").sot_prev)

    def timestamp(self, seconds: float) -> int:
        """The token for this time after the window's start."""
        return self.timestamp_begin + round(seconds / _STEP_SECONDS)

    @property
    def eot(self) -> int:
        return int(self._tokenizer("en", "transcribe").eot)

    @property
    def sot_length(self) -> int:
        """Tokens from start-of-transcript to the task, the same for every language."""
        return len(self._tokenizer("en", "transcribe").sot_sequence)

    def knows_language(self, language: str) -> bool:
        """Whether the model has a token for it."""
        if not self.is_multilingual:
            return language == "en"
        return self._vocabulary.token_to_id(f"<|{language}|>") is not None

    def log_mel(self, samples: Samples) -> Features:
        """The features of one window, padded to 30 s as BatchedInferencePipeline does."""
        return self._log_mel(samples)

    def encode(self, features: Sequence[Features]) -> Encoded:
        """The encoder's output for these windows.

        A GPU takes them in one pass. On a CPU one pass over eight windows is no faster than eight passes, and
        takes eight times the room: 900 MB of attention with base. The numbers are the same.
        """
        if self._is_on_cpu:
            return Encoded.joined([self._encode_alone(one) for one in features])
        return Encoded(self._encode(features))

    def _encode_alone(self, features: Features) -> ctranslate2.StorageView:
        with self._heavy.one():
            return self._encode([features])

    def _encode(self, features: Sequence[Features]) -> ctranslate2.StorageView:
        stacked = np.ascontiguousarray(np.stack(features))
        return self._model.encode(ctranslate2.StorageView.from_array(stacked), to_cpu=False)

    def detect_languages(self, encoded: Encoded, rows: Sequence[int]) -> list[tuple[str, float]]:
        """The likeliest language of each row, with its probability."""
        return [next(iter(row.items())) for row in self.language_probabilities(encoded, rows)]

    def language_probabilities(self, encoded: Encoded, rows: Sequence[int]) -> list[dict[str, float]]:
        """The probability of each language for each row, the likeliest first."""
        found = self._model.detect_language(encoded.select(rows))
        rated = [{token[2:-2]: float(share) for token, share in row} for row in found]
        if not all(math.isfinite(share) for row in rated for share in row.values()):
            raise FaultError(not_finite("language detection"))
        return rated

    def prompt(self, language: str, task: str, previous: Sequence[int]) -> list[int]:
        """The tokens a window starts from, with timestamps on."""
        return [*previous, *self._tokenizer(language, task).sot_sequence]

    def generate(
        self,
        encoded: Encoded,
        rows: Sequence[int],
        prompts: Sequence[Sequence[int]],
        temperature: float,
        beam_size: int,
        max_length: int = MAX_LENGTH,
    ) -> list[TemperatureAttempt]:
        """Decode these rows: beam search at temperature 0, else the best of several samples."""
        view = encoded.select(rows)
        if temperature == 0:
            found = self._generate(view, prompts, max_length, beam_size=beam_size, sampling_topk=1)
        elif self._is_on_cpu:
            # The permit goes round after each temperature: a clip is not to wait for all of them.
            with self._heavy.one():
                turns = [
                    self._sample(view, prompts, max_length, temperature, count) for count in _CPU_CANDIDATES
                ]
            found = [max(each, key=lambda result: result.scores[0]) for each in zip(*turns, strict=True)]
        else:
            found = self._sample(view, prompts, max_length, temperature, _BEST_OF)
        return [self._attempt(result, temperature) for result in found]

    def no_speech_probabilities(
        self, encoded: Encoded, rows: Sequence[int], prompts: Sequence[Sequence[int]]
    ) -> list[float]:
        """What the model's first step makes of each row: the probability that nobody speaks."""
        shortest = max(map(len, prompts)) + 1
        found = self._generate(encoded.select(rows), prompts, shortest, beam_size=1, sampling_topk=1)
        return [float(result.no_speech_prob) for result in found]

    def _sample(
        self,
        view: ctranslate2.StorageView,
        prompts: Sequence[Sequence[int]],
        max_length: int,
        temperature: float,
        candidates: int,
    ) -> list[ctranslate2.models.WhisperGenerationResult]:
        """Sample `candidates` texts for each window; the likeliest comes first in each result."""
        return self._generate(
            view,
            prompts,
            max_length,
            beam_size=1,
            num_hypotheses=candidates,
            sampling_topk=0,
            sampling_temperature=temperature,
        )

    def _generate(
        self,
        view: ctranslate2.StorageView,
        prompts: Sequence[Sequence[int]],
        max_length: int,
        *,
        beam_size: int,
        sampling_topk: int,
        num_hypotheses: int = 1,
        sampling_temperature: float = 1.0,
    ) -> list[ctranslate2.models.WhisperGenerationResult]:
        results: list[ctranslate2.models.WhisperGenerationResult] = self._model.generate(
            view,
            [list(prompt) for prompt in prompts],
            asynchronous=False,
            patience=_PATIENCE,
            length_penalty=_LENGTH_PENALTY,
            repetition_penalty=_REPETITION_PENALTY,
            no_repeat_ngram_size=_NO_REPEAT_NGRAM_SIZE,
            max_length=max_length,
            return_scores=True,
            return_logits_vocab=False,
            return_no_speech_prob=True,
            max_initial_timestamp_index=_FIRST_TIMESTAMP,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
            beam_size=beam_size,
            num_hypotheses=num_hypotheses,
            sampling_topk=sampling_topk,
            sampling_temperature=sampling_temperature,
        )
        return results

    def align(
        self,
        encoded: Encoded,
        rows: Sequence[int],
        language: str,
        task: str,
        texts: Sequence[Sequence[int]],
        frames: Sequence[int],
    ) -> list[TokenTimes]:
        """When each token of each row's text begins. The rows share language and task; no text is empty."""
        results = self._model.align(
            encoded.select(rows),
            self._tokenizer(language, task).sot_sequence,
            [list(text) for text in texts],
            list(frames),
            median_filter_width=_MEDIAN_FILTER_WIDTH,
        )
        return [
            TokenTimes(
                starts=token_times(result.alignments, len(text), _STEP_SECONDS),
                probabilities=tuple(float(probability) for probability in result.text_token_probs),
            )
            for result, text in zip(results, texts, strict=True)
        ]

    def encode_text(self, text: str) -> list[int]:
        """Tokens of a prompt's text, with the leading space Whisper's words have."""
        return list(self._vocabulary.encode(f" {text.strip()}", add_special_tokens=False).ids)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token; a character may need those of several."""
        return bytes(_BYTES[character] for character in self._vocabulary.id_to_token(token) or "")

    def decode_text(self, tokens: Sequence[int]) -> str:
        """Text of tokens, without timestamps and special tokens."""
        return str(self._vocabulary.decode([token for token in tokens if token < self.eot]))

    def split_to_words(self, tokens: Sequence[int], language: str) -> tuple[list[str], list[list[int]]]:
        """Words of a text and the tokens of each; languages without spaces split at characters."""
        words, word_tokens = self._tokenizer(language, "transcribe").split_to_word_tokens(list(tokens))
        return words, word_tokens

    def _build_tokenizer(self, language: str, task: str) -> Tokenizer:
        return Tokenizer(self._vocabulary, self.is_multilingual, task=task, language=language)

    def _attempt(
        self, result: ctranslate2.models.WhisperGenerationResult, temperature: float
    ) -> TemperatureAttempt:
        tokens = tuple(result.sequences_ids[0])
        # The score is the sum of log probabilities over length ** penalty; +1 counts the end token.
        sum_logprob = result.scores[0] * len(tokens) ** _LENGTH_PENALTY
        avg_logprob = sum_logprob / (len(tokens) + 1)
        if math.isnan(avg_logprob) or not math.isfinite(result.no_speech_prob):
            raise FaultError(not_finite("decoding"))
        return TemperatureAttempt(
            tokens=tokens,
            avg_logprob=max(_FLOOR_LOGPROB, avg_logprob),
            no_speech_prob=float(result.no_speech_prob),
            compression_ratio=compression_ratio(self.decode_text(tokens).strip()),
            temperature=temperature,
        )


def _byte_alphabet() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte: printable ones as they are, the others from 256 up."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


_BYTES = _byte_alphabet()


def _load(spec: ModelSpec) -> ctranslate2.models.Whisper:
    return ctranslate2.models.Whisper(
        str(spec.path),
        device=spec.device,
        device_index=spec.device_index,
        compute_type=spec.compute_type,
        inter_threads=spec.num_workers,
        intra_threads=spec.cpu_threads,
        max_queued_batches=0,
        flash_attention=False,
        tensor_parallel=False,
    )


def _check_files(path: Path) -> None:
    """Refuse a folder that lacks a file; without tokenizer.json the library would go to the network."""
    missing = [name for name in _NEEDED_FILES if not (path / name).is_file()]
    if missing:
        raise FaultError(
            Fault(
                code="model_damaged",
                message=f"{path} lacks {', '.join(missing)}.",
                fix="Put the model in place again (python -m transcriber models).",
            )
        )
    try:
        json.loads((path / "config.json").read_bytes())
    except ValueError as error:
        raise FaultError(
            Fault(
                code="model_damaged",
                message=f"{path / 'config.json'} is not JSON: {error}",
                fix="Put the model in place again (python -m transcriber models).",
            )
        ) from None
