"""python -m transcriber gate: measure a server before it takes traffic, and say by exit status whether it may."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from .judgement import Demands, judge
from .measurement import Measurement, read_measurement
from .probe import Probe, references
from .report import to_dict, to_svg, to_text


def add_parser(commands: Any) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "gate",
        help="measure a server before it takes traffic: device, words, latency; exit status 0 if it may",
        description="Exit status 0: it may take traffic. 1: it may not, and the report says why. 2: it could not be "
        "measured. The key, where the server needs one, comes from WHISPER_API_KEY.",
    )
    parser.add_argument("url", help="the server, as http://127.0.0.1:5000")
    parser.add_argument("--baseline", help="a report of the gate, or another server that is measured now")
    parser.add_argument(
        "--demand", choices=("gpu", "cpu", "any"), default="any", help="where the work must run"
    )
    parser.add_argument("--clients", type=int, default=4, help="requests at once (default: 4)")
    parser.add_argument("--requests", type=int, default=16, help="requests of the load (default: 16)")
    parser.add_argument(
        "--window", type=float, default=1.5, help="times slower than the baseline that pass (1.5)"
    )
    parser.add_argument(
        "--min-utilization", type=float, default=0.0, help="least GPU utilisation under load, 0 to 1"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report, to be a baseline later")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write an SVG of latency and throughput")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Measure, judge and report. Raises TranscriberError where nothing can be measured."""
    baseline = None if parsed.baseline is None else _baseline(parsed)
    found = _measure(parsed.url, parsed)
    demands = Demands(device=parsed.demand, window=parsed.window, min_utilization=parsed.min_utilization)
    checks = judge(found, references(), demands, baseline)
    print(to_text(found, checks))
    if parsed.json is not None:
        parsed.json.write_text(
            json.dumps(to_dict(found, checks, baseline), indent=1, ensure_ascii=False) + "\n"
        )
    if parsed.picture is not None:
        parsed.picture.write_text(to_svg(found, baseline))
    return 0 if all(check.passed for check in checks) else 1


def _baseline(parsed: argparse.Namespace) -> Measurement:
    if "://" in parsed.baseline:
        return _measure(parsed.baseline, parsed)
    return read_measurement(Path(parsed.baseline))


def _measure(url: str, parsed: argparse.Namespace) -> Measurement:
    wants_gpu = {"gpu": True, "cpu": None, "any": None}[parsed.demand]
    probe = Probe(url, wants_gpu=wants_gpu, api_key=os.environ.get("WHISPER_API_KEY", ""))
    return probe.measure(clients=parsed.clients, requests=parsed.requests)
