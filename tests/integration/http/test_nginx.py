"""docs/deploy.md's nginx configurations, word for word, before a real service: a whole host on any port, and a path of one."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest

from media_files import JFK
from server import ROOT, Server, free_port

KEY = "a-long-random-key-of-this-test"
HOST, SHARED = "transcribe.example.org", "www.example.org"
BEARER = {"Authorization": f"Bearer {KEY}"}
BROWSER = {"Accept": "text/html"}
TUS = {"Tus-Resumable": "1.0.0"}

OUTER = """
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  ssl_certificate {folder}/cert.pem;
  ssl_certificate_key {folder}/key.pem;
{servers}
}}
"""


class Site:
    """One documented server behind nginx, as clients see it: TLS, a name, and a port that is not 443."""

    def __init__(self, host: str, port: int) -> None:
        self.host = f"{host}:{port}"
        self._port = port

    def read(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[http.client.HTTPResponse, str]:
        """The answer, and its body to the end; a connection for each request."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with closing(
            http.client.HTTPSConnection("127.0.0.1", self._port, context=context, timeout=60)
        ) as connection:
            connection.request(method, path, body, {"Host": self.host} | (headers or {}))
            answer = connection.getresponse()
            return answer, answer.read().decode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_ENGINE_START": "lazy",
        "WHISPER_API_KEY": KEY,
        "WHISPER_ALLOWED_HOSTS": f"{HOST},{SHARED}",
        "WHISPER_TRUSTED_PROXIES": "127.0.0.1",
    }
    server = Server(tmp_path_factory.mktemp("data"), environ).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def sites(service: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """The two servers of the page, in its order."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if nginx is None or shutil.which("openssl") is None:
        assert os.environ.get("CI") != "true", "scripts/tools installs nginx and openssl"
        pytest.skip("needs nginx and openssl: sudo apt-get install nginx-light openssl")
    folder = tmp_path_factory.mktemp("nginx")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    blocks = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL)
    # Another block is that of a cut-over between two services.
    blocks = [block for block in blocks if "transcriber_previous" not in block]
    assert len(blocks) == 2
    ports = [free_port(), free_port()]
    servers = [
        block.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace(
            "127.0.0.1:5000", f"127.0.0.1:{service.port}"
        )
        for block, port in zip(blocks, ports, strict=True)
    ]
    (folder / "nginx.conf").write_text(OUTER.format(folder=folder, servers="\n".join(servers)))
    process = subprocess.Popen(
        [nginx, "-e", folder / "error.log", "-c", folder / "nginx.conf", "-g", "daemon off;"]
    )
    both = Site(HOST, ports[0]), Site(SHARED, ports[1])
    try:
        _wait(process, folder, both)
        yield both
    finally:
        process.terminate()
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], folder: Path, both: tuple[Site, Site]) -> None:
    for _ in range(400):
        try:
            for site, path in zip(both, ("/health", "/whisper/health"), strict=True):
                assert site.read("GET", path)[0].status == 200
        except ConnectionRefusedError:
            assert process.poll() is None, (folder / "error.log").read_text()
        else:
            return
    raise TimeoutError((folder / "error.log").read_text())


class Addresses(HTMLParser):
    """The addresses of our own in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            is_address = name in ("href", "src", "action", "formaction", "poster") or name.endswith("-url")
            if is_address and value and value.startswith("/"):
                self.found.add(value)


def sign_in(site: Site, prefix: str) -> dict[str, str]:
    """What a browser sends after it signed in."""
    form = urlencode({"key": KEY, "next": f"{prefix}/jobs"}).encode()
    headers = BROWSER | {
        "Origin": f"https://{site.host}",
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer, text = site.read("POST", f"{prefix}/sign-in", headers, form)
    assert (answer.status, answer.headers["Location"]) == (303, f"{prefix}/jobs"), text
    cookie = answer.headers["Set-Cookie"]
    assert "Secure" in cookie and f"Path={prefix or '/'}" in cookie
    return BROWSER | {"Cookie": cookie.partition(";")[0]}


@pytest.mark.parametrize(("which", "prefix"), [(0, ""), (1, "/whisper")])
def test_browser_works_through_the_documented_proxy(
    sites: tuple[Site, Site], which: int, prefix: str
) -> None:
    site = sites[which]
    sent_away, _ = site.read("GET", f"{prefix}/jobs", BROWSER)
    assert sent_away.headers["Location"] == f"{prefix}/sign-in?next={prefix}/jobs"
    browser = sign_in(site, prefix)

    _, page = site.read("GET", f"{prefix}/", browser)
    token = re.search(r'name="csrf_token" (?:value|content)="([^"]+)"', page)
    body = (
        b'--b\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n' + (token[1].encode() if token else b"")
        + b'\r\n--b\r\nContent-Disposition: form-data; name="audio"; filename="Board 11.flac"\r\n\r\n'
        + JFK.read_bytes() + b"\r\n--b--\r\n"
    )  # fmt: skip
    headers = browser | {"Origin": f"https://{site.host}", "Content-Type": "multipart/form-data; boundary=b"}
    answer, text = site.read("POST", f"{prefix}/jobs", headers, body)

    assert answer.status in (202, 303), text
    seen = set()
    for address in ("/", "/jobs", "/diagnostics", "/docs", answer.headers["Location"].removeprefix(prefix)):
        shown, page = site.read("GET", prefix + address, browser)
        assert shown.status == 200, (address, page)
        seen |= Addresses(page).found
    assert len(seen) > 10
    assert [address for address in seen if not address.startswith(f"{prefix}/")] == []
    broken = [
        address
        for address in seen
        if "/static/" in address and site.read("GET", address, browser)[0].status != 200
    ]
    assert broken == []


@pytest.mark.parametrize(("which", "prefix"), [(0, ""), (1, "/whisper")])
def test_programs_work_through_the_documented_proxy(
    sites: tuple[Site, Site], which: int, prefix: str
) -> None:
    site, content = sites[which], JFK.read_bytes()
    begun, _ = site.read("POST", f"{prefix}/uploads", BEARER | TUS | {"Upload-Length": str(len(content))})
    upload = begun.headers["Location"]
    assert upload.startswith(f"{prefix}/uploads/")
    offset = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert site.read("PATCH", upload, BEARER | TUS | offset, content)[0].status == 204
    form = urlencode({"upload": upload.rpartition("/")[2]}).encode()
    headers = BEARER | {"Content-Type": "application/x-www-form-urlencoded", "Cookie": "AWSALB=x"}
    answer, text = site.read("POST", f"{prefix}/jobs", headers, form)
    job = json.loads(text)
    assert answer.status == 202 and job["links"]["self"].startswith(f"{prefix}/jobs/"), text

    _, events = site.read("GET", job["links"]["stream"], BEARER)

    assert "event: done" in events
    _, transcript = site.read("GET", f"{prefix}/jobs/{job['job_id']}/transcript.txt", BEARER)
    assert "ask not what your country" in transcript.lower()
    _, description = site.read("GET", f"{prefix}/openapi.json", BEARER)
    assert json.loads(description)["servers"] == [{"url": prefix or "/"}]


def test_page_of_another_site_is_refused_through_the_proxy(sites: tuple[Site, Site]) -> None:
    site = sites[0]
    headers = sign_in(site, "") | {"Origin": f"https://{HOST}"}  # the same name, and another port

    answer, text = site.read(
        "POST", "/jobs", headers | {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b"
    )

    assert (answer.status, "origin_not_allowed" in text or "another site" in text) == (403, True)
