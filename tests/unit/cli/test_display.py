"""What is shown while work goes on."""

from __future__ import annotations

import io

from transcriber.cli.display import Bar, Lines, Standing, make_display, standing_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_has_a_bar_and_anything_else_lines() -> None:
    assert isinstance(make_display(Terminal()), Bar)
    assert isinstance(make_display(io.StringIO()), Lines)


def test_line_comes_with_each_stage_and_every_ten_percent() -> None:
    stream = io.StringIO()
    lines = Lines(stream)

    for percent in range(0, 31):
        lines.show("a.mp3", Standing(stage="transcribing", percent=float(percent)))
    lines.show("b.mp3", Standing(stage="waiting", detail="position 1"))

    assert stream.getvalue().splitlines() == [
        "a.mp3: transcribing",
        "a.mp3: transcribing 10 %",
        "a.mp3: transcribing 20 %",
        "a.mp3: transcribing 30 %",
        "b.mp3: waiting, position 1",
    ]


def test_bar_shows_name_percent_and_stage_and_goes_before_a_line() -> None:
    stream = Terminal()
    bar = Bar(stream)

    bar.show("a.mp3", Standing(stage="transcribing", percent=42.4, detail="about 3 s left"))
    shown = stream.getvalue()
    bar.say("done")

    assert "a.mp3" in shown
    assert "42%" in shown
    assert "transcribing, about 3 s left" in shown
    assert stream.getvalue().endswith("\rdone\n")


def test_progress_events_are_put_into_words() -> None:
    waiting = {"status": "queued", "percent": 0.0, "position": 3, "wait_seconds": 75.2}
    running = {"status": "running", "stage": "transcribing", "percent": 50.0, "seconds_left": 3720.0}
    young = {"status": "running", "stage": "decoding", "percent": 0.0, "seconds_left": None}

    assert standing_of(waiting).words == "waiting, position 3, about 1 min 15 s"
    assert standing_of(running).words == "transcribing, about 1 h 2 min left"
    assert standing_of(young).words == "decoding"
