"""Before the service starts: what is refused at once, and with which exit status. Imports little, to be quick."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, MutableMapping
from types import MappingProxyType

import structlog

from ..config import loader
from ..domain.errors import ConfigError, GpuRequiredError, TranscriberError
from ..domain.ports import Clock
from ..domain.transcript import FallbackReason
from ..gpu.policy import gpu_required
from ..gpu.probe.launcher import GpuProbe, ProbeRequest
from ..system.clock import SystemClock
from .first_key import check_first_key
from .listening import adopt_socket
from .logging import configure_logging

logger = structlog.get_logger(__name__)

#: An unexpected error: the log has it all.
EXIT_UNFORESEEN = 1

#: A setting is wrong: another start ends the same way.
EXIT_WRONG_SETTING = 2

#: The GPU is required and can't serve: another start ends the same way, until somebody fixes it.
EXIT_GPU_REQUIRED = 3

#: Something else is in the way. It is gunicorn's own status for an application that does not load, so its master ends,
#: too, instead of starting worker after worker; what the master then ends with is that of the cause.
EXIT_START_FAILED = 4

#: The address can't be listened on: another program has the port, or the address is none of this machine's.
EXIT_ADDRESS = 5

#: The data folder can't be used: not writable, in use by another process, damaged, or of another version.
EXIT_DATA_FOLDER = 6

#: The disk is full.
EXIT_DISK_FULL = 7

_STATUS_BY_CODE = MappingProxyType(
    {
        "address_in_use": EXIT_ADDRESS,
        "address_not_usable": EXIT_ADDRESS,
        "data_dir_not_writable": EXIT_DATA_FOLDER,
        "store_in_use": EXIT_DATA_FOLDER,
        "store_damaged": EXIT_DATA_FOLDER,
        "store_without_wal": EXIT_DATA_FOLDER,
        "store_migration_failed": EXIT_DATA_FOLDER,
        "store_version_unknown": EXIT_DATA_FOLDER,
        "storage_failed": EXIT_DATA_FOLDER,
        "storage_full": EXIT_DISK_FULL,
        # Both pass by themselves, and systemd tries again.
        "database_unreachable": EXIT_START_FAILED,
        "store_not_ready": EXIT_START_FAILED,
    }
)


class StartRefusedExit(SystemExit):
    """Ends a process that can't start; in a worker with the status that makes gunicorn's master end, too."""

    def __init__(self, error: TranscriberError, status: int) -> None:
        super().__init__(status)
        self.status = status
        self.cause = FallbackReason(code=error.code, message=error.message, fix=error.fix)


def refusal(error: TranscriberError) -> StartRefusedExit:
    """Log the cause and the fix, and give back what ends the process."""
    status = status_of_refusal(error)
    say_refused(error.code, error.message, error.fix, status)
    return StartRefusedExit(error, status)


def status_of_refusal(error: TranscriberError) -> int:
    """The exit status of a start that this error refuses."""
    if isinstance(error, GpuRequiredError):
        return EXIT_GPU_REQUIRED
    otherwise = EXIT_WRONG_SETTING if isinstance(error, ConfigError) else EXIT_START_FAILED
    return _STATUS_BY_CODE.get(error.code, otherwise)


def exit_status(cause: FallbackReason | None, gunicorns: int, refused: int = 0) -> int:
    """What the master ends with: 3 is gunicorn's own for any worker that does not boot, and means one thing with us.

    `refused`: the status that the worker has said its start was refused with.
    """
    if not gunicorns:  # it was asked to stop
        return 0
    if cause is None:
        return EXIT_UNFORESEEN if gunicorns in (EXIT_GPU_REQUIRED, EXIT_START_FAILED) else gunicorns
    if gunicorns == EXIT_GPU_REQUIRED:
        return EXIT_GPU_REQUIRED
    return refused or _STATUS_BY_CODE.get(cause.code, gunicorns)


def say_refused(code: str, message: str, fix: str, status: int) -> None:
    """The last line of the log: why this start is refused, and what to do."""
    logger.critical("start_refused", code=code, error=message, fix=fix, exit_status=status)


def check_start(environ: MutableMapping[str, str]) -> None:
    """Refuse what can be refused before a server is started.

    Raises ConfigError, and GpuRequiredError where the policy requires a GPU that the probe finds unusable.
    """
    configure_logging("info")
    adopt_socket(environ)
    settings = loader.load(environ)
    links = loader.service_links(environ)
    if links:
        logger.warning(
            "kubernetes_service_links_ignored", variables=sorted(links), fix="enableServiceLinks: false"
        )
    check_network(settings)
    check_first_key(settings.api_key, settings.data_dir)
    if "LISTEN_FDS" not in environ:
        check_address(settings.host, settings.port)
    if settings.gpu_policy == "required":
        cause = make_probe(settings, environ, SystemClock()).status().cause
        if cause is not None:
            raise gpu_required(cause)


def check_network(settings: loader.Settings) -> None:
    """Refuse to listen on a network address without a key, of the environment or of the table. Raises ConfigError."""
    has_key = bool(settings.api_key)
    if not has_key and not loader.is_loopback(settings.host):
        # Imported only where it is needed: the server's parent holds no database.
        from .bootstrap_store import has_keys_in

        has_key = has_keys_in(settings)
    loader.check_listening(settings, has_key=has_key)


def check_address(host: str, port: int) -> None:
    """Raises ConfigError where this address can't be listened on; gunicorn would try for five seconds, and not say why."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
    except OSError as error:
        raise _address_error(host, port, error) from error


def _address_error(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"Another program listens on port {port} of {host} already.",
            code="address_in_use",
            param="WHISPER_PORT",
            fix=f"Stop it ('ss -ltnp sport = :{port}' shows it), or set WHISPER_PORT to another port.",
        )
    if error.errno == errno.EACCES:
        fix = "Set WHISPER_PORT to 1024 or more, or allow a lower one (docs/deploy.md, CAP_NET_BIND_SERVICE)."
        return ConfigError(
            f"Port {port} is for root alone.", code="address_not_usable", param="WHISPER_PORT", fix=fix
        )
    return ConfigError(
        f"{host} can't be listened on: {error.strerror or error}.",
        code="address_not_usable",
        param="WHISPER_HOST",
        fix="Set WHISPER_HOST to an address of this machine ('ip address' shows them), or to 0.0.0.0 or :: for all.",
    )


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
