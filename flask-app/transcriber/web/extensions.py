"""The assembled application behind the request that is being served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from flask import current_app

from .auth.sessions import Sessions
from .auth.throttle import SignInThrottle
from .client_disconnect import ConnectedClients
from .device_cache import DeviceCache
from .openai.resends import Resends

if TYPE_CHECKING:
    from ..server.lifecycle import Application

#: Where create_app keeps it.
EXTENSION = "transcriber"

#: Where create_app keeps what the web itself remembers.
MEMORY = "transcriber-web"


@dataclass(frozen=True)
class WebState:
    """What the web remembers between requests."""

    sessions: Sessions
    waiters: ConnectedClients = field(default_factory=ConnectedClients)
    device_cache: DeviceCache = field(default_factory=DeviceCache)
    resends: Resends = field(default_factory=Resends)
    tries: SignInThrottle = field(default_factory=SignInThrottle)


def application() -> Application:
    """The parts that bootstrap put together."""
    return cast("Application", current_app.extensions[EXTENSION])


def waiters() -> ConnectedClients:
    """The connections that wait for a job."""
    return _memory().waiters


def resends() -> Resends:
    """Requests of OpenAI's clients that may be sent again."""
    return _memory().resends


def device_cache() -> DeviceCache:
    """Where finished jobs ran, for lists of them."""
    return _memory().device_cache


def sessions() -> Sessions:
    """Browsers that signed in."""
    return _memory().sessions


def tries() -> SignInThrottle:
    """Wrong keys, recently."""
    return _memory().tries


def _memory() -> WebState:
    return cast(WebState, current_app.extensions[MEMORY])
