"""Why live captions can't be had. Import them from errors, which has the whole tree."""

from __future__ import annotations

from .base import CapacityError
from .request import RequestError


class WebSocketRequiredError(RequestError):
    """This address speaks WebSocket alone."""

    code = "websocket_required"
    fix = "Open it as a WebSocket (ws:// or wss://), or send a file to /v1/audio/transcriptions."


class LiveUnavailableError(CapacityError):
    """This node holds no engine, so it has no live captions."""

    code = "live_unavailable"
    fix = "Connect to a service with WHISPER_ROLE=all and WHISPER_LIVE_SESSIONS above 0, or send a file."


class LiveSessionsFullError(CapacityError):
    """As many live sessions are open as this installation allows."""

    code = "live_sessions_full"
    fix = "Connect again when one has ended, or raise WHISPER_LIVE_SESSIONS."


class ListenerError(CapacityError):
    """The child process that listens to live sound has ended."""

    code = "listener_failed"
    fix = "Connect again; if it happens again, see the log for the child's last words."
