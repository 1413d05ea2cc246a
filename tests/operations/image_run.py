"""The cpu image, built on a Debian made here, weighed, listed and run as the manifests run it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from operations.post import post_audio
from operations.root_file_system import CACHE, base_archive, wheels

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT / "tests/data/jfk.flac"
WORDS = "ask not what your country can do for you"
IMAGE = "localhost/transcriber:cpu"
BASE = "localhost/debian:bookworm-slim"
OVERLAYS = ("cpu", "gpu", "mig", "time-slicing", "mps")

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

    def run(self) -> None:
        steps = [
            self.lint,
            self.manifests,
            self.gpu_targets,
            self.build,
            self.contents,
            self.serve,
            self.killed_engine,
        ]
        steps += [self.as_in_kubernetes, self.gpu_that_is_not_there]
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

    def build(self) -> None:
        archive = base_archive("bookworm")
        imported = call("podman", "import", "--quiet", str(archive), BASE)
        self._counts.check(
            "base image", imported.returncode == 0, imported.stderr if imported.returncode else ""
        )
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as pip:
            pip.write("[global]\nno-index = true\nfind-links = /wheels\n")
            pip.flush()
            Path(pip.name).chmod(0o644)
            extra = ["--isolation", "chroot", "--pull-never", "--network", "host"]
            for host, guest in ((Path(pip.name), "/etc/pip.conf"), (wheels("bookworm"), "/wheels")):
                extra += ["--volume", f"{host}:{guest}:ro"]
            command = [
                str(ROOT / "scripts/image"),
                "build",
                "cpu",
                "--base",
                BASE,
                "--tag",
                IMAGE,
                "--",
                *extra,
            ]
            done = call(*command, timeout=1500)
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
        with self._container("--memory", "1500m", env={"WHISPER_HOST": "127.0.0.1"}) as name:
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
            "--memory", "1200m", "--memory-swap", "1200m", env={"WHISPER_HOST": "127.0.0.1"}
        ) as name:
            self._wait(300)
            self._transcribe("before the limit is reached")
            before = self._engine(name)
            hogs = "import os,time\nfor n in range(40):\n  if os.fork()==0:\n    try: x=bytearray(b'x'*60_000_000); time.sleep(30)\n    finally: os._exit(0)\n  time.sleep(0.15)\ntime.sleep(1)"
            hog = subprocess.Popen(
                ["podman", "--runtime", "runc", "exec", name, "python", "-c", hogs],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            status, answer = post_audio(f"127.0.0.1:{self._port}", SPEECH)
            text = str(answer.get("text", "")).lower()
            hog.wait(120)
            self._counts.check(
                "a job whose engine was killed for memory is run again",
                status == 200 and WORDS in text,
                answer.get("error") or answer.get("receipt", {}).get("attempts"),
            )
            deadline = time.monotonic() + 60
            while not self._engine(name) and time.monotonic() < deadline:
                time.sleep(0.5)
            self._counts.check(
                "the engine was killed, and another is up",
                self._engine(name) not in ("", before),
                f"{before} → {self._engine(name)}",
            )
            running = call(
                "podman", "inspect", "--format", "{{.State.Running}} {{.RestartCount}}", name
            ).stdout.strip()
            self._counts.check("the service stayed up", running == "true 0", running)

    def as_in_kubernetes(self) -> None:
        """The cpu overlay's container: its environment, security context, volumes and probes."""
        spec, container = pod_of("cpu")
        with self._container(
            *context_options(spec, container), env=environment(container) | {"WHISPER_HOST": "127.0.0.1"}
        ) as name:
            begun = time.monotonic()
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                self._counts.check(
                    f"{kind} of the manifest",
                    self._probe(container[kind]),
                    f"{time.monotonic() - begun:.0f} s {self._logs(name) if not self._probe(container[kind]) else ''}",
                )

    def gpu_that_is_not_there(self) -> None:
        """The gpu overlay's environment, on a machine without a GPU: the pod never becomes ready."""
        spec, container = pod_of("gpu")
        with self._container(
            *context_options(spec, container), env=environment(container) | {"WHISPER_HOST": "127.0.0.1"}
        ) as name:
            ready = self._wait(20) is not None
            status = call(
                "podman", "inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", name
            ).stdout.strip()
            self._counts.check(
                "without a proven GPU the pod never becomes ready", not ready and status == "false 3", status
            )

    # What the steps use.

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

    def _probe(self, probe: dict[str, Any]) -> bool:
        """As a kubelet does it: HTTP GET with the manifest's header, until it succeeds or has failed too often."""
        get = probe["httpGet"]
        headers = {row["name"]: row["value"] for row in get.get("httpHeaders", [])}
        for _ in range(probe["failureThreshold"]):
            if status_of(self._port, get["path"], headers, probe["timeoutSeconds"]) in range(200, 400):
                return True
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
            "for f in /proc/[0-9]*/cmdline; do if tr '\\0' ' ' <$f | grep -q 'transcriber.engine'; then echo $f; fi; done 2>/dev/null",
        )
        return " ".join(sorted(line.split("/")[2] for line in found.splitlines() if line.startswith("/proc")))

    def _exec(self, name: str, command: str) -> str:
        done = call("podman", "--runtime", "runc", "exec", name, "sh", "-c", command)
        return done.stdout

    def _logs(self, name: str) -> str:
        return call("podman", "logs", "--tail", "5", name).stdout[-800:]


