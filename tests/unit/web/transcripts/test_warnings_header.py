from __future__ import annotations

from transcriber.domain.transcript import Notice
from transcriber.web.transcripts.downloads import warnings_header


def test_a_caller_s_own_name_makes_no_other_header() -> None:
    notices = [Notice(code="ignored_parameter", message="", param='a\r\nX-Device: "cuda"\\\u00e9\0')]

    assert warnings_header(notices) == r'ignored_parameter;param="a??X-Device: \"cuda\"\\??"'
