"""Log lines: JSON to stderr, one event a line, with the fields that were bound. Never transcript text."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

import structlog


class JournalFormatter(structlog.stdlib.ProcessorFormatter):
    """Lines with the prefix by which journald knows their priority: sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_priority(record.levelno)}>{super().format(record)}"


def goes_to_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether this descriptor is the stream that systemd opened to the journal."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def configure_logging(level: str) -> None:
    """Send our events and those of libraries to stderr as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    is_journal = goes_to_journal(os.environ, 2)
    handler.setFormatter(
        (JournalFormatter if is_journal else structlog.stdlib.ProcessorFormatter)(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("gunicorn.error", "gunicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in ("alembic", "sqlalchemy", "urllib3", "httpx", "filelock"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _priority(level: int) -> int:
    """syslog's number for a level of Python's logging."""
    for least, priority in (
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO, 6),
    ):
        if level >= least:
            return priority
    return 7
