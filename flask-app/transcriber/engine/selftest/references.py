"""Where the self-test's reference for a model is: it came with the program, or a CPU made it on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...models.finder import LocalModel
from .baseline import Write

#: References that come with the program: NAME.json for weights whose hash is pinned.
SHIPPED = Path(__file__).with_name("data")


class ReferenceStore:
    """References by model. The files' content is the engine child's business."""

    def __init__(self, folder: Path, write: Write, shipped: Path = SHIPPED) -> None:
        self._folder = folder
        self._write = write
        self._shipped = shipped

    def find(self, model: LocalModel) -> Path | None:
        """The file for these very weights."""
        shipped = self._shipped / f"{model.name}.json"
        if model.verified and shipped.is_file():
            return shipped
        own = self._own(model)
        return own if own is not None and own.is_file() else None

    def keep(self, model: LocalModel, reference: Mapping[str, Any]) -> None:
        """Store what a CPU made of the clip with these weights. Raises what `write` raises."""
        path = self._own(model)
        if path is not None:
            self._write(path, json.dumps(dict(reference)).encode())

    def _own(self, model: LocalModel) -> Path | None:
        """Named after the weights' place, size and time, so that other weights have none."""
        weights = model.path / "model.bin"
        try:
            found = weights.stat()
        except OSError:
            return None
        key = f"{weights.resolve()} {found.st_size} {found.st_mtime_ns}"
        return self._folder / f"reference-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
