"""The feed of a job: numbers that stay, no segment missed or told twice, many followers on one list."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from transcriber.domain.feed import FeedEvent
from transcriber.jobs.events import EventFeeds, JobEvents, replayed
from transcriptions import make_segment

DEADLINE = 5.0


def make_feed(heartbeat: float = 5.0) -> JobEvents:
    return JobEvents(heartbeat=heartbeat, pace=0.0)


def filled(segments: int) -> JobEvents:
    feed = make_feed()
    for index in range(segments):
        feed.add_segment(make_segment(id=index))
    return feed


def numbers(events: Iterator[FeedEvent | None]) -> list[int | None]:
    return [event.number for event in events if event is not None]


def test_follower_hears_what_was_before_it_came_and_the_end() -> None:
    feed = filled(2)
    feed.end("done", {"status": "succeeded"})

    events = [event for event in feed.follow(0) if event]

    assert [(event.kind, event.number) for event in events] == [("segment", 1), ("segment", 2), ("done", 3)]
    assert events[0].data["text"] == make_segment().text


def test_follower_that_comes_back_misses_nothing_and_hears_nothing_twice() -> None:
    feed = filled(5)
    first = feed.follow(0)
    seen = [next(first) for _ in range(3)]
    last = seen[-1]
    assert last is not None and last.number is not None
    feed.end("done", {})

    assert numbers(feed.follow(last.number)) == [4, 5, 6]


def test_segment_that_was_made_again_is_not_told_twice() -> None:
    feed = filled(2)

    feed.restore([make_segment(id=0), make_segment(id=1), make_segment(id=2)])
    feed.end("error", {})

    assert numbers(feed.follow(0)) == [1, 2, 3, 4]


def test_slow_follower_hears_the_newest_progress_only() -> None:
    feed = make_feed()
    for percent in (10, 20, 30):
        feed.set_progress({"percent": percent})

    event = next(feed.follow(0))

    assert event == FeedEvent(kind="progress", data={"percent": 30})


def test_nothing_new_is_a_heartbeat() -> None:
    assert next(make_feed(heartbeat=0.01).follow(0)) is None


def test_followers_go_without_a_last_event_when_the_service_stops() -> None:
    feeds = EventFeeds(heartbeat=DEADLINE, pace=0.0)
    feed = feeds.open("job")
    feed.add_segment(make_segment())
    events: list[FeedEvent | None] = []
    follower = threading.Thread(target=lambda: events.extend(feed.follow(0)))
    follower.start()

    feeds.close()
    follower.join(DEADLINE)

    assert not follower.is_alive()
    assert [event.kind for event in events if event] == ["segment"]
    assert list(feeds.open("another").follow(0)) == []


def test_three_hundred_followers_all_hear_everything_once() -> None:
    feed = make_feed()
    heard: list[list[int | None]] = []
    followers = [threading.Thread(target=lambda: heard.append(numbers(feed.follow(0)))) for _ in range(300)]
    for follower in followers:
        follower.start()

    for index in range(20):
        feed.add_segment(make_segment(id=index))
    feed.end("done", {})
    for follower in followers:
        follower.join(DEADLINE)

    assert heard == [list(range(1, 22))] * 300


def test_feed_of_an_ended_job_is_forgotten_and_its_followers_told() -> None:
    feeds = EventFeeds(heartbeat=DEADLINE, pace=0.0)
    feed = feeds.open("job")

    feeds.end("job", "error", {"status": "cancelled"})

    assert feeds.find("job") is None
    assert [event.kind for event in feed.follow(0) if event] == ["error"]


def test_replay_of_an_ended_job_has_the_same_numbers() -> None:
    segments = [make_segment(id=index) for index in range(3)]
    last = FeedEvent(kind="done", data={}, number=4)

    assert numbers(replayed(segments, 0, last)) == [1, 2, 3, 4]
    assert numbers(replayed(segments, 2, last)) == [3, 4]
    assert numbers(replayed(segments, 3, last)) == [4]
    assert numbers(replayed(segments, 4, last)) == [], "the one who has seen the end is told nothing"
