"""The assembled application behind the request that is being served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from flask import current_app

from .auth.sessions import Sessions
from .auth.throttle import Tries
from .client_disconnect import Waiters
from .device_cache import RanOn

if TYPE_CHECKING:
    from ..server.lifecycle import Application

#: Where create_app keeps it.
EXTENSION = "transcriber"

#: Where create_app keeps what the web itself remembers.
MEMORY = "transcriber-web"


@dataclass(frozen=True)
class Memory:
    """What the web remembers between requests."""

    sessions: Sessions
    waiters: Waiters = field(default_factory=Waiters)
    ran_on: RanOn = field(default_factory=RanOn)
    tries: Tries = field(default_factory=Tries)


def application() -> Application:
    """The parts that bootstrap put together."""
    return cast("Application", current_app.extensions[EXTENSION])


def waiters() -> Waiters:
    """The connections that wait for a job."""
    return _memory().waiters


def ran_on() -> RanOn:
    """Where finished jobs ran, for lists of them."""
    return _memory().ran_on


def sessions() -> Sessions:
    """Browsers that signed in."""
    return _memory().sessions


def tries() -> Tries:
    """Wrong keys of late."""
    return _memory().tries


def _memory() -> Memory:
    return cast(Memory, current_app.extensions[MEMORY])
