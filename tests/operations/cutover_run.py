"""scripts/cutover on two real instances behind a real nginx that has 20 requests a second."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from operations.post import multipart
from operations.traffic import Request, Sent, Traffic

from server import ROOT, Server, free_port

SPEECH = ROOT / "tests/data/jfk.flac"
STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
SLOW = f"{sys.executable} {ROOT / 'tests' / 'support' / 'slow_engine.py'}"

#: In which traffic has to be back after a breach, in seconds.
BACK_SECONDS = 60.0

#: Everything around the documented server block.
OUTER = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{servers}
}}
"""


@dataclass
class CutoverTally:
    """What was checked and sent, for the last line."""

    checks: int = 0
    failures: list[str] = field(default_factory=list)
    requests: int = 0
    lost: int = 0
    #: Seconds from the switch's order to its end, and of each way back.
    seconds: dict[str, float] = field(default_factory=dict)

    def check(self, name: str, passed: bool, detail: object = "") -> None:
        self.checks += 1
        if not passed:
            self.failures.append(f"{name}: {detail}")
        print(f"{'ok  ' if passed else 'FAIL'} {name}{f': {detail}' if detail != '' else ''}", flush=True)

    def to_json(self) -> str:
        return json.dumps(
            {"checks": self.checks, "requests": self.requests, "lost": self.lost, "seconds": self.seconds}
        )


