"""The dispatcher: takes due deliveries from the outbox, has them sent, and keeps what came of it.

All state is in the outbox. What was being sent when the service was killed is sent again with the same id.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from datetime import datetime

import structlog

from ..domain.errors import CapacityError
from ..domain.jobs import Delivery, DeliveryStatus
from ..domain.ports import Clock, Outbox
from .targets import BadUrlError, parse_target
from .tries import CONNECTION_FAILED, RETRY_DELAYS, Sender, TryResult, judge

logger = structlog.get_logger(__name__)

#: Receivers that are sent to at once; each takes one message at a time, so a slow one holds up itself alone.
SENDERS = 4

#: A sender moves on to another receiver after this many seconds, and after this many messages.
TURN_SECONDS = 5.0
TURN_MESSAGES = 20

#: Due deliveries looked at together.
DUE_LIMIT = 500

#: Longest sleep in seconds: idle (the wall clock may be set), while something is being sent, with a broken store.
IDLE_SECONDS = 30.0
BUSY_SECONDS = 1.0
STORE_SECONDS = 5.0
#: Shortest sleep.
LEAST_SECONDS = 0.02


class Dispatcher:
    """Delivers what is in the outbox, in threads of its own, until it is closed."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        clock: Clock,
        rng: random.Random,
        *,
        delays: Sequence[float] = RETRY_DELAYS,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._rng = rng
        self._delays = delays
        self._changed = threading.Condition()
        self._is_woken = False
        self._closes_at: float | None = None
        #: Receivers that are being sent to, with when each was last turned to, and ids that are out or not yet kept.
        self._busy: set[str] = set()
        self._turns: dict[str, float] = {}
        self._out: set[str] = set()
        self._tried: list[Delivery] = []
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin to deliver, with what an earlier process left."""
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox now: something has been put there. Safe to call from any thread, at any time."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def close(self, timeout: float) -> None:
        """Begin no more tries, and give those under way up to `timeout` seconds; the outbox is left alone after that."""
        with self._changed:
            self._closes_at = time.monotonic() + timeout
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout + BUSY_SECONDS)

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._keep_outcomes()
                seconds = self._begin_tries()
            except Exception as error:  # noqa: BLE001  a thread's boundary: the store may be back later
                logger.warning("webhook_outbox_failed", error=str(error), kind=type(error).__name__)
                seconds = STORE_SECONDS
            self._sleep(seconds)

    def _is_over(self) -> bool:
        with self._changed:
            if self._closes_at is None:
                return False
            return time.monotonic() >= self._closes_at or not (self._busy or self._tried)

    def _sleep(self, seconds: float) -> None:
        """Until something happens, at most this long."""
        with self._changed:
            if self._closes_at is not None:
                seconds = min(seconds, max(0.0, self._closes_at - time.monotonic()))
            if not self._is_woken:
                self._changed.wait(seconds)
            self._is_woken = False

    def _keep_outcomes(self) -> None:
        """Record what the senders brought back. What can't be recorded now is kept, and not sent again meanwhile."""
        while True:
            with self._changed:
                if not self._tried:
                    return
                delivery = self._tried[0]
            try:
                self._outbox.record(delivery)
            except CapacityError:
                raise
            except Exception:
                self._forget(delivery)
                raise
            self._forget(delivery)

    def _forget(self, delivery: Delivery) -> None:
        with self._changed:
            self._tried.remove(delivery)
            self._out.discard(delivery.id)

    def _begin_tries(self) -> float:
        """Start what can be started; the seconds until there may be more to do."""
        if self._closes_at is not None:
            return BUSY_SECONDS
        now = self._clock.now()
        for receiver, batch in self._turns_of(self._outbox.due(now, DUE_LIMIT)):
            self._begin(receiver, batch)
        return self._seconds_until(self._outbox.next_due_at(), now)

    def _seconds_until(self, due_at: datetime | None, now: datetime) -> float:
        """What is out is still due by the outbox, so its time says nothing while there is anything out."""
        with self._changed:
            if self._out:
                return BUSY_SECONDS
        if due_at is None:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, max(LEAST_SECONDS, (due_at - now).total_seconds()))

    def _turns_of(self, due: Sequence[Delivery]) -> list[tuple[str, list[Delivery]]]:
        """Receivers that a sender may turn to, those first that have waited longest, with their messages."""
        batches: dict[str, list[Delivery]] = {}
        with self._changed:
            for delivery in due:
                receiver = receiver_of(delivery)
                if receiver not in self._busy and delivery.id not in self._out:
                    batches.setdefault(receiver, []).append(delivery)
            self._turns = {name: at for name, at in self._turns.items() if name in batches}
            waiting = sorted(batches, key=lambda name: self._turns.get(name, 0.0))
            free = SENDERS - len(self._busy)
        return [(name, batches[name][:TURN_MESSAGES]) for name in waiting[:free]]

    def _begin(self, receiver: str, batch: list[Delivery]) -> None:
        with self._changed:
            self._busy.add(receiver)
            self._turns[receiver] = time.monotonic()
            self._out.update(delivery.id for delivery in batch)
        threading.Thread(
            target=self._send_batch, args=(receiver, batch), name="webhook-sender", daemon=True
        ).start()

    def _send_batch(self, receiver: str, batch: list[Delivery]) -> None:
        """One receiver's turn: its messages one after the other."""
        until = time.monotonic() + TURN_SECONDS
        waiting = list(batch)
        try:
            while waiting and self._closes_at is None and time.monotonic() < until:
                tried = self._send(waiting.pop(0))
                with self._changed:
                    self._tried.append(tried)
                self.wake()
        finally:
            with self._changed:
                self._busy.discard(receiver)
                self._out.difference_update(delivery.id for delivery in waiting)
            self.wake()

    def _send(self, delivery: Delivery) -> Delivery:
        log = logger.bind(job_id=delivery.job_id, delivery_id=delivery.id, receiver=receiver_of(delivery))
        try:
            result = self._sender.send(delivery, self._clock.now())
        except Exception:  # noqa: BLE001  a thread's boundary: a fault of ours counts as a failed try
            log.exception("webhook_attempt_broke")
            result = TryResult(error=CONNECTION_FAILED)
        tried = judge(delivery, result, self._clock.now(), chance=self._rng.random(), delays=self._delays)
        fields = {"tries": tried.tries, "status": tried.last_status, "error": tried.last_error}
        match tried.status:
            case DeliveryStatus.DELIVERED:
                log.info("webhook_delivered", **fields)
            case DeliveryStatus.GIVEN_UP:
                log.warning("webhook_given_up", **fields)
            case _:
                log.info("webhook_attempt_failed", next_try_at=tried.next_try_at.isoformat(), **fields)
        return tried


def receiver_of(delivery: Delivery) -> str:
    """Whose turn it is: scheme, host and port of the URL. The rest of it may be secret, so it is not logged."""
    try:
        target = parse_target(delivery.url)
    except BadUrlError:
        return "not a receiver"
    return f"{target.scheme}://{target.authority}"
