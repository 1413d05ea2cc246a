"""The upload page in Chromium: files from everywhere, through every break, with and without JavaScript."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from chromium import transfer_of
from cut_line import CutLine
from fakes import FakeService
from transcriber.domain.errors import ModelNotFoundError, UndecodableMediaError

pytestmark = pytest.mark.browser

FACTS = {"gpu_used": "false", "device": "cpu", "compute_type": "int8_float32", "model": "base"}
VISIT = Callable[..., Any]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A file to upload; the service behind the page does not look inside."""
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF" * 50_000)
    return path


@pytest.fixture
def line(live_server_url: str) -> Iterator[CutLine]:
    """A way to the server that takes a while and can be cut."""
    with CutLine(int(live_server_url.rpartition(":")[2]), up_rate=6_000_000) as line:
        yield line


def rows(page: Page) -> Locator:
    return page.locator("[data-tray] li")


def start(page: Page) -> None:
    page.get_by_role("button", name="Transcribe", exact=True).click()


def assert_facts_shown(page: Page) -> None:
    for name, value in FACTS.items():
        expect(page.locator(f"[data-fact={name}]")).to_have_text(value)
    evidence = page.locator("[data-evidence]")
    expect(evidence).to_have_attribute("data-tone", "warn")
    expect(page.get_by_text("This ran on the CPU, not on the GPU.")).to_be_hidden()
    evidence.locator("summary").first.click()
    expect(page.get_by_text("This ran on the CPU, not on the GPU.")).to_be_visible()


