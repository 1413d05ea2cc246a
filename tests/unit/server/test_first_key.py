"""A new key has a least length; an old short one goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from transcriber.domain.errors import ConfigError
from transcriber.server.first_key import LEAST_CHARACTERS, check_first_key, note_first_key

SHORT, LONG = "correct horse", "k" * LEAST_CHARACTERS


def serve(data: Path, key: str) -> None:
    """As a start does that goes well."""
    check_first_key(key, data)
    data.mkdir(exist_ok=True)
    (data / "jobs.sqlite3").touch()
    (data / "session.key").write_bytes(b"s" * 32)
    note_first_key(key, data)


def test_new_short_key_is_refused_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="13 characters; a new key needs at least 16") as caught:
        check_first_key(SHORT, tmp_path / "data")

    assert (caught.value.code, caught.value.param) == ("api_key_too_short", "WHISPER_API_KEY")
    assert "openssl rand" in caught.value.fix


@pytest.mark.parametrize("key", ["", LONG])
def test_no_key_and_a_long_one_are_taken(tmp_path: Path, key: str) -> None:
    serve(tmp_path / "data", key)
    serve(tmp_path / "data", key)


def test_short_key_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite3").touch()

    serve(tmp_path, SHORT)
    serve(tmp_path, SHORT)

    with pytest.raises(ConfigError):
        check_first_key("another", tmp_path)


def test_long_key_is_not_changed_for_a_short_one(tmp_path: Path) -> None:
    serve(tmp_path, LONG)

    with pytest.raises(ConfigError):
        check_first_key(SHORT, tmp_path)


def test_key_is_not_in_what_is_noted(tmp_path: Path) -> None:
    serve(tmp_path, LONG)

    [noted] = [path for path in tmp_path.iterdir() if path.name.startswith("first-key")]
    assert LONG.encode() not in noted.read_bytes()
    assert noted.stat().st_mode & 0o777 == 0o600
