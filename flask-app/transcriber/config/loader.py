"""Reading the settings: from the environment, checked, with those applied that speak of others.

Read once, in server/ alone; parts get plain values. The table is in config/schema.py.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..domain.errors import ConfigError
from ..system.paths import PACKAGE_PARENT, PROJECT
from .parsers import unquoted
from .schema import SettingRow, Settings, rows_of_settings

__all__ = [
    "SettingRow",
    "Settings",
    "absolute_paths",
    "check_listening",
    "is_loopback",
    "load",
    "rows_of_settings",
    "service_links",
    "settings_markdown",
]


_LINK_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_LINK_REST = re.compile(
    r"_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
)

#: Characters of a refused value that its message quotes.
_LONGEST_SHOWN = 200


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from these variables. Raises ConfigError that names the variable and what is allowed."""
    links = service_links(environ)
    environ = {name: value for name, value in environ.items() if name not in links}
    known = {name for row in rows_of_settings() for name in row.names}
    unknown = sorted(n for n in environ if n.startswith("WHISPER_") and n not in known)
    if unknown:
        raise ConfigError(
            f"Unknown setting {', '.join(unknown)}.",
            code="unknown_setting",
            fix="Check the spelling against docs/settings.md, or unset it.",
        )
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in fields(Settings):
        for name in f.metadata.get("names", ()):
            given = environ.get(name, "")
            if not f.metadata["secret"]:
                given = unquoted(given)
            if given == "":
                continue
            try:
                values[f.name] = f.metadata["parse"](given)
            except ValueError as error:
                raise _refused(name, None if f.metadata["secret"] else given, str(error)) from None
            if f.name == "data_dir":
                _refuse_forgotten_store(name, given, values[f.name])
            sources[f.name] = name
            break
    return _resolve(Settings(**values, sources=sources))


def service_links(environ: Mapping[str, str]) -> frozenset[str]:
    """The variables that Kubernetes sets in every pod for a Service called whisper, or whisper-something."""
    named = {name.removesuffix("_SERVICE_HOST") for name in environ if name.endswith("_SERVICE_HOST")}
    services = {name for name in named if name == "WHISPER" or name.startswith("WHISPER_")}
    found = set()
    for name, value in environ.items():
        if _LINK_ADDRESS.match(value) and (name == "WHISPER_PORT" or name.removesuffix("_PORT") in services):
            found.add(name)
        if any(
            _LINK_REST.fullmatch(name.removeprefix(service))
            for service in services
            if name.startswith(service)
        ):
            found.add(name)
    return frozenset(found)


def absolute_paths(settings: Settings) -> dict[str, str]:
    """The variables that gave a path, with the absolute one: for processes that run in another folder."""
    found = {}
    for f in fields(Settings):
        name, value = settings.sources.get(f.name, ""), getattr(settings, f.name)
        if name not in f.metadata.get("names", ()):
            continue
        if isinstance(value, Path) or (f.name == "model" and value.startswith("/")):
            found[name] = str(value)
        elif f.name == "cudnn_extra_lib_dirs":
            found[name] = os.pathsep.join(map(str, value))
    return found


def _refuse_forgotten_store(name: str, given: str, folder: Path) -> None:
    """Raises ConfigError where a relative folder holds the jobs that an earlier release kept at its own place.

    Until 2026-11 a relative folder meant one below flask-app for the service, and one below the caller's for its tools.
    """
    before = (PACKAGE_PARENT / given).resolve()
    if before == folder or not os.path.exists(before / "jobs.sqlite3"):
        return
    raise ConfigError(
        f"{name}={given} is {folder} now, and there are jobs of an earlier release in {before}.",
        code="data_dir_ambiguous",
        param=name,
        fix=f"Keep those: set {name}={before}, or move that folder to {folder}. Or move it away.",
    )


def _resolve(settings: Settings) -> Settings:
    """Apply the settings that speak about other settings."""
    changes: dict[str, Any] = {}
    sources = dict(settings.sources)
    if settings.device == "cpu":
        changes["gpu_policy"] = "off"
        sources["gpu_policy"] = f"{sources['device']}=cpu"
    elif settings.device == "cuda" and "default_use_gpu" not in sources:
        changes["default_use_gpu"] = True
        sources["default_use_gpu"] = f"{sources['device']}=cuda"
    for name, compute_type in _compute_types(settings.compute_type).items():
        if name not in sources:
            changes[name] = compute_type
            sources[name] = "COMPUTE_TYPE"
    current = {f.name: getattr(settings, f.name) for f in fields(Settings)}
    resolved = _require_fleet(Settings(**(current | changes | {"sources": sources})))
    _refuse_idle_watch(resolved)
    return resolved


