"""Brings a database to the schema of this version, in the caller's transaction: all of it or nothing."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from ...domain.errors import ConfigError

MIGRATIONS = Path(__file__).with_name("migrations")


def migrate(connection: Connection, migrations: Path = MIGRATIONS, setting: str = "WHISPER_DATA_DIR") -> None:
    """Run the migrations that this database has not seen. Raises ConfigError, of `setting`, for one of a
    newer version.

    Whatever else goes wrong comes out as it is; the caller's rollback then leaves nothing behind.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(
            f"The job store was written by another version of this program: {error}",
            code="store_version_unknown",
            param=setting,
            fix="Start the version that wrote it, or restore the backup made before the upgrade.",
        ) from error
