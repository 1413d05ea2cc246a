"""The WSGI application; run as a program, it becomes gunicorn.

python app.py            serve, as scripts/run and the systemd unit do
gunicorn -c gunicorn.conf.py app:app
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def serve() -> None:
    """Become gunicorn, before anything is built: children belong to the worker, not to this process."""
    command = [sys.executable, "-m", "gunicorn", "-c", str(HERE / "gunicorn.conf.py"), "app:app"]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    serve()

sys.path.insert(0, str(HERE))

from transcriber.bootstrap import build  # noqa: E402
from transcriber.web import create_app  # noqa: E402

application = build(os.environ)
app = create_app(application)
