"""Who may ask: the Host and Origin guards, the API key, and the headers on every answer."""

from __future__ import annotations

import ipaddress
import math
import re
import secrets
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request

from ...domain.errors import (
    HostNotAllowedError,
    OriginNotAllowedError,
    RoleNotAllowedError,
    TooManyTriesError,
    UnauthorizedError,
)
from ...domain.keys import Principal
from ..connection_guard import client_socket
from ..extensions import application, sessions, tries
from ..fixed_headers import FIXED_HEADERS
from ..openapi.operations import find_operation
from . import cors, csrf
from .access import check_owner, named_by_address, principal
from .sign_in import COOKIE

#: Methods that change nothing, so that a page of another site may cause them.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: Endpoints that answer without a key, and then without details: load balancers have none.
HEALTH_ENDPOINTS = frozenset({"health.health", "health.live", "health.ready"})

#: What answers without a key: health, and what signing in needs. The style sheet and the scripts are no secret.
OPEN_ENDPOINTS = HEALTH_ENDPOINTS | {
    "sign_in.show",
    "sign_in.sign_in",
    "language.choose",
    "pages.favicon",
    "static",
}

#: The policy's word for this service itself.
OWN = "'self'"

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD_ADDRESSES = frozenset({"", "0.0.0.0", "::"})
_DEFAULT_PORTS = {"http": 80, "https": 443}

#: A Host header: a name or address, an IPv6 one in brackets, and perhaps a port. No user, no path.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{0,5})?")


@dataclass(frozen=True, kw_only=True)
class HostRule:
    """The host names that this installation answers for."""

    names: frozenset[str]
    any_address: bool
    any_name: bool

    @classmethod
    def build(cls, listening: str, further: Iterable[str]) -> HostRule:
        """Loopback, the address listened on, this machine's name and the operator's names."""
        own = {listening, socket.gethostname(), socket.getfqdn()}
        named = {_bare(name) for name in {*own, *further}}
        return cls(
            names=frozenset(named | LOOPBACK_NAMES) - WILDCARD_ADDRESSES,
            # Rebinding needs a name: who listens on all addresses may be called by any of them.
            any_address=listening in WILDCARD_ADDRESSES,
            any_name="*" in further,
        )

    def allows(self, host: str) -> bool:
        """Whether a Host header may be served; one that is absent comes from no browser."""
        if not host:
            return True
        name = _name_in(host)
        if name is None:
            return False
        below = name.partition(".")[2]
        return (
            self.any_name
            or name in self.names
            or (self.any_address and _is_address(name))
            or any(f"*.{parent}" in self.names for parent in _parents(below))
        )


def init_app(app: Flask) -> None:
    """Guard every request and set the headers of every answer."""
    settings = application_settings(app)
    rule = HostRule.build(settings.host, settings.allowed_hosts)
    cors_rule = cors.CorsRule.build(settings.cors_origins)

    def guard() -> Response | None:
        g.csp_nonce = secrets.token_urlsafe(16)
        g.session = None
        by_key, wait = judge_key()
        g.principal = by_key
        g.authorised = by_key is not None
        check_host(rule)
        if (preflight := cors.answer_preflight(cors_rule)) is not None:
            return preflight
        origin, needs_key = request.headers.get("Origin"), application().keys.is_needed
        is_allowed = cors_rule.allows(origin, has_key=by_key is not None and needs_key)
        is_foreign = is_allowed and not is_same_origin(origin or "", request.environ.get("HTTP_HOST", ""))
        if by_key is None and not is_foreign:
            find_session()
        if wait and request.endpoint not in OPEN_ENDPOINTS:
            tries().hold_back(request.remote_addr or "")
            raise TooManyTriesError(wait)
        check_key()
        if g.authorised:
            check_owner(named_by_address())
            check_role()
        if not (is_foreign or (by_key is not None and carries_bearer())):
            check_origin()
        if g.session is not None:
            check_token()
        if g.authorised and (sock := client_socket(request.environ)) is not None:
            sock.trust()
        return None

    app.before_request(guard)
    app.after_request(set_headers)
    cors.init_app(app, cors_rule)
    app.context_processor(lambda: {"csp_nonce": g.get("csp_nonce", "")})


def check_host(rule: HostRule) -> None:
    """Raises HostNotAllowedError: a foreign name that resolves to us is how DNS rebinding begins."""
    host = request.environ.get("HTTP_HOST", "")
    if not rule.allows(host):
        raise HostNotAllowedError(f"This service does not answer for the host {host[:80]!r}.")


def check_key() -> None:
    """Raises UnauthorizedError where a key is needed; before routing errors, so that nothing is revealed."""
    if not g.authorised and request.endpoint not in OPEN_ENDPOINTS:
        raise UnauthorizedError()


def carries_bearer() -> bool:
    """Whether a key is asked for and came as a Bearer token: no page of another site can send that without ours to allow
    it, whatever cookies come along. A Basic password is sent by browsers on their own."""
    given = request.authorization
    return application().keys.is_needed and given is not None and given.type == "bearer"


