from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcriber.domain.transcript import Speaker
from transcriber.formats.cues import Cue, clock_time, iter_cues, one_line, to_milliseconds
from transcriber.formats.srt import render_srt
from transcriber.formats.tsv import render_tsv
from transcriber.formats.vtt import render_vtt
from transcriptions import make_segment, make_transcription, transcriptions, untimed

TIME_LINE = re.compile(
    r"(\d{2,}):([0-5]\d):([0-5]\d)([,.])(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)([,.])(\d{3})"
)


def read_time_line(line: str, mark: str) -> tuple[int, int]:
    """Start and end in milliseconds, by the grammar of both formats."""
    match = TIME_LINE.fullmatch(line)
    assert match, line
    parts = match.groups()
    assert parts[3] == parts[8] == mark
    start, end = (
        ((int(h) * 60 + int(m)) * 60 + int(s)) * 1000 + int(ms) for h, m, s, _, ms in (parts[:5], parts[5:])
    )
    return start, end


def read_srt(text: str) -> list[Cue]:
    """A strict reader: blocks end at a blank line, numbers count from 1."""
    cues = []
    for number, block in enumerate(text.split("\n\n") if text else [], start=1):
        lines = block.rstrip("\n").split("\n")
        assert lines[0] == str(number)
        start, end = read_time_line(lines[1], ",")
        assert len(lines) == 3 and "-->" not in lines[2]
        cues.append(Cue(start_ms=start, end_ms=end, text=lines[2]))
    return cues


def read_vtt(text: str) -> list[Cue]:
    """A reader by the rules of WebVTT: any line with an arrow is a time line."""
    assert text.startswith("WEBVTT\n\n")
    cues = []
    for block in text.removeprefix("WEBVTT\n\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line]
        if not lines:
            continue
        assert ["-->" in line for line in lines] == [True, False]
        start, end = read_time_line(lines[0], ".")
        assert "<" not in lines[1] and re.fullmatch(r"([^&]|&(amp|lt|gt);)*", lines[1])
        cues.append(Cue(start_ms=start, end_ms=end, text=html.unescape(lines[1])))
    return cues


@untimed
@given(transcriptions)
def test_srt_reads_back_as_the_same_cues(transcription) -> None:
    cues = list(iter_cues(transcription))

    read = read_srt(render_srt(transcription))

    assert [(c.start_ms, c.end_ms) for c in read] == [(c.start_ms, c.end_ms) for c in cues]
    assert [c.text.replace("\u2060", "") for c in read] == [
        re.sub("-{2,}>", "->", c.text).replace("\u2060", "") for c in cues
    ]
    assert not any(re.search(r"</?[A-Za-z]|\{\\", c.text) for c in read)


@untimed
@given(transcriptions)
def test_vtt_reads_back_as_the_same_cues(transcription) -> None:
    read = read_vtt(render_vtt(transcription))

    assert read == list(iter_cues(transcription))


@untimed
@given(transcriptions)
def test_tsv_reads_back_as_the_same_cues(transcription) -> None:
    header, *rows = render_tsv(transcription).removesuffix("\n").split("\n")

    assert header == "start\tend\ttext"
    read = [(int(a), int(b), c.removeprefix("\u2060")) for a, b, c in (row.split("\t") for row in rows)]
    cues = iter_cues(transcription)
    assert read == [(cue.start_ms, cue.end_ms, cue.text.removeprefix("\u2060")) for cue in cues]


@untimed
@given(transcriptions)
def test_cues_are_in_order_and_none_is_empty(transcription) -> None:
    cues = list(iter_cues(transcription))

    assert all(0 <= cue.start_ms < cue.end_ms for cue in cues)
    assert [c.start_ms for c in cues] == sorted(c.start_ms for c in cues)
    assert all(cue.text and len(cue.text.splitlines()) == 1 for cue in cues)


@untimed
@given(st.integers(0, 10**10), st.sampled_from(",."))
def test_clock_time_loses_nothing(milliseconds, mark) -> None:
    line = f"{clock_time(milliseconds, mark)} --> {clock_time(milliseconds, mark)}"

    assert read_time_line(line, mark) == (milliseconds, milliseconds)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.9996, "00:00:01,000"),
        (59.9996, "00:01:00,000"),
        (3599.9999, "01:00:00,000"),
        (0.0004, "00:00:00,000"),
        (-3.0, "00:00:00,000"),
        (float("nan"), "00:00:00,000"),
        (float("inf"), "00:00:00,000"),
        (3600 * 100 + 1.5, "100:00:01,500"),
    ],
)
def test_seconds_round_to_milliseconds_before_they_are_split(seconds, shown) -> None:
    assert clock_time(to_milliseconds(seconds), ",") == shown


def test_srt_as_players_expect_it() -> None:
    transcription = make_transcription(
        make_segment(text=" Hello there."),
        make_segment(id=1, start=2.5, end=2.5, text=" \n "),
        make_segment(
            id=2, start=3661.25, end=3662.0, text=" a --> b --->\n\n2\n00:00:01,000 --> 00:00:02,000"
        ),
    )

    assert render_srt(transcription) == (
        "1\n00:00:00,000 --> 00:00:02,500\nHello there.\n\n"
        "2\n01:01:01,250 --> 01:01:02,000\na -> b -> 2 00:00:01,000 -> 00:00:02,000\n"
    )


def test_vtt_as_browsers_expect_it() -> None:
    transcription = make_transcription(make_segment(text=" Tom & <i>Jerry</i> --> home"))

    assert render_vtt(transcription) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nTom &amp; &lt;i&gt;Jerry&lt;/i&gt; --&gt; home\n"
    )


def test_silence_gives_valid_empty_files() -> None:
    silent = make_transcription()

    assert (render_srt(silent), render_vtt(silent), render_tsv(silent)) == (
        "",
        "WEBVTT\n\n",
        "start\tend\ttext\n",
    )


def test_one_line_keeps_letters_and_inner_spaces() -> None:
    assert one_line(" Ça\u00a0va ?\r\n\x07 Grüße\t世界 \u200b") == "Ça\u00a0va ?  Grüße 世界 \u200b"
    assert one_line("\n \n") == ""


class CountedSpeakers(tuple[Speaker, ...]):
    """Counts how often somebody goes through it."""

    rounds = 0

    def __iter__(self) -> Iterator[Speaker]:
        self.rounds += 1
        return super().__iter__()


def test_work_grows_with_the_speakers_and_not_with_their_square() -> None:
    speakers = CountedSpeakers(Speaker(id=f"s{at}", name="", seconds=1.0) for at in range(50))
    segments = tuple(make_segment(id=at, speaker=f"s{at}") for at in range(50))

    cues = list(iter_cues(replace(make_transcription(), segments=segments, speakers=speakers)))

    assert cues[-1].speaker == "Speaker s49"
    assert speakers.rounds <= 2
