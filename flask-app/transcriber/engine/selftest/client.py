"""The parent's end of an engine child's self-tests: asks for one, and waits for what it found."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable

from ...domain.errors import EngineCrashedError, EngineFailedError
from ...domain.selftest import FIXES, SelfTestReport
from ..protocol import MALFORMED, Message, selftest_report


class SelfTestClient:
    """Self-tests of one child. Safe from any thread; the child's reader delivers."""

    def __init__(self, tell: Callable[[Message], None], is_busy: Callable[[], bool]) -> None:
        """is_busy: whether the child has a batch in work, which a self-test waits for."""
        self._tell = tell
        self._is_busy = is_busy
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Message | None]] = {}
        #: Those that the child has begun.
        self._begun: set[int] = set()
        self._is_buried = False

    @property
    def is_testing(self) -> bool:
        """Whether the child is testing itself for somebody who waits, and so watches it, now."""
        return bool(self._begun)

    def run(self, timeout: float) -> SelfTestReport:
        """Ask for a test and wait. timeout: seconds until it begins, which a batch in work may put off, and of the test.

        Raises EngineFailedError (selftest_timeout, engine_protocol_error) and EngineCrashedError.
        """
        test_id, inbox = next(self._ids), queue.SimpleQueue[Message | None]()
        with self._lock:
            if self._is_buried:
                raise EngineCrashedError("The engine child is gone.")
            self._waiting[test_id] = inbox
        try:
            self._tell({"type": "selftest", "test_id": test_id})
            return self._await_report(inbox, timeout)
        finally:
            with self._lock:
                del self._waiting[test_id]
                self._begun.discard(test_id)

    def deliver(self, message: Message) -> bool:
        """Hand on what concerns a self-test; False for everything else."""
        if message["type"] not in ("selftest_started", "selftest_ended"):
            return False
        test_id = message.get("test_id")
        if not isinstance(test_id, int):
            return True
        with self._lock:
            inbox = self._waiting.get(test_id)
            if inbox is not None and message["type"] == "selftest_started":
                self._begun.add(test_id)
        if inbox is not None:
            inbox.put(message)
        return True

    def bury(self) -> None:
        """The child is gone: say so to those who wait."""
        with self._lock:
            self._is_buried = True
            for inbox in self._waiting.values():
                inbox.put(None)

    def _await_report(self, inbox: queue.SimpleQueue[Message | None], timeout: float) -> SelfTestReport:
        has_begun = False
        while True:
            try:
                message = inbox.get(timeout=timeout)
            except queue.Empty:
                # A CPU's other lane may be busy all the time, and says nothing of a test that hangs.
                if not has_begun and self._is_busy():
                    continue
                raise _silence(timeout) from None
            if message is None:
                raise EngineCrashedError("The engine child died while it tested itself.")
            if message["type"] == "selftest_ended":
                return _report(message)
            has_begun = True


def _silence(timeout: float) -> EngineFailedError:
    return EngineFailedError(
        f"The engine was to test itself, and said nothing for {timeout:g} s.",
        code="selftest_timeout",
        fix=FIXES["selftest_timeout"],
    )


def _report(message: Message) -> SelfTestReport:
    try:
        return selftest_report(message["report"])
    except MALFORMED as error:
        raise EngineFailedError(
            f"The engine child sent a self-test that can't be read: {error!r}.", code="engine_protocol_error"
        ) from error
