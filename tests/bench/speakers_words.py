"""Words next to a change of speakers: whether the service gives them to who says them.

What is said is known by its text: the words of the answer are matched with it in order, so that times play no part. Counted are the last three words of
a turn before another voice has the word, and the first three of the one after it, as far as the service wrote them.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from server import Server
from speakers_mixes import Mix, mix

#: Voices whose English text is known.
VOICES = ("en", "librivox", "jfk-whole")
RECORDINGS, SECONDS, FIRST_SEED = 12, 60.0, 3000
NEAR = 3

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class ChangeScore:
    """Words at changes of one recording, and those that the right speaker has."""

    words: int
    right: int


@dataclass(frozen=True)
class SaidWord:
    """A word of the reference. is_near: next to a change."""

    text: str
    voice: str
    is_near: bool


def words_at_changes(model: str) -> list[ChangeScore]:
    """Of a dozen recordings of two and three voices, through a service of its own."""
    with tempfile.TemporaryDirectory() as folder:
        env = {
            "WHISPER_MODEL": model,
            "WHISPER_MODEL_PATH": str(_ROOT / "data/models"),
            "WHISPER_GPU_POLICY": "off",
        }
        with Server(Path(folder) / "data", env=env) as server:
            server.wait_for("/health/ready", timeout=300)
            return [ask(server, talk) for talk in talks()]


def talks(count: int = RECORDINGS) -> Iterator[Mix]:
    for number in range(count):
        yield mix(2 + number % 2, FIRST_SEED + number, seconds=SECONDS, among=VOICES)


def ask(server: Server, talk: Mix) -> ChangeScore:
    answer = server.transcribe(talk.wav, language="en", diarize="true", timeout=900)
    if answer.status != 200:
        raise RuntimeError(f"{talk.name}: {answer.status} {answer.text[:500]}")
    heard = [word for segment in answer.json["segments"] for word in segment["words"]]
    return score(said(talk), [(word["word"], word["speaker"]) for word in heard])


def said(talk: Mix) -> list[SaidWord]:
    """What is said, in order."""
    found: list[SaidWord] = []
    for place, turn in enumerate(talk.turns):
        words = _words(turn.text)
        before = place > 0 and talk.turns[place - 1].voice != turn.voice
        after = place + 1 < len(talk.turns) and talk.turns[place + 1].voice != turn.voice
        for number, word in enumerate(words):
            is_near = (before and number < NEAR) or (after and number >= len(words) - NEAR)
            found.append(SaidWord(word, turn.voice, is_near))
    return found


def score(reference: Sequence[SaidWord], heard: Sequence[tuple[str, Any]]) -> ChangeScore:
    """The heard words that are next to a change; each speaker is the voice that most of its words are of."""
    spelled = [(part, speaker) for text, speaker in heard for part in _words(text)]
    matcher = SequenceMatcher(
        None, [one.text for one in reference], [one[0] for one in spelled], autojunk=False
    )
    pairs = [
        (reference[block.a + place], spelled[block.b + place][1])
        for block in matcher.get_matching_blocks()
        for place in range(block.size)
    ]
    voices = {
        speaker: Counter(word.voice for word, who in pairs if who == speaker).most_common(1)[0][0]
        for speaker in {who for _, who in pairs}
    }
    near = [(word, speaker) for word, speaker in pairs if word.is_near]
    return ChangeScore(words=len(near), right=sum(voices[speaker] == word.voice for word, speaker in near))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())
