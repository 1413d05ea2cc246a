"""The surface that users, operators and clients rely on, as one value; tests/data/surface.json is its snapshot.

After a deliberate change, write the snapshot again: .venv/bin/python tests/support/surface.py
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = Path(__file__).parents[1] / "data" / "surface.json"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "flask-app"), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "bench")]

from fakes import make_application  # noqa: E402
from job_stores import tables  # noqa: E402
from metrics_example import families, make_full_metrics  # noqa: E402
from service_bench import Bench  # noqa: E402
from transcriber.cli import _parser  # noqa: E402
from transcriber.config.schema import rows_of_settings  # noqa: E402
from transcriber.gpu.probe.fault_codes import CAUSES  # noqa: E402
from transcriber.server import preflight  # noqa: E402
from transcriber.server.bootstrap import build  # noqa: E402
from transcriber.system.threads import NativeExecutor  # noqa: E402
from transcriber.web import create_app  # noqa: E402
from transcriber.web.errors import classes_by_code, status_of_class  # noqa: E402

_JOB_ID = re.compile(r"job_[\w-]{8,}")


def collect(folder: Path) -> dict[str, Any]:
    """The whole surface; files are made in `folder`, nothing is started."""
    app = create_app(make_application(folder / "web"))
    with app.test_client() as client:
        document = client.get("/openapi.json").json
    document["info"].pop("version")
    data = folder / "data"
    build({"WHISPER_DATA_DIR": str(data), "WHISPER_MODEL_PATH": str(folder)})
    return {
        "routes": sorted(
            f"{method} {rule.rule}"
            for rule in app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        ),
        "openapi": _without_prose(document),
        "settings": {
            row.names[0]: {"names": list(row.names), "default": _plain(row.default), "secret": row.secret}
            for row in rows_of_settings()
        },
        "metrics": {
            name: {"type": family.type, "labels": sorted(set().union(*(s.labels for s in family.samples)))}
            for name, family in families(make_full_metrics()).items()
        },
        "error_codes": {code: status_of_class(kind) for code, kind in classes_by_code().items()},
        "gpu_causes": sorted(CAUSES),
        "commands": dict(_commands(_parser())),
        "exit_statuses": {name: value for name, value in vars(preflight).items() if name.startswith("EXIT_")},
        "database": {name: re.sub(r"\s+", " ", sql) for name, sql in tables(data / "jobs.sqlite3").items()},
        "data_folder": sorted({*_layout(data), *_layout_of_jobs(folder / "jobs")}),
    }


def flatten(value: Any, path: str = "") -> dict[str, str]:
    """One line for each leaf, so that a difference can be named."""
    if isinstance(value, dict) and value:
        return {k: v for key, one in value.items() for k, v in flatten(one, f"{path}/{key}").items()}
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return {f"{path}/{one}": "" for one in value}
    if isinstance(value, list) and value:
        return {k: v for i, one in enumerate(value) for k, v in flatten(one, f"{path}/{i}").items()}
    return {path: json.dumps(value)}


def _without_prose(schema: Any) -> Any:
    """An OpenAPI document without its texts for people, which may be reworded freely."""
    if isinstance(schema, dict):
        return {
            key: _without_prose(value)
            for key, value in schema.items()
            if not (key in ("description", "summary", "title") and isinstance(value, str))
        }
    return [_without_prose(one) for one in schema] if isinstance(schema, list) else schema


def _commands(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each command with its options and arguments."""
    mine = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, child in action.choices.items():
                yield from _commands(child, f"{name} {command}".strip())
        elif action.option_strings != ["-h", "--help"]:
            choices = f" {'|'.join(map(str, action.choices))}" if action.choices else ""
            mine.append(" ".join(action.option_strings or [action.dest]) + choices)
    yield name or "transcriber", mine


def _layout_of_jobs(folder: Path) -> set[str]:
    """The files of a job that runs, and of one that is done."""
    folder.mkdir()
    native = NativeExecutor(2)
    try:
        bench = Bench(folder, native)
        bench.service.start()
        job = bench.send_and_hold(at=2)
        running = set(_layout(folder))
        bench.let_go()
        bench.until_ended(job.id)
        done = set(_layout(folder))
        bench.service.close(10.0)
    finally:
        native.shutdown()
    return {path for path in running | done if not path.startswith("out")}


def _layout(folder: Path) -> Iterator[str]:
    """What lies there, without SQLite's own files beside an open database: they go when it is closed, or collected."""
    for path in folder.rglob("*"):
        if path.name.endswith(("-shm", "-wal")):
            continue
        relative = _JOB_ID.sub("JOB_ID", str(path.relative_to(folder)))
        yield relative + ("/" if path.is_dir() else "")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return f"<project>/{value.relative_to(ROOT)}"
    return list(value) if isinstance(value, tuple) else value


def main() -> None:
    """Write the surface to the file that is named, or to the snapshot."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SNAPSHOT
    with tempfile.TemporaryDirectory() as folder:
        target.write_text(json.dumps(collect(Path(folder)), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
