"""scripts/cutover: move traffic from one running server to another, and back by itself if the new one breaches."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ...domain.errors import TranscriberError
from .judgement import Demands, breaches, judge
from .measurement import GateReading, Measurement, read_measurement
from .probe import Probe, references
from .report import to_text

EXIT_REFUSED = 1
EXIT_NOT_TRIED = 2
EXIT_ROLLED_BACK = 3

#: How often the new server is looked at after the switch, in seconds, and how many bad looks in a row are a breach.
LOOK_SECONDS = 2.0
BAD_LOOKS = 2

#: A look that takes longer is a bad one: two of them and the way back fit into a minute.
LOOK_TIMEOUT_SECONDS = 20.0


class Switch(Protocol):
    """What decides where traffic goes."""

    def point_to(self, url: str, previous: str) -> None:
        """Send new requests to url; raises TranscriberError, and then nothing has changed."""


@dataclass(frozen=True, kw_only=True)
class NginxSwitch:
    """A file that nginx includes: one upstream for new requests, one for jobs that the previous server still has."""

    file: Path
    reload: str

    def point_to(self, url: str, previous: str) -> None:
        text = f"upstream transcriber {{ server {_host(url)}; }}\nupstream transcriber_previous {{ server {_host(previous)}; }}\n"
        _replace(self.file, text, self.reload)


@dataclass(frozen=True, kw_only=True)
class EnvironmentSwitch:
    """One variable in the environment file of a caller, such as AUDIO_SERVICE_URL."""

    file: Path
    variable: str
    reload: str

    def point_to(self, url: str, previous: str) -> None:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        kept = [line for line in lines if not line.startswith(f"{self.variable}=")]
        _replace(self.file, "\n".join([*kept, f"{self.variable}={url}", ""]), self.reload)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How long the new server is watched, and how often it is looked at, in seconds."""

    seconds: float
    every: float = LOOK_SECONDS


