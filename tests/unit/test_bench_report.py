"""The benchmark's own sums: what counts as kept, as lost, and as a percentile; sounds that no cache can answer."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from bench_report import (
    Ratio,
    alone_ratios,
    crowd_ratios,
    crowd_table,
    long_ratios,
    long_table,
    losses,
    plot,
    ratios_to_dict,
    replace_marked,
    stage_table,
)
from bench_runs import CrowdRun, LongRun, percentile
from bench_sounds import make_clips, make_long
from bench_watch import Usage
from speech_errors import Errors, count_errors

STAGES = {"queue": 0.1, "audio_decode": 0.2, "vad": 0.3, "language_detection": 0.0, "transcription": 9.0}


def long_run(way: str, seconds: float, wer: float, first: float = 1.0) -> LongRun:
    return LongRun(
        way=way,
        seconds=seconds,
        first_segment_seconds=first,
        wer=wer,
        audio_seconds=600,
        cpu_seconds=2 * seconds,
        peak_bytes=10**8,
        gpu_percent=None,
        timings={"device": "cpu", "total": 9.6, **STAGES} if way == "service" else {},
    )


def crowd(way: str, seconds: float, latencies: list[float]) -> CrowdRun:
    return CrowdRun(
        way=way,
        clients=16,
        seconds=seconds,
        latencies=latencies,
        errors=Errors(words=100, deletions=4),
        audio_seconds=100.0,
        usage=Usage(cpu_seconds=2 * seconds, peak_bytes=10**8, gpu_percent=55.0),
    )


def test_the_long_files_ratios_are_those_of_the_medians() -> None:
    runs = [long_run("service", s, 0.05, first=2.0) for s in (10.0, 30.0, 20.0)]
    runs += [long_run("batched", s, 0.06) for s in (25.0, 16.0, 90.0)]
    runs.append(long_run("sequential", 80.0, 0.04))

    values = [(round(ratio.value, 6), ratio.is_kept) for ratio in long_ratios(runs)]

    assert values == [(0.8, True), (-1.0, True), (0.1, True), (0.25, True)]


def test_a_faster_answer_with_more_errors_is_not_kept() -> None:
    runs = [long_run("service", 5.0, 0.061), long_run("batched", 20.0, 0.06)]

    assert [ratio.is_kept for ratio in long_ratios(runs)][:2] == [True, False]


def test_crowds_are_compared_in_throughput_and_in_the_slow_answers() -> None:
    ours, serial = crowd("service", 10.0, [2.0] * 15 + [4.0]), crowd("serial", 16.0, [8.0] * 16)

    throughput, p95 = crowd_ratios(ours, serial, 1.6)
    (alone,) = alone_ratios(crowd("service", 1.0, [1.3]), crowd("serial", 1.0, [1.0]))

    assert (round(throughput.value, 6), throughput.is_kept) == (1.6, True)
    assert (p95.value, p95.is_kept) == (0.5, True)
    assert (round(alone.value), alone.is_kept) == (200, False)


@pytest.mark.parametrize(("share", "expected"), [(50, 5), (95, 10), (99, 10), (10, 1)])
def test_percentiles_are_values_that_were_measured(share: int, expected: float) -> None:
    assert percentile([float(number) for number in range(10, 0, -1)], share) == expected


def test_only_what_got_worse_beyond_the_tolerance_is_a_loss() -> None:
    now = ratios_to_dict(
        "base",
        [
            Ratio(name="time", value=1.2, limit=1.0),
            Ratio(name="first", value=0.11, limit=0.15),
            Ratio(name="throughput", value=1.1, limit=1.4, more_is_better=True),
            Ratio(name="new", value=9.0, limit=1.0),
        ],
    )
    baseline = json.loads(json.dumps(now))
    baseline["base, time"]["value"] = 1.0
    baseline["base, first"]["value"] = 0.10
    baseline["base, throughput"]["value"] = 1.4
    del baseline["base, new"]

    assert losses(now, now) == []
    assert losses(now, baseline) == ["base, time: 1.200, was 1.000", "base, throughput: 1.100, was 1.400"]


def test_tables_have_a_row_for_each_way_and_the_plot_is_xml() -> None:
    runs = [long_run("service", 10.0, 0.05), long_run("service", 12.0, 0.05), long_run("batched", 20.0, 0.06)]

    assert "| service | 11.0 | 54.5 | 1.0 | 5.0 | 22.0 | 100 | – |" in long_table(runs)
    assert "| batched | 20.0 | 30.0 |" in long_table(runs)
    assert "| cpu | 0.10 | 0.20 | 0.30 | 0.00 | 9.00 | 9.60 |" in stage_table(runs)
    assert "| 16 | serial | 6.25 | 8.00 | 8.00 | 8.00 | 0.00 | 4.0 | 32.0 | 100 | 55 |" in crowd_table(
        [crowd("serial", 16.0, [8.0] * 16)]
    )
    root = ElementTree.fromstring(plot("a < b", [("x & service", 3.0), ("bare", 6.0)]))
    bars = [bar for bar in root.iter("{http://www.w3.org/2000/svg}rect") if "x" in bar.attrib]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[1] == 2 * widths[0]


def test_a_page_gets_its_new_results_between_the_marks_and_nowhere_else() -> None:
    page = "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n"

    assert replace_marked(page, "new\n") == "before\n<!-- results -->\nnew\n<!-- /results -->\nafter\n"
    with pytest.raises(ValueError, match="results"):
        replace_marked("no marks", "new")


def test_every_clip_differs_and_a_seed_gives_the_same_ones() -> None:
    clips = make_clips(9, seed=1)

    assert len({clip.wav for clip in clips}) == 9
    assert make_clips(9, seed=1) == clips
    assert not {clip.wav for clip in make_clips(9, seed=2)} & {clip.wav for clip in clips}


def test_a_long_sound_is_as_long_as_asked_and_has_its_text() -> None:
    sound = make_long(20, seed=1)

    assert 20 <= sound.seconds < 45
    assert len(sound.wav) == 44 + 2 * round(sound.seconds * 16_000)
    assert "ask not what your country can do for you" in sound.text


def test_errors_are_counted_after_normalising() -> None:
    errors = count_errors("One two three, my fellow Americans.", "1-2-3 my fellow American", "en")

    assert (errors.total, errors.words, errors.substitutions) == (1, 6, 1)
    assert (errors + errors).rate == errors.rate == 1 / 6
