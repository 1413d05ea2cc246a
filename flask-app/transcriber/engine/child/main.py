"""The engine child's process: python -m transcriber.engine.child.main FD CONFIG_JSON.

FD is an inherited Unix stream socket that speaks protocol.py. The child ends at once when the socket
closes, even inside the model, so that no engine outlives its service.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from ...system import prctl
from ..protocol import EngineConfig, Message, ProtocolError, receive_message, send_message
from .faults import FaultError, load_fault_of

if TYPE_CHECKING:
    from .scheduler import Scheduler

_LOGGER = logging.getLogger("transcriber.engine")

#: Windows in a batch on a CPU: measured, more gain nothing there, and they keep others waiting.
_CPU_BATCH = 4

#: Exit statuses: could not start; lost its device in mid-work; got a broken message.
EXIT_START_FAILED = 1
EXIT_DEVICE_LOST = 70
EXIT_PROTOCOL = 76


class MessageSender:
    """Sends messages from any thread. When the service is gone, the process ends."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            try:
                send_message(self._sock, message)
            except OSError:
                end_process(0)


def main(arguments: list[str]) -> NoReturn:
    """Load the model, prove it, serve. Never returns."""
    started = time.monotonic()
    sock = socket.socket(fileno=int(arguments[0]))
    config = EngineConfig.from_json(arguments[1])
    _guard_process()
    outbox = MessageSender(sock)
    reader = MessageReader(sock)
    threading.Thread(target=reader.run, name="reader", daemon=True).start()
    try:
        scheduler, ready = _load(config, outbox, started)
    except Exception as error:  # noqa: BLE001 - the process's boundary; every cause is reported to the service
        _LOGGER.exception("engine_start_failed model=%s device=%s", config.model, config.device)
        _tell_start_failed(outbox, error)
        end_process(EXIT_START_FAILED)
    # The kernel's signal follows the *thread* that started this child, and would kill a healthy engine when
    # that thread ends. It guards the loading, when the reader may wait for its turn; then the reader does.
    prctl.call(prctl.PR_SET_PDEATHSIG, 0)
    outbox.send(ready)
    reader.connect(scheduler)
    try:
        scheduler.run()
    except FaultError as error:
        _LOGGER.critical("device_lost code=%s message=%s", error.fault.code, error.fault.message)
    except Exception:  # noqa: BLE001 - the process's boundary; the service starts a new engine
        _LOGGER.exception("engine_broke")
    end_process(EXIT_DEVICE_LOST)


class MessageReader:
    """Reads messages on its own thread, so that the end of the service is seen whatever the model does."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._early: list[Message] = []
        self._scheduler: Scheduler | None = None

    def connect(self, scheduler: Scheduler) -> None:
        """Where messages go from now on, those that came early first."""
        with self._lock:
            self._scheduler = scheduler
            for message in self._early:
                scheduler.post(_obeyed(message))
            self._early.clear()

    def run(self) -> NoReturn:
        """Until the socket closes, which ends the process."""
        while True:
            try:
                message = receive_message(self._sock)
            except OSError:
                end_process(0)
            except (ProtocolError, ValueError):
                _LOGGER.exception("broken_message")
                end_process(EXIT_PROTOCOL)
            if message is None or message["type"] == "shutdown":
                end_process(0)
            self._deliver(message)

    def _deliver(self, message: Message) -> None:
        with self._lock:
            if self._scheduler is None:
                self._early.append(message)
                return
        self._scheduler.post(_obeyed(message))


def end_process(status: int) -> NoReturn:
    """End now: no clean-up of CUDA or of threads, which may hang."""
    logging.shutdown()
    os._exit(status)


def _guard_process() -> None:
    """Signals, log and threads of a child that only its service ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prctl.call(prctl.PR_SET_PDEATHSIG, signal.SIGKILL)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    # NumPy's own threads would take the cores from the model; read when numpy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _load(config: EngineConfig, outbox: MessageSender, started: float) -> tuple[Scheduler, Message]:
    """The scheduler on a loaded and proven model, and the message that says so."""
    # Imported here: after the guards and the environment, and so that a broken library is a start_failed.
    from .decoding.decoder import Decoder
    from .lane import LaneWork
    from .model.whisper import load_vad_session, supported_compute_types
    from .scheduler import Scheduler
    from .selftest.startup_check import prove
    from .shape import choose_shape

    cores = len(os.sched_getaffinity(0))
    shape = choose_shape(config.device, cores, threads=config.cpu_threads, lanes=config.cpu_lanes)
    proven = prove(config, shape)
    model, driver, report = proven.model, proven.driver, proven.report
    ready: dict[str, Any] = {
        "type": "ready",
        "pid": os.getpid(),
        "device": config.device,
        "device_index": config.device_index,
        "device_name": config.device_name or (driver.find_name() if driver else None),
        "device_uuid": config.device_uuid or (driver.find_uuid() if driver else None),
        "model": config.model,
        "compute_type": model.compute_type,
        "requested_compute_type": config.compute_type,
        "supported_compute_types": list(supported_compute_types(config.device, config.device_index)),
        "warmup_seconds": report.run_seconds,
        "warmup_device": report.device,
        "selftest": asdict(report),
        "reference": None if proven.reference is None else proven.reference.to_dict(),
    }
    scheduler = Scheduler(
        model=model,
        work=LaneWork(decode=Decoder(model).decode, selftest=proven.test.run),
        vad=load_vad_session(),
        driver=driver,
        batch_size=min(config.batch_size, _CPU_BATCH) if config.device == "cpu" else config.batch_size,
        lanes=shape.lanes,
        send=outbox.send,
    )
    ready["load_seconds"] = time.monotonic() - started
    return scheduler, ready


def _tell_start_failed(outbox: MessageSender, error: Exception) -> None:
    fault, report = load_fault_of(error), getattr(error, "report", None)
    outbox.send(
        {
            "type": "start_failed",
            "code": fault.code,
            "message": fault.message,
            "fix": fault.fix,
            "selftest": None if report is None else asdict(report),
        }
    )


def _obeyed(message: Message) -> Any:
    """The scheduler's command for a message; a wrong one ends the process."""
    try:
        return _command_of(message)
    except (KeyError, TypeError, ValueError):
        _LOGGER.exception("unknown_message")
        end_process(EXIT_PROTOCOL)


def _command_of(message: Message) -> Any:
    """The scheduler's command for a message. Raises KeyError, TypeError or ValueError for a wrong one."""
    from .intake import job_spec
    from .scheduler import Cancelled, SelfTestOrdered, Submitted

    if message["type"] == "selftest":
        return SelfTestOrdered(test_id=int(message["test_id"]))
    if message["type"] == "cancel":
        return Cancelled(job_id=str(message["job_id"]))
    if message["type"] != "transcribe":
        raise ValueError(f"unknown type {message['type']!r}")
    return Submitted(spec=job_spec(message))


if __name__ == "__main__":
    main(sys.argv[1:])
