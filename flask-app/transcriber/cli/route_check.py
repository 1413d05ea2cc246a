"""scripts/validate --all: every route of a running server's own OpenAPI document, asked as a client asks."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

#: Five seconds of speech that every installation has, and words of it.
SPEECH = Path(__file__).with_name("gate") / "speech" / "young-man.flac"

TIMEOUT_SECONDS = 600.0

#: Until a job has to be done, in seconds, and how often it is asked for.
JOB_SECONDS = 600.0
POLL_SECONDS = 0.3

#: A name that nothing has: what it is asked for is refused, and nothing on the server changes.
NOBODY = "nothing-has-this-name"

JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html"}
TUS = {"Tus-Resumable": "1.0.0"}


class RouteCheck:
    """Asks, and notes what was wrong and which routes were asked."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self.asked: dict[str, list[int]] = {}
        self.wrong: list[str] = []
        self._jobs: list[str] = []

    def run(self) -> None:
        """Every route: the ones with a check of their own, then those that the document has besides."""
        document = self._client.get("/openapi.json").json()
        steps: list[Callable[[], None]] = [
            self._health,
            self._pages,
            self._transcribe,
            self._selftest,
            self._job,
        ]
        steps += [self._job_forms, self._upload, self._compatible, self._models, self._account]
        for step in steps:
            step()
        for path, methods in document["paths"].items():
            for method in methods:
                route = f"{method.upper()} {path}"
                if route not in self.asked:
                    self._unknown(method.upper(), path, route)

    def ask(self, route: str, expected: Sequence[int], *, path: str = "", **request: Any) -> httpx2.Response:
        """One request; `route` is the document's name for it, and `expected` the right statuses."""
        method, template = route.split(" ", 1)
        request.setdefault("headers", JSON)
        try:
            answer = self._client.request(method, path or template, **request)
        except httpx2.HTTPError as error:
            self.wrong.append(f"{route}: {type(error).__name__} {error}")
            answer = httpx2.Response(599, request=httpx2.Request(method, "http://nowhere"))
        self.asked.setdefault(route, []).append(answer.status_code)
        if answer.status_code not in expected:
            self.wrong.append(
                f"{route}: {answer.status_code} {answer.text[:200]!r}; expected {list(expected)}"
            )
        # What /health says of a server that can't serve is no error of the request.
        elif answer.status_code >= 400 and _is_json(answer) and not template.startswith("/health"):
            body = answer.json().get("error")
            if not (isinstance(body, dict) and body.get("code") and body.get("message")):
                self.wrong.append(
                    f"{route}: {answer.status_code} without a code and a message: {answer.text[:200]!r}"
                )
        return answer

    def demand(self, route: str, holds: bool, said: object) -> None:
        if not holds:
            self.wrong.append(f"{route}: {str(said)[:300]}")

    # The routes, by what a client does with them.

    def _pages(self) -> None:
        for path in ("/", "/docs", "/jobs", "/diagnostics"):
            page = self.ask(f"GET {path}", [200], headers=HTML)
            self.demand(f"GET {path}", "<html" in page.text, "no HTML")
            if path == "/":
                self._static(page.text)
        self.ask("GET /favicon.ico", [200])
        self.ask("GET /openapi.json", [200])

    def _static(self, page: str) -> None:
        files = re.findall(r'(?:src|href)="(/[^"]*?static/[^"]+)"', page)
        self.demand("GET /static/{filename}", bool(files), "the page names no file")
        for file in dict.fromkeys(files):
            self.ask("GET /static/{filename}", [200], path=file.replace("&amp;", "&"))

    def _health(self) -> None:
        self.ask("GET /health", [200])
        self.ask("GET /health/live", [200])
        # A server that has just been started may be loading its model.
        deadline = time.monotonic() + JOB_SECONDS
        while self._client.get("/health/ready").status_code != 200 and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self.ask("GET /health/ready", [200])
        self.ask("GET /health/gpu", [200, 503])
        self.ask("GET /status", [200])
        metrics = self.ask("GET /metrics", [200])
        self.demand("GET /metrics", "transcriber_ready 1" in metrics.text, "transcriber_ready is not 1")
        found = self.ask("GET /diagnostics", [200]).json()
        self.demand("GET /diagnostics", bool(found.get("verdict")), "no verdict")

    def _transcribe(self) -> None:
        with self._speech() as files:
            found = self.ask("POST /transcribe", [200], files=files, data={"language": "en"}).json()
        self.demand("POST /transcribe", bool(found.get("text")) and "gpu_used" in found, found)

    def _selftest(self) -> None:
        """Of an engine that is up; an outcome that is neither good nor bad comes from one that is just being unloaded."""
        found = self.ask("POST /diagnostics/selftest", [200]).json()
        self.demand("POST /diagnostics/selftest", found.get("outcome") in ("passed", "skipped"), found)

    def _job(self) -> None:
        """A job from its upload to its end, and what can be done with it."""
        job = self._submit()
        with self._client.stream(
            "GET", f"/jobs/{job}/stream", headers={"Accept": "text/event-stream"}
        ) as stream:
            said = "".join(stream.iter_text())
        self.asked["GET /jobs/{job_id}/stream"] = [stream.status_code]
        self.demand("GET /jobs/{job_id}/stream", "event:" in said, said)
        found = self._finished(job)
        self.demand("GET /jobs/{job_id}", found.get("status") == "succeeded", found)
        self._transcript(job)
        media = self.ask(
            "GET /jobs/{job_id}/media", [206], path=f"/jobs/{job}/media", headers={"Range": "bytes=0-99"}
        )
        self.demand("GET /jobs/{job_id}/media", len(media.content) == 100, len(media.content))
        self.ask(
            "PATCH /jobs/{job_id}", [200], path=f"/jobs/{job}", json={"title": "a title of scripts/validate"}
        )
        listed = self.ask("GET /jobs", [200])
        self.demand("GET /jobs", job in listed.text, "the job is not listed")
        compared = self.ask("GET /compare", [200], params=[("job", job), ("job", self._again(job))])
        self.demand("GET /compare", "agreement" in compared.text, compared.text)
        self.ask("DELETE /jobs/{job_id}", [204], path=f"/jobs/{job}", params={"purge": "true"})
        self.ask("GET /jobs/{job_id}", [404], path=f"/jobs/{job}")

    def _again(self, job: str) -> str:
        """The same upload with another option: a new job, which is removed with the others of this program."""
        made = self.ask(
            "POST /jobs/{job_id}/retry", [202], path=f"/jobs/{job}/retry", data={"beam_size": "1"}
        )
        again = str(made.json().get("job_id", NOBODY))
        self._finished(again)
        self._jobs.append(again)
        return again

    def _transcript(self, job: str) -> None:
        """Edited, downloaded in each format, and as the engine wrote it again."""
        path, route = f"/jobs/{job}/transcript", "{} /jobs/{{job_id}}/transcript"
        found = self.ask(route.format("GET"), [200], path=path)
        text = "words of scripts/validate"
        rows = [
            {"start": row["start"], "end": row["end"], "text": text, "sources": [row["id"]]}
            for row in found.json().get("segments", ())
        ]
        revision = {"If-Match": found.headers.get("etag", "*")}
        self.ask(route.format("PUT"), [200], path=path, headers=JSON | revision, json={"segments": rows})
        for ending in ("txt", "srt", "vtt", "tsv", "json", "ass", "docx"):
            answer = self.ask(f"{route.format('GET')}.{{ending}}", [200], path=f"{path}.{ending}")
            right = answer.content[:2] == b"PK" if ending == "docx" else text in answer.text
            self.demand(f"{route.format('GET')}.{{ending}}", right, f"{ending}: {answer.text[:80]}")
        self.ask(route.format("DELETE"), [200], path=path, headers=JSON | {"If-Match": "*"})

    def _job_forms(self) -> None:
        """What the pages do, which have forms and no JSON."""
        job = self._submit()
        # It may have ended already: an engine can be faster than this program.
        self.ask("POST /jobs/{job_id}/cancel", [200, 409], path=f"/jobs/{job}/cancel")
        self._finished(job)
        self.ask("POST /jobs/{job_id}/rename", [200], path=f"/jobs/{job}/rename", data={"title": "renamed"})
        # Nothing was edited, so there is nothing to restore.
        self.ask("POST /jobs/{job_id}/restore", [409, 428], path=f"/jobs/{job}/restore")
        for each in (job, *self._jobs):
            self.ask("POST /jobs/{job_id}/delete", [204, 303], path=f"/jobs/{each}/delete")
        self.ask("GET /jobs/{job_id}", [404], path=f"/jobs/{job}")

    def _upload(self) -> None:
        """An upload in two parts, and one that is given up."""
        audio = SPEECH.read_bytes()
        for part in (len(audio) // 2, 0):
            create = (
                TUS
                | JSON
                | {"Upload-Length": str(len(audio)), "Upload-Metadata": "filename c3BlZWNoLmZsYWM="}
            )
            made = self.ask("POST /uploads", [201], headers=create)
            place = httpx2.URL(made.headers.get("location", "/uploads/x")).path
            route = "{} /uploads/{{upload_id}}"
            if part == 0:
                self.ask(route.format("DELETE"), [204], path=place, headers=TUS | JSON)
                continue
            for begin, end in ((0, part), (part, len(audio))):
                headers = TUS | {
                    "Upload-Offset": str(begin),
                    "Content-Type": "application/offset+octet-stream",
                }
                self.ask(
                    route.format("PATCH"), [200, 204], path=place, headers=headers, content=audio[begin:end]
                )
            self.ask(route.format("GET"), [200, 204, 303], path=place, headers=TUS | JSON)

    def _compatible(self) -> None:
        """OpenAI's routes, and those of whisper-asr-webservice."""
        name = next((row["id"] for row in self.ask("GET /v1/models", [200]).json().get("data", ())), NOBODY)
        self.ask("GET /v1/models/{model_id}", [200], path=f"/v1/models/{name}")
        for route, statuses in (("transcriptions", [200]), ("translations", [200, 400])):
            with self._speech("file") as files:
                self.ask(f"POST /v1/audio/{route}", statuses, files=files, data={"model": "whisper-1"})
        with self._speech("audio_file") as files:
            self.ask("POST /asr", [200], files=files, params={"output": "json"})
        with self._speech("audio_file") as files:
            # An English-only model can't detect it.
            self.ask("POST /detect-language", [200, 400], files=files)

    def _models(self) -> None:
        """Nothing is loaded, unloaded or fetched: others may be using the server."""
        listed = self.ask("GET /models", [200]).json()
        name = next((row["id"] for row in listed.get("models", listed.get("data", ()))), NOBODY)
        self.ask("GET /models/{model_id}", [200], path=f"/models/{name}")
        for verb in ("load", "unload", "download"):
            self.ask(
                f"POST /models/{{model_id}}/{verb}", [400, 403, 404, 409], path=f"/models/{NOBODY}/{verb}"
            )

    def _account(self) -> None:
        self.ask("GET /sign-in", [200, 303], headers=HTML)
        self.ask("POST /sign-in", [204, 400, 401, 403, 404, 422], data={"key": NOBODY})
        self.ask("POST /language", [303], data={"language": "en"})
        self.ask("GET /keys", [200, 401, 403, 404])
        self.ask("POST /keys", [400, 401, 403, 404], data={})
        self.ask("POST /keys/{key_name}/revoke", [400, 401, 403, 404], path=f"/keys/{NOBODY}/revoke")
        # It takes forms of its own pages alone.
        self.ask("POST /sign-out", [204, 303, 403])

    def _unknown(self, method: str, path: str, route: str) -> None:
        """A route that this program does not know: it must not break, whatever it makes of an empty request."""
        self.ask(route, range(200, 500), path=re.sub(r"\{[^}]*\}", NOBODY, path))

    # What they use.

    def _submit(self) -> str:
        with self._speech() as files:
            made = self.ask("POST /jobs", [202], files=files, data={"language": "en"})
        return str(made.json().get("job_id", NOBODY)) if made.status_code == 202 else NOBODY

    def _finished(self, job: str) -> dict[str, Any]:
        deadline = time.monotonic() + JOB_SECONDS
        while True:
            found: dict[str, Any] = self.ask("GET /jobs/{job_id}", [200], path=f"/jobs/{job}").json()
            if found.get("status") not in ("queued", "running") or time.monotonic() > deadline:
                return found
            time.sleep(POLL_SECONDS)

    @contextmanager
    def _speech(self, name: str = "audio") -> Iterator[dict[str, Any]]:
        with SPEECH.open("rb") as file:
            yield {name: ("speech.flac", file, "audio/flac")}


def _is_json(answer: httpx2.Response) -> bool:
    return "json" in answer.headers.get("content-type", "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: every route answers as it should; 1: not; 2: no server."""
    parser = argparse.ArgumentParser(prog="scripts/validate --all")
    parser.add_argument("url")
    url = parser.parse_args(arguments).url
    key = os.environ.get("WHISPER_API_KEY", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A proxy in the environment is for the internet.
    with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        check = RouteCheck(client)
        try:
            check.run()
        except (httpx2.HTTPError, ValueError, KeyError) as error:
            print(f"No server, or none of ours: {type(error).__name__}: {error}", file=sys.stderr)
            return 2
    for route, statuses in sorted(check.asked.items(), key=lambda row: row[0].split(" ")[::-1]):
        print(f"{route}: {', '.join(map(str, dict.fromkeys(statuses)))}")
    for problem in check.wrong:
        print(f"WRONG {problem}", file=sys.stderr)
    print(f"{len(check.asked)} routes, {len(check.wrong)} answers not as they should be.")
    return 1 if check.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
