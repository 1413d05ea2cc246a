"""What an engine child is told on its command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """What one child is to load, and where: the JSON of its command line."""

    model: str
    model_path: Path
    device: str
    device_index: int
    device_name: str | None
    device_uuid: str | None
    compute_type: str
    cpu_threads: int
    cpu_lanes: int
    batch_size: int
    #: Of the self-test: libraries to load by these paths, what a CPU made of the clip, and whether its words are known.
    libraries: tuple[str, ...] = ()
    reference_path: Path | None = None
    knows_clip: bool = True

    def to_json(self) -> str:
        """The form the child reads."""
        return json.dumps(asdict(self), default=str)
