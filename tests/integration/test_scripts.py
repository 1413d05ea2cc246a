"""The scripts, run for real on a small tree: their own venv and pip, with tiny wheels in place of a registry."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

APP = """
import json, os, sys
from importlib.util import find_spec
packages = [n for n in ("fake_core", "fake_cuda", "fake_dev", "fake_weights") if find_spec(n)]
import fake_core
print(json.dumps({
    "packages": packages,
    "core": fake_core.VERSION,
    "venv": sys.prefix,
    "model": os.environ.get("WHISPER_MODEL"),
    "placed": os.path.exists(os.environ["PLACED"]),
}))
"""

CLI = """
import os, pathlib, sys
if sys.argv[1:] == ["models", "place"]:
    pathlib.Path(os.environ.get("PLACED") or os.environ["WHISPER_DATA_DIR"] + "/models").touch(mode=0o600)
"""


def make_wheel(folder: Path, name: str, version: str) -> str:
    """A wheel with one module in it; the requirement line that pins it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inner, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(inner, text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name}=={version} --hash=sha256:{digest}\n"


@dataclass(frozen=True)
class Tree:
    """A small copy of the project, and a folder of wheels that its pip is shown."""

    root: Path
    wheels: Path

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PLACED": str(self.root / "placed"),
        }

    def run(self, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "scripts" / script, *arguments],
            cwd="/",
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str, **environ: str) -> dict[str, object]:
        """What the application saw when scripts/run became it."""
        result = self.run("run", *arguments, **environ)
        assert result.returncode == 0, result.stderr
        answer: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
        return answer

    def pin(self, file: str, *names: str, version: str = "1.0") -> None:
        lines = [make_wheel(self.wheels, name, version) for name in names]
        (self.root / file).write_text("# pins\n" + "".join(lines))


