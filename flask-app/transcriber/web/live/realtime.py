"""GET /v1/realtime: live captions over a WebSocket, as OpenAI's realtime clients speak it (ADR 0024)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from flask import Blueprint, g, request
from pydantic import BaseModel, ConfigDict, Field

from ...domain import errors as e
from ...domain.options import TranscriptionOptions, TranscriptionRequest
from ...live.events import Ended
from ...live.session import LiveSession
from ..auth.access import owner_id, principal
from ..auth.security import check_socket_origin
from ..extensions import application
from ..forms import Flag, Whole, parse_query
from ..openai.models import ModelNames
from ..openapi.operations import Operation, OperationAnswer
from ..uploads.submissions import last_values
from .session_settings import changed_session
from .shapes import error_event, session_event, to_json
from .socket import SocketAnswer, SocketClosedError, WebSocket

bp = Blueprint("realtime", __name__)

#: The subprotocol that OpenAI's clients in browsers name.
SUBPROTOCOLS = ("realtime",)

#: How often it is looked whether the key still holds, in seconds.
_LOOK_SECONDS = 10.0

#: What a socket closes with: done, a restart, a key that holds no more, and another connection that has the session now.
_DONE, _RESTART, _REFUSED, _TAKEN = 1000, 1012, 1008, 4001


class RealtimeQuery(BaseModel):
    """How a session begins; session.update changes the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    intent: str = Field("transcription", pattern="^transcription$", description="transcription")
    model: str | None = Field(None, max_length=200, description="a model that is on this machine")
    use_gpu: Flag | None = Field(None, description="true or false (also 1/0, yes/no, on/off)")
    require_gpu: Flag = Field(False, description="true or false (also 1/0, yes/no, on/off)")
    session_id: str | None = Field(
        None, max_length=100, description="the id of a session whose connection was lost, to go on with it"
    )
    after: Whole = Field(0, ge=0, description="a whole number from 0: the number of the last event seen")


# Twice: Werkzeug keeps WebSockets apart, and whoever comes without one is to read why that does not work.
@bp.get("/v1/realtime")
@bp.route("/v1/realtime", websocket=True)
@Operation(
    "Live captions (OpenAI realtime, WebSocket)",
    tag="OpenAI",
    query=RealtimeQuery,
    answers={101: OperationAnswer("A WebSocket; docs/live.md has its messages.")},
    raises=(
        e.WebSocketRequiredError,
        e.InvalidParameterError,
        e.ModelNotFoundError,
        e.OriginNotAllowedError,
        e.LiveUnavailableError,
        e.LiveSessionsFullError,
        e.ListenerError,
        e.QueueFullError,
        e.GpuRequiredError,
        e.ShuttingDownError,
        e.StorageFailedError,
        e.StorageFullError,
    ),
)
def realtime() -> SocketAnswer:
    """The session's sound and captions become a job. A lost connection may come back within 45 seconds."""
    check_socket_origin()
    asked = parse_query(RealtimeQuery, last_values(request.args))
    talk = Conversation()
    answer = SocketAnswer(talk, SUBPROTOCOLS)
    talk.begin(asked)
    return answer


class Conversation:
    """One connection to one session."""

    def __init__(self) -> None:
        app = application()
        self._app = app
        self._who = principal()
        self._owner = owner_id()
        self._names = ModelNames(app.default_model, app.settings.model_aliases)
        self._session: LiveSession
        self._after = 0
        self._own: dict[str, Any] = {}
        self._kind = "session.created"

    def begin(self, asked: RealtimeQuery) -> None:
        """Have the session. Raises what opening one raises."""
        known = asked.session_id and self._app.live.find(asked.session_id, self._owner)
        if known:
            self._session, self._after, self._kind = known, asked.after, "session.updated"
            return
        settings = self._app.settings
        wanted = TranscriptionRequest(
            model=self._names.resolve(asked.model),
            use_gpu=settings.default_use_gpu if asked.use_gpu is None else asked.use_gpu,
            require_gpu=asked.require_gpu,
            options=TranscriptionOptions(),
        )
        self._app.live.check()
        checked = self._app.service.check(wanted)
        self._session = self._app.live.open(checked, owner=self._owner, request_id=g.request_id)

    def __call__(self, socket: WebSocket) -> None:
        """The whole conversation."""
        session = self._session
        connection = session.attach()
        is_clean = False
        try:
            socket.send(json.dumps(session_event(self._kind, session, {})))
            threading.Thread(
                target=self._tell, args=(socket, connection), name=f"{session.id}-events", daemon=True
            ).start()
            while True:
                self._hear(socket, socket.receive())
        except SocketClosedError as closed:
            is_clean = closed.is_clean
        finally:
            if is_clean and session.is_held_by(connection):
                session.stop()
            else:
                session.detach(connection)

    def _tell(self, socket: WebSocket, connection: int) -> None:
        """Thread: send what the session says, until it is over or another connection has it."""
        session, after = self._session, self._after
        try:
            while session.is_held_by(connection):
                for number, event in session.events(after, connection, _LOOK_SECONDS):
                    after = number
                    if isinstance(event, Ended):
                        socket.close(_RESTART if event.by_service else _DONE)
                        return
                    socket.send(json.dumps(to_json(number, event), ensure_ascii=False))
                if not self._app.keys.is_valid(self._who):
                    socket.close(_REFUSED, "the key is not valid any more")
                    return
            socket.close(_TAKEN, "another connection has the session")
        except SocketClosedError:
            return

    def _hear(self, socket: WebSocket, text: str) -> None:
        """One message; what is wrong with it is told, and the session goes on."""
        event_id = None
        try:
            message = _parsed(text)
            event_id = message.get("event_id")
            self._handler(message)(message)
            if message["type"] == "session.update":
                socket.send(json.dumps(session_event("session.updated", self._session, self._own)))
        except e.TranscriberError as error:
            kind = "server_error" if isinstance(error, e.CapacityError) else "invalid_request_error"
            socket.send(json.dumps(error_event(error, kind, event_id)))

    def _handler(self, message: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
        handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": lambda message: self._session.commit(),
            "input_audio_buffer.clear": lambda message: self._session.clear(),
        }
        found = handlers.get(message["type"])
        if found is None:
            raise e.InvalidParameterError("type", message["type"], " or ".join(handlers))
        return found

    def _update(self, message: dict[str, Any]) -> None:
        session = self._session
        made, model = changed_session(message.get("session", {}), session.format, session.request)
        wanted = made.request
        if model is not None:
            wanted = TranscriptionRequest(
                model=self._names.resolve(model),
                use_gpu=wanted.use_gpu,
                require_gpu=wanted.require_gpu,
                options=wanted.options,
            )
        session.configure(made.format, self._app.service.check(wanted))
        self._own = {"ignored": list(made.ignored)}

    def _append(self, message: dict[str, Any]) -> None:
        audio = message.get("audio")
        if not isinstance(audio, str):
            raise e.InvalidParameterError("audio", audio, "sound in base64")
        self._session.hear(audio)


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise e.BadRequestError("A message has to be a JSON object with a type.")
    return message
