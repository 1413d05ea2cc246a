"""Kaldi's log-mel filter bank in NumPy: 80 bins, 25 ms windows each 10 ms, no dither. The numbers are Kaldi's own.

kaldi-native-fbank agrees to 1.2e-3 at worst and 7e-6 on average (docs/speakers.md), so that a package of ours for
this one function is not needed.
"""

import numpy as np

from .arrays import SAMPLE_RATE, Floats, Samples

WINDOW = 400
HOP = 160
BINS = 80
_FFT = 512
_LOWEST_HZ = 20.0
_PREEMPHASIS = np.float32(0.97)
_FLOOR = np.float32(np.finfo(np.float32).eps)


def _mel(hertz: Floats) -> Floats:
    return np.asarray(1127.0 * np.log(1.0 + hertz / 700.0))


def _filters() -> Floats:
    """Triangles on the mel scale: a row a frequency of the transform, a column a bin."""
    mels = _mel(np.arange(_FFT // 2) * SAMPLE_RATE / _FFT)
    low, high = _mel(np.array([_LOWEST_HZ, SAMPLE_RATE / 2]))
    edges = np.linspace(low, high, BINS + 2)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    slopes = np.minimum((mels - left) / (centre - left), (right - mels) / (right - centre))
    return np.pad(np.maximum(0.0, slopes), ((0, 0), (0, 1))).T.astype(np.float32)


_FILTERS = _filters()
_POVEY = (np.hanning(WINDOW) ** 0.85).astype(np.float32)


def fbank(samples: Samples) -> Floats:
    """One row of BINS for each HOP whose window lies in the samples."""
    count = 1 + (len(samples) - WINDOW) // HOP
    if count < 1:
        return np.empty((0, BINS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:count]
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = np.empty_like(frames)
    emphasised[:, 1:] = frames[:, 1:] - _PREEMPHASIS * frames[:, :-1]
    emphasised[:, 0] = frames[:, 0] * (1 - _PREEMPHASIS)
    spectrum = np.fft.rfft(emphasised * _POVEY, _FFT)
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(np.maximum(power @ _FILTERS, _FLOOR)).astype(np.float32)
