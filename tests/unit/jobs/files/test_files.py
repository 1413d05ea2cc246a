"""Ids, spool, results and output: what is on disk, and what never is."""

from __future__ import annotations

import errno
import os
import resource
import stat
import string
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcriber.domain.errors import ConfigError, StorageFailedError, StorageFullError
from transcriber.domain.file_names import visible
from transcriber.jobs.files.output import MAX_STEM_BYTES, OutputFolder, safe_stem
from transcriber.jobs.files.results import FileResultStore
from transcriber.jobs.files.spool import Spool
from transcriber.jobs.ids import is_job_id, new_job_id
from transcriber.system.durable_files import find_folder_fault, make_folder, storage_errors, write_whole
from transcriptions import JOB_ID, make_segment, make_transcription, untimed

OTHER_ID = "job_" + "b" * 24
HOSTILE_IDS = [
    "",
    ".",
    "..",
    "../../etc",
    "job_",
    "job_x",
    JOB_ID + "/..",
    JOB_ID + "\n",
    "job_" + "é" * 24,
    "a\0b",
]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Ids


def test_ids_are_long_random_and_safe_in_names() -> None:
    ids = {new_job_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(is_job_id(job_id) for job_id in ids)
    alphabet = set(string.ascii_letters + string.digits + "-_")
    assert all(set(job_id) <= alphabet and len(job_id) == 4 + 24 for job_id in ids)


@pytest.mark.parametrize("text", [*HOSTILE_IDS, "job_" + "a" * 21, "job_" + "a" * 65, "JOB_" + "a" * 24])
def test_what_is_not_an_id_is_told_apart(text: str) -> None:
    assert not is_job_id(text)


# Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "data" / "spool", reserve_bytes=0)


def test_a_jobs_folder_is_private_and_its_names_are_ours(spool: Spool, tmp_path: Path) -> None:
    folder = spool.create(JOB_ID)

    assert folder == tmp_path / "data" / "spool" / JOB_ID
    assert mode(folder) == mode(folder.parent) == 0o700
    assert spool.upload_path(JOB_ID) == folder / "upload"
    assert spool.pcm_path(JOB_ID) == folder / "audio.pcm"
    assert spool.journal_path(JOB_ID) == folder / "journal"


def test_a_folder_is_created_once(spool: Spool) -> None:
    spool.create(JOB_ID)

    with pytest.raises(StorageFailedError):
        spool.create(JOB_ID)


def test_commit_needs_the_upload_and_keeps_it(spool: Spool) -> None:
    spool.create(JOB_ID)
    with pytest.raises(StorageFailedError):
        spool.commit(JOB_ID)
    spool.upload_path(JOB_ID).write_bytes(b"RIFF")

    spool.commit(JOB_ID)

    assert spool.upload_path(JOB_ID).read_bytes() == b"RIFF"


@pytest.mark.parametrize("job_id", HOSTILE_IDS)
def test_no_foreign_name_becomes_a_path(spool: Spool, tmp_path: Path, job_id: str) -> None:
    results = FileResultStore(tmp_path / "results")
    output = OutputFolder(tmp_path / "output")

    for use in (
        spool.create,
        spool.upload_path,
        spool.pcm_path,
        spool.journal_path,
        spool.commit,
        spool.reference_paths,
        spool.size_bytes,
        spool.drop_work,
        spool.remove,
        results.find,
        results.size_bytes,
        results.remove,
    ):
        with pytest.raises(ValueError, match="not a job id"):
            use(job_id)
    with pytest.raises(ValueError, match="not a job id"):
        output.remove(job_id, "a.mp3")
    with pytest.raises(ValueError, match="not a job id"):
        results.save(make_transcription(job_id=job_id))
    with pytest.raises(ValueError, match="not a job id"):
        output.write(make_transcription(job_id=job_id), "a.mp3")


def test_remove_deletes_a_job_and_may_be_called_again(spool: Spool) -> None:
    spool.create(JOB_ID)
    spool.upload_path(JOB_ID).write_bytes(b"x")
    spool.create(OTHER_ID)

    spool.remove(JOB_ID)
    spool.remove(JOB_ID)

    assert not spool.upload_path(JOB_ID).parent.exists()
    assert spool.upload_path(OTHER_ID).parent.exists()


def test_remove_does_not_follow_links(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    spool.create(JOB_ID)
    (spool.upload_path(JOB_ID).parent / "link").symlink_to(tmp_path / "precious")

    spool.remove(JOB_ID)

    assert (tmp_path / "precious" / "file").read_text() == "kept"


def test_sweep_removes_what_no_job_knows_and_leaves_foreign_files(spool: Spool, tmp_path: Path) -> None:
    kept, gone = spool.create(JOB_ID), spool.create(OTHER_ID)
    (gone / "upload").write_bytes(b"x")
    foreign = tmp_path / "data" / "spool" / "lost+found"
    foreign.mkdir()

    swept = spool.sweep([JOB_ID])

    assert swept == (OTHER_ID,)
    assert (kept.exists(), gone.exists(), foreign.exists()) == (True, False, True)


def test_the_work_goes_and_what_was_sent_stays(spool: Spool) -> None:
    folder = spool.create(JOB_ID)
    for path in (spool.upload_path(JOB_ID), spool.pcm_path(JOB_ID), spool.journal_path(JOB_ID)):
        path.write_bytes(b"x")
    spool.reference_path(JOB_ID, 0).write_bytes(b"x")
    (folder / ".journal.tmp").write_bytes(b"half")

    spool.drop_work(JOB_ID)
    spool.drop_work(JOB_ID)
    spool.drop_work(OTHER_ID)

    assert sorted(os.listdir(folder)) == ["reference-0", "upload"]


def test_another_job_may_have_all_that_was_sent(spool: Spool) -> None:
    for job_id in (JOB_ID, OTHER_ID):
        spool.create(job_id)
    spool.upload_path(JOB_ID).write_bytes(b"speech")
    for number in (1, 0):
        spool.reference_path(JOB_ID, number).write_bytes(b"voice %d" % number)

    spool.take_over(JOB_ID, OTHER_ID)
    spool.remove(JOB_ID)

    assert spool.upload_path(OTHER_ID).read_bytes() == b"speech"
    assert [path.read_bytes() for path in spool.reference_paths(OTHER_ID)] == [b"voice 0", b"voice 1"]


def test_sizes_are_told_by_job_and_in_all(spool: Spool, results: FileResultStore, tmp_path: Path) -> None:
    for job_id, size in ((JOB_ID, 100), (OTHER_ID, 1000)):
        spool.create(job_id)
        spool.upload_path(job_id).write_bytes(b"x" * size)
    spool.journal_path(JOB_ID).write_bytes(b"x" * 11)
    results.save(make_transcription())
    size = (tmp_path / "results" / f"{JOB_ID}.json").stat().st_size

    assert (spool.size_bytes(JOB_ID), spool.size_bytes(OTHER_ID), spool.used_bytes()) == (111, 1000, 1111)
    assert (results.size_bytes(JOB_ID), results.used_bytes()) == (size, size)
    assert (spool.size_bytes("job_" + "c" * 24), results.size_bytes(OTHER_ID)) == (0, 0)
    assert spool.ids() == {JOB_ID, OTHER_ID}


def test_room_is_what_the_disk_has_less_the_reserve(tmp_path: Path) -> None:
    plenty = Spool(tmp_path, reserve_bytes=0)
    disk = os.statvfs(tmp_path)
    none_left = Spool(tmp_path, reserve_bytes=disk.f_blocks * disk.f_frsize)

    assert plenty.free_bytes() > 0
    plenty.check_room(1)
    assert none_left.free_bytes() == 0
    for spool, size in ((none_left, 0), (none_left, 1), (plenty, 2**62)):
        with pytest.raises(StorageFullError) as caught:
            spool.check_room(size)
        assert caught.value.fix


def test_a_folder_that_cannot_be_made_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad = tmp_path / "file" / "x"

    for make, setting in (
        (lambda: Spool(bad, reserve_bytes=0), "WHISPER_DATA_DIR"),
        (lambda: FileResultStore(bad), "WHISPER_DATA_DIR"),
        (lambda: OutputFolder(bad), "TRANSCRIPTION_OUTPUT_DIR"),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert (caught.value.code, caught.value.param) == ("data_dir_not_writable", setting)


# Whole files


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EIO, StorageFailedError),
        (errno.EROFS, StorageFailedError),
    ],
)
def test_the_systems_errors_are_translated(number: int, expected: type[Exception]) -> None:
    with pytest.raises(expected), storage_errors():
        raise OSError(number, os.strerror(number))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"first")
    with path.open("rb") as reader:
        write_whole(path, b"second, and longer")
        assert reader.read() == b"first"

    assert path.read_bytes() == b"second, and longer"
    assert mode(path) == 0o600
    assert os.listdir(tmp_path) == ["file"]


