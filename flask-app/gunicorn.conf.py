"""How gunicorn serves Transcriber: each setting with its reason."""

import contextlib
import functools
import gc
import os
import resource
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from gunicorn.glogging import Logger  # noqa: E402

from transcriber.config.loader import absolute_paths, load  # noqa: E402
from transcriber.domain.errors import ConfigError  # noqa: E402
from transcriber.server.exit_reason import ExitReason  # noqa: E402
from transcriber.server.listening import adopt_socket  # noqa: E402
from transcriber.server.log_stream import guard_standard_streams  # noqa: E402
from transcriber.server.logging import configure_logging  # noqa: E402
from transcriber.server.preflight import EXIT_WRONG_SETTING, check_network, exit_status, say_refused  # noqa: E402
from transcriber.server.systemd_notify import notify, take_notify_socket  # noqa: E402
from transcriber.server.watchdog import Vitals, Watchdog, WatchedHeartbeat  # noqa: E402
from transcriber.system import prctl  # noqa: E402

guard_standard_streams()
try:
    # The address that systemd holds is the true one.
    adopt_socket(os.environ)
    settings = load(os.environ)
    check_network(settings)
except ConfigError as error:
    sys.stderr.write(f"transcriber: {error.message} {error.fix}\n")
    sys.exit(EXIT_WRONG_SETTING)
# The worker reads them again below `chdir`, where a relative path would be another.
os.environ.update(absolute_paths(settings))

# Why the worker could not start, or ended for want of a GPU; made here, so that it is shared with the worker.
last_word = ExitReason()

# gunicorn would say READY=1 before a worker serves, and nothing after. Here the worker notes how it is in shared memory,
# and the master, whom alone systemd hears (NotifyAccess=main), speaks for it.
notify_socket = take_notify_socket(os.environ)
vitals = Vitals()
watchdog = Watchdog(vitals, functools.partial(notify, notify_socket)) if notify_socket else None

chdir = str(HERE)
bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"

# One worker: it owns the job store and the engine children. gevent, because a threaded worker stops at as
# many slow clients as it has threads (ADR 0002). Ours, so that gunicorn's own refusals look like all others.
workers = 1
worker_class = "transcriber.server.gunicorn_worker.TranscriberWorker"
preload_app = False

# Room for ten thousand idle or slow connections; each is a greenlet and a file descriptor.
worker_connections = 12_000
backlog = 2048

# The worker's event loop beats every second. Two minutes without a beat means that it is stuck.
timeout = 120

# SIGTERM ends the whole tree within ten seconds. After these six the master kills the worker, so the application
# answers requests in flight before that (Application.stop_when); followers of jobs are let go at once.
graceful_timeout = 6

# Connections that send nothing more are kept this long between requests.
keepalive = 15

# gunicorn 25.1 and later open a control socket in $HOME by default; nothing here uses it.
control_socket_disable = True


class JsonLogger(Logger):
    """gunicorn's own words go through our JSON lines, from master and worker alike."""

    def setup(self, cfg):
        configure_logging(settings.log_level)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


# One request is one log line of our own (web/request_log.py), so gunicorn writes no access log.
logger_class = JsonLogger
accesslog = None

# The temporary heartbeat file goes to memory, so that a slow disk can't look like a stuck worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def on_starting(server):
    """Raise the limit of open files to what worker_connections needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def when_ready(server):
    """Ignore the signals that would start a second worker: one process owns the store and the device."""
    for name in ("SIGHUP", "SIGUSR2", "SIGTTIN", "SIGTTOU"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def pre_fork(server, worker):
    """The master reads a worker's heartbeat once a second; with it, it looks after the whole service."""
    if watchdog is not None:
        vitals.clear()
        worker.tmp = WatchedHeartbeat(worker.tmp, watchdog.look)


def post_fork(server, worker):
    """A worker whose master is killed ends too, and one that can't start leaves word of why."""
    worker.exit_reason = last_word
    prctl.die_with_parent(worker.ppid)


def post_worker_init(worker):
    """Start the children, and say in one line where the service listens and what the GPU's state is."""
    application = worker.app.callable.extensions["transcriber"]
    application.on_refusal = last_word.keep
    application.start()
    # Thousands of connections are thousands of objects that live: measured, looking for garbage among them and all that
    # was loaded took 40 % of the time in a crowd.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # While a thread computes, the event loop gets its turn after a millisecond and not after five.
    sys.setswitchinterval(0.001)
    application.stop_when(lambda: not worker.alive)
    if watchdog is not None:
        application.note_vitals(vitals, worker.sockets[0].getsockname())
    sys.stdout.write(f"Transcriber listens on {application.address}. {application.verdict()}\n")
    sys.stdout.flush()


def worker_exit(server, worker):
    """End the children before the worker goes."""
    app = getattr(worker.app, "callable", None)
    if app is not None:
        app.extensions["transcriber"].close()


def on_exit(server):
    """Let the last line of the log be one to act on, after gunicorn's own, and the exit status say the same."""
    if watchdog is not None:
        watchdog.stopping()
    cause, gunicorns = last_word.find(), sys.exc_info()[1]
    status = exit_status(cause, getattr(gunicorns, "exit_status", 0), last_word.status)
    if cause is not None and status:
        say_refused(cause.code, cause.message, cause.fix, status)
    if status:
        sys.exit(status)
