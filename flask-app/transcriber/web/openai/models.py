"""OpenAI's list of models: those that are here, and the names that stand for one of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...domain.errors import ModelNotFoundError
from ...models.finder import LocalModel

Json = dict[str, Any]

#: Names of OpenAI's speech models: each stands for the default model here.
OPENAI_NAMES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
)

#: The creation time of a model whose files have none.
_UNKNOWN_MOMENT = 0


class ModelNames:
    """The names by which clients may ask for a model."""

    def __init__(self, default: str, aliases: Iterable[tuple[str, str]]) -> None:
        """`aliases` beats OpenAI's own names, which all mean the default."""
        self._default = default
        self._aliases = dict.fromkeys(OPENAI_NAMES, default) | dict(aliases)

    def resolve(self, name: str | None) -> str:
        """The model that a name stands for; a name that is none of the aliases is the model's own."""
        return self._default if name is None else self._aliases.get(name, name)

    def all(self, present: tuple[LocalModel, ...]) -> list[Json]:
        """Every model that is here, then the names that stand for one of them."""
        by_name = {model.name: model for model in present}
        listed = [model_to_dict(model.name, model) for model in present]
        return listed + [
            model_to_dict(alias, by_name[target])
            for alias, target in self._aliases.items()
            if target in by_name and alias not in by_name
        ]

    def one(self, name: str, present: tuple[LocalModel, ...]) -> Json:
        """The model of this name. Raises ModelNotFoundError."""
        for model in self.all(present):
            if model["id"] == name:
                return model
        known = ", ".join(model.name for model in present)
        raise ModelNotFoundError(f"There is no model {name[:80]!r} here.", fix=f"Models here: {known}.")


def model_to_dict(name: str, model: LocalModel) -> Json:
    """A model as OpenAI's clients read it. `root`: what the name stands for."""
    return {
        "id": name,
        "object": "model",
        "created": _created(model),
        "owned_by": (model.repository or "transcriber").partition("/")[0],
        "root": model.name,
    }


def _created(model: LocalModel) -> int:
    try:
        return int((model.path / "model.bin").stat().st_mtime)
    except OSError:
        return _UNKNOWN_MOMENT