def test_file_goes_up_and_the_facts_come_back(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(audio)
    expect(rows(page)).to_contain_text(["200 kB"])
    start(page)

    expect(page).to_have_url(re.compile("/jobs/job_"))
    assert_facts_shown(page)
    [received] = service.received.values()
    assert received == audio.read_bytes()
    assert page.evaluate("localStorage.getItem('transcriber-uploads')") == "{}"


def test_progress_speed_and_time_left_are_shown(line: CutLine, visit: VISIT, tmp_path: Path) -> None:
    """On a line that takes a while; the numbers are seen as they change."""
    path = tmp_path / "long.wav"
    path.write_bytes(b"x" * 12_000_000)
    page: Page = visit(base_url=line.url).page
    page.evaluate(
        """() => {
          window.seen = [];
          new MutationObserver(() => window.seen.push(document.querySelector('.file .hint')?.textContent))
            .observe(document.querySelector('[data-tray]'), {childList: true, characterData: true, subtree: true});
          addEventListener('pagehide', () => sessionStorage.setItem('seen', JSON.stringify(window.seen)));
        }"""
    )
    page.locator("input[type=file]").first.set_input_files(path)
    start(page)
    expect(page.get_by_role("progressbar", name="Progress of long.wav")).to_be_visible()
    expect(page).to_have_url(re.compile("/jobs/"), timeout=20_000)

    seen = " | ".join(page.evaluate("() => JSON.parse(sessionStorage.getItem('seen'))"))
    assert "0 % of 12.0 MB" in seen
    assert "100 % of 12.0 MB" in seen
    assert re.search(r"[1-9][0-9]? % of 12\.0 MB · [0-9.]+ (kB|MB)/s, about [1-9] s left", seen), seen


def test_pasted_file_is_taken(visit: VISIT, service: FakeService) -> None:
    page: Page = visit().page
    transfer = transfer_of(page, {"pasted.wav": b"bytes of pasted.wav"})
    page.evaluate(
        "(t) => document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: t, bubbles: true}))",
        transfer,
    )
    start(page)

    expect(page.get_by_role("heading", level=1)).to_have_text("pasted.wav")
    assert list(service.received.values()) == [b"bytes of pasted.wav"]


def test_whole_frame_opens_the_dialog(visit: VISIT) -> None:
    """A click anywhere in it, and both keys on the input; what else is in it has its own meaning."""
    page: Page = visit().page
    with page.expect_file_chooser():
        page.locator("[data-drop]").click(position={"x": 6, "y": 6})
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose files").click()
    assert chooser.value.is_multiple()
    for key in ("Enter", "Space"):
        page.locator("input[type=file]").first.focus()
        with page.expect_file_chooser():
            page.keyboard.press(key)
    page.get_by_role("button", name="Transcribe", exact=True).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Choose a file first.")
    expect(page.locator("input[type=file]").first).to_be_focused()


def test_folder_gives_its_audio_and_says_what_it_left_out(
    visit: VISIT, service: FakeService, tmp_path: Path
) -> None:
    folder = tmp_path / "talks"
    (folder / "more").mkdir(parents=True)
    for name in ("a.wav", "more/b.mp3", "more/notes.txt"):
        (folder / name).write_bytes(name.encode())
    page: Page = visit().page
    page.locator("[data-folder]").set_input_files(folder)

    expect(rows(page)).to_have_count(2)
    expect(page.get_by_role("alert")).to_contain_text("neither audio nor video: 1")
    start(page)
    expect(page.get_by_role("link", name="Open")).to_have_count(2)
    assert sorted(service.received.values()) == [b"a.wav", b"more/b.mp3"]


def test_network_cut_in_the_middle_is_survived(
    line: CutLine, visit: VISIT, service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(bytes(range(256)) * 48_000)
    visited = visit(base_url=line.url)
    page: Page = visited.page
    page.locator("input[type=file]").first.set_input_files(path)
    start(page)
    expect(page.locator(".file .hint")).to_contain_text(re.compile("^[1-9][0-9]? %"))
    line.cut()
    expect(page.locator(".file .hint")).to_have_text(re.compile("The connection is lost"))
    [upload_id] = service.resumable._spool.resting()
    before = service.resumable.get(upload_id).offset
    line.mend()

    expect(page).to_have_url(re.compile("/jobs/"), timeout=20_000)
    assert list(service.received) == [upload_id]
    assert service.received[upload_id] == path.read_bytes()
    assert 0 < before < path.stat().st_size
    # The browser's own note on each request while the network was away.
    visited.complaints[:] = [text for text in visited.complaints if "ERR_" not in text]


def test_upload_goes_on_after_a_reload(
    line: CutLine, visit: VISIT, service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(bytes(range(256)) * 48_000)
    page: Page = visit(base_url=line.url).page
    page.locator("input[type=file]").first.set_input_files(path)
    start(page)
    expect(page.locator(".file .hint")).to_contain_text(re.compile("^[3-9][0-9] %"))
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.get_by_text("Uploads that were cut off go on")).to_be_visible()
    [upload_id] = service.resumable._spool.resting()
    assert service.resumable.get(upload_id).offset > 0
    page.locator("input[type=file]").first.set_input_files(path)
    start(page)

    expect(page).to_have_url(re.compile("/jobs/"), timeout=20_000)
    assert service.received == {upload_id: path.read_bytes()}


def test_cancelled_upload_is_gone_from_the_service(
    line: CutLine, visit: VISIT, service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(b"x" * 12_000_000)
    visited = visit(base_url=line.url)
    page: Page = visited.page
    page.locator("input[type=file]").first.set_input_files(path)
    start(page)
    expect(page.locator(".file .hint")).to_contain_text("%")
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("button", name="Cancel long.wav").click()

    expect(rows(page)).to_contain_text(["cancelled"])
    expect(page.get_by_role("button", name="Transcribe", exact=True)).to_be_visible()
    assert service.jobs == {}
    assert list(service.spool.iterdir()) == []


def test_options_of_the_page_reach_the_service(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(audio)
    page.get_by_label("Model").select_option("tiny.en")
    page.locator("select[name=language]").select_option("de")
    page.get_by_label("Use the GPU").uncheck()
    page.get_by_text("More options").click()
    page.get_by_label("Times for each word").check()
    start(page)
    expect(page).to_have_url(re.compile("/jobs/"))

    [job] = service.jobs.values()
    assert job.request.model == "tiny.en"
    assert job.request.use_gpu is False
    assert job.request.options.language == "de"
    assert job.request.options.word_timestamps is True
    assert job.request.options.vad_filter is True
    assert job.request.ignored == ()


def test_plain_form_works_without_javascript(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit(java_script_enabled=False).page
    expect(page.get_by_text("Choose a folder")).to_be_hidden()
    page.locator("input[type=file]").first.set_input_files(audio)
    start(page)

    expect(page).to_have_url(re.compile("/transcribe$"))
    assert_facts_shown(page)
    [job] = service.jobs.values()
    assert job.request.use_gpu is True


def test_limits_are_told_before_anything_is_sent(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit().page
    expect(page.locator("#limits")).to_contain_text("A file may have up to 2.1 GB and last up to 12 h.")
    page.evaluate("document.querySelector('form[data-upload]').dataset.maxBytes")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "empty.wav", "mimeType": "audio/wav", "buffer": b""}
    )
    start(page)

    expect(rows(page)).to_contain_text(["empty.wav is empty."])
    expect(page.get_by_role("alert")).to_contain_text("Choose a file first.")
    assert list(service.spool.iterdir()) == []


def test_refusal_is_shown_and_another_try_needs_no_new_upload(
    visit: VISIT, service: FakeService, audio: Path
) -> None:
    visited = visit()
    page: Page = visited.page
    service.submit_error = ModelNotFoundError(fix="Take another model.")
    page.locator("input[type=file]").first.set_input_files(audio)
    page.locator("select[name=language]").select_option("de")
    start(page)

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The model is not on this machine.")
    expect(alert).to_contain_text("Take another model.")
    expect(page.locator("select[name=language]")).to_have_value("de")
    assert all("404" in complaint for complaint in visited.complaints)  # Chromium's own note on the status
    visited.complaints.clear()
    service.submit_error = None
    page.get_by_role("button", name="Try again").click()

    expect(page).to_have_url(re.compile("/jobs/"))
    assert list(service.received.values()) == [audio.read_bytes()]


def test_file_that_can_not_be_used_says_so(visit: VISIT, service: FakeService, audio: Path) -> None:
    service.job_error = UndecodableMediaError()
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(audio)
    start(page)

    expect(page.get_by_role("alert")).to_contain_text(UndecodableMediaError.fix)


def test_submission_is_waited_for(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit().page
    held = threading.Event()
    submit = service.submit
    service.submit = lambda *args, **named: (held.wait(10), submit(*args, **named))[1]  # type: ignore[method-assign]
    page.locator("input[type=file]").first.set_input_files(audio)
    start(page)

    expect(rows(page)).to_contain_text(["Submitting"])
    held.set()
    expect(page).to_have_url(re.compile("/jobs/"))


def test_removal_leaves_the_focus_near(visit: VISIT, audio: Path) -> None:
    page: Page = visit().page
    for name in ("a.wav", "b.wav"):
        page.locator("input[type=file]").first.set_input_files(
            {"name": name, "mimeType": "audio/wav", "buffer": b"x"}
        )
    page.get_by_role("button", name="Remove a.wav").press("Enter")
    expect(page.get_by_role("button", name="Remove b.wav")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("input[type=file]").first).to_be_focused()


def test_transcript_downloads(visit: VISIT, audio: Path) -> None:
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(audio)
    start(page)
    with page.expect_download() as waiting:
        page.get_by_text("Download", exact=True).click()
        page.get_by_role("link", name="srt").click()

    assert waiting.value.suggested_filename == "speech.srt"
    assert Path(waiting.value.path()).read_text().startswith("1\n00:00:00,000 --> ")


def test_hostile_names_and_texts_stay_text(visit: VISIT, tmp_path: Path) -> None:
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(
        {"name": "<img src=x onerror=alert(1)>.wav", "mimeType": "audio/wav", "buffer": b"x"}
    )
    expect(rows(page)).to_contain_text(["<img src=x onerror=alert(1)>.wav"])
    start(page)

    expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x onerror=alert(1)>.wav")
    expect(page.locator("#text")).to_contain_text("Ask <b>more</b>.")
    assert page.locator("main b").count() == 0


def test_device_that_serves_is_shown_with_its_reason(visit: VISIT, service: FakeService) -> None:
    service.application.details = {  # type: ignore[attr-defined]
        "status": "degraded",
        "gpu_policy": "preferred",
        "fallback_reason": {"code": "no_nvidia_gpu", "message": "No GPU here.", "fix": "Put one in."},
    }
    page: Page = visit().page
    expect(page.get_by_text("No GPU here.")).to_be_hidden()
    page.get_by_text("CPU instead of the GPU").click()

    expect(page.get_by_text("No GPU here.")).to_be_visible()
    expect(page.get_by_text("Put one in.")).to_be_visible()
