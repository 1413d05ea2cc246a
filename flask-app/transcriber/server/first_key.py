"""The key of the environment has to be too long to be guessed; an old short one goes on, with a warning.

A key is old when this installation has served with it before. It is recognised by a digest in the data folder; an
installation of an earlier version has none, and its key is old, too.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import structlog

from ..domain.errors import CapacityError, ConfigError
from ..system.durable_files import read_small, write_small

logger = structlog.get_logger(__name__)

#: Characters of a new key, at least: what `openssl rand -hex 8` makes.
LEAST_CHARACTERS = 16

#: In the data folder: the digest of the key that it served with last.
RECORD = "first-key.sha256"

_FIX = "Set WHISPER_API_KEY to the output of 'openssl rand -hex 24'."


def check_first_key(key: str, data_dir: Path) -> None:
    """Raises ConfigError for a new key that is too short. Reads only."""
    if not key or len(key) >= LEAST_CHARACTERS:
        return
    message = f"WHISPER_API_KEY has {len(key)} characters; a new key needs at least {LEAST_CHARACTERS}."
    if not _is_old(key, data_dir):
        raise ConfigError(message, code="api_key_too_short", param="WHISPER_API_KEY", fix=_FIX)
    logger.warning("api_key_short", error=f"WHISPER_API_KEY has {len(key)} characters.", fix=_FIX)


def note_first_key(key: str, data_dir: Path) -> None:
    """The installation serves with this key from now on. Blocks on the disk."""
    if not key or read_small(data_dir / RECORD) == _digest(key, data_dir):
        return
    try:
        write_small(data_dir / RECORD, _digest(key, data_dir))
    except CapacityError as error:
        logger.warning("first_key_not_noted", code=error.code, error=error.message)


def _is_old(key: str, data_dir: Path) -> bool:
    if not (data_dir / "jobs.sqlite3").exists():
        return False
    noted = read_small(data_dir / RECORD)
    return not noted or hmac.compare_digest(noted, _digest(key, data_dir))


def _digest(key: str, data_dir: Path) -> bytes:
    """With the installation's secret, so that equal keys look different elsewhere."""
    secret = read_small(data_dir / "session.key")
    return hmac.new(secret, f"first key\0{key}".encode(), hashlib.sha256).hexdigest().encode()
