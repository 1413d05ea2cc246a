"""Where the project lies."""

from __future__ import annotations

from pathlib import Path

#: The folder that `transcriber` is imported from: PYTHONPATH of our children.
PACKAGE_PARENT = Path(__file__).resolve().parents[2]

#: The checkout or release: templates/, static/, flask-app/, data/.
PROJECT = PACKAGE_PARENT.parent
