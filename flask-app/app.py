"""The WSGI application; run as a program, it becomes gunicorn.

python app.py            serve, as scripts/run and the systemd unit do
gunicorn -c gunicorn.conf.py app:app
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from transcriber.domain.errors import TranscriberError  # noqa: E402
from transcriber.server import preflight  # noqa: E402
from transcriber.server.log_stream import guard_standard_streams  # noqa: E402


def serve() -> None:
    """Become gunicorn, before anything is built: children belong to the worker, not to this process."""
    guard_standard_streams()
    try:
        preflight.check_start(os.environ)
    except TranscriberError as error:
        raise preflight.refusal(error) from error
    command = [sys.executable, "-P", "-m", "gunicorn", "-c", str(HERE / "gunicorn.conf.py"), "app:app"]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    serve()

from transcriber.server.bootstrap import build  # noqa: E402
from transcriber.web import create_app  # noqa: E402

try:
    application = build(os.environ)
except TranscriberError as error:
    raise preflight.refusal(error) from error
app = create_app(application)
