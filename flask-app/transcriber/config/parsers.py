"""What a setting's text may be, and what becomes of it; and the form of one row of the table in config/schema.py."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def text(value: str) -> str:
    """The text as it is."""
    return value


def key(value: str) -> str:
    """A key that can be sent in a header."""
    # A key that can't be sent, or that was left empty by mistake, is no protection.
    if not value.strip() or not value.isprintable():
        raise ValueError("printable characters on one line, not spaces alone")
    if value != unquoted(value):
        # Clients send it without them: whether they belong to the key can't be known.
        raise ValueError("a key without quotes or spaces around it")
    return value


def unquoted(value: str) -> str:
    """The value without the spaces, and then the one pair of quotes, that files of variables leave around it."""
    bare = value.strip()
    if len(bare) > 1 and bare[0] in "\"'" and bare[0] == bare[-1] and bare[0] not in bare[1:-1]:
        return bare[1:-1].strip()
    return bare


_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?", re.IGNORECASE)


def address(value: str) -> str:
    """An address to listen on; an IPv6 one may be in brackets, as in URLs."""
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        if bare != value or not _NAME.fullmatch(bare) or max(map(len, bare.split("."))) > 63:
            raise ValueError("an IP address or a host name, without a port") from None
    return bare


def host_names(value: str) -> tuple[str, ...]:
    """Host names, comma-separated: of a URL its host, of *.example.org every name below it."""
    return tuple(_host_name(unquoted(item)) for item in re.split(r"[,\s]+", value) if item)


def _host_name(item: str) -> str:
    scheme, found, rest = item.partition("://")
    bare = (rest if found else scheme).partition("/")[0].lower()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    if bare == "*" or _is_address(bare):
        return bare
    below = bare.startswith("*.")
    try:
        # What browsers send for a name outside ASCII.
        name = bare.removeprefix("*.").encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name):
        raise ValueError("host names as example.org or *.example.org, comma-separated, or * for all")
    return f"*.{name.rstrip('.')}" if below else name.rstrip(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._~:\[\]-]+", re.IGNORECASE)


#: Browsers leave these ports out of an Origin header.
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def origins(value: str) -> tuple[str, ...]:
    """Origins, comma-separated, as browsers send them: without their scheme's own port."""
    found = tuple(_without_default_port(origin) for origin in words(value))
    for origin in found:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(
                "origins as browsers send them, as https://app.example (no path, no wildcard; xn--… outside ASCII), "
                "comma-separated, or *"
            )
    return found


def _without_default_port(origin: str) -> str:
    port = _DEFAULT_PORTS.get(origin.partition("://")[0].lower())
    return origin.removesuffix(port) if port else origin


def networks(value: str) -> tuple[str, ...]:
    """Networks, comma-separated."""
    networks = words(value)
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError("networks as 10.0.0.0/8 or fd00::/8, comma-separated") from None
    return networks


def boolean(value: str) -> bool:
    """true or false, in the words people use."""
    lowered = value.strip().lower()
    if lowered in _TRUE | _FALSE:
        return lowered in _TRUE
    raise ValueError("true or false")


def path(value: str) -> Path:
    """A path, made absolute."""
    try:
        made = Path(value).expanduser().resolve()
        if not _is_too_long(made):
            return made
    except (OSError, RuntimeError, ValueError):
        pass
    raise ValueError("a path without a loop of links and not too long; ~ is a home directory that is known")


def _is_too_long(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def database_url(value: str) -> str:
    """The address of a PostgreSQL database."""
    try:
        parts = urlsplit(value)
        named = parts.scheme in ("postgresql", "postgres") and parts.path.strip("/") and parts.port != 0
    except ValueError:
        named = False
    if not named:
        raise ValueError("postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return value.replace("postgres://", "postgresql://", 1)


def shared_folder(value: str) -> str:
    """The address of a folder that all nodes of a fleet mount."""
    if not value.startswith("file:///") or value == "file:///":
        raise ValueError("file:///FOLDER, a folder that every node mounts at this place")
    return value


def lengths(value: str) -> tuple[str, ...]:
    """Of which length jobs are taken."""
    found = tuple(dict.fromkeys(words(value)))
    if not found or not set(found) <= {"short", "long"}:
        raise ValueError("short, long or short,long")
    return found


def name_or_path(value: str) -> str:
    """A name, or a path, made absolute where it shows that it is one by how it begins."""
    return str(path(value)) if value.startswith((".", "~", "/")) else value


def words(value: str) -> tuple[str, ...]:
    """Words, comma-separated."""
    return tuple(word.strip() for word in value.split(",") if word.strip())


def pairs(value: str) -> tuple[tuple[str, str], ...]:
    """Names and what each stands for: NAME=VALUE, comma-separated."""
    found = []
    for word in words(value):
        name, sign, target = (part.strip() for part in word.partition("="))
        if not name or not sign or not target:
            raise ValueError("NAME=MODEL, comma-separated")
        found.append((name, target))
    return tuple(found)


#: Endings of the files that transcripts are written as; formats/table.py makes them, and a test compares.
TRANSCRIPT_FORMATS = ("srt", "vtt", "ass", "txt", "tsv", "json", "verbose_json", "docx")


def formats(value: str) -> tuple[str, ...]:
    """Formats of transcripts, comma-separated."""
    found = tuple(dict.fromkeys(word.lower() for word in words(value)))
    if not found or not set(found) <= set(TRANSCRIPT_FORMATS):
        raise ValueError(f"some of {', '.join(TRANSCRIPT_FORMATS)}, comma-separated")
    return found


def folders(value: str) -> tuple[Path, ...]:
    """Folders, colon-separated, made absolute."""
    return tuple(path(part) for part in value.split(os.pathsep) if part)


def arguments(value: str) -> tuple[str, ...]:
    """A command line, split at spaces."""
    return tuple(value.split())


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from low to high."""

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"a whole number from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """One of these words, in any case."""

    def parse(value: str) -> str:
        if value.strip().lower() not in allowed:
            raise ValueError(" or ".join(allowed))
        return value.strip().lower()

    return parse


def setting(default: Any, names: str, parse: Callable[[str], Any], help: str, *, secret: bool = False) -> Any:
    """One row. `names`: the variables it is read from, the first that is set wins."""
    return field(
        default=default,
        metadata={"names": tuple(names.split()), "parse": parse, "help": help, "secret": secret},
    )
