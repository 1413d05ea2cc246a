"""Before the service starts: what is refused at once, and with which exit status. Imports little, to be quick."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from ..config import loader
from ..domain.errors import TranscriberError
from ..domain.ports import Clock
from ..gpu.policy import gpu_required
from ..gpu.probe.launcher import GpuProbe, ProbeRequest
from ..system.clock import SystemClock
from .logging import configure_logging

logger = structlog.get_logger(__name__)

#: A setting is wrong: another start ends the same way.
EXIT_WRONG_SETTING = 2

#: The GPU is required and can't serve: another start ends the same way, until somebody fixes it.
EXIT_GPU_REQUIRED = 3

#: Something else is in the way (the data folder is in use, the disk is full). It is gunicorn's own status for
#: an application that does not load, so its master ends too instead of starting worker after worker.
EXIT_START_FAILED = 4


def refusal(error: TranscriberError, status: int) -> SystemExit:
    """Log the cause and the fix, and give back what ends the process."""
    say_refused(error.code, error.message, error.fix, status)
    return SystemExit(status)


def say_refused(code: str, message: str, fix: str, status: int) -> None:
    """The last line of the log: why this start is refused, and what to do."""
    logger.critical("start_refused", code=code, error=message, fix=fix, exit_status=status)


def check_start(environ: Mapping[str, str]) -> None:
    """Refuse what can be refused before a server is started.

    Raises ConfigError, and GpuRequiredError where the policy requires a GPU that the probe finds unusable.
    """
    configure_logging("info")
    settings = loader.load(environ)
    check_network(settings)
    if settings.gpu_policy == "required":
        cause = make_probe(settings, environ, SystemClock()).status().cause
        if cause is not None:
            raise gpu_required(cause)


def check_network(settings: loader.Settings) -> None:
    """Refuse to listen on a network address without a key, of the environment or of the table. Raises ConfigError."""
    has_key = bool(settings.api_key)
    if not has_key and not loader.is_loopback(settings.host):
        # Imported only where it is needed: the server's parent holds no database.
        from ..jobs.store.sqlite_keys import has_keys

        has_key = has_keys(settings.data_dir / "jobs.sqlite3")
    loader.check_listening(settings, has_key=has_key)


def make_probe(settings: loader.Settings, environ: Mapping[str, str], clock: Clock) -> GpuProbe:
    """The look at this machine's GPUs."""
    request = ProbeRequest(
        environ=dict(environ),
        gpu_device=settings.gpu_device,
        extra_lib_dirs=settings.cudnn_extra_lib_dirs,
        gpu_compute_type=settings.gpu_compute_type,
        strict_matrix=settings.strict_matrix,
    )
    return GpuProbe(request, clock)