def make_tree(folder: Path) -> Tree:
    tree = Tree(root=folder / "a tree", wheels=folder / "wheels")
    tree.wheels.mkdir()
    shutil.copytree(ROOT / "scripts", tree.root / "scripts")
    shutil.copytree(ROOT / "systemd", tree.root / "systemd")
    package = tree.root / "flask-app" / "transcriber"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(CLI)
    (tree.root / "flask-app" / "app.py").write_text(APP)
    for name in ("templates", "static", "docs"):
        (tree.root / name).mkdir()
    for name in ("README.md", "pyproject.toml"):
        (tree.root / name).touch()
    tree.pin("requirements.txt", "fake_core", "fake_cuda")
    tree.pin("requirements-cpu.txt", "fake_core")
    tree.pin("requirements-dev.txt", "fake_core", "fake_dev")
    tree.pin("requirements-models.txt", "fake_weights")
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_tree(tmp_path)


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tree that was set up with --cpu."""
    folder = tmp_path_factory.mktemp("pattern")
    make_tree(folder).start("--cpu")
    return folder


@pytest.fixture
def made(pattern: Path, tmp_path: Path) -> Tree:
    """A copy of that tree, with its environment."""
    folder = shutil.copytree(pattern, tmp_path / "made", symlinks=True)
    return Tree(root=folder / "a tree", wheels=folder / "wheels")


def test_fresh_run_sets_up_and_becomes_the_app(tree: Tree) -> None:
    seen = tree.start("--cpu", WHISPER_MODEL="tiny.en")

    assert seen == {
        "packages": ["fake_core", "fake_weights"],
        "core": "1.0",
        "venv": str(tree.root / ".venv"),
        "model": "tiny.en",
        "placed": True,
    }


def test_gpu_adds_to_what_is_there_and_a_later_start_needs_no_wheels(made: Tree) -> None:
    with_gpu = made.start("--gpu")
    shutil.rmtree(made.wheels)

    began = time.monotonic()
    again = made.start("--gpu")

    assert with_gpu["packages"] == ["fake_core", "fake_cuda", "fake_weights"]
    assert again == with_gpu
    assert time.monotonic() - began < 10


def test_dev_set_up_adds_the_tools_and_a_moved_tree_still_runs(tree: Tree) -> None:
    result = tree.run("setup", "--cpu", "--dev")
    assert result.returncode == 0, result.stderr
    moved = Tree(root=tree.root.rename(tree.root.with_name("moved")), wheels=tree.wheels)

    seen = moved.start("--cpu")

    assert seen["packages"] == ["fake_core", "fake_dev", "fake_weights"]
    assert seen["venv"] == str(moved.root / ".venv")


def test_changed_pin_is_installed_at_the_next_start(made: Tree) -> None:
    made.pin("requirements-cpu.txt", "fake_core", version="2.0")

    assert made.start("--cpu")["core"] == "2.0"


def test_set_up_killed_at_any_step_is_made_good_by_the_next(tree: Tree) -> None:
    for seconds_after_venv in (0.0, 1.0):
        process = subprocess.Popen(
            [tree.root / "scripts" / "setup", "--cpu"],
            env=tree.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while not (tree.root / ".venv" / "pyvenv.cfg").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(seconds_after_venv)  # the moment of the kill, not a wait for something
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert (tree.root / ".venv" / "unfinished").exists()

    assert tree.start("--cpu")["packages"] == ["fake_core", "fake_weights"]


def test_half_a_package_from_an_interrupted_set_up_is_not_taken_for_whole(made: Tree) -> None:
    module = next((made.root / ".venv").rglob("fake_core.py"))
    module.unlink()
    (made.root / ".venv" / "unfinished").touch()

    assert made.start("--cpu")["core"] == "1.0"


def test_package_with_another_hash_is_refused_and_nothing_starts(tree: Tree) -> None:
    pins = tree.root / "requirements-cpu.txt"
    pins.write_text(pins.read_text().replace("sha256:", "sha256:00")[:-3] + "\n")

    result = tree.run("run", "--cpu")

    assert result.returncode != 0
    assert result.stdout.count("packages") == 0
    assert "hash" in result.stderr.lower()


def test_unknown_argument_is_refused_with_the_usage(tree: Tree) -> None:
    result = tree.run("run", "--cuda")

    assert result.returncode == 2
    assert "--gpu" in result.stderr
    assert not (tree.root / ".venv").exists()


@pytest.mark.parametrize(
    ("path", "content", "found"),
    [
        ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n", True),
        ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x8086\n", False),
        ("dev/nvidia0", "", True),
        ("dev/nvidiactl", "", True),
        ("dev/dxg", "", True),
        ("usr/lib/x86_64-linux-gnu/libcuda.so.1", "", False),
    ],
)
def test_nvidia_gpu_is_a_device_not_a_library(tmp_path: Path, path: str, content: str, found: bool) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(content)

    result = subprocess.run([ROOT / "scripts" / "has-nvidia-gpu", tmp_path], timeout=10, check=False)

    assert result.returncode == (0 if found else 1)


def find_python(folder: Path, chosen: str = "", **interpreters: str) -> subprocess.CompletedProcess[str]:
    """scripts/find-python with nothing on PATH but these programs, each printing its own description; PYTHON is `chosen`."""
    folder.mkdir()
    (folder / "id").symlink_to(shutil.which("id") or "/usr/bin/id")
    for name, body in interpreters.items():
        program = folder / name.replace("_", ".")
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    return subprocess.run(
        [ROOT / "scripts" / "find-python"],
        env={"PATH": str(folder), "PYTHON": chosen},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


def test_python_that_can_make_environments_is_chosen(tmp_path: Path) -> None:
    result = find_python(
        tmp_path / "bin", python3="exit 1", python3_12="echo 3.12 no", python3_11="echo 3.11 yes"
    )

    assert result.stdout.strip() == str(tmp_path / "bin" / "python3.11")


def test_python_without_venv_names_the_package_to_install(tmp_path: Path) -> None:
    result = find_python(tmp_path / "bin", python3="echo 3.12 no")

    assert result.returncode == 1
    assert "apt-get install python3.12-venv" in result.stderr


def test_no_python_names_the_package_to_install(tmp_path: Path) -> None:
    result = find_python(tmp_path / "bin", python3="exit 1")

    assert result.returncode == 1
    assert "apt-get install python3.11 python3.11-venv" in result.stderr


def test_python_newer_than_the_tested_ones_is_left_alone_unless_named(tmp_path: Path) -> None:
    passed_over = find_python(tmp_path / "a", python3="echo 3.14 yes", python3_12="echo 3.12 yes")
    alone = find_python(tmp_path / "b", python3="echo 3.14 yes")
    named = find_python(tmp_path / "c", chosen="python3", python3="echo 3.14 yes")

    assert passed_over.stdout.strip() == str(tmp_path / "a" / "python3.12")
    assert alone.returncode == 1
    assert "python3 is 3.14" in alone.stderr
    assert named.stdout.strip() == str(tmp_path / "c" / "python3")
    assert "has been run with 3.11, 3.12 and 3.13 only" in named.stderr


@pytest.mark.parametrize(
    ("chosen", "cause"),
    [
        ("python3.12", "there is no such program"),
        ("python3.9", "is Python 3.9. Transcriber needs 3.11"),
        ("python3.10", "is Python 3.10. Transcriber needs 3.11"),
        ("python3.11", "apt-get install python3.11-venv"),
        ("pypy3", "is not a CPython that runs"),
    ],
)
def test_chosen_python_that_can_not_be_used_is_refused_not_replaced(
    tmp_path: Path, chosen: str, cause: str
) -> None:
    result = find_python(
        tmp_path / "bin",
        chosen=chosen,
        python3="echo 3.13 yes",
        python3_9="echo 3.9 yes",
        python3_10="echo 3.10 yes",
        python3_11="echo 3.11 no",
        pypy3="exit 1",
    )

    assert (result.returncode, result.stdout) == (1, "")
    assert cause in result.stderr


def test_environment_follows_the_chosen_python_and_keeps_it(made: Tree) -> None:
    """The other Python is this one under another prefix: its own library, as a second installation has."""
    other = made.root / "other" / "bin" / "python3"
    library = Path(sysconfig.get_path("stdlib"))
    other.parent.mkdir(parents=True)
    shutil.copy(Path(sys.base_exec_prefix) / "bin" / f"python3.{sys.version_info.minor}", other)
    for folder in {library.parent.name, library.parent.parent.name} & {"lib", "lib64"}:
        (other.parents[1] / folder).symlink_to(library.parent)
    home = made.root / ".venv" / "pyvenv.cfg"

    first = home.read_text()
    made.start("--cpu", PYTHON=str(other))
    second = home.read_text()
    kept = home.stat().st_ino
    made.start("--cpu")
    made.start("--cpu", PYTHON=str(other))
    refused = made.run("run", "--cpu", PYTHON="/nowhere/python3")

    assert str(other.parent) not in first
    assert str(other.parent) in second
    assert home.stat().st_ino == kept
    assert refused.returncode != 0
    assert "PYTHON=/nowhere/python3: there is no such program" in refused.stderr


def test_real_python_is_described_truly() -> None:
    result = subprocess.run(
        [ROOT / "scripts" / "find-python"],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )

    assert result.stdout.strip() == sys.executable


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_missing_tools_are_named_loudly_and_fail_in_ci(tmp_path: Path, ci: str, status: int) -> None:
    (tmp_path / "id").symlink_to(shutil.which("id") or "/usr/bin/id")

    result = subprocess.run(
        [ROOT / "scripts" / "tools"],
        env={"PATH": str(tmp_path), "CI": ci},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )

    assert result.returncode == status
    assert "SKIPPED" in result.stderr
    assert "sudo apt-get install chromium gcc" in result.stderr


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_service_is_installed_upgraded_and_removed(tree: Tree, tmp_path: Path) -> None:
    target = tmp_path / "target"
    install = ("install-service", "--cpu", "--root", str(target))
    home = target / "opt" / "transcriber"
    settings = target / "etc" / "transcriber" / "transcriber.env"
    unit = target / "etc" / "systemd" / "system" / "transcriber.service"
    (tree.root / "flask-app" / "app.py").chmod(0o600)
    refused = tree.run(*install, "--upgrade")
    assert refused.returncode == 1

    first = tree.run(*install, PLACED="")

    assert first.returncode == 0, first.stderr
    release = (home / "current").resolve()
    assert release.parent == home / "releases"
    assert unit.read_text() == (ROOT / "systemd" / "transcriber.service").read_text()
    assert (mode(settings), mode(home / "current" / "flask-app" / "app.py")) == (0o600, 0o644)
    # The service's user is not the one who installs.
    assert (home / "models").stat().st_mode & 0o044 == 0o044
    for word in directive(unit, "ExecStart").split():
        assert (target / word.removeprefix("/")).exists()

    settings.write_text("WHISPER_PORT=5001\n")
    for _ in range(2):
        upgraded = tree.run(*install, "--upgrade", PLACED="")
        assert upgraded.returncode == 0, upgraded.stderr

    assert settings.read_text() == "WHISPER_PORT=5001\n"
    assert (home / "current").resolve() != release
    assert len(list((home / "releases").iterdir())) == 2
    assert not release.exists()

    removed = tree.run("install-service", "--remove", "--root", str(target))

    assert removed.returncode == 0, removed.stderr
    assert (home.exists(), unit.exists(), settings.exists()) == (False, False, True)
    assert tree.run("install-service", "--remove", "--purge", "--root", str(target)).returncode == 0
    assert [path for path in target.rglob("*") if path.is_file()] == []


def directive(unit: Path, name: str) -> str:
    lines = unit.read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))


def test_upgrade_that_fails_leaves_the_release_in_use(tree: Tree, tmp_path: Path) -> None:
    install = ("install-service", "--cpu", "--root", str(tmp_path / "target"))
    assert tree.run(*install, PLACED="").returncode == 0
    current = tmp_path / "target" / "opt" / "transcriber" / "current"
    before = current.resolve()
    (tree.root / "requirements-cpu.txt").write_text("fake_core==9.9 --hash=sha256:" + "0" * 64 + "\n")

    result = tree.run(*install, "--upgrade", PLACED="")

    assert result.returncode != 0
    assert current.resolve() == before


def test_install_that_fails_leaves_nothing(tree: Tree, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tree.root / "requirements-cpu.txt").write_text("fake_core==9.9 --hash=sha256:" + "0" * 64 + "\n")

    result = tree.run("install-service", "--cpu", "--root", str(target), PLACED="")

    assert result.returncode != 0
    assert [path for path in target.rglob("*") if path.is_file() or path.is_symlink()] == []


def test_settings_address_is_the_sockets(tree: Tree, tmp_path: Path) -> None:
    target = tmp_path / "target"
    settings = target / "etc" / "transcriber" / "transcriber.env"
    settings.parent.mkdir(parents=True)
    settings.write_text('WHISPER_HOST=0.0.0.0\nWHISPER_PORT="5001"\n')

    assert tree.run("install-service", "--cpu", "--root", str(target), PLACED="").returncode == 0

    address = target / "etc" / "systemd" / "system" / "transcriber.socket.d" / "address.conf"
    assert address.read_text().splitlines()[1:] == ["[Socket]", "ListenStream=", "ListenStream=0.0.0.0:5001"]
