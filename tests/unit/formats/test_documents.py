"""Lines of subtitles, ASS and Word."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcriber.formats.ass import render_ass
from transcriber.formats.cues import iter_cues
from transcriber.formats.docx import render_docx
from transcriber.formats.lines import break_lines, find_faults, width
from transcriber.formats.srt import render_srt
from transcriber.formats.table import DOWNLOADS
from transcriber.formats.text import render_text
from transcriber.formats.tsv import render_tsv
from transcriber.formats.vtt import render_vtt
from transcriptions import make_segment, make_transcription, transcriptions, untimed

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
HOSTILE = ' <script>alert(1)</script> <b>x</b> {\\an8}\\N &amp; "]]>" --> {\\b1}'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Short.", ["Short."]),
        (
            "And so, my fellow Americans, ask not what your country",
            ["And so, my fellow Americans,", "ask not what your country"],
        ),
        ("x" * 50, ["x" * 50]),
        ("a " + "x" * 50 + " b", ["a", "x" * 50, "b"]),
        ("你" * 30, ["你" * 15, "你" * 15]),
        ("", []),
    ],
)
def test_lines_are_even_and_break_between_words(text: str, lines: list[str]) -> None:
    assert break_lines(text, 42) == lines


@untimed
@given(
    st.text(alphabet="ab 你é\u0301", max_size=120).map(lambda text: " ".join(text.split())),
    st.integers(1, 60),
)
def test_no_letter_is_lost_in_lines(text: str, limit: int) -> None:
    lines = break_lines(text, limit)

    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(width(line) <= limit or " " not in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"text": " " + "word " * 16, "end": 9.0}, []),
        ({"text": " " + "word " * 18, "end": 9.0}, ["many_lines"]),
        ({"text": " " + "x" * 43, "end": 9.0}, ["long_line"]),
        ({"text": " Ask not what your country can do for you.", "end": 1.0}, ["fast"]),
        ({"text": " ", "end": 0.0}, []),
    ],
)
def test_a_subtitle_that_is_hard_to_read_is_named(changes: dict[str, object], expected: list[str]) -> None:
    assert [fault.code for fault in find_faults([make_segment(**changes)])[0]] == expected


def test_overlapping_subtitles_are_named() -> None:
    faults = find_faults([make_segment(), make_segment(id=1, start=2.0, end=5.0)])

    assert [[fault.code for fault in found] for found in faults] == [[], ["overlap"]]


def test_lines_of_subtitles_can_be_limited() -> None:
    long = make_transcription(make_segment(text=" And so, my fellow Americans, ask not what your country"))

    assert "Americans,\nask not" in render_srt(long, 42)
    assert "Americans,\nask not" in render_vtt(long, 42)
    assert r"Americans,\Nask not" in render_ass(long, 42)


def test_ass_as_players_expect_it() -> None:
    written = render_ass(make_transcription(make_segment(start=3661.257, end=3662.999, text=" Hello, you.")))

    assert written.startswith("[Script Info]\n")
    assert written.endswith("Dialogue: 0,1:01:01.26,1:01:03.00,Default,,0,0,0,,Hello, you.\n")


@untimed
@given(transcriptions)
def test_ass_has_one_event_a_cue_and_no_command(transcription: object) -> None:
    events = render_ass(transcription).split("Effect, Text\n")[1].splitlines()  # type: ignore[arg-type]

    assert len(events) == len(list(iter_cues(transcription)))  # type: ignore[arg-type]
    for event in events:
        assert re.fullmatch(r"Dialogue: 0,\d+:\d\d:\d\d\.\d\d,\d+:\d\d:\d\d\.\d\d,Default,,0,0,0,,.*", event)
        assert not re.search(r"(?<!\\)[{}]|\\[A-Za-z]", event)


def paragraphs(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        for name in package.namelist():
            ElementTree.fromstring(package.read(name))
        document = ElementTree.fromstring(package.read("word/document.xml"))
    return ["".join(text.text or "" for text in p.iter(f"{W}t")) for p in document.iter(f"{W}p")]


@untimed
@given(transcriptions)
def test_word_reads_back_as_the_same_cues(transcription: object) -> None:
    found = paragraphs(render_docx(transcription))  # type: ignore[arg-type]

    assert [text[8:] for text in found if text] == [
        cue.text.replace("\uffff", "").replace("\ufffe", "")
        for cue in iter_cues(transcription)  # type: ignore[arg-type]
    ]


def test_word_knows_what_is_written_from_right_to_left() -> None:
    arabic = render_docx(make_transcription(make_segment(text=" مرحبا"), language="ar"))
    english = render_docx(make_transcription(make_segment()))

    assert b"w:bidi" in zipfile.ZipFile(io.BytesIO(arabic)).read("word/document.xml")
    assert b"w:bidi" not in zipfile.ZipFile(io.BytesIO(english)).read("word/document.xml")


@pytest.mark.parametrize("ending", DOWNLOADS)
def test_markup_that_was_spoken_is_text_in_every_download(ending: str) -> None:
    written = DOWNLOADS[ending].render(make_transcription(make_segment(text=HOSTILE)))

    if isinstance(written, bytes):
        assert paragraphs(written) == [f"00:00:00{HOSTILE.strip()}"]
    elif ending in ("srt", "vtt", "ass"):
        said = written.split("-->" if ending != "ass" else ",,0,0,0,,", 1)[1]
        assert not re.search(r"<[/A-Za-z]" if ending != "ass" else r"(?<!\\)\{|\\[A-Za-z]", said)
        assert ending == "ass" or "-->" not in said


CALL = make_transcription(
    make_segment(text=" Hello?", start=0.0, end=1.0, channel=0),
    make_segment(text=" Hi.", start=1.0, end=2.0, channel=1),
    make_segment(text=" It's me.", start=2.0, end=3.0, channel=1),
)
MIXED = make_transcription(
    make_segment(text=" Good morning.", start=0.0, end=1.0, language="en"),
    make_segment(text=" Buenos d\u00edas.", start=1.0, end=2.0, language="es"),
    make_segment(text=" Hasta luego.", start=2.0, end=3.0, language="es"),
)


def test_channels_are_named_in_every_format() -> None:
    assert [block.split("\n")[2] for block in render_srt(CALL).split("\n\n")] == [
        "Channel 1: Hello?",
        "Channel 2: Hi.",
        "Channel 2: It's me.",
    ]
    assert "<v Channel 2>Hi.</v>" in render_vtt(CALL)
    assert ",Channel 2,0,0,0,,Channel 2: Hi." in render_ass(CALL)
    assert render_text(CALL) == "Channel 1: Hello?\n\nChannel 2: Hi. It's me.\n"
    assert render_tsv(CALL).splitlines()[:2] == ["start\tend\tspeaker\ttext", "0\t1000\tChannel 1\tHello?"]
    assert paragraphs(render_docx(CALL)) == ["00:00:00Channel 1Hello?", "00:00:01Channel 2Hi. It's me."]


def test_a_change_of_language_is_shown_in_every_format() -> None:
    assert [block.split("\n")[2] for block in render_srt(MIXED).split("\n\n")] == [
        "Good morning.",
        "[es] Buenos d\u00edas.",
        "Hasta luego.",
    ]
    assert "<lang es>Hasta luego.</lang>" in render_vtt(MIXED)
    assert render_text(MIXED) == "Good morning.\n\n[es] Buenos d\u00edas. Hasta luego.\n"
    assert render_tsv(MIXED).splitlines()[2] == "1000\t2000\tes\tBuenos d\u00edas."
    assert paragraphs(render_docx(MIXED)) == [
        "00:00:00Good morning.",
        "00:00:01[es]Buenos d\u00edas.",
        "00:00:02Hasta luego.",
    ]


def test_a_translation_is_in_english_whatever_is_spoken() -> None:
    translated = replace(MIXED, task="translate")

    assert "[es]" not in render_srt(translated) + render_text(translated)
    assert "<lang" not in render_vtt(translated)


def test_a_language_written_from_right_to_left_stands_so_in_a_mixed_file() -> None:
    mixed = make_transcription(
        make_segment(text=" Hi.", language="en"), make_segment(text=" \u05d4\u05d9.", language="he")
    )

    document = zipfile.ZipFile(io.BytesIO(render_docx(mixed))).read("word/document.xml")

    assert document.count(b"<w:bidi/>") == 1