def pod_of(overlay: str) -> tuple[dict[str, Any], dict[str, Any]]:
    documents = yaml.safe_load_all(rendered(overlay))
    spec = next(each for each in documents if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    return spec, spec["containers"][0]


def rendered(overlay: str) -> str:
    done = call("kubectl", "kustomize", str(ROOT / "kubernetes/overlays" / overlay))
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout


def environment(container: dict[str, Any]) -> dict[str, str]:
    """The manifest's variables, with what the cluster would put in."""
    found = {"POD_IP": "127.0.0.1", "WHISPER_API_KEY": "a-key-of-the-cluster"}
    for row in container["env"]:
        if "value" in row:
            found[row["name"]] = row["value"].replace("$(POD_IP)", found["POD_IP"])
    return found


def context_options(spec: dict[str, Any], container: dict[str, Any]) -> list[str]:
    """podman's options for the manifest's security context, limits and volumes; what they can't say is an error."""
    pod, own = spec["securityContext"], container["securityContext"]
    if not (
        own["readOnlyRootFilesystem"]
        and own["capabilities"]["drop"] == ["ALL"]
        and not own["allowPrivilegeEscalation"]
        and pod["runAsNonRoot"]
    ):
        raise RuntimeError(f"The manifest's security context has changed: {own}")
    options = [
        "--user",
        f"{pod['runAsUser']}:{pod['runAsGroup']}",
        "--memory",
        container["resources"]["limits"]["memory"].replace("Gi", "g"),
    ]
    for mount in container["volumeMounts"]:
        if mount["mountPath"] != "/tmp":
            options += ["--tmpfs", f"{mount['mountPath']}:mode=1777"]
    return options


def status_of(port: int, path: str, headers: dict[str, str], timeout: float = 5) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


@contextmanager
def storage() -> Iterator[dict[str, str]]:
    """A store for images of this run's own, so that nothing of the machine's is touched and nothing stays."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="images-", dir=CACHE))
    config = folder / "storage.conf"
    config.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    try:
        yield {"CONTAINERS_STORAGE_CONF": str(config)}
    finally:
        call("podman", "image", "unmount", "--all")
        for place in sorted(_mounts_below(folder), reverse=True):
            call("umount", place)
        # A mount that stays shows a folder of the machine's, such as /dev: then nothing is removed.
        if left := _mounts_below(folder):
            print(f"NOT REMOVED {folder}: still mounted: {left}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _mounts_below(folder: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [place for place in places if place.startswith(f"{folder}/")]


def call(*command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL
    )
