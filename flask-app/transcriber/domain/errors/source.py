"""Why the file behind a URL could not be fetched. Import them from errors, which has the whole tree."""

from __future__ import annotations

from .base import TranscriberError


class SourceError(TranscriberError):
    """The file behind the URL could not be fetched."""

    code = "url_failed"
    param = "url"


class UrlNotAllowedError(SourceError):
    """The URL leads to an address that is not on the internet."""

    code = "url_not_allowed"
    fix = (
        "Send the URL of a file on the internet. For one on the service's own network the operator sets "
        "WHISPER_SOURCE_ALLOW_CIDR."
    )


class UrlUnreachableError(SourceError):
    """The server of the URL can't be reached, or the connection broke."""

    code = "url_unreachable"
    fix = "Check that the URL opens in a browser, then retry the job."
    retryable = True


class UrlRefusedError(SourceError):
    """The server of the URL answered with an error."""

    code = "url_refused"
    fix = "Check that the URL opens without signing in, then retry the job."


class UrlRedirectsError(SourceError):
    """The URL redirects too often, or to something that is not fetched."""

    code = "url_redirects"
    fix = "Send the URL that the redirects end at."


class UrlTypeError(SourceError):
    """The URL leads to something that is no audio or video file."""

    code = "url_wrong_type"
    fix = "Send the direct URL of the media file, not of a page or playlist that shows it."


class UrlTimeoutError(SourceError):
    """Fetching the URL took longer than is allowed."""

    code = "url_timeout"
    fix = "Fetch the file yourself and upload it, or raise WHISPER_SOURCE_TIMEOUT_SECONDS."