@contextmanager
def small_disk() -> Iterator[None]:
    """Files larger than 4 kB can't be written, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old")

    with small_disk(), pytest.raises(StorageFailedError):
        write_whole(tmp_path / "file", b"x" * 100_000)

    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_gone_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError):
        write_whole(tmp_path / "gone" / "file", b"x")


# Results


@pytest.fixture
def results(tmp_path: Path) -> FileResultStore:
    return FileResultStore(tmp_path / "results")


def test_a_result_comes_back_as_it_was(results: FileResultStore, tmp_path: Path) -> None:
    transcription = make_transcription(make_segment(text=" Grüße, 世界"))

    results.save(transcription)

    assert results.find(JOB_ID) == transcription
    assert FileResultStore(tmp_path / "results").find(JOB_ID) == transcription
    assert mode(tmp_path / "results" / f"{JOB_ID}.json") == 0o600


def test_an_unknown_result_is_none(results: FileResultStore) -> None:
    assert results.find(OTHER_ID) is None


def test_a_result_is_replaced_and_removed(results: FileResultStore) -> None:
    results.save(make_transcription(text="one"))
    results.save(make_transcription(text="two"))
    found = results.find(JOB_ID)
    assert found is not None and found.text == "two"

    results.remove(JOB_ID)
    results.remove(JOB_ID)

    assert results.find(JOB_ID) is None


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"null", b"\xff\xfe", b'{"job_id": 3}'])
def test_a_damaged_result_is_an_error(results: FileResultStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results" / f"{JOB_ID}.json").write_bytes(content)

    with pytest.raises(StorageFailedError) as caught:
        results.find(JOB_ID)

    assert caught.value.code == "result_damaged" and JOB_ID in caught.value.message


def test_a_result_that_cannot_be_read_is_a_storage_failure(results: FileResultStore, tmp_path: Path) -> None:
    (tmp_path / "results" / f"{JOB_ID}.json").mkdir()

    with pytest.raises(StorageFailedError):
        results.find(JOB_ID)


def test_what_a_killed_process_left_half_written_is_cleared(results: FileResultStore, tmp_path: Path) -> None:
    results.save(make_transcription())
    (tmp_path / "results" / ".0123456789abcdef.tmp").write_bytes(b"half")
    (tmp_path / "results" / ".folder.tmp").mkdir()

    FileResultStore(tmp_path / "results")

    assert sorted(os.listdir(tmp_path / "results")) == [".folder.tmp", f"{JOB_ID}.json"]


def test_results_that_no_job_knows_are_swept_and_foreign_files_stay(
    results: FileResultStore, tmp_path: Path
) -> None:
    results.save(make_transcription())
    results.save(make_transcription(job_id=OTHER_ID))
    for foreign in ("notes.json", "job_x.json", f"{OTHER_ID}.json.bak"):
        (tmp_path / "results" / foreign).write_text("mine")

    swept = results.sweep([JOB_ID])

    assert swept == (OTHER_ID,)
    assert results.ids() == {JOB_ID}
    assert len(os.listdir(tmp_path / "results")) == 4


# Output


def test_output_is_named_after_file_and_job(tmp_path: Path) -> None:
    output = OutputFolder(tmp_path / "output")

    text_path, json_path = output.write(
        make_transcription(make_segment(text=" Hi. ")), "C:\\talks\\Grüße 1.mp3"
    )

    assert text_path == tmp_path / "output" / f"Grüße 1.{JOB_ID}.txt"
    assert json_path == tmp_path / "output" / f"Grüße 1.{JOB_ID}.json"
    assert text_path.read_text() == "Hi.\n"
    assert '"gpu_used": false' in json_path.read_text()
    assert sorted(os.listdir(tmp_path / "output")) == sorted([text_path.name, json_path.name])


def test_output_can_be_removed_again(tmp_path: Path) -> None:
    output = OutputFolder(tmp_path / "output")
    output.write(make_transcription(), "C:\\talks\\a.mp3")
    output.write(make_transcription(job_id=OTHER_ID), "a.mp3")

    output.remove(JOB_ID, "C:\\talks\\a.mp3")
    output.remove(JOB_ID, "C:\\talks\\a.mp3")

    assert sorted(os.listdir(tmp_path / "output")) == [f"a.{OTHER_ID}.json", f"a.{OTHER_ID}.txt"]


def test_output_is_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        text_path, _ = OutputFolder(tmp_path / "output").write(make_transcription(), "a.mp3")
    finally:
        os.umask(before)

    assert (mode(text_path.parent), mode(text_path)) == (0o750, 0o640)


@pytest.mark.parametrize(
    ("file_name", "stem"),
    [
        ("speech.mp3", "speech"),
        ("speech", "speech"),
        ("Vol. 1", "Vol. 1"),
        ("archive.tar.gz", "archive.tar.gz"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/abs/path.wav", "path"),
        (".bashrc", "bashrc"),
        ("...", "audio"),
        ("", "audio"),
        ("/", "audio"),
        ("-rf.mp3", "rf"),
        ("a\x00b\nc\x1b[31m.mp3", "abc[31m"),
        ("gnp\u202e3pm.exe", "gnp3pm.exe"),
        ('a<b>:"|?*c.mp3', "a_b______c"),
        ("e\u0301te\u0301.mp3", "été"),
        ("会議\u3000録音.m4a", "会議 録音"),
        ("می\u200cروم.flac", "می\u200cروم"),
        ("lone\ud800.mp3", "lone"),
        (" spaces and.dots. .mp3", "spaces and.dots"),
    ],
)
def test_stems_are_safe_and_stay_readable(file_name: str, stem: str) -> None:
    assert safe_stem(file_name) == stem


@pytest.mark.parametrize("letter", ["x", "é", "世", "🎵"])
def test_long_names_are_cut_between_characters(letter: str) -> None:
    stem = safe_stem(letter * 5000 + ".mp3")

    assert set(stem) == {letter}
    assert MAX_STEM_BYTES - 4 < len(stem.encode()) <= MAX_STEM_BYTES


def visible_in_python(text: str) -> str:
    """Without controls, private letters, separators but the space, and formats but joiners and Arabic signs."""
    hidden = ("Cc", "Cs", "Co", "Zl", "Zp", "Cf")
    return "".join(
        c for c in text if unicodedata.category(c) not in hidden or c in "\u200c\u200d" or visible(c) == c
    )


@untimed
@given(st.text() | st.text(alphabet="./\\-~ \x00\n\u202eab"))
def test_no_name_leads_out_of_the_folder(file_name: str) -> None:
    stem = safe_stem(file_name)

    assert stem and stem == visible_in_python(stem)
    assert not set(stem) & set('/\\\0<>:"|?*')
    assert stem[0] not in ".-" and len(stem.encode()) <= MAX_STEM_BYTES
    assert Path("/out", f"{stem}.txt").parent == Path("/out")


# What can be told of a folder without making it


def test_folder_that_is_there_or_can_be_made_has_no_fault(tmp_path: Path) -> None:
    assert find_folder_fault(tmp_path, "WHISPER_DATA_DIR") is None
    assert find_folder_fault(tmp_path / "a" / "b", "WHISPER_DATA_DIR") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below", "dangling/below"])
def test_folder_with_something_else_in_its_place_has_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")

    fault = find_folder_fault(tmp_path / name, "WHISPER_DATA_DIR")

    assert fault is not None
    assert (fault.code, fault.param) == ("data_dir_not_writable", "WHISPER_DATA_DIR")


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Without root's rights, who may write to every folder; access(2) asks for the real user's."""
    if os.getuid() != 0:
        yield
        return
    os.setreuid(65534, -1)
    try:
        yield
    finally:
        os.setreuid(0, -1)


