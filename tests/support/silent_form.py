"""One second of silence as a form, for tests that need many small files."""

from __future__ import annotations

import io
import wave

from server import multipart


def silence() -> tuple[bytes, str]:
    """The body and its content type."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(32_000))
    return multipart(buffer.getvalue(), "silence.wav", {})
