"""Names, edited transcripts and search: what every JobStore promises; each test runs over each of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from job_stores import NOW, make_job, opened
from transcriber.domain.edits import Edit
from transcriber.domain.errors import JobNotFoundError
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.ports import JobPage
from transcriber.domain.transcript import Word
from transcriber.jobs.store.memory import MemoryJobStore
from transcriber.jobs.store.sql import SqlJobStore
from transcriptions import make_segment

Store = MemoryJobStore | SqlJobStore

SEGMENTS = (
    make_segment(),
    make_segment(id=1, words=(), tokens=()),
    make_segment(id=2, words=(Word(start=0.0, end=0.5, word=" Grüße", probability=0.4),)),
)
EDIT = Edit(revision=1, edited_at=datetime(2026, 1, 2, tzinfo=UTC), segments=SEGMENTS)


def done(store: Store, number: int = 0, text: str | None = "Ask not what", **changes: object) -> Job:
    job = store.add(make_job(number).evolve(**changes))
    store.claim(job.id, NOW)
    assert store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW, text=text)
    return store.get(job.id)


def names(page: JobPage) -> list[str]:
    return [job.id[-1] for job in page.jobs]


def excerpt(page: JobPage, job: Job) -> list[tuple[str, bool]]:
    return [(part.text, part.is_match) for part in page.excerpts[job.id].parts]


def test_job_is_renamed_and_keeps_its_file_name(store: Store) -> None:
    job = store.add(make_job().evolve(retry_of="job_other"))

    assert (job.title, job.name, job.retry_of) == ("", "speech.mp3", "job_other")
    renamed = store.rename(job.id, "Grüße <b>")

    assert renamed == store.get(job.id) == job.evolve(title="Grüße <b>")
    assert (renamed.name, renamed.file_name) == ("Grüße <b>", "speech.mp3")
    with pytest.raises(JobNotFoundError):
        store.rename(make_job(9).id, "x")


def test_edit_comes_back_equal(store: Store) -> None:
    job = done(store)

    assert store.transcripts.find_edit(job.id) == Edit()
    assert store.transcripts.save_edit(job.id, EDIT, "new") is True

    assert store.transcripts.find_edit(job.id) == EDIT


def test_an_edit_on_top_of_another_revision_is_refused(store: Store) -> None:
    job = done(store)

    assert store.transcripts.save_edit(job.id, replace(EDIT, revision=2), "x") is False
    assert store.transcripts.save_edit(job.id, EDIT, "x") is True
    assert store.transcripts.save_edit(job.id, EDIT, "y") is False
    restored = replace(EDIT, revision=2, segments=None)
    assert store.transcripts.save_edit(job.id, restored, "Ask not") is True

    assert store.transcripts.find_edit(job.id) == restored


def test_of_many_who_save_at_once_one_is_first(store: Store) -> None:
    job = done(store)
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda _: store.transcripts.save_edit(job.id, EDIT, "x"), range(16)))

    assert sum(saved) == 1


@pytest.mark.parametrize("status", [JobStatus.QUEUED, None])
def test_what_has_no_transcript_is_not_edited(store: Store, status: JobStatus | None) -> None:
    if status:
        store.add(make_job())

    assert store.transcripts.save_edit(make_job().id, EDIT, "x") is False


def test_text_is_searched_without_case_and_accents_and_the_last_word_as_a_beginning(store: Store) -> None:
    first = done(store, 0, "Ask not what your country can do for you")
    second = done(store, 1, "Schöne Grüße aus Köln")
    done(store, 2, "Nothing of the kind")

    assert names(store.page(search="COUNTRY ask")) == ["0"]
    found = (
        store.page(search="grusse koln")
        if isinstance(store, MemoryJobStore)
        else store.page(search="gruße koln")
    )
    assert names(found) == ["1"]
    assert names(store.page(search="coun")) == ["0"] and names(store.page(search="coun ask")) == []
    assert names(store.page(search="zebra")) == []
    assert (" country ", False) not in excerpt(store.page(search="country"), first)
    assert ("country", True) in excerpt(store.page(search="country"), first)
    assert second.id in store.page(search="Köln").excerpts


def test_chinese_is_found_by_its_characters(store: Store) -> None:
    job = done(store, 0, "大家好，欢迎收听今天的节目。")

    assert names(store.page(search="今天")) == ["0"]
    assert names(store.page(search="天今")) == []
    assert "".join(text for text, _ in excerpt(store.page(search="今天"), job)).count(" ") <= 2


@pytest.mark.parametrize(
    "query", ['"', "a OR", "NOT", "text:x", "x*", "(", "a AND b NEAR", "^a", "'; --", "%", "_", "\\"]
)
def test_no_query_is_an_operator_or_a_pattern(store: Store, query: str) -> None:
    done(store, 0, "plain words")

    assert names(store.page(search=query)) == []


def test_names_are_searched_as_they_are_shown(store: Store) -> None:
    store.add(make_job(0).evolve(file_name="Board 100%.mp3"))
    store.rename(store.add(make_job(1).evolve(file_name="voice001.m4a")).id, "Interview")

    assert names(store.page(search="board 100%")) == ["0"]
    assert names(store.page(search="VIEW")) == ["1"]
    assert names(store.page(search="voice001")) == []


def test_search_goes_with_status_and_pages(store: Store) -> None:
    for number in range(4):
        done(store, number, f"country {number}")

    page = store.page(search="country", limit=2)

    assert names(page) == ["3", "2"]
    assert names(store.page(search="country", limit=2, before=page.next_before)) == ["1", "0"]
    assert names(store.page(search="country", statuses=(JobStatus.FAILED,))) == []


def test_edited_text_is_what_is_found(store: Store) -> None:
    job = done(store, 0, "old words")
    store.transcripts.save_edit(job.id, EDIT, "new words")

    assert names(store.page(search="new")) == ["0"] and names(store.page(search="old")) == []


def test_purged_job_leaves_no_edit_and_no_text(store: Store) -> None:
    job = done(store)
    store.transcripts.save_edit(job.id, EDIT, "secret")
    assert store.purge(job.id)

    assert store.transcripts.find_edit(job.id) == Edit()
    assert names(store.page(search="secret")) == []


def test_text_of_an_attempt_that_does_not_count_is_not_indexed(store: Store) -> None:
    job = store.add(make_job())
    store.claim(job.id, NOW)

    assert store.finish(job.id, 2, JobStatus.SUCCEEDED, NOW, text="stale") is False
    assert names(store.page(search="stale")) == []


def test_jobs_of_earlier_versions_are_indexed_later_and_once(store: Store) -> None:
    old, new = done(store, 0, None), done(store, 1, "indexed")
    store.add(make_job(2))

    assert store.transcripts.unindexed() == [old.id]
    store.transcripts.index(old.id, "found at last")
    store.transcripts.index(new.id, "something else")
    store.transcripts.index(make_job(9).id, "gone")

    assert store.transcripts.unindexed() == []
    assert names(store.page(search="last")) == ["0"] and names(store.page(search="indexed")) == ["1"]


def test_text_and_edit_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "data" / "jobs.sqlite3"
    with ThreadPoolExecutor(1) as executor:
        with opened(path, executor) as store:
            job = done(store)
            store.transcripts.save_edit(job.id, EDIT, "kept words")
        with opened(path, executor) as store:
            assert names(store.page(search="kept")) == ["0"]
            assert store.transcripts.find_edit(job.id) == EDIT
