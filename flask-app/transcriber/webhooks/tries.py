"""One try to deliver a message: what it came to, and what follows from that. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ..domain.jobs import Delivery, DeliveryStatus

#: Why a receiver could not be asked, or why its answer does not count.
ADDRESS_NOT_ALLOWED = "webhook_address_not_allowed"
NAME_NOT_RESOLVED = "name_not_resolved"
CONNECTION_FAILED = "connection_failed"
TLS_FAILED = "tls_failed"
TIMED_OUT = "timed_out"
BAD_REPLY = "bad_reply"
REDIRECTED = "redirected"
REFUSED = "refused"
GONE = "gone"

#: Mean seconds before each further try: doubled from one second to an hour, for a day. 36 tries in all.
RETRY_DELAYS: tuple[float, ...] = (*(2.0**n for n in range(12)), *(3600.0,) * 23)


@dataclass(frozen=True, kw_only=True, slots=True)
class TryResult:
    """The receiver's status, or why there is none."""

    status: int | None = None
    error: str | None = None


class Sender(Protocol):
    """Carries one message to its receiver."""

    def send(self, delivery: Delivery, now: datetime) -> TryResult:
        """Try once. A failure of the network or the receiver is a result, not an error."""
        ...


def judge(
    delivery: Delivery,
    result: TryResult,
    now: datetime,
    *,
    chance: float,
    delays: Sequence[float] = RETRY_DELAYS,
) -> Delivery:
    """The delivery after this try: delivered, given up, or due again.

    `chance` from 0 to 1 spreads the wait from half to one and a half times the mean.
    """
    tried = delivery.evolve(
        tries=delivery.tries + 1, last_status=result.status, last_error=result.error or _fault(result.status)
    )
    if tried.last_error is None:
        return tried.evolve(status=DeliveryStatus.DELIVERED, delivered_at=now)
    if tried.last_error in (ADDRESS_NOT_ALLOWED, GONE) or tried.tries > len(delays):
        return tried.evolve(status=DeliveryStatus.GIVEN_UP)
    wait = delays[tried.tries - 1] * (0.5 + chance)
    return tried.evolve(next_try_at=now + timedelta(seconds=wait))


def _fault(status: int | None) -> str | None:
    """What is wrong with this status; None for 2xx."""
    match status:
        case None:
            return BAD_REPLY
        case 410:
            return GONE
        case _ if 200 <= status < 300:
            return None
        case _ if 300 <= status < 400:
            return REDIRECTED
        case _:
            return REFUSED
