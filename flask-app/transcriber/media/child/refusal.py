"""Why a decode child gives a file back: reasons as the child sends them and the parent words them."""

from __future__ import annotations


class MediaRefusedError(Exception):
    """The child can't or may not go on with this file; `reason` is a key of outcome.ERRORS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