class CutoverRun:
    """The steps, in order. The old server stays; each step has a new one of its own."""

    def __init__(self, counts: CutoverTally, folder: Path, watch: float) -> None:
        self._counts, self._folder, self._watch = counts, folder, watch
        self._upstream = folder / "upstream.conf"
        self._configuration = folder / "nginx.conf"
        self._baseline = folder / "baseline.json"
        self._port = free_port()
        self._servers = 0

    def run(self) -> None:
        with self._server() as self._old:
            self._old.wait_for("/health/ready")
            self._point_to_old()
            with self._nginx():
                steps: list[Callable[[], None]] = [self.baseline, self.cpu_is_refused, self.slow_is_refused]
                steps += [self.other_words_are_refused, self.moved, self.killed_is_rolled_back]
                steps += [self.hung_is_rolled_back]
                for step in steps:
                    begun = time.monotonic()
                    step()
                    print(f"     {step.__name__} took {time.monotonic() - begun:.0f} s", flush=True)

    def baseline(self) -> None:
        """The old server, measured with the traffic that it has in each step."""
        with self._traffic():
            done = self._program("-m", "transcriber", "gate", self._old.url, "--demand", "cpu", "--clients", "2",
                "--requests", "8", "--json", str(self._baseline))  # fmt: skip
        self._counts.check(
            "the old server passes the gate", done.returncode == 0, done.stdout.splitlines()[-2:]
        )

    def cpu_is_refused(self) -> None:
        self._is_refused("runs on the CPU under --demand gpu", "FAIL runs on the GPU", "--demand", "gpu")

    def slow_is_refused(self) -> None:
        self._is_refused("is four times slower", "FAIL latency p50", WHISPER_ENGINE_COMMAND=f"{SLOW} 4")

    def other_words_are_refused(self) -> None:
        """Device, model and speed are right; the words are not."""
        words = "The weather is fine today"
        self._is_refused(
            "writes other words",
            "FAIL words",
            WHISPER_ENGINE_COMMAND=STAND_IN,
            STANDIN_OPTIONS=f"--text '{words}'",
        )

    def moved(self) -> None:
        """With a job at work on the old server, which stays there and is still found."""
        with self._server() as new, self._traffic() as traffic:
            status, job = self._submit()
            begun = time.monotonic()
            done = self._cutover(new)
            self._counts.seconds["moved"] = round(time.monotonic() - begun, 1)
            switched = re.search(r"^Switched to .*$", done.stdout, re.MULTILINE)
            self._counts.check(
                "a good server gets the traffic", done.returncode == 0, done.stdout.splitlines()[-1:]
            )
            self._counts.check("nginx sends requests to it", bool(switched) and self._points_to(new))
            found = self._get(f"/jobs/{job}")
            answer = json.loads(found.body or b"{}")
            self._counts.check(
                "a job of the old server is still found", status == 202 and found.status == 200,
                f"{found.status} {answer.get('status')}",
            )  # fmt: skip
            time.sleep(3)
        self._no_loss("cut-over at 20 requests/s", traffic)
        self._point_to_old()
        self._reload()

    def killed_is_rolled_back(self) -> None:
        """The new server is gone: nginx has nobody to ask until it is moved back."""

        def kill(new: Server) -> None:
            new.process.kill()
            new.process.wait()

        self._is_rolled_back("a new server that dies", kill)

    def hung_is_rolled_back(self) -> None:
        """The new server takes requests, and its engine does nothing."""

        def stop(new: Server) -> None:
            for pid, command in new.children().items():
                if "transcriber.engine" in command:
                    os.kill(pid, signal.SIGSTOP)

        self._is_rolled_back("a new server whose engine hangs", stop)

    # What the steps use.

    def _is_refused(self, name: str, reason: str, *options: str, **settings: str) -> None:
        with self._server(**settings) as new, self._traffic() as traffic:
            before = self._upstream.read_text()
            done = self._cutover(new, *options, "--baseline", str(self._baseline))
        said = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
        refused = done.returncode == 1 and any(line.startswith(reason) for line in said)
        self._counts.check(f"a new server that {name} is refused", refused, said or done.stderr)
        self._counts.check("nothing has changed", self._upstream.read_text() == before)
        self._no_loss("refused cut-over at 20 requests/s", traffic)

    def _is_rolled_back(self, name: str, breach: Callable[[Server], None]) -> None:
        with self._server() as new, self._traffic() as traffic:
            begun: list[float] = []
            back: list[float] = []
            over = threading.Event()
            watcher = threading.Thread(target=self._break, args=(new, breach, begun, back, over), daemon=True)
            watcher.start()
            done = self._cutover(new, watch=120)
            over.set()
            watcher.join()
            time.sleep(2)
        seconds = round(back[0] - begun[0], 1) if back else None
        self._counts.check(f"{name} is rolled back", done.returncode == 3, done.stdout.splitlines()[-1:])
        self._counts.check(
            f"within {BACK_SECONDS:.0f} s", seconds is not None and seconds <= BACK_SECONDS, f"{seconds} s"
        )
        self._counts.seconds[name] = seconds or -1.0
        late = [each for each in traffic.lost if back and each.at > back[0] + 1]
        self._counts.check("requests are answered again", not late and self._points_to(self._old), len(late))

    def _break(
        self,
        new: Server,
        breach: Callable[[Server], None],
        begun: list[float],
        back: list[float],
        over: threading.Event,
    ) -> None:
        """Thread: the breach as soon as traffic was moved, and when it was moved back."""
        while not over.wait(0.05):
            is_new = f":{new.port};" in self._upstream.read_text().splitlines()[0]
            if is_new and not begun:
                begun.append(time.monotonic())
                breach(new)
            elif begun and not is_new:
                back.append(time.monotonic())
                return

    def _cutover(
        self, new: Server, *options: str, watch: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        given = ["--nginx", str(self._upstream), "--reload", self._reload_command(), "--clients", "2"]
        given += ["--requests", "8", "--watch", str(watch or self._watch), *options]
        if "--baseline" not in options:
            # Only the words and devices of a busy machine are the same from minute to minute.
            given += ["--baseline", str(self._baseline), "--window", "4"]
        return self._program("-m", "transcriber.cli.gate.cutover", self._old.url, new.url, *given)

    def _program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("WHISPER_")}
        environ["PYTHONPATH"] = str(ROOT / "flask-app")
        return subprocess.run(
            [sys.executable, *arguments], env=environ, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=900,
        )  # fmt: skip

    @contextmanager
    def _server(self, **settings: str) -> Iterator[Server]:
        self._servers += 1
        models = {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(ROOT / "data/models")}
        quiet = {
            "WHISPER_GPU_POLICY": "preferred",
            "WHISPER_PIPELINE_CHECK_SECONDS": "5",
            "WHISPER_CPU_THREADS": "1",
        }
        server = Server(self._folder / f"server-{self._servers}", models | quiet | settings)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.stop()

    @contextmanager
    def _nginx(self) -> Iterator[None]:
        page = (ROOT / "docs/deploy.md").read_text()
        found = re.search(
            r"^include /etc/nginx/transcriber-upstream.conf;.*?^}$", page, re.MULTILINE | re.DOTALL
        )
        if found is None:
            raise RuntimeError("docs/deploy.md has no nginx configuration for a cut-over")
        servers = found[0].replace("/etc/nginx/transcriber-upstream.conf", str(self._upstream))
        servers = servers.replace("listen 443 ssl;", f"listen 127.0.0.1:{self._port};")
        self._configuration.write_text(OUTER.format(folder=self._folder, servers=servers))
        command = ["nginx", "-c", str(self._configuration), "-p", str(self._folder), "-g", "daemon off;"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while self._get("/health").status != 200 and time.monotonic() < deadline:
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(20)

    def _reload_command(self) -> str:
        return f"nginx -c {self._configuration} -p {self._folder} -s reload"

    def _reload(self) -> None:
        subprocess.run(self._reload_command().split(), check=True, capture_output=True)

    def _point_to_old(self) -> None:
        host = f"127.0.0.1:{self._old.port}"
        lines = [f"upstream {name} {{ server {host}; }}" for name in ("transcriber", "transcriber_previous")]
        self._upstream.write_text("\n".join([*lines, ""]))

    def _points_to(self, server: Server) -> bool:
        return f":{server.port};" in self._upstream.read_text().splitlines()[0]

    def _traffic(self) -> Traffic:
        """Health checks, pages and, now and then, a transcription."""
        body, headers = multipart(SPEECH.name, SPEECH.read_bytes(), {"language": "en"})
        upload = Request("POST", "/transcribe", body, headers)
        kinds = [Request()] * 50 + [Request(path="/")] * 24 + [Request(path="/jobs")] * 25 + [upload]
        return Traffic(f"127.0.0.1:{self._port}", kinds)

    def _submit(self) -> tuple[int, str]:
        body, headers = multipart(SPEECH.name, SPEECH.read_bytes(), {"language": "en"})
        sent = self._ask(Request("POST", "/jobs", body, headers))
        return sent.status, str(json.loads(sent.body or b"{}").get("job_id", ""))

    def _get(self, path: str) -> Sent:
        return self._ask(Request(path=path, headers={"Accept": "application/json"}))

    def _ask(self, request: Request) -> Sent:
        traffic = Traffic(f"127.0.0.1:{self._port}", [request])
        traffic.send(request)
        return traffic.sent[-1]

    def _no_loss(self, name: str, traffic: Traffic) -> None:
        self._counts.requests += len(traffic.sent)
        self._counts.lost += len(traffic.lost)
        lost = {each.error or str(each.status) for each in traffic.lost}
        detail = (
            f"{len(traffic.lost)} of {len(traffic.sent)} lost, longest {traffic.longest:.1f} s {lost or ''}"
        )
        self._counts.check(name, not lost and len(traffic.sent) > 50, detail)


def is_possible() -> str:
    """What is missing, or nothing."""
    return "" if shutil.which("nginx") else "nginx is missing: apt-get install nginx-light"
