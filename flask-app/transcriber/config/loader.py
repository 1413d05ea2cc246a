"""Reading the settings: from the environment, checked, with those applied that speak of others.

Read once, in server/ alone; parts get plain values. The table is in config/schema.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..domain.errors import ConfigError
from ..system.paths import PROJECT
from .schema import SettingRow, Settings, rows_of_settings

__all__ = [
    "SettingRow",
    "Settings",
    "check_listening",
    "is_loopback",
    "load",
    "rows_of_settings",
    "settings_markdown",
]


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from these variables. Raises ConfigError that names the variable and what is allowed."""
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
            if given == "":
                continue
            try:
                values[f.name] = f.metadata["parse"](given)
            except ValueError as error:
                shown = "its value" if f.metadata["secret"] else repr(given)
                raise ConfigError(
                    f"{name} was {shown}; allowed: {error}.",
                    param=name,
                    fix=f"Set {name} to {error}, or unset it.",
                ) from None
            sources[f.name] = name
            break
    return _resolve(Settings(**values, sources=sources))


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
    for name in ("gpu_compute_type", "cpu_compute_type"):
        parse = next(f.metadata["parse"] for f in fields(Settings) if f.name == name)
        if settings.compute_type and name not in sources:
            try:
                changes[name] = parse(settings.compute_type)
                sources[name] = "COMPUTE_TYPE"
            except ValueError:
                continue
    current = {f.name: getattr(settings, f.name) for f in fields(Settings)}
    return Settings(**(current | changes | {"sources": sources}))


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
        fix="Make a key (python -m transcriber keys add NAME --role admin), or set WHISPER_ALLOW_ANONYMOUS=true "
        "if everyone who reaches the port may use the service.",
    )


_MARKDOWN_HEAD = """# Settings

Environment variables, read once at start. Where a row has several names, the first that is set wins, so `WHISPER_*`
beats the bare names that operators know. An unknown `WHISPER_*` variable, or a value that is not allowed, refuses the
start with the name and what is allowed. `GET /diagnostics` and `python -m transcriber doctor` show the settings in
force with their source. This page is written by `scripts/docs` from `flask-app/transcriber/config/schema.py`.

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
        else:
            default = "" if row.default in (None, (), "") else str(row.default)
        lines.append(
            f"| {names} | {f'`{default}`' if default else 'empty'} | {row.help.replace('|', '/')} |\n"
        )
    return _MARKDOWN_HEAD + "".join(lines)
