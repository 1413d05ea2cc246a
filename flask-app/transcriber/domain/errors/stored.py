"""An error as it is kept with a job that failed, and the same error again when somebody asks for the result."""

from __future__ import annotations

from collections.abc import Iterator

from ..jobs import JobError
from . import TranscriberError


def kept(error: TranscriberError) -> JobError:
    """What is stored. `kind` is the code of the class: the error's own code may be more exact than that."""
    kind = type(error).code
    return JobError(
        code=error.code,
        message=error.message,
        fix=error.fix,
        param=error.param,
        kind=None if kind == error.code else kind,
    )


def restored(error: JobError) -> TranscriberError:
    """The error of the class it had, so that it is answered as it was the first time."""
    kinds = {kind.code: kind for kind in iter_classes()}
    found = kinds.get(error.kind or error.code, TranscriberError)
    again = found.__new__(
        found
    )  # classes have their own constructors; what they say is in the message already
    TranscriberError.__init__(again, error.message, code=error.code, fix=error.fix, param=error.param)
    return again


def iter_classes(root: type[TranscriberError] = TranscriberError) -> Iterator[type[TranscriberError]]:
    """The whole tree of errors, from the root down."""
    yield root
    for kind in root.__subclasses__():
        yield from iter_classes(kind)
