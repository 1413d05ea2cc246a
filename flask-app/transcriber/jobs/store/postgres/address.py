"""The address of the database, checked before anything connects: a wrong one is a wrong setting, not an outage."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ....domain.errors import ConfigError
from .errors import SETTING


def parse_address(url: str) -> URL:
    """The address for SQLAlchemy with psycopg. Raises ConfigError, never with the password in it."""
    try:
        # libpq judges its options; of the rest it would quote the password.
        conninfo_to_dict(f"postgresql:///?{urlsplit(url).query}")
    except psycopg.ProgrammingError as error:
        raise _refused(str(error).strip()) from None
    try:
        address = make_url(url).set(drivername="postgresql+psycopg")
        address.get_dialect()().create_connect_args(address)
        for host in (address.host or "").split(","):
            host.encode("idna")
    except (ArgumentError, ValueError):
        raise _refused("its host or port is none") from None
    if "\0" in f"{address.username}{address.password}{address.host}{address.database}":
        raise _refused("%00 is in it")
    return address


def _refused(cause: str) -> ConfigError:
    return ConfigError(
        f"{SETTING} is not an address that PostgreSQL's client takes: {cause}.",
        param=SETTING,
        fix=f"Set {SETTING} to postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with options of libpq after a '?' "
        "(docs/postgresql.md).",
    )
