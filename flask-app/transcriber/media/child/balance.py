"""Whether the two channels of a recording cancel each other out when they are mixed."""

from __future__ import annotations

import math
from typing import Any

from av.audio.frame import AudioFrame

#: Sample formats: how memoryview names them, and what full scale is; planar ones end in p.
_CODES = {
    "u8": ("B", 128.0),
    "s16": ("h", 2.0**15),
    "s32": ("i", 2.0**31),
    "flt": ("f", 1.0),
    "dbl": ("d", 1.0),
}

#: The samples of a frame that are looked at; of this many frames, one.
_LOOKED_AT = 32
_FRAME_STRIDE = 4

#: Frames looked at that are judged together.
_BLOCK_FRAMES = 12

#: A mix this much weaker than the louder channel (energy) is cancelled; as much of a recording, and the mix is not used.
_CANCELLED = 0.05
_CANCELLED_SHARE = 0.2

#: The ratio of speech's peaks to its root mean square, about.
_CREST = 6.0


class Balance:
    """Compares the energy of the mix with that of its channels, block by block. Frames in order."""

    def __init__(self) -> None:
        self._frames = 0
        self._block = [0.0, 0.0, 0.0]
        self._whole = [0.0, 0.0]
        self._louder = 0.0
        self._cancelled = 0.0

    def add(self, frame: AudioFrame) -> None:
        """Look at a frame, if its turn has come and it is stereo."""
        self._frames += 1
        if self._frames % _FRAME_STRIDE or frame.layout.nb_channels != 2:
            return
        left, right = _samples(frame)
        energies = (
            sum(sample * sample for sample in left),
            sum(sample * sample for sample in right),
            sum((one + other) ** 2 for one, other in zip(left, right, strict=True)) / 4,
        )
        self._block = [before + more for before, more in zip(self._block, energies, strict=True)]
        if self._frames % (_FRAME_STRIDE * _BLOCK_FRAMES) == 0:
            self._judge()

    @property
    def is_cancelled(self) -> bool:
        """Whether much of what the channels hold is lost in the mix."""
        self._judge()
        return self._cancelled > _CANCELLED_SHARE * self._louder

    @property
    def louder_channel(self) -> str:
        return "left" if self._whole[0] >= self._whole[1] else "right"

    @property
    def louder_level(self) -> float:
        """Root mean square of the louder channel, 0 to 1, raised to what its peaks may be."""
        looked_at = self._frames // _FRAME_STRIDE * _LOOKED_AT
        return min(1.0, _CREST * math.sqrt(max(self._whole) / looked_at)) if looked_at else 0.0

    def _judge(self) -> None:
        left, right, mix = self._block
        louder = max(left, right)
        self._louder += louder
        if mix < _CANCELLED * louder:
            self._cancelled += louder
        self._whole = [self._whole[0] + left, self._whole[1] + right]
        self._block = [0.0, 0.0, 0.0]


def _samples(frame: AudioFrame) -> tuple[list[float], list[float]]:
    """A few samples of both channels; none of a format that is not known."""
    name = frame.format.name
    if name.removesuffix("p") not in _CODES:
        return [], []
    code, scale = _CODES[name.removesuffix("p")]
    stride = max(1, frame.samples // _LOOKED_AT)
    views: list[Any] = [memoryview(plane).cast("B") for plane in frame.planes]
    if name.endswith("p"):
        planes = [view.cast(code)[: frame.samples : stride] for view in views]
    else:
        whole = views[0].cast(code)[: 2 * frame.samples]
        planes = [whole[channel :: 2 * stride] for channel in (0, 1)]
    middle = scale if code == "B" else 0.0
    left, right = ([(sample - middle) / scale for sample in plane] for plane in planes)
    count = min(len(left), len(right))
    return left[:count], right[:count]