def test_folder_that_may_not_be_written_to_has_one() -> None:
    # Not in tmp_path, whose parents are closed to others.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with _as_nobody():
            fault = find_folder_fault(folder / "below", "WHISPER_DATA_DIR")

    assert fault is not None
    assert str(folder) in fault.message


def test_folder_that_is_there_and_may_not_be_written_to_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with _as_nobody(), pytest.raises(ConfigError) as caught:
            make_folder(folder, "TRANSCRIPTION_OUTPUT_DIR")

    assert (caught.value.code, caught.value.param) == ("data_dir_not_writable", "TRANSCRIPTION_OUTPUT_DIR")
    assert "can't be written to" in caught.value.message


def test_devices_of_many_results_are_read_at_once_without_those_that_can_not_be(tmp_path: Path) -> None:
    results = FileResultStore(tmp_path)
    done = [make_transcription(job_id=new_job_id()) for _ in range(2)]
    for one in done:
        results.save(one)
    damaged, gone = new_job_id(), new_job_id()
    (tmp_path / f"{damaged}.json").write_text("{")

    found = results.find_devices([done[0].job_id, damaged, gone, done[1].job_id])

    assert list(found) == [one.job_id for one in done]
    assert {(facts.gpu_used, facts.device) for facts in found.values()} == {
        (done[0].gpu_used, done[0].device)
    }
