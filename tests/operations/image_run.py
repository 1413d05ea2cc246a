"""The cpu image, built on a Debian made here, weighed, listed and run as the manifests run it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import runpy
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operations.manifests import OVERLAYS, environment, pod_of, pod_options, rendered
from operations.podman import call, storage
from operations.post import post_audio
from operations.root_file_system import base_archive, wheels

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT / "tests/data/jfk.flac"
WORDS = "ask not what your country can do for you"
IMAGE = "localhost/transcriber:cpu"
BASE = "localhost/debian:bookworm-slim"

#: Megabytes, compressed and unpacked, as in scripts/image.
BUDGETS: dict[str, tuple[int, int]] = runpy.run_path(str(ROOT / "scripts/image"))["BUDGETS"]

#: With base the service needs 1 GB.
MEMORY = "2g"

#: Takes memory until the process of that id has ended. When there is none left, the kernel ends it first, then the hogs.
HOG = """
import os, signal, sys, time

def put_first(pid, score):
    with open(f"/proc/{pid}/oom_score_adj", "w") as file:
        file.write(str(score))

def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

put_first(sys.argv[1], 1000)
hogs = []
while is_alive(sys.argv[1]) and len(hogs) < 60:
    hogs.append(os.fork())
    if hogs[-1] == 0:
        put_first("self", 900)
        kept = bytearray(b"x" * 60_000_000)
        time.sleep(30)
        os._exit(0)
    time.sleep(0.1)
for pid in hogs:
    os.kill(pid, signal.SIGKILL)
