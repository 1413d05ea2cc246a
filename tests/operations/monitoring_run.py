"""Real Prometheus and Alertmanager beside a real service, whose engine and GPU fail as they are told."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from fake_gpu import build_nvml, healthy_environment
from media_files import make_tone, make_wave
from server import ROOT, Server, free_port, multipart

FOLDER = ROOT / "docs" / "monitoring"
STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
SPEECH = make_wave(make_tone(5.0))

#: Every duration in the rules is divided by this, so that hours become minutes.
FASTER = 60

#: Bounds that are counted in seconds but written as numbers: alert, its own number, the one of this run.
BOUNDS = (("TranscriberCanaryStale", "7200", "20"),)

#: Seconds in which an alert has to fire, and to be resolved, when its cause is there, or gone.
PATIENCE = 120.0

_DURATION = re.compile(r"\b(\d+)(ms|s|m|h|d)\b")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass
class MonitoringTally:
    """What was checked, for the last line."""

    checks: int = 0
    failures: list[str] = field(default_factory=list)
    #: Alerts that fired and were resolved.
    alerts: list[str] = field(default_factory=list)
    panels: int = 0

    def check(self, name: str, passed: bool, detail: object = "") -> None:
        self.checks += 1
        if not passed:
            self.failures.append(f"{name}: {detail}")
        print(f"{'ok  ' if passed else 'FAIL'} {name}{f': {detail}' if detail != '' else ''}", flush=True)

    def to_json(self) -> str:
        return json.dumps({"checks": self.checks, "alerts": self.alerts, "panels": self.panels})


class Notes(ThreadingHTTPServer):
    """Alertmanager's receiver: the newest state of each alert."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _NotesPage)
        self.states: dict[str, str] = {}

    def __enter__(self) -> Notes:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()


class _NotesPage(BaseHTTPRequestHandler):
    server: Notes

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            self.server.states[alert["labels"]["alertname"]] = alert["status"]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


