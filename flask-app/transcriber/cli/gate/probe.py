"""The gate's own measurements over HTTP. It believes nothing of the server that it can measure itself."""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2

from ...domain.errors import TranscriberError
from .measurement import GateLoad, GateReading, Measurement, percentile

SPEECH = Path(__file__).with_name("speech")

#: A server that says nothing for so long does not answer, in seconds.
TIMEOUT_SECONDS = 120.0

#: How long a server may still be starting, in seconds, and how often it is asked.
START_SECONDS = 300.0
POLL_SECONDS = 0.5

_UTILIZATION = re.compile(r"^transcriber_gpu_utilization_ratio\{[^}]*\} ([0-9.e+-]+)$", re.MULTILINE)


def references() -> dict[str, str]:
    """The words of each file of the reference set."""
    return {path.stem: path.read_text().strip() for path in sorted(SPEECH.glob("*.txt"))}


class Probe:
    """One server, as its clients see it."""

    def __init__(
        self,
        url: str,
        *,
        wants_gpu: bool | None,
        api_key: str = "",
        start_seconds: float = START_SECONDS,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """wants_gpu: what requests ask for; None leaves it to the server's settings."""
        self._start_seconds = start_seconds
        self._url = url.rstrip("/")
        self._fields = {"language": "en"} | ({} if wants_gpu is None else {"use_gpu": str(wants_gpu).lower()})
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        # A proxy in the environment is for the internet.
        self._client = httpx2.Client(headers=headers, timeout=timeout, trust_env=False)
        self._clips = {name: (SPEECH / f"{name}.flac").read_bytes() for name in references()}
        self._turns = itertools.cycle(self._clips)

    def measure(self, *, clients: int, requests: int) -> Measurement:
        """Wait until it is ready, ask for everything once, then by several clients. Raises TranscriberError."""
        self._wait_until_ready()
        self._transcribe(
            next(iter(self._clips))
        )  # an engine that was unloaded comes up outside the measurement
        readings = tuple(self._transcribe(name) for name in self._clips)
        load = self._load(clients, requests)
        device = next((row.device for row in readings if row.device), None)
        diagnostics = self._json("GET", "/diagnostics")
        return Measurement(
            url=self._url,
            verdict=str(diagnostics.get("verdict", "")),
            selftest=self._selftest(device),
            readings=readings,
            load=load,
            facts={
                "versions": diagnostics.get("versions", {}),
                "engines": diagnostics.get("engines", []),
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "cores": os.cpu_count(),
            },
        )

    def look(self) -> GateReading:
        """Whether it is ready, and one file of the set; each look takes the next one."""
        name = next(self._turns)
        begun = time.perf_counter()
        try:
            answer = self._client.get(f"{self._url}/health/ready")
        except httpx2.HTTPError as error:
            return GateReading(name=name, status=0, seconds=time.perf_counter() - begun, error=str(error))
        if answer.status_code != 200:
            return GateReading(name=name, status=answer.status_code, seconds=0.0, error=answer.text[:200])
        return self._transcribe(name)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_seconds
        said = "no answer"
        while True:
            try:
                answer = self._client.get(f"{self._url}/health/ready")
            except httpx2.HTTPError as error:
                said = f"no answer: {error}"
            else:
                if answer.status_code == 200:
                    return
                said = answer.text[:400]
                if answer.status_code != 503 or '"starting"' not in said:
                    break
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_SECONDS)
        raise TranscriberError(
            f"{self._url} is not ready: {said}",
            code="server_unreachable",
            fix="/diagnostics and the server's log have the cause.",
        )

    def _transcribe(self, name: str) -> GateReading:
        begun = time.perf_counter()
        try:
            answer = self._client.post(
                f"{self._url}/transcribe",
                data=self._fields,
                files={"audio": (f"{name}.flac", self._clips[name], "audio/flac")},
            )
        except httpx2.HTTPError as error:
            return GateReading(name=name, status=0, seconds=time.perf_counter() - begun, error=str(error))
        return _reading(name, answer, time.perf_counter() - begun)

    def _load(self, clients: int, requests: int) -> GateLoad:
        names = [list(self._clips)[number % len(self._clips)] for number in range(requests)]
        looks: list[float] = []
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(looks, over), daemon=True)
        watcher.start()
        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            rows = list(pool.map(self._transcribe, names))
        seconds = time.perf_counter() - begun
        over.set()
        watcher.join(timeout=5)
        good = [row for row in rows if row.status == 200]
        audio = sum(_seconds_of(self._clips[row.name]) for row in good)
        times = [row.seconds for row in good]
        return GateLoad(
            clients=clients,
            requests=requests,
            failed=len(rows) - len(good),
            p50=percentile(times, 50),
            p95=percentile(times, 95),
            throughput=audio / seconds if seconds else 0.0,
            utilization=max(looks) if looks else None,
        )

    def _watch(self, looks: list[float], over: threading.Event) -> None:
        """Thread: the GPU's utilisation by NVML, read by the server twice a second."""
        while not over.wait(POLL_SECONDS):
            try:
                text = self._client.get(f"{self._url}/metrics").text
            except httpx2.HTTPError:
                continue
            looks.extend(float(value) for value in _UTILIZATION.findall(text))

    def _selftest(self, device: str | None) -> str:
        query = f"?device={device}" if device else ""
        found = self._json("POST", f"/diagnostics/selftest{query}")
        return str(found.get("outcome") or found.get("error") or "no answer")

    def _json(self, method: str, path: str) -> dict[str, Any]:
        try:
            found = self._client.request(method, self._url + path).json()
        except (httpx2.HTTPError, ValueError) as error:
            return {"error": str(error)}
        return found if isinstance(found, dict) else {}


def _reading(name: str, answer: httpx2.Response, seconds: float) -> GateReading:
    try:
        body: Mapping[str, Any] = answer.json()
    except ValueError:
        body = {}
    if answer.status_code != 200 or not isinstance(body, dict):
        error = body.get("error") if isinstance(body, dict) else None
        said = (
            f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else answer.text[:200]
        )
        return GateReading(name=name, status=answer.status_code, seconds=seconds, error=said)
    receipt = body.get("receipt") or {}
    return GateReading(
        name=name,
        status=200,
        seconds=seconds,
        text=str(body.get("text", "")).strip(),
        model=str(body.get("model", "")),
        device=str(body.get("device", "")),
        compute_type=str(body.get("compute_type", "")),
        gpu_used=body.get("gpu_used") is True,
        windows_gpu=int(receipt.get("windows_gpu") or 0),
        windows_total=int(receipt.get("windows_total") or 0),
        fallback_code=str((body.get("fallback_reason") or {}).get("code", "")),
    )


def _seconds_of(flac: bytes) -> float:
    """Samples by sample rate, from FLAC's STREAMINFO: measured here, not taken from the answer."""
    packed = int.from_bytes(flac[18:26], "big")
    return (packed & ((1 << 36) - 1)) / (packed >> 44)
