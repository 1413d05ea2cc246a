"""Names and spoken words that try to be more than text, for every page and every export."""

from __future__ import annotations

import unicodedata

#: Each tries another reader: HTML, templates, translations, ASS, SubRip, WebVTT, Word, spreadsheets, terminals, eyes.
ATTACKS = (
    "<script>window.hit=1</script>",
    '"><img src=x onerror=window.hit=1>',
    "</title></textarea></template></noscript><svg onload='window.hit=1'>",
    "&lt;b&gt; &amp;amp; &#60;i&#62;",
    "{{7*7}} {% raw %} ${7*7} #{7*7} <%= 7*7 %>",
    "%(name)s %s {name} {percent} {0.__class__}",
    r"{\an8}{\b1}{\p1}m 0 0\N\h\n",
    r"\{\an8} \\N",
    "00:00:00.000 --> 00:00:09.000",
    "one\n\n2\n00:00:01,000 --> 00:00:02,000\ntwo",
    "<v Boss><c.red>said</c><00:00:01.000>",
    "WEBVTT\n\nNOTE x\n\nSTYLE\n::cue { color: red }",
    "x\nDialogue: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,y",
    "]]></w:t></w:r><w:r><w:instrText>DDEAUTO c:\\\\x</w:instrText></w:r><!-- &x;",
    '=HYPERLINK("http://evil.example","x")',
    "@SUM(1)",
    "-1+cmd|' /C calc'!A0",
    'a\tb\t"c',
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x08\x7f\x9b31m\x00",
    "gnp\u202egpj.exe\u2066\u202d\u2069",
    "a\u2028b\u2029c\x85d\x0be\x0cf",
    "\ufeff\ufffe\uffff",
)

#: All that a file name can hold of them: no path, no line.
NAME = " ".join(text for text in ATTACKS if "/" not in text and text.isprintable()) + ".wav"

#: What makes the words after it stand backwards, for as long as the line lasts.
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_plain(text: str) -> bool:
    """Whether a terminal and an eye see what is written: nothing that commands, nothing that turns around."""
    return not any(unicodedata.category(c) in ("Cc", "Cs") or c in TURNING for c in text)
