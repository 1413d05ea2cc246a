"""The assembled application behind the request that is being served."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from ..application import Application

#: Where create_app keeps it.
EXTENSION = "transcriber"


def application() -> Application:
    """The parts that bootstrap put together."""
    return cast("Application", current_app.extensions[EXTENSION])