class Cutover:
    """Gate, switch, watch, and back on a breach."""

    def __init__(
        self,
        *,
        old: str,
        new: str,
        switch: Switch,
        gate: Callable[[str], Measurement],
        look: Callable[[str], GateReading],
        demands: Demands,
        say: Callable[[str], None],
    ) -> None:
        self._old, self._new = old, new
        self._switch = switch
        self._gate, self._look = gate, look
        self._demands = demands
        self._say = say

    def run(self, baseline: Measurement, watch: Watch) -> int:
        """Exit status."""
        found = self._gate(self._new)
        checks = judge(found, references(), self._demands, baseline)
        self._say(to_text(found, checks))
        if not all(check.passed for check in checks):
            self._say(f"Refused: {self._old} keeps the traffic.")
            return EXIT_REFUSED
        self._switch.point_to(self._new, self._old)
        self._say(f"Switched to {self._new}; watching it for {watch.seconds:g} s.")
        try:
            breach = self._watch(watch, found)
        except BaseException:
            # Interrupted: without a watch the new server is not trusted.
            self._switch.point_to(self._old, self._new)
            raise
        if breach is None:
            self._say(f"{self._new} has the traffic. Stop {self._old} once its jobs are done.")
            return 0
        self._switch.point_to(self._old, self._new)
        self._say(f"Breach: {breach}. Traffic is back on {self._old}.")
        return EXIT_ROLLED_BACK

    def _watch(self, watch: Watch, gated: Measurement) -> str | None:
        """What was wrong twice in a row, or nothing."""
        deadline = time.monotonic() + watch.seconds
        bad = 0
        while time.monotonic() < deadline:
            time.sleep(watch.every)
            wrong = breaches(self._look(self._new), gated, self._demands)
            bad = bad + 1 if wrong else 0
            if bad >= BAD_LOOKS:
                return "; ".join(wrong)
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parsed = _parser().parse_args(arguments)
    key = os.environ.get("WHISPER_API_KEY", "")
    wants_gpu = True if parsed.demand == "gpu" else None

    def measure(url: str, start_seconds: float) -> Measurement:
        probe = Probe(url, wants_gpu=wants_gpu, api_key=key, start_seconds=start_seconds)
        return probe.measure(clients=parsed.clients, requests=parsed.requests)

    watcher = Probe(parsed.new, wants_gpu=wants_gpu, api_key=key, timeout=LOOK_TIMEOUT_SECONDS)
    demands = Demands(device=parsed.demand, window=parsed.window, min_utilization=parsed.min_utilization)
    cutover = Cutover(
        old=parsed.old,
        new=parsed.new,
        switch=_switch(parsed),
        gate=lambda url: measure(url, parsed.start_seconds),
        look=lambda _: watcher.look(),
        demands=demands,
        say=lambda line: print(line, flush=True),
    )
    try:
        if parsed.baseline is None:
            baseline = measure(parsed.old, 0.0)
        else:
            baseline = read_measurement(parsed.baseline)
        return cutover.run(baseline, Watch(seconds=parsed.watch))
    except TranscriberError as error:
        print(f"{error.code}: {error.message}\nFix: {error.fix}", file=sys.stderr)
        return EXIT_NOT_TRIED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/cutover",
        description="Move traffic from one running server to another. Exit status 0: moved. 1: refused by the gate, and "
        "nothing has changed. 2: it could not be tried. 3: moved, and rolled back after a breach.",
    )
    parser.add_argument("old", help="the server that has the traffic, as http://127.0.0.1:5000")
    parser.add_argument("new", help="the server that shall have it")
    parser.add_argument(
        "--nginx", type=Path, metavar="FILE", help="the file with the upstreams that nginx includes"
    )
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="a caller's environment file")
    parser.add_argument(
        "--variable", default="AUDIO_SERVICE_URL", help="the variable in it (AUDIO_SERVICE_URL)"
    )
    parser.add_argument(
        "--reload", help="command that makes the change count (default with --nginx: nginx -s reload)"
    )
    parser.add_argument("--demand", choices=("gpu", "cpu", "any"), default="any")
    parser.add_argument(
        "--baseline", type=Path, help="a report of the gate; absent: the old server is measured now"
    )
    parser.add_argument(
        "--window", type=float, default=1.5, help="times slower than the baseline that pass (1.5)"
    )
    parser.add_argument("--min-utilization", type=float, default=0.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--watch", type=float, default=60.0, help="seconds to watch the new server (60)")
    parser.add_argument(
        "--start-seconds", type=float, default=300.0, help="how long the new server may be starting"
    )
    return parser


def _switch(parsed: argparse.Namespace) -> Switch:
    if (parsed.nginx is None) == (parsed.env_file is None):
        raise SystemExit("scripts/cutover: give one of --nginx FILE and --env-file FILE.")
    if parsed.nginx is not None:
        return NginxSwitch(file=parsed.nginx, reload=parsed.reload or "nginx -s reload")
    return EnvironmentSwitch(file=parsed.env_file, variable=parsed.variable, reload=parsed.reload or "true")


def _replace(file: Path, text: str, command: str) -> None:
    """Write the file whole and run the command; where that fails, the file is as it was."""
    before = file.read_text() if file.exists() else None
    _write(file, text)
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if before is None:
        file.unlink()
    else:
        _write(file, before)
    raise TranscriberError(
        f"{command!r} ended with {done.returncode}: {done.stderr.strip()[-400:]}",
        code="switch_failed",
        fix="Mend what it names; traffic goes where it went before.",
    )


def _write(file: Path, text: str) -> None:
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.write_text(text)
    if file.exists():
        unfinished.chmod(file.stat().st_mode & 0o777)
    unfinished.replace(file)


def _host(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme != "http":
        raise TranscriberError(
            f"{url!r} is no address that nginx can pass requests to.",
            code="invalid_parameter",
            fix="Write it as http://127.0.0.1:5000.",
        )
    return parts.netloc if parts.port else f"{parts.netloc}:80"


if __name__ == "__main__":
    sys.exit(main())
