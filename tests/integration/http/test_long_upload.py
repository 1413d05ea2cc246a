"""The short form of scripts/long-upload: half an hour in place of ten, by the same limit."""

from __future__ import annotations

import pytest

from long_upload import LIMIT_BYTES, run

pytestmark = pytest.mark.model


def test_long_recording_grows_no_process_beyond_the_limit() -> None:
    growths = run(0.5, "tiny.en").values()

    assert {"web", "engine", "decoder"} <= {growth.name for growth in growths}
    assert {
        growth.name: growth.grown("VmRSS") for growth in growths if growth.grown("VmRSS") > LIMIT_BYTES
    } == {}
