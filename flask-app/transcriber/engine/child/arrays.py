"""The two kinds of numbers that travel inside the engine child."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Audio, -1 to 1, 16 kHz.
Samples = npt.NDArray[np.float32]

#: Log-mel of one window: mel bands by frames.
Features = npt.NDArray[np.float32]
