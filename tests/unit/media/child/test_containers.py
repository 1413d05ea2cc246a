"""What the list of accepted containers must never hold, and what it must."""

from __future__ import annotations

import pytest

from transcriber.media.child.containers import ACCEPTED, DECLARES_LENGTH

#: Demuxers that open another file, a server, a device or a program, or read pictures and subtitles.
FORBIDDEN = (
    "concat concatf hls applehttp dash imf sdp rtp rtsp sap mpjpeg image2 image2pipe lavfi webm_dash_manifest vobsub "
    "smoothstreaming alsa oss fbdev kmsgrab video4linux2 v4l2 x11grab iec61883 vapoursynth avisynth libopenmpt tedcaptions "
    "ass srt webvtt sami subviewer realtext mpsub ffmetadata data bin tty iamf svg_pipe png_pipe mjpeg gif msnwctcp rawvideo"
).split()

EXPECTED = "wav mp3 m4a flac ogg webm mp4 matroska mov aac asf amr aiff caf ac3 mpegts avi w64 au".split()


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_format_is_not_accepted(name: str) -> None:
    assert name not in ACCEPTED.split(",")


@pytest.mark.parametrize("name", EXPECTED)
def test_everyday_format_is_accepted(name: str) -> None:
    assert name in ACCEPTED.split(",")


def test_list_names_nothing_twice() -> None:
    names = ACCEPTED.split(",")

    assert len(names) == len(set(names))


def test_lengths_are_only_believed_of_accepted_formats() -> None:
    assert all(set(name.split(",")) <= set(ACCEPTED.split(",")) for name in DECLARES_LENGTH)
