"""What a reverse proxy of the operator's own says about the request: below which path it serves us, and by which scheme."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = structlog.get_logger(__name__)

#: One or more plain segments; none that a browser would read as another host, or as a step up.
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")


class TrustedProxy:
    """Takes X-Forwarded-Prefix and X-Forwarded-Proto, from the networks of WHISPER_TRUSTED_PROXIES alone."""

    def __init__(self, app: WSGIApplication, networks: Iterable[str]) -> None:
        self._app = app
        trusted = tuple(ipaddress.ip_network(network) for network in networks)
        self._is_trusted = lru_cache(maxsize=1024)(lambda address: _is_within(address, trusted))
        self._has_warned = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        prefix = environ.get("HTTP_X_FORWARDED_PREFIX", "").rstrip("/")
        if self._is_trusted(environ.get("REMOTE_ADDR", "")):
            if _PREFIX.fullmatch(prefix):
                _serve_below(prefix, environ)
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
        elif prefix and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "forwarded_prefix_ignored",
                address=environ.get("REMOTE_ADDR", ""),
                fix="Name the proxy's network in WHISPER_TRUSTED_PROXIES.",
            )
        return self._app(environ, start_response)


def _serve_below(prefix: str, environ: WSGIEnvironment) -> None:
    """Addresses that we give begin with the prefix; one that the proxy left in the path is taken off."""
    path = environ.get("PATH_INFO", "")
    environ["SCRIPT_NAME"] = prefix
    if path == prefix or path.startswith(f"{prefix}/"):
        environ["PATH_INFO"] = path[len(prefix) :] or "/"


def _is_within(address: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in networks)
