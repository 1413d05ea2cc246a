"""How often the helpers of one job may die before the job is given up, and how long it waits for new ones."""

from __future__ import annotations

from collections.abc import Callable

from ..domain.errors import (
    DecoderCrashedError,
    DecoderUnavailableError,
    EngineCrashedError,
    EngineStartError,
    TranscriberError,
)
from ..domain.jobs import Job
from ..domain.selftest import UNFIT
from ..jobs.cancellation import CancellationToken

#: A job fails with this many engines that died by a fault of their own: most likely its file is the cause.
MAX_FAULTS = 2

#: And with this many that were killed from outside, or hung while other jobs were in them, too.
MAX_KILLS = 10

#: Kills after which the job leaves the GPU, where it may.
KILLS_ON_GPU = 5

#: Causes of a failed start that may be gone in a moment.
_PASSING = frozenset({"engine_start_crashed", "engine_start_timeout", "engines_busy"})

#: Seconds before each further try, for jobs that nobody waits for on a connection.
_ENGINE_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
#: Seconds after a wait for room that came to nothing.
_ROOM_WAIT = 1.0
_DECODER_WAITS = (0.1, 0.5, 1.0, 2.0, 5.0)


class RetryPolicy:
    """Counts the deaths around one job. `note` keeps the counts in the store, so that restarts do not forget."""

    def __init__(self, job: Job, cancellation: CancellationToken, note: Callable[[int, int], None]) -> None:
        self._cancellation = cancellation
        self._note = note
        self._is_awaited = job.is_awaited
        self.faults = job.engine_faults
        self.kills = job.engine_kills
        self._kills_before = job.engine_kills
        #: In this attempt: engines that we ended under it, and those that hung with it and others in them.
        self._ended = 0
        self._hung = 0
        self._starts = 0
        self._decodings = 0

    @property
    def is_suspect(self) -> bool:
        """An engine died of itself, or hung, with this job in it, so it may be the cause."""
        return self.faults > 0 or self._hung > 0

    @property
    def is_tired_of_gpu(self) -> bool:
        """Engines were killed or ended so often in this attempt that another device should have a try."""
        return self._hung > 0 or self.kills - self._kills_before + self._ended >= KILLS_ON_GPU

    def engine_died(self, error: EngineCrashedError) -> None:
        """Count it. Raises EngineCrashedError when it was one too many.

        Engines that we ended are counted for the way off the GPU only: the job did nothing, and its time limit is its end.
        """
        if error.is_ours:
            self._ended += 1
            return
        self._hung += error.code == "engine_stalled" and not error.is_fault
        if error.is_fault:
            self.faults += 1
        else:
            self.kills += 1
        self._note(self.faults, self.kills)
        if self.faults >= MAX_FAULTS:
            raise _enough(error, f"{self.faults} engines died of themselves with this job in them")
        if self.kills > MAX_KILLS:
            raise _enough(error, f"{self.kills} engines were killed with this job in them")

    def may_wait_for_engine(
        self, error: EngineStartError, *, needs_gpu: bool = False, is_last_resort: bool = False
    ) -> bool:
        """Whether to try to start it again; waits a while if so. Raises JobCancelledError.

        needs_gpu: there is nothing but this engine. Then one that did not pass its self-test is waited for, too.
        is_last_resort: there is no other device to go to; then room is waited for as long as it takes.
        """
        if error.code == "engines_busy" and is_last_resort and not self._is_awaited:
            # Others are at work, and their jobs end some time: that is no failure to lose patience over.
            self._cancellation.wait(_ROOM_WAIT)
            return True
        is_passing = error.code in _PASSING or (needs_gpu and error.code in UNFIT)
        if self._is_awaited or not is_passing or self._starts >= len(_ENGINE_WAITS):
            return False
        self._cancellation.wait(_ENGINE_WAITS[self._starts])
        self._starts += 1
        return True

    def decoder_failed(self, error: TranscriberError) -> None:
        """Wait a while for another try. Raises the error when there is none left, JobCancelledError."""
        is_killed = isinstance(error, DecoderCrashedError) and error.is_kill
        may_pass = is_killed or isinstance(error, DecoderUnavailableError)
        if self._is_awaited or not may_pass or self._decodings >= len(_DECODER_WAITS):
            raise error
        self._cancellation.wait(_DECODER_WAITS[self._decodings])
        self._decodings += 1


def _enough(error: EngineCrashedError, count: str) -> EngineCrashedError:
    return EngineCrashedError(f"{error.message} ({count}.)", is_fault=error.is_fault, code=error.code)
