"""Lets the real program die at a named point: loaded by every Python that has this folder on its PYTHONPATH.

The program itself knows nothing of this. When a module of POINTS is imported, the functions named there are wrapped;
a wrapped one looks for the file $CRASH_POINTS/<name of the point>, takes it away and kills the process. So each file
put there is one death, and a test decides when it is armed.
"""

import functools
import importlib.abc
import importlib.machinery
import os
import signal
import sys

#: Module → (class or None, function, point, when). `when` before or after the call, or after it where its answer
#: passes `_counts`.
POINTS = {
    "transcriber.jobs.files.spool": (
        ("Spool", "commit", "before_file_fsync", "before"),
        ("Spool", "commit", "after_file_fsync", "after"),
        ("Spool", "drop_work", "before_work_dropped", "before"),
    ),
    "transcriber.jobs.store.sqlite": (
        ("SqliteJobStore", "add", "after_row_insert", "after"),
        ("SqliteJobStore", "claim", "after_claim", "after"),
        ("SqliteJobStore", "finish", "before_state_change", "before"),
        ("SqliteJobStore", "finish", "after_state_change", "after"),
    ),
    "transcriber.jobs.store.queries": ((None, "insert_delivery", "inside_state_change", "before"),),
    "transcriber.web.uploads.submissions": (("SubmissionForm", "mark", "before_202", "after"),),
    "gunicorn.http.wsgi": (("Response", "close", "after_202", "after"),),
    "transcriber.jobs.files.journal": (
        ("Journal", "add_audio", "after_audio_decode", "journalled"),
        ("Journal", "add_window", "before_window_journalled", "before"),
        ("Journal", "add_window", "after_window_journalled", "journalled"),
    ),
    "transcriber.jobs.files.results": (
        ("FileResultStore", "save", "before_result_save", "before"),
        ("FileResultStore", "save", "after_result_save", "after"),
    ),
    "transcriber.system.durable_files": ((None, "_write_new", "inside_result_save", "after"),),
    "transcriber.webhooks.sender": (
        ("HttpSender", "send", "before_webhook_send", "before"),
        ("HttpSender", "send", "after_webhook_send", "after"),
    ),
    "transcriber.jobs.store.sql_outbox": (("SqlOutbox", "record", "after_webhook_record", "after"),),
}


def die_at(point):
    """End this process as a power cut would, if the point is armed."""
    try:
        os.unlink(os.path.join(os.environ["CRASH_POINTS"], point))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def wrapped(function, point, when):
    @functools.wraps(function)
    def around(*arguments, **named):
        if when == "before":
            die_at(point)
        answer = function(*arguments, **named)
        if when == "journalled":
            # Lines are written by another thread: die when this one is on the disk.
            arguments[0].sync()
        if when != "before" and _counts(point, answer, arguments):
            die_at(point)
        return answer

    return around


def _counts(point, answer, arguments):
    if point == "after_202":
        return str(arguments[0].status).startswith("202")
    if point in ("after_claim", "after_state_change"):
        return bool(answer)
    return True


class Wrapper(importlib.abc.MetaPathFinder):
    """Finds the modules of POINTS as usual, and wraps their functions when they are loaded."""

    def find_spec(self, name, path=None, target=None):
        if name not in POINTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            for owner, function, point, when in POINTS[name]:
                home = getattr(module, owner) if owner else module
                setattr(home, function, wrapped(getattr(home, function), point, when))

        spec.loader.exec_module = exec_module
        return spec


if "CRASH_POINTS" in os.environ:
    sys.meta_path.insert(0, Wrapper())
