"""python -m transcriber keys add | list | revoke: works on the data folder, also beside a running service."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from ..domain.errors import InvalidParameterError
from ..domain.keys import ApiKey, Role
from ..server import bootstrap


def add_parser(commands: Any) -> None:
    """The command and its three actions."""
    keys = commands.add_parser("keys", help="make, list and revoke the keys of a team")
    actions = keys.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="make a key; its last line of output is the key alone")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=[role.value for role in Role], default=Role.USER.value)
    add.add_argument("--expires", metavar="DAYS", type=int, help="days until it opens nothing any more")
    add.add_argument(
        "--max-jobs", metavar="N", type=int, default=0, help="its jobs at work at once; 0: no limit"
    )
    add.set_defaults(command=_add)
    listing = actions.add_parser("list", help="list the keys, never the keys themselves")
    listing.set_defaults(command=_list)
    revoke = actions.add_parser("revoke", help="end a key; a running service knows it within a second")
    revoke.add_argument("name", metavar="NAME")
    revoke.set_defaults(command=_revoke)


def _add(parsed: argparse.Namespace) -> int:
    if parsed.expires is not None and not 1 <= parsed.expires <= 36_500:
        raise InvalidParameterError("--expires", parsed.expires, "a whole number from 1 to 36500")
    if parsed.max_jobs < 0:
        raise InvalidParameterError("--max-jobs", parsed.max_jobs, "a whole number from 0")
    expires_at = None if parsed.expires is None else datetime.now(UTC) + timedelta(days=parsed.expires)
    with bootstrap.keys_of(os.environ) as keys:
        key, secret = keys.add(
            parsed.name, Role(parsed.role), expires_at=expires_at, max_jobs=parsed.max_jobs
        )
    print(
        f"Added {key.name} ({key.role.value}). This is the only time that its key is shown:", file=sys.stderr
    )
    print(secret)
    return 0


def _list(_: argparse.Namespace) -> int:
    with bootstrap.keys_of(os.environ) as keys:
        rows = [_columns(key) for key in keys.all()]
    table = [("NAME", "ROLE", "STATE", "EXPIRES", "LAST USED", "JOBS"), *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _revoke(parsed: argparse.Namespace) -> int:
    with bootstrap.keys_of(os.environ) as keys:
        key = keys.revoke(parsed.name)
    print(f"Revoked {key.name}.")
    return 0


def _columns(key: ApiKey) -> tuple[str, ...]:
    is_active = key.is_active(datetime.now(UTC))
    state = "revoked" if key.revoked_at else "active" if is_active else "expired"
    return (
        key.name,
        key.role.value,
        state,
        _day(key.expires_at),
        _day(key.last_used_at),
        str(key.max_jobs or "-"),
    )


def _day(moment: datetime | None) -> str:
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M")