def find_session() -> None:
    """Who asks by a cookie."""
    found = sessions().find(request.cookies.get(COOKIE, ""))
    if found is not None:
        g.session, g.principal = found
        g.authorised = True


def check_role() -> None:
    """Raises RoleNotAllowedError."""
    view = current_app.view_functions.get(request.endpoint or "")
    operation = None if view is None else find_operation(view)
    if operation is None or request.endpoint in OPEN_ENDPOINTS:
        return
    if principal().role not in operation.roles:
        raise RoleNotAllowedError(f"The role {principal().role.value} does not allow this.")


def check_origin() -> None:
    """Raises OriginNotAllowedError when a page of another site may have sent a changing request."""
    if request.method not in SAFE_METHODS:
        _insist_on_origin()


def check_socket_origin() -> None:
    """The same for a WebSocket, which pages of other sites may open, cookies and all. A key in the header is no page's."""
    if not (request.authorization is not None and g.session is None and carries_bearer()):
        _insist_on_origin()


def _insist_on_origin() -> None:
    origin = request.headers.get("Origin")
    if origin is not None:
        allowed = is_same_origin(origin, request.environ.get("HTTP_HOST", ""), is_secure=request.is_secure)
    else:
        # A browser that names no origin may still send its cookies along; curl has none.
        allowed = "Cookie" not in request.headers
    site = request.headers.get("Sec-Fetch-Site", "none")
    if not allowed or site not in ("same-origin", "none"):
        raise OriginNotAllowedError()


def check_token() -> None:
    """Raises CsrfTokenError where the cookie alone would allow a change; what is open to all needs no token."""
    if request.method not in SAFE_METHODS and request.endpoint not in OPEN_ENDPOINTS:
        csrf.check_request()


def is_same_origin(origin: str, host: str, *, is_secure: bool = False) -> bool:
    """Whether the Origin header names the scheme, host and port the request was sent to, and nothing else.

    Where nobody said that the request came by https, both schemes may be its own: a proxy may have ended TLS without
    a word. Where somebody did, a page that came by http may be anybody's.
    """
    try:
        split = urlsplit(origin)
        port = split.port or _DEFAULT_PORTS.get(split.scheme)
        target = urlsplit(f"{split.scheme}://{host}")
        same_port = (target.port or _DEFAULT_PORTS.get(split.scheme)) == port
    except ValueError:
        return False
    is_plain = split.netloc.rpartition("@")[1] == "" and origin == f"{split.scheme}://{split.netloc}"
    same_scheme = split.scheme == "https" or (split.scheme == "http" and not is_secure)
    return (
        is_plain and same_scheme and bool(split.hostname) and split.hostname == target.hostname and same_port
    )


def judge_key() -> tuple[Principal | None, int]:
    """Who has the key that the request carries, as Bearer token or as Basic password; and the seconds that its address
    has to wait, since too many wrong ones came from there: then what it carries was not looked at."""
    keys = application().keys
    if not keys.is_needed:
        return keys.anyone(), 0
    given = _given_key()
    if not given:
        return None, 0
    found = keys.find(given)
    wait = tries().judge(request.remote_addr or "", is_right=found is not None)
    return (None if wait else found), math.ceil(wait)


def set_headers(response: Response) -> Response:
    """Headers for every answer, errors and files included."""
    headers = response.headers
    headers["Content-Security-Policy"] = g.get("csp_own") or (
        f"default-src 'self'; script-src 'self' 'nonce-{g.get('csp_nonce', '')}'; "
        f"style-src 'self' 'nonce-{g.get('csp_nonce', '')}'; "
        f"img-src {g.get('csp_images', OWN)}; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )
    headers.update(FIXED_HEADERS)
    if request.endpoint != "static":
        headers["Cache-Control"] = "no-store"
    return response


def application_settings(app: Flask) -> Any:
    """The settings of the assembled application, while the app is being built."""
    with app.app_context():
        return application().settings


def _given_key() -> bytes:
    given = request.authorization
    if given is None:
        return b""
    if given.type == "basic":
        return (given.password or "").encode()
    if given.type != "bearer":
        return b""
    # Werkzeug takes a key with "=" in it for parameters. Header values arrive as Latin-1: these are the bytes that were sent.
    return request.headers["Authorization"].partition(" ")[2].strip().encode("latin-1")


def _name_in(header: str) -> str | None:
    """The name or address in a Host header, without port and brackets; None for what is no Host header."""
    match = _HOST.fullmatch(header.strip().lower())
    return None if match is None else (match[1] or match[2]).removesuffix(".")


def _bare(host: str) -> str:
    """The name or address in a setting: no port, no brackets, lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.rstrip(".")


def _parents(name: str) -> Iterator[str]:
    """b.example.org, example.org, org."""
    while name:
        yield name
        name = name.partition(".")[2]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