def _compute_types(given: str) -> dict[str, Any]:
    """COMPUTE_TYPE for each setting that allows it. Raises ConfigError for a value that no device knows."""
    if not given:
        return {}
    found, allowed = {}, []
    for f in fields(Settings):
        if f.name in ("gpu_compute_type", "cpu_compute_type"):
            try:
                found[f.name] = f.metadata["parse"](given)
            except ValueError as error:
                allowed.append(f"{error} ({f.metadata['names'][0]})")
    if not found:
        raise _refused("COMPUTE_TYPE", given, "; ".join(allowed))
    return found


def _refused(name: str, given: str | None, allowed: str) -> ConfigError:
    """The refusal of a value; a secret's is None, and a long one is cut."""
    shown = "its value" if given is None else repr(given)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}… ({len(given or '')} characters)"
    return ConfigError(
        f"{name} was {shown}; allowed: {allowed}.", param=name, fix=f"Set {name} to {allowed}, or unset it."
    )


def _require_fleet(settings: Settings) -> Settings:
    """Raises ConfigError for a fleet that is configured by half, and names what is missing."""
    is_node = settings.role != "all"
    needed = {"WHISPER_DATABASE_URL": settings.database_url, "WHISPER_BLOB_URL": settings.blob_url}
    for name, value in needed.items():
        if is_node and not value:
            raise ConfigError(
                f"WHISPER_ROLE={settings.role} needs {name}, which is not set.",
                code="fleet_setting_missing",
                param=name,
                fix=f"Set {name} to what the other nodes have (docs/fleet.md), or unset WHISPER_ROLE.",
            )
    if settings.blob_url and not is_node:
        raise ConfigError(
            "WHISPER_BLOB_URL is set, and WHISPER_ROLE is all: one service on its own keeps its files in WHISPER_DATA_DIR.",
            code="fleet_setting_missing",
            param="WHISPER_ROLE",
            fix="Set WHISPER_ROLE to web or worker, or unset WHISPER_BLOB_URL.",
        )
    return settings


def _refuse_idle_watch(settings: Settings) -> None:
    """Raises ConfigError for settings of a watched folder that nobody would watch."""
    given = [name for field, name in settings.sources.items() if field.startswith("watch_")]
    if given and settings.watch_dir is None:
        raise ConfigError(
            f"{given[0]} is set, and WHISPER_WATCH_DIR is not: no folder is watched.",
            param=given[0],
            fix=f"Set WHISPER_WATCH_DIR to the folder with the media files, or unset {', '.join(given)}.",
        )
    if given and settings.role != "all":
        raise ConfigError(
            f"WHISPER_WATCH_DIR is set, and WHISPER_ROLE is {settings.role}: only one service on its own watches a folder.",
            param="WHISPER_WATCH_DIR",
            fix=f"Unset {', '.join(given)} here, or unset WHISPER_ROLE.",
        )


def is_loopback(host: str) -> bool:
    """Whether this address can be reached from this machine only. Of names, `localhost` alone is known to be."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listening(settings: Settings, *, has_key: bool) -> None:
    """Refuse to listen on a network address without a key, of the environment or the table. Raises ConfigError."""
    if is_loopback(settings.host) or has_key or settings.allow_anonymous:
        return
    raise ConfigError(
        f"WHISPER_HOST={settings.host} can be reached from the network, and there is no key.",
        code="key_required",
        param="WHISPER_HOST",
        fix="Set WHISPER_API_KEY to a long random text (openssl rand -hex 32), or make a key (python -m transcriber "
        "keys add NAME --role admin), or set WHISPER_ALLOW_ANONYMOUS=true "
        "if everyone who reaches the port may use the service.",
    )


_MARKDOWN_HEAD = """# Settings

Environment variables, read once at start. Where a row has several names, the first that is set wins, so `WHISPER_*`
beats the bare names that operators know. Spaces and one pair of quotes around a value are taken off, as files of
variables leave them there; around a key they are refused. A relative folder is below the one that the program was started in.
An unknown `WHISPER_*` variable, or a value that is not allowed, refuses the start with the name and what is allowed; variables
that Kubernetes sets for a Service named `whisper` (`WHISPER_PORT=tcp://…`) are passed over. `GET /diagnostics` and
`python -m transcriber doctor` show the settings in force with their source. This page is written by `scripts/docs` from `flask-app/transcriber/config/schema.py`.

| variable | default | meaning |
|---|---|---|
"""


def settings_markdown(rows: list[SettingRow]) -> str:
    """The page docs/settings.md."""
    lines = []
    for row in rows:
        names = ", ".join(f"`{name}`" for name in row.names)
        if isinstance(row.default, bool):
            default = str(row.default).lower()
        elif isinstance(row.default, Path):
            default = f"<project>/{row.default.relative_to(PROJECT)}"
        elif isinstance(row.default, tuple):
            default = ",".join(map(str, row.default))
        else:
            default = "" if row.default in (None, "") else str(row.default)
        lines.append(
            f"| {names} | {f'`{default}`' if default else 'empty'} | {row.help.replace('|', '/')} |\n"
        )
    return _MARKDOWN_HEAD + "".join(lines)