class MonitoringRun:
    """The phases, in order; each breaks one thing, sees its alerts fire, mends it, and sees them resolved."""

    def __init__(self, counts: MonitoringTally, folder: Path) -> None:
        self._counts, self._folder = counts, folder
        self._options = folder / "standin-options"
        self._selftest = folder / "selftest"
        self._pipeline = folder / "pipeline"
        self._options.write_text("")
        self._begun = time.time()

    def run(self) -> None:
        with ExitStack() as stack:
            self._server = Server(self._folder / "data", self._environment())
            self._server.start()
            stack.callback(self._server.stop)
            self._notes = stack.enter_context(Notes())
            self._prometheus = stack.enter_context(self._monitoring())
            self._server.wait_for("/health/ready")
            steps: list[Callable[[], None]] = [
                self.load,
                self.canary_stale,
                self.queue_full,
                self.stage_fails,
            ]
            steps += [self.canary_fails, self.gpu_fails, self.jobs_fail, self.down, self.panels]
            for step in steps:
                begun = time.monotonic()
                step()
                print(f"     {step.__name__} took {time.monotonic() - begun:.0f} s", flush=True)

    # Each phase is one method below, in the order of `run`.

    def load(self) -> None:
        statuses = [self._transcribe() for _ in range(10)]
        self._counts.check("ten transcriptions", statuses == [200] * 10, statuses)

    def canary_stale(self) -> None:
        """Self-tests are off by WHISPER_SELFTEST_INTERVAL_SECONDS=0, so the one at the start grows old."""
        self._fires("TranscriberCanaryStale")
        self._server.request("POST", "/diagnostics/selftest")
        self._is_resolved("TranscriberCanaryStale")

    def queue_full(self) -> None:
        """One job at a time, of a minute each: the others wait, and the last one is refused."""
        self._engine_with("--pace 60")
        answers = [self._queue() for _ in range(6)]
        self._counts.check("a full queue refuses", answers[-1][0] == 429, [each[0] for each in answers])
        self._fires("TranscriberQueueFull", "TranscriberRefusing")
        for status, job in answers:
            if status == 202:
                self._server.request("DELETE", f"/jobs/{job}")
        self._engine_with("")
        self._is_resolved("TranscriberQueueFull", "TranscriberRefusing")

    def stage_fails(self) -> None:
        self._pipeline.write_text("garbage")
        self._fires("TranscriberStageFailing", "TranscriberNotReady")
        self._pipeline.write_text("")
        self._is_resolved("TranscriberStageFailing", "TranscriberNotReady")

    def canary_fails(self) -> None:
        self._selftest.write_text("nan")
        self._server.request("POST", "/diagnostics/selftest")
        self._fires("TranscriberCanaryFailed")
        self._selftest.unlink(missing_ok=True)
        self._engine_with("")
        self._server.request("POST", "/diagnostics/selftest")
        self._is_resolved("TranscriberCanaryFailed")

    def gpu_fails(self) -> None:
        """The engine does not start on the GPU any more: the CPU stands in, loudly, until it does."""
        self._engine_with("--fail-start engine_start_failed --fail-start-on cuda")
        self._transcribe()
        self._fires("TranscriberFallback", "TranscriberDegraded", "TranscriberGpuLost")
        self._engine_with("")
        self._is_resolved("TranscriberDegraded", "TranscriberGpuLost", "TranscriberFallback")

    def jobs_fail(self) -> None:
        count = self._folder / "deaths"
        self._engine_with(f"--crash-at 0 --crash-times 1000 --crash-with ABRT --count-file {count}")
        statuses = [self._transcribe() for _ in range(2)]
        self._counts.check("jobs fail", all(status >= 500 for status in statuses), statuses)
        self._fires("TranscriberJobsFailing", "TranscriberEngineRestarts")
        self._engine_with("")
        self._server.wait_for("/health/ready")
        self._counts.check("jobs are done again", self._transcribe() == 200)
        self._is_resolved("TranscriberJobsFailing", "TranscriberEngineRestarts")

    def down(self) -> None:
        self._server.stop()
        self._fires("TranscriberDown")
        self._server.start()
        self._server.wait_for("/health/ready")
        self._is_resolved("TranscriberDown")
        self.load()

    def panels(self) -> None:
        """Every expression of the dashboard had data at some time of this run."""
        dashboard = json.loads((FOLDER / "dashboard.json").read_text())
        empty = []
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                self._counts.panels += 1
                if not self._has_data(target["expr"]):
                    empty.append(f"{panel['title']}: {target['expr']}")
        self._counts.check(
            f"{self._counts.panels} expressions of the dashboard return data", not empty, empty or ""
        )

    # What the phases use.

    def _environment(self) -> dict[str, str]:
        gpu = self._folder / "gpu"
        build_nvml(gpu)
        engine = f"{STAND_IN} --selftest-file {self._selftest} --pipeline-file {self._pipeline}"
        return healthy_environment(gpu) | {
            "WHISPER_ENGINE_COMMAND": engine,
            "STANDIN_FILE": str(self._options),
            "WHISPER_MODEL": "tiny.en",
            "WHISPER_MODEL_PATH": str(ROOT / "data" / "models"),
            "WHISPER_DEVICE": "cuda",
            "WHISPER_GPU_WATCH_SECONDS": "1",
            "WHISPER_SELFTEST_INTERVAL_SECONDS": "0",
            "WHISPER_PIPELINE_CHECK_SECONDS": "1",
            "WHISPER_MAX_QUEUE": "4",
            "WHISPER_MAX_RUNNING": "1",
            "WHISPER_SHORT_SLOTS": "0",
        }

    def _transcribe(self) -> int:
        return self._server.transcribe(SPEECH, accept="application/json").status

    def _queue(self) -> tuple[int, str]:
        body, content_type = multipart(SPEECH, "speech.wav", {})
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        answer = self._server.request("POST", "/jobs", body=body, headers=headers)
        return answer.status, str(answer.json.get("job_id", ""))

    def _engine_with(self, options: str) -> None:
        """Engines read their options when they start, so those that are up are ended."""
        self._options.write_text(options)
        for pid, command in self._server.children().items():
            if "standin_engine" in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _fires(self, *alerts: str) -> None:
        self._becomes(alerts, "firing")

    def _is_resolved(self, *alerts: str) -> None:
        self._becomes(alerts, "resolved")
        self._counts.alerts += [alert for alert in alerts if self._notes.states.get(alert) == "resolved"]

    def _becomes(self, alerts: tuple[str, ...], state: str) -> None:
        begun = time.monotonic()
        for alert in alerts:
            while self._notes.states.get(alert) != state and time.monotonic() < begun + PATIENCE:
                time.sleep(0.2)
            found = self._notes.states.get(alert)
            self._counts.check(f"{alert} is {state}", found == state, f"{time.monotonic() - begun:.0f} s")

    def _has_data(self, expression: str) -> bool:
        for name, value in (("$job", "transcriber"), ("$instance", ".*"), ("$__rate_interval", "10s")):
            expression = expression.replace(name, value)
        query = {"query": expression, "start": self._begun, "end": time.time(), "step": "1s"}
        found = self._ask(f"/api/v1/query_range?{urllib.parse.urlencode(query)}")
        values = [float(value) for row in found["data"]["result"] for _, value in row["values"]]
        return any(math.isfinite(value) for value in values)

    def _ask(self, path: str) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self._prometheus + path, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    @contextmanager
    def _monitoring(self) -> Iterator[str]:
        """Both programs, told of each other; Prometheus's address."""
        manager, own = free_port(), free_port()
        rules = self._folder / "alerts.yml"
        rules.write_text(faster(yaml.safe_load((FOLDER / "alerts.yml").read_text())))
        receiver = {
            "name": "notes",
            "webhook_configs": [{"url": f"http://127.0.0.1:{self._notes.server_port}/"}],
        }
        route = {
            "receiver": "notes",
            "group_by": ["alertname"],
            "group_wait": "100ms",
            "group_interval": "1s",
        }
        alerting = {"route": route, "receivers": [receiver]}
        scrape = {
            "job_name": "transcriber",
            "static_configs": [{"targets": [f"127.0.0.1:{self._server.port}"]}],
        }
        prometheus = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [scrape],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager}"]}]}]},
        }
        files = {"alertmanager": alerting, "prometheus": prometheus}
        for name, content in files.items():
            (self._folder / f"{name}.yml").write_text(yaml.safe_dump(content))
        commands = {
            "alertmanager": [program("prometheus-alertmanager", "alertmanager"), "--cluster.listen-address="],
            "prometheus": [program("prometheus")],
        }
        with ExitStack() as stack:
            for name, port in (("alertmanager", manager), ("prometheus", own)):
                storage = "--storage.path" if name == "alertmanager" else "--storage.tsdb.path"
                command = [*commands[name], f"--config.file={self._folder / name}.yml"]
                command += [f"{storage}={self._folder / name}-data", f"--web.listen-address=127.0.0.1:{port}"]
                stack.enter_context(running(command, self._folder / f"{name}.log", port))
            yield f"http://127.0.0.1:{own}"


def faster(document: dict[str, Any]) -> str:
    """The rules with every duration divided, and the bounds of this run."""
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _DURATION.sub(_divided, rule["expr"])
            if "for" in rule:
                rule["for"] = _DURATION.sub(_divided, rule["for"])
            for alert, number, bound in BOUNDS:
                if rule.get("alert") == alert:
                    assert rule["expr"].count(number) == 1, f"{alert} has no bound of {number} any more"
                    rule["expr"] = rule["expr"].replace(number, bound)
    # A recorded series is called by its name, whatever is in it.
    return yaml.safe_dump(document)


def _divided(found: re.Match[str]) -> str:
    return f"{max(1, round(int(found[1]) * _UNITS[found[2]] * 1000 / FASTER))}ms"


def program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise RuntimeError(f"{names[0]} is missing: apt-get install prometheus prometheus-alertmanager")
    return found


@contextmanager
def running(command: list[str], log: Path, port: int) -> Iterator[None]:
    """A program from the moment its port answers until the end of the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 60
            while not _is_ready(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not answer: {log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
