"""The service's life under a real systemd: installed, attacked, restarted, upgraded, rolled back and removed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from operations.machine import Machine
from operations.post import post_audio
from operations.traffic import Request, Traffic

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT / "tests/data/jfk.flac"
WORDS = "ask not what your country can do for you"

#: What is copied to make a release that differs.
SOURCE = "flask-app templates static scripts systemd docs requirements*.txt pyproject.toml README.md"

#: Seconds for the service to answer again after one of its processes was killed.
RECOVERY_SECONDS = 60.0


@dataclass
class Tally:
    """What was checked and what was sent, for the last line."""

    release: str
    checks: int = 0
    failures: list[str] = field(default_factory=list)
    requests: int = 0
    lost: int = 0
    text: str = ""

    def check(self, name: str, passed: bool, detail: object = "") -> None:
        self.checks += 1
        if not passed:
            self.failures.append(f"{name}: {detail}")
        print(f"{'ok  ' if passed else 'FAIL'} {name}{f': {detail}' if detail != '' else ''}", flush=True)

    def count(self, traffic: Traffic) -> None:
        self.requests += len(traffic.sent)
        self.lost += len(traffic.lost)

    def to_json(self) -> str:
        return json.dumps(
            {
                "release": self.release,
                "checks": self.checks,
                "requests": self.requests,
                "lost": self.lost,
                "text": self.text,
            }
        )


class Life:
    """The steps, in order, on one machine."""

    def __init__(self, machine: Machine, port: int, counts: Tally) -> None:
        self._machine = machine
        self._address = f"127.0.0.1:{port}"
        self._counts = counts

    def run(self, *, is_short: bool) -> None:
        steps: list[Callable[[], None]] = [self.install, self.transcribe, self.hardening]
        steps += [self.kills, self.watchdog, self.restart_under_load]
        if not is_short:
            steps.insert(0, self.failed_install)
            steps += [self.upgrade, self.refused_upgrade, self.rolled_back_upgrade, self.instances]
        steps += [self.wrong_setting, self.remove]
        for step in steps:
            begun = time.monotonic()
            step()
            print(f"     {step.__name__} took {time.monotonic() - begun:.0f} s", flush=True)

    # Each step is one method below, in the order of `run`.

    def failed_install(self) -> None:
        self._copy_source("/root/broken", "echo 'gevent==0.0.1 --hash=sha256:00' > requirements-cpu.txt")
        done = self._machine.run("/root/broken/scripts/install-service --cpu", timeout=600, check=False)
        self._counts.check("an install that fails says so", done.returncode != 0, done.returncode)
        self._nothing_left("an install that fails leaves nothing", settings="/etc/transcriber")
        self._machine.run("rm -rf /root/broken")

    def install(self) -> None:
        settings = f"WHISPER_PORT={self._address.rpartition(':')[2]}\nWHISPER_GPU_POLICY=off\n"
        self._machine.run(
            f"mkdir -p /etc/transcriber && printf '{settings}' > /etc/transcriber/transcriber.env"
        )
        done = self._install("/src", "")
        self._counts.check("install", done == "", done)
        state = self._machine.run("systemctl is-enabled transcriber.service transcriber.socket", check=False)
        self._counts.check("enabled", state.stdout.split() == ["enabled", "enabled"], state.stdout.split())

    def transcribe(self) -> None:
        status, answer = post_audio(self._address, SPEECH)
        self._counts.text = str(answer.get("text", "")).strip()
        self._counts.check(
            "transcription", status == 200 and WORDS in self._counts.text.lower(), self._counts.text
        )

    def hardening(self) -> None:
        processes = self._processes()
        wrong = []
        for pid, command in processes.items():
            facts = self._machine.output(f"cat /proc/{pid}/status")
            rows = dict(line.split(":\t", 1) for line in facts.splitlines() if ":\t" in line)
            wanted = {
                "NoNewPrivs": "1",
                "Seccomp": "2",
                **{f"Cap{kind}": "0" * 16 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")},
            }
            wrong += [
                f"{command}: {name} {rows.get(name)}"
                for name, value in wanted.items()
                if rows.get(name) != value
            ]
            if rows["Uid"].split()[0] == "0":
                wrong.append(f"{command}: root")
        self._counts.check(
            f"hardening of each of {len(processes)} processes", len(processes) >= 4 and not wrong, wrong or ""
        )

    def kills(self) -> None:
        for command in dict.fromkeys(self._processes().values()):
            victims = [pid for pid, name in self._processes().items() if name == command]
            self._machine.run(f"kill -9 {' '.join(victims)}", check=False)
            seconds = self._recovery()
            self._counts.check(f"kill -9 of {command}", seconds is not None, f"answers after {seconds} s")

    def watchdog(self) -> None:
        worker = self._worker()
        before = self._restarts()
        self._machine.run(f"kill -STOP {worker}")
        begun = time.monotonic()
        while self._restarts() == before and time.monotonic() < begun + 120:
            time.sleep(0.5)
        self._counts.check(
            "watchdog ends a wedged worker", self._restarts() > before, f"{time.monotonic() - begun:.0f} s"
        )
        seconds = self._recovery()
        self._counts.check("it answers after the watchdog", seconds is not None, f"{seconds} s")
        said = self._machine.output("journalctl -u transcriber --no-pager -o cat | grep -ci watchdog || true")
        self._counts.check("the journal names the watchdog", int(said) > 0, said)

    def restart_under_load(self) -> None:
        with self._traffic() as traffic:
            time.sleep(3)
            begun = time.monotonic()
            self._machine.run("systemctl restart transcriber.service")
            restarted = time.monotonic() - begun
            status, _ = post_audio(self._address, SPEECH)
            first = time.monotonic() - begun
            time.sleep(5)
        self._no_loss("restart at 20 requests/s", traffic)
        self._counts.check(
            "a transcript after the restart",
            status == 200,
            f"{restarted:.1f} s restart, {first:.1f} s to the text",
        )
        begun = time.monotonic()
        self._machine.run("systemctl restart transcriber.service")
        answered = time.monotonic() - begun
        status, _ = post_audio(self._address, SPEECH)
        idle = time.monotonic() - begun
        self._counts.check(
            "restart while idle",
            status == 200,
            f"{answered:.1f} s to the first answer, {idle:.1f} s to a transcript",
        )

    def upgrade(self) -> None:
        before = self._current()
        with self._traffic() as traffic:
            done = self._install("/src", "--upgrade")
            time.sleep(2)
        self._counts.check("upgrade", done == "" and self._current() != before, done)
        self._no_loss("upgrade at 20 requests/s", traffic)
        self.transcribe()

    def refused_upgrade(self) -> None:
        """A release that can't serve is refused by the gate, before it is switched to."""
        before, main = self._current(), self._main_pid()
        self._copy_source("/root/bad", "echo 'raise RuntimeError' >> flask-app/app.py")
        with self._traffic() as traffic:
            done = self._install("/root/bad", "--upgrade")
        self._machine.run("rm -rf /root/bad")
        self._counts.check("a release that can't start is refused", done != "", done.splitlines()[-1:] or "")
        same = (self._current(), self._main_pid()) == (before, main)
        self._counts.check("the service was not touched by it", same, (self._current(), before))
        self._no_loss("refused upgrade at 20 requests/s", traffic)
        self._only_releases("the refused release is gone")

    def rolled_back_upgrade(self) -> None:
        """A release that passes the gate, and dies in use."""
        before = self._current()
        fault = "\\nimport os, threading\\nif os.environ.get('LISTEN_FDS'): threading.Timer(15, os._exit, (9,)).start()\\n"
        self._copy_source("/root/bad", f'printf "{fault}" >> flask-app/gunicorn.conf.py')
        done = self._install("/root/bad", "--upgrade", watch=60)
        self._machine.run("rm -rf /root/bad")
        self._counts.check(
            "a release that dies in use is rolled back", done != "", done.splitlines()[-1:] or ""
        )
        self._counts.check("the release before is in use", self._current() == before, self._current())
        seconds = self._recovery()
        self._counts.check("it answers after the roll-back", seconds is not None, f"{seconds} s")
        self._only_releases("the rolled-back release is gone")

    def instances(self) -> None:
        """One instance for each GPU; their addresses come from the socket."""
        port = self._address.rpartition(":")[2]
        for number in (0, 1):
            folder = f"/etc/systemd/system/transcriber@{number}.socket.d"
            lines = f"[Socket]\\nListenStream=\\nListenStream=127.0.0.1:{int(port) + 1 + number}\\n"
            self._machine.run(f"mkdir -p {folder} && printf '{lines}' > {folder}/address.conf")
        self._machine.run(
            "systemctl daemon-reload && systemctl start transcriber@0 transcriber@1", timeout=200
        )
        for number in (0, 1):
            status, answer = post_audio(f"127.0.0.1:{int(port) + 1 + number}", SPEECH)
            self._counts.check(
                f"transcriber@{number} transcribes", status == 200, answer.get("text") or answer
            )
        self._machine.run(
            "systemctl stop transcriber@0.socket transcriber@0 transcriber@1.socket transcriber@1"
        )

    def wrong_setting(self) -> None:
        """Exit status 2: named in the journal at its priority, not tried again, and the port closes."""
        self._machine.run("echo WHISPER_MAX_QUEUE=many >> /etc/transcriber/transcriber.env")
        with self._traffic():
            self._machine.run("systemctl restart transcriber.service", check=False)
            time.sleep(8)
        said = self._machine.output(
            "journalctl -u transcriber -p err --no-pager -o cat | grep -c WHISPER_MAX_QUEUE || true"
        )
        self._counts.check("the journal has a wrong setting at priority err", int(said) > 0, said)
        starts = self._machine.output(
            "journalctl -u transcriber --since -15s --no-pager -o cat | grep -c '^Starting transcriber' || true"
        )
        states = self._machine.run(
            "systemctl is-active transcriber.service transcriber.socket", check=False
        ).stdout.split()
        self._counts.check(
            "a wrong setting does not spin",
            int(starts) <= 2 and "active" not in states,
            f"{starts} starts, {states}",
        )
        self._machine.run("sed -i /WHISPER_MAX_QUEUE/d /etc/transcriber/transcriber.env")
        self._machine.run("systemctl reset-failed transcriber.service; systemctl start transcriber.service")
        seconds = self._recovery()
        self._counts.check("it serves once the setting is right", seconds is not None, f"{seconds} s")

    def remove(self) -> None:
        self._machine.run("/src/scripts/install-service --remove", timeout=120)
        kept = self._machine.output("ls /etc/transcriber /var/lib/private/transcriber | wc -l")
        self._counts.check("removal keeps settings and jobs", int(kept) > 2)
        self._machine.run("/src/scripts/install-service --remove --purge", timeout=120)
        self._nothing_left("purge leaves nothing", settings="/etc/transcriber")

    # What the steps use.

    def _install(self, source: str, options: str, watch: int = 10) -> str:
        """Empty, or what a failed installation said."""
        command = f"{source}/scripts/install-service --cpu --watch {watch} {options}"
        done = self._machine.run(command, timeout=1500, check=False)
        print("     " + "\n     ".join((done.stdout + done.stderr).strip().splitlines()[-16:]), flush=True)
        return "" if done.returncode == 0 else f"status {done.returncode}\n{done.stderr}"

    def _copy_source(self, folder: str, change: str) -> None:
        self._machine.run(f"mkdir {folder} && cd /src && cp -R {SOURCE} {folder} && cd {folder} && {change}")

    def _traffic(self) -> Traffic:
        """Health checks, and now and then a page and the list of jobs."""
        kinds = [Request()] * 8 + [Request(path="/"), Request(path="/jobs")]
        return Traffic(self._address, kinds)

    def _no_loss(self, name: str, traffic: Traffic) -> None:
        self._counts.count(traffic)
        lost = {each.error or str(each.status) for each in traffic.lost}
        detail = (
            f"{len(traffic.lost)} of {len(traffic.sent)} lost, longest {traffic.longest:.1f} s {lost or ''}"
        )
        self._counts.check(name, not lost and len(traffic.sent) > 50, detail)

    def _processes(self) -> dict[str, str]:
        """Process ids of the service in the machine, with what each is."""
        listing = self._machine.output(
            "grep -lE '/transcriber.service$' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3 | "
            "while read pid; do printf '%s %s\\n' $pid \"$(tr '\\0' ' ' </proc/$pid/cmdline)\"; done"
        )
        rows = [line.split(" ", 1) for line in listing.splitlines() if " " in line]
        main = self._main_pid()
        return {
            pid: "gunicorn's master" if pid == main else _role(command)
            for pid, command in rows
            if command.strip()
        }

    def _worker(self) -> str:
        found = [pid for pid, name in self._processes().items() if name == "web worker"]
        if not found:
            raise RuntimeError("The service has no web worker")
        return found[0]

    def _main_pid(self) -> str:
        return self._machine.output("systemctl show -p MainPID --value transcriber.service")

    def _restarts(self) -> int:
        return int(self._machine.output("systemctl show -p NRestarts --value transcriber.service") or 0)

    def _current(self) -> str:
        return self._machine.output("readlink /opt/transcriber/current")

    def _recovery(self) -> float | None:
        """Seconds until a transcript comes again."""
        begun = time.monotonic()
        while time.monotonic() < begun + RECOVERY_SECONDS:
            status, answer = post_audio(self._address, SPEECH)
            if status == 200 and WORDS in str(answer.get("text", "")).lower():
                return round(time.monotonic() - begun, 1)
            time.sleep(0.2)
        return None

    def _only_releases(self, name: str) -> None:
        found = self._machine.output(
            "ls -d /opt/transcriber/releases/* /run/transcriber* /var/lib/private/transcriber* 2>/dev/null || true"
        )
        extra = [each for each in found.split() if "candidate" in each]
        self._counts.check(name, len(found.split()) <= 4 and not extra, found.split())

    def _nothing_left(self, name: str, settings: str) -> None:
        places = f"/opt/transcriber {settings} /var/lib/*transcriber* /var/lib/private/*transcriber* /var/cache/*transcriber* "
        places += "/var/cache/private/*transcriber* /etc/systemd/system/*transcriber* /etc/systemd/system/*/*transcriber* /run/*transcriber*"
        found = self._machine.run(f"ls -d {places} 2>/dev/null", check=False).stdout.split()
        self._counts.check(name, not found, found or "")


def _role(command: str) -> str:
    if "gunicorn" in command:
        return "web worker"
    words = [word for word in command.split() if word.startswith("transcriber.")]
    return words[0] if words else command.strip()[:60]