"""

#: What a service can be attacked with, or that has no place in an image.
FORBIDDEN = ("gcc", "cc", "g++", "make", "ld", "pip", "pip3", "git", "curl", "wget")


@dataclass
class ImageTally:
    """What was checked, for the last line."""

    checks: int = 0
    failures: list[str] = field(default_factory=list)
    text: str = ""
    compressed_mb: int = 0
    unpacked_mb: int = 0

    def check(self, name: str, passed: bool, detail: object = "") -> None:
        self.checks += 1
        if not passed:
            self.failures.append(f"{name}: {detail}")
        print(f"{'ok  ' if passed else 'FAIL'} {name}{f': {detail}' if detail != '' else ''}", flush=True)

    def to_json(self) -> str:
        return json.dumps(
            {
                "checks": self.checks,
                "text": self.text,
                "compressed_mb": self.compressed_mb,
                "unpacked_mb": self.unpacked_mb,
            }
        )


class ImageRun:
    """The steps, in order. `tools` has hadolint, kubernetes-validate and the Python with PyYAML."""

    def __init__(self, counts: ImageTally, tools: Path, port: int) -> None:
        self._counts, self._tools, self._port = counts, tools, port

    def run(self, *, is_short: bool) -> None:
        steps = [self.lint, self.manifests, self.build, self.gpu_targets, self.contents, self.serve]
        steps += [self.as_in_kubernetes, self.gpu_that_is_not_there]
        if not is_short:
            steps += [self.killed_engine, self.snapshot, self.built_again, self.unsupported_cuda]
        with storage() as environ:
            os.environ.update(environ)
            for step in steps:
                begun = time.monotonic()
                step()
                print(f"     {step.__name__} took {time.monotonic() - begun:.0f} s", flush=True)

    def lint(self) -> None:
        done = call(str(self._tools / "hadolint"), str(ROOT / "Containerfile"))
        self._counts.check("hadolint", done.returncode == 0, done.stdout.strip())

    def manifests(self) -> None:
        """Every overlay renders, and the strict schemas know each field."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{overlay}.yaml" for overlay in OVERLAYS]
            for file in files:
                file.write_text(rendered(file.stem))
            done = call(str(self._tools / "kubernetes-validate"), "--strict", *map(str, files))
        self._counts.check(
            f"kubernetes-validate --strict of {len(files)} overlays",
            done.returncode == 0,
            done.stderr if done.returncode else "",
        )

    def gpu_targets(self) -> None:
        """The wheels that the GPU targets add, by the lock's hashes: sizes and files without a download of 1.4 GB."""
        facts = json.loads((ROOT / "tests/data/nvidia_wheels.json").read_text())
        lock = (ROOT / "requirements.txt").read_text()
        stale = [
            row["name"]
            for row in facts
            if f"{row['name']}=={row['version']} " not in lock or row["sha256"] not in lock
        ]
        self._counts.check("the facts about NVIDIA's wheels are of the locked ones", not stale, stale or "")
        libraries = {name.rsplit("/", 1)[-1] for row in facts for name in row["libraries"]}
        self._counts.check(
            "libcublas.so.12 is among them", {"libcublas.so.12", "libcublasLt.so.12"} <= libraries
        )
        lean = [row for row in facts if "cublas" in row["name"]]
        for target, added in (("gpu", facts), ("gpu-lean", lean)):
            size = [
                (mine + sum(row[f"{kind}_bytes"] for row in added) / 1e6)
                for mine, kind in (
                    (self._counts.compressed_mb, "compressed"),
                    (self._counts.unpacked_mb, "unpacked"),
                )
            ]
            budget = BUDGETS[target]
            self._counts.check(
                f"{target}: the cpu image and {len(added)} wheels are within its budget",
                size[0] <= budget[0] and size[1] <= budget[1],
                f"{size[0]:.0f} MB compressed, {size[1]:.0f} MB unpacked",
            )

    def build(self) -> None:
        archive = base_archive("bookworm")
        imported = call("podman", "import", "--quiet", str(archive), BASE)
        self._counts.check(
            "base image", imported.returncode == 0, imported.stderr if imported.returncode else ""
        )
        done = self._build(IMAGE)
        print("     " + "\n     ".join(done.stdout.strip().splitlines()[-3:]), flush=True)
        self._counts.check(
            "build, within its budget",
            done.returncode == 0,
            (done.stdout + done.stderr)[-1500:] if done.returncode else "",
        )
        if done.returncode != 0:
            raise RuntimeError("Without an image there is nothing more to check")
        words = done.stdout.split()
        with contextlib.suppress(ValueError, IndexError):
            self._counts.compressed_mb = int(words[words.index("compressed,") - 2])
            self._counts.unpacked_mb = int(words[words.index("unpacked") - 2])

    def contents(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "sbom.json"
            lock = str(ROOT / "requirements-cpu.txt")
            done = call(
                str(self._tools / "python"),
                str(ROOT / "scripts/image"),
                "sbom",
                IMAGE,
                "--lock",
                lock,
                "--out",
                str(out),
            )
            components = json.loads(out.read_text())["components"] if out.exists() else []
        hashed = sum(bool(row.get("hashes")) for row in components)
        self._counts.check(
            "the SBOM is the lock, with hashes",
            done.returncode == 0 and hashed > 30,
            done.stderr or f"{hashed} hashed, {len(components)} in all",
        )
        found = self._podman_run(
            "--rm",
            IMAGE,
            "sh",
            "-c",
            f"command -v {' '.join(FORBIDDEN)}; find / -xdev -perm /6000 -type f 2>/dev/null; ls -a /opt/transcriber",
        )
        listed = found.stdout.split()
        self._counts.check(
            "no compiler, no downloader, no pip",
            not any("/bin/" in each and each.rsplit("/", 1)[-1] in FORBIDDEN for each in listed),
            listed,
        )
        stray = {".git", "tests", "data", ".cache"} & set(listed)
        self._counts.check("nothing strange in the image", not stray, stray or "")
        facts = json.loads(call("podman", "image", "inspect", IMAGE).stdout)[0]
        config = facts["Config"]
        self._counts.check(
            "not root, with health check and labels",
            config["User"] == "10001:10001"
            and bool(facts.get("HealthCheck") or facts.get("Healthcheck") or config.get("Healthcheck"))
            and config["Labels"]["org.opencontainers.image.title"] == "Transcriber",
            config["User"],
        )

    def serve(self) -> None:
        with self._container("--memory", MEMORY, env={"WHISPER_HOST": "127.0.0.1"}) as name:
            self._counts.check("ready", self._wait(300) is not None, self._logs(name))
            self._transcribe("transcript from the image")
            done = call("podman", "healthcheck", "run", name)
            self._counts.check("HEALTHCHECK", done.returncode == 0, (done.stdout + done.stderr).strip())
            rows = self._exec(
                name,
                "cat /proc/[0-9]*/status | grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp|Uid):' | sort | uniq -c",
            )
            wrong = [
                line
                for line in rows.splitlines()
                if not any(
                    good in line
                    for good in ("0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t10001")
                )
            ]
            self._counts.check("every process without privileges", not wrong and bool(rows), wrong or "")
            written = self._exec(name, "touch /opt/transcriber/x /models/x /usr/x 2>&1; echo done")
            self._counts.check("read-only", written.count("Read-only") == 3, written)
            begun = time.monotonic()
            call("podman", "stop", "--time", "20", name)
            status = call("podman", "inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip()
            self._counts.check(
                "SIGTERM ends it in order",
                status == "0" and time.monotonic() - begun < 15,
                f"status {status}, {time.monotonic() - begun:.1f} s",
            )

    def killed_engine(self) -> None:
        """The memory limit is reached while a job runs: the engine is killed, the job is run again, the service stays up."""
        with self._container(
            "--memory", MEMORY, "--memory-swap", MEMORY, env={"WHISPER_HOST": "127.0.0.1"}
        ) as name:
            self._wait(300)
            self._transcribe("before the limit is reached")
            before = self._engine(name)
            self._counts.check("one engine is up", before.isdecimal(), before)
            hog = subprocess.Popen(
                ["podman", "--runtime", "runc", "exec", name, "python", "-c", HOG, before],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            status, answer = post_audio(f"127.0.0.1:{self._port}", SPEECH)
            text = str(answer.get("text", "")).lower()
            hog.wait(120)
            passed = status == 200 and WORDS in text
            self._counts.check(
                "a job whose engine was killed for memory is run again",
                passed,
                "" if passed else (answer.get("error"), self._logs(name, 40)),
            )
            deadline = time.monotonic() + 60
            while not self._engine(name) and time.monotonic() < deadline:
                time.sleep(0.5)
            self._counts.check(
                "the engine was killed, and another is up",
                self._engine(name).isdecimal() and self._engine(name) != before,
                f"{before} → {self._engine(name)}",
            )
            running = call(
                "podman", "inspect", "--format", "{{.State.Running}} {{.RestartCount}}", name
            ).stdout.strip()
            self._counts.check("the service stayed up", running == "true 0", running)

    def as_in_kubernetes(self) -> None:
        """The cpu overlay's container: its environment, security context, volumes and probes."""
        spec, container = pod_of("cpu")
        with (
            pod_options(spec, container) as options,
            self._container(*options, env=environment(container) | {"WHISPER_HOST": "127.0.0.1"}) as name,
        ):
            begun = time.monotonic()
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                passed = self._is_running(name) and self._probe(container[kind], name)
                detail = f"{time.monotonic() - begun:.0f} s"
                self._counts.check(f"{kind} of the manifest", passed, detail if passed else self._logs(name))

    def gpu_that_is_not_there(self) -> None:
        """The gpu overlay's environment, on a machine without a GPU: the pod never becomes ready."""
        spec, container = pod_of("gpu")
        with (
            pod_options(spec, container) as options,
            self._container(*options, env=environment(container) | {"WHISPER_HOST": "127.0.0.1"}) as name,
        ):
            ready = self._wait(20) is not None
            status = call(
                "podman", "inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", name
            ).stdout.strip()
            self._counts.check(
                "without a proven GPU the pod never becomes ready", not ready and status == "false 3", status
            )

    def snapshot(self) -> None:
        """What the image finds on this machine, in a file named by its digest."""
        with tempfile.TemporaryDirectory() as folder:
            done = call(str(ROOT / "scripts/image"), "snapshot", IMAGE, "--folder", folder)
            files = list(Path(folder).iterdir())
            digest = call("podman", "image", "inspect", "--format", "{{.Digest}}", IMAGE).stdout.strip()
            named = [file.name for file in files] == [f"{digest.replace(':', '-')}.json"]
            self._counts.check(
                "capability snapshot, under the image's digest",
                done.returncode == 0 and named and "gpu" in json.loads(files[0].read_text()),
                done.stderr[-400:],
            )

    def built_again(self) -> None:
        """A second build from nothing, compared by digest."""
        again = f"{IMAGE}-again"
        done = self._build(again, "--no-cache")
        self._counts.check("build again", done.returncode == 0, done.stderr[-800:] if done.returncode else "")
        digests = [
            call("podman", "image", "inspect", "--format", "{{.Id}}", image).stdout.strip()
            for image in (IMAGE, again)
        ]
        difference = call(str(ROOT / "scripts/image"), "diff", *digests)
        ours = [line for line in difference.stdout.splitlines() if " /opt/transcriber/" in line]
        self._counts.check(
            "two builds have the same files, but for Debian's own logs and caches",
            difference.returncode in (0, 1) and "files differ" in difference.stdout and not ours,
            ours[:5] or difference.stdout[-300:] + difference.stderr[-300:],
        )

    def unsupported_cuda(self) -> None:
        done = self._build("localhost/transcriber:cuda11", "--build-arg", "CUDA_MAJOR=11", target="gpu")
        said = done.stdout + done.stderr
        self._counts.check(
            "CUDA 11 is refused, with the reason",
            done.returncode != 0 and "CUDA 11 is not supported" in said,
            "" if done.returncode else said[-400:],
        )

    # What the steps use.

    def _build(self, tag: str, *more: str, target: str = "cpu") -> subprocess.CompletedProcess[str]:
        """With the wheels of this machine. The packages of Debian come from its registry."""
        with tempfile.TemporaryDirectory() as folder:
            files = {
                "/etc/pip.conf": "[global]\nno-index = true\nfind-links = /wheels\n",
                # As for the root file system: nothing here has to survive a power cut.
                "/etc/dpkg/dpkg.cfg.d/unsafe-io": "force-unsafe-io\n",
                "/etc/apt/apt.conf.d/80retries": 'Acquire::Retries "3";\n',
            }
            extra = ["--isolation", "chroot", "--pull-never", "--network", "host"]
            extra += ["--volume", f"{wheels('bookworm')}:/wheels:ro"]
            for number, (guest, text) in enumerate(files.items()):
                file = Path(folder) / str(number)
                file.write_text(text)
                file.chmod(0o644)
                extra += ["--volume", f"{file}:{guest}:ro"]
            Path(folder).chmod(0o755)
            command = [str(ROOT / "scripts/image"), "build", target, "--base", BASE, "--tag", tag]
            return call(*command, "--", *extra, *more, timeout=1500)

    @contextmanager
    def _container(self, *options: str, env: dict[str, str]) -> Iterator[str]:
        name = f"transcriber-test-{os.getpid()}-{time.monotonic_ns()}"
        variables = [
            word
            for key, value in (env | {"WHISPER_PORT": str(self._port)}).items()
            for word in ("--env", f"{key}={value}")
        ]
        try:
            done = self._podman_run("--detach", "--name", name, *options, *variables, IMAGE)
            if done.returncode != 0:
                self._counts.check("the container starts", False, done.stderr)
            yield name
        finally:
            call("podman", "rm", "--force", "--time", "1", "--volumes", name)

    def _podman_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            "podman",
            "--runtime",
            "runc",
            "run",
            "--network",
            "host",
            "--pull",
            "never",
            "--read-only",
            "--cap-drop",
            "all",
        ]
        command += [
            "--security-opt",
            "no-new-privileges",
            "--user",
            "10001:10001",
            "--tmpfs",
            "/tmp:mode=1777",
        ]
        command += ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]
        return call(*command, *arguments)

    def _wait(self, seconds: float) -> float | None:
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            if status_of(self._port, "/health/ready", {}) == 200:
                return time.monotonic() - begun
            time.sleep(0.3)
        return None

    def _is_running(self, name: str) -> bool:
        return call("podman", "inspect", "--format", "{{.State.Running}}", name).stdout.strip() == "true"

    def _probe(self, probe: dict[str, Any], name: str) -> bool:
        """As a kubelet does it: HTTP GET with the manifest's header, until it succeeds or has failed too often."""
        get = probe["httpGet"]
        headers = {row["name"]: row["value"] for row in get.get("httpHeaders", [])}
        for _ in range(probe["failureThreshold"]):
            if status_of(self._port, get["path"], headers, probe["timeoutSeconds"]) in range(200, 400):
                return True
            if not self._is_running(name):
                return False
            time.sleep(probe["periodSeconds"])
        return False

    def _transcribe(self, name: str) -> None:
        status, answer = post_audio(f"127.0.0.1:{self._port}", SPEECH)
        self._counts.text = str(answer.get("text", "")).strip()
        self._counts.check(
            name, status == 200 and WORDS in self._counts.text.lower(), self._counts.text or answer
        )

    def _engine(self, name: str) -> str:
        found = self._exec(
            name,
            "for f in /proc/[0-9]*/cmdline; do if tr '\\0' ' ' <$f | grep -q 'transcriber[.]engine'; then echo $f; fi; done 2>/dev/null",
        )
        return " ".join(sorted(line.split("/")[2] for line in found.splitlines() if line.startswith("/proc")))

    def _exec(self, name: str, command: str) -> str:
        done = call("podman", "--runtime", "runc", "exec", name, "sh", "-c", command)
        return done.stdout

    def _logs(self, name: str, lines: int = 5) -> str:
        return call("podman", "logs", "--tail", str(lines), name).stdout[-200 * lines :]


def status_of(port: int, path: str, headers: dict[str, str], timeout: float = 5) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
