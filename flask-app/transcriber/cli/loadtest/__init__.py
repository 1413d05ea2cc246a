"""scripts/loadtest: latency, throughput, jitter and stages of one or more servers, as their clients see them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from .client import Client
from .measuring import Level, Subject, measure, measure_together
from .report import stage_table, table, to_svg, together_table

#: Of a hundred requests, ninety-nine are answered.
MIN_RELIABILITY = 0.99

#: The reference set of the gate: five sentences of 3 to 10 s.
SPEECH = Path(__file__).parents[1] / "gate" / "speech"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure and report."""
    parsed = _parser().parse_args(arguments)
    clips = [path.read_bytes() for path in parsed.audio or sorted(SPEECH.glob("*.flac"))]
    subjects = _subjects(parsed)
    with Client(os.environ.get("WHISPER_API_KEY", "")) as client:
        unready = [subject.url for subject in subjects if not client.is_ready(subject.url)]
        if unready:
            print(f"Not ready: {', '.join(unready)}. Ask /health/ready for the cause.", file=sys.stderr)
            return 2
        if parsed.together:
            alone, together = measure_together(client, subjects, clips, parsed.clients[0], parsed.requests)
            levels = [*alone, *together]
            print(together_table(alone, together))
        else:
            levels = list(_levels(client, subjects, clips, parsed))
            print(f"\n{stage_table(levels)}")
    if parsed.json is not None:
        parsed.json.write_text(json.dumps([asdict(level) for level in levels], indent=1) + "\n")
    if parsed.picture is not None:
        parsed.picture.write_text(to_svg(levels))
    failing = [level for level in levels if level.reliability < MIN_RELIABILITY]
    for level in failing:
        print(
            f"{level.name}, {level.clients} clients: {level.reliability:.1%} of the requests were answered "
            f"({level.error}); at least {MIN_RELIABILITY:.0%} should be.",
            file=sys.stderr,
        )
    return 1 if failing else 0


def _levels(
    client: Client, subjects: list[Subject], clips: list[bytes], parsed: argparse.Namespace
) -> list[Level]:
    """Each subject at each number of clients; a line is printed as soon as it is measured."""
    found: list[Level] = []
    for subject in subjects:
        measure(client, subject, clips, clients=1, requests=1)  # a model that was not loaded comes up here
        for clients in parsed.clients:
            requests = max(parsed.requests, clients)
            found.append(measure(client, subject, clips, clients=clients, requests=requests))
            print(table(found).splitlines()[-1] if len(found) > 1 else table(found), flush=True)
    return found


def _subjects(parsed: argparse.Namespace) -> list[Subject]:
    """A server, or a server with each of the models, with fields in common."""
    fields = dict(field.partition("=")[::2] for field in parsed.field)
    found = []
    for given in parsed.urls:
        name, _, url = given.rpartition("=") if "=" in given.partition("://")[0] else ("", "", given)
        name = name or urlsplit(url).netloc
        for model in parsed.models or [""]:
            with_model = fields | ({"model": model} if model else {})
            found.append(Subject(name=f"{name} {model}".strip(), url=url.rstrip("/"), fields=with_model))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/loadtest",
        description="Latency, throughput, jitter and stages of one or more servers. Exit status 0: at least 99 % of the "
        "requests were answered at each level. 1: not. 2: a server is not ready. The key comes from WHISPER_API_KEY.",
    )
    parser.add_argument("urls", nargs="+", metavar="[NAME=]URL", help="as before=http://127.0.0.1:5000")
    parser.add_argument(
        "--clients", type=_numbers, default=[1, 2, 4, 8, 16, 32], help="requests at once: 1,2,4,8,16,32"
    )
    parser.add_argument("--requests", type=int, default=32, help="requests of each level (32)")
    parser.add_argument("--models", type=_names, help="each server with each of them, as tiny.en,base")
    parser.add_argument("--field", action="append", default=[], metavar="NAME=VALUE", help="a form field")
    parser.add_argument(
        "--audio", type=Path, action="append", help="a file to send; default: the gate's five"
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="the servers share a device: the first one alone, then all at once, with the first of --clients each",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every level")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write an SVG of latency by clients")
    return parser


def _numbers(text: str) -> list[int]:
    found = [int(each) for each in text.split(",")]
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError("numbers from 1 on, as 1,4,16")
    return found


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
