"""Real speech with reference texts: the clips of pytest-audioeval, the inaugural address of 1961, and a novel read aloud."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

_SAMPLES = Path(
    next(iter(importlib.util.find_spec("pytest_audioeval").submodule_search_locations))  # type: ignore[union-attr,arg-type]
)
_CLIPS = _SAMPLES / "samples" / "audio"


@dataclass(frozen=True)
class Clip:
    """One recording and what is said in it."""

    language: str
    path: Path
    text: str

    @property
    def name(self) -> str:
        return f"{self.language}-{self.path.stem}"


JFK = Clip(
    "en",
    Path(__file__).parents[1] / "data" / "jfk.flac",
    "And so, my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country.",
)
CLIPS = tuple(
    Clip(path.parent.name, path, path.with_suffix(".txt").read_text(encoding="utf-8").strip())
    for path in sorted(_CLIPS.glob("*/*.wav"))
)
ENGLISH_CLIPS = (JFK, *(clip for clip in CLIPS if clip.language == "en"))
OTHER_CLIPS = tuple(clip for clip in CLIPS if clip.language != "en")
#: Longer sentences than those, of one reader.
READ_CLIPS = tuple(
    Clip("en", path, path.with_suffix(".txt").read_text(encoding="utf-8").strip())
    for path in sorted((Path(__file__).parents[1] / "data" / "librivox").glob("*.flac"))
)
