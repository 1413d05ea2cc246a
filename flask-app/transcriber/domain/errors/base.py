"""What all errors of the service have in common; errors.py has the tree."""

from __future__ import annotations

from typing import ClassVar


class TranscriberError(Exception):
    """Something failed in a way the service knows how to explain."""

    code: str = "internal_error"
    fix: str = ""
    param: str | None = None
    #: Worth sending again, unchanged, after a while.
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        fix: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        if code is not None:
            self.code = code
        if fix is not None:
            self.fix = fix
        if param is not None:
            self.param = param

    @property
    def message(self) -> str:
        return str(self.args[0])


class CapacityError(TranscriberError):
    """The service can't take this now."""

    code = "over_capacity"
    retryable = True
    #: Seconds after which another try makes sense.
    retry_after: int = 5
