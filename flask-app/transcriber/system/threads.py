"""Threads of the operating system, also where gevent has replaced threading, for work that blocks."""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: What a piece of work came to: its value, or the error that it raised.
Settled = tuple[T | None, BaseException | None]


class InThread(Protocol):
    """Runs work that would hold up other greenlets on a native thread, and waits for it."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


class NativeExecutor(concurrent.futures.Executor):
    """Runs work on native threads, and brings its errors back to the caller alone.

    gevent prints the traceback of every error that leaves a function on its threads, raw, beside our log lines;
    so here no error ever leaves one: it travels as a value, and is raised again by result().
    """

    def __init__(self, threads: int) -> None:
        self._pool = _make_pool(threads)

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Have the work done; the future's result() raises what it raised."""
        return _Unsettled(self._pool.submit(_settle, lambda: fn(*args, **kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


class _Unsettled(concurrent.futures.Future[T], Generic[T]):
    """The future of a piece of work whose error comes as a value. State and waiting are those of the pool's own."""

    def __init__(self, inner: concurrent.futures.Future[Settled[T]]) -> None:
        super().__init__()
        self._inner = inner

    def result(self, timeout: float | None = None) -> T:
        value, error = self._inner.result(timeout)
        if error is None:
            return value  # type: ignore[return-value]  # without an error, the value is the work's own
        try:
            raise error
        finally:
            # The error's traceback holds this frame: nothing here may hold the error.
            del error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return self._inner.result(timeout)[1]

    def done(self) -> bool:
        return self._inner.done()

    def running(self) -> bool:
        return self._inner.running()

    def cancel(self) -> bool:
        return self._inner.cancel()

    def cancelled(self) -> bool:
        return self._inner.cancelled()

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], object]) -> None:
        self._inner.add_done_callback(lambda _: fn(self))


def _settle(work: Callable[[], T]) -> Settled[T]:
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001  the thread's boundary: the caller raises it again
        return None, error


def _make_pool(threads: int) -> concurrent.futures.Executor:
    if "gevent.monkey" in sys.modules:
        from gevent import monkey, threadpool

        if monkey.is_module_patched("threading"):
            pool: Any = threadpool.ThreadPoolExecutor(threads)
            return pool  # type: ignore[no-any-return]
    return concurrent.futures.ThreadPoolExecutor(threads)
