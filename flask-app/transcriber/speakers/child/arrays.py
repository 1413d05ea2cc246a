"""The arrays that this package passes around, by name."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Labels = NDArray[np.int64]
Samples = NDArray[np.float32]
"""Mono sound at SAMPLE_RATE, from -1 to 1."""

SAMPLE_RATE = 16_000
