"""Uploads to POST /transcribe, and what the server's metrics say of its GPU."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2

#: A server that says nothing for so long does not answer, in seconds.
TIMEOUT_SECONDS = 600.0

_UTILIZATION = re.compile(r"^transcriber_gpu_utilization_ratio\{[^}]*\} ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One answer of POST /transcribe: `error` is empty where a transcript came."""

    #: Measured here, from the first byte sent to the last byte received.
    seconds: float
    error: str = ""
    #: Seconds of audio.
    duration: float = 0.0
    device: str = ""
    compute_type: str = ""
    #: Seconds by stage, as the server says.
    timings: Mapping[str, float] = field(default_factory=dict)


class Client:
    """Any number of threads may use it."""

    def __init__(self, api_key: str = "") -> None:
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        # A proxy in the environment is for the internet.
        self._client = httpx2.Client(headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False, limits=limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def is_ready(self, url: str) -> bool:
        try:
            return bool(self._client.get(f"{url}/health/ready").status_code == 200)
        except httpx2.HTTPError:
            return False

    def transcribe(self, url: str, audio: bytes, fields: Mapping[str, str]) -> Reply:
        begun = time.perf_counter()
        try:
            answer = self._client.post(
                f"{url}/transcribe", data=dict(fields), files={"audio": ("speech", audio)}
            )
            body = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            return Reply(seconds=time.perf_counter() - begun, error=str(error) or type(error).__name__)
        return _reply(answer.status_code, body, time.perf_counter() - begun)

    def utilization(self, url: str) -> list[float]:
        """Of each GPU of the server, 0 to 1, as NVML says; none where there is nothing to read."""
        try:
            text = self._client.get(f"{url}/metrics").text
        except httpx2.HTTPError:
            return []
        return [float(value) for value in _UTILIZATION.findall(text)]


def _reply(status: int, body: Any, seconds: float) -> Reply:
    if status != 200 or not isinstance(body, dict):
        error = body.get("error") if isinstance(body, dict) else None
        return Reply(seconds=seconds, error=f"{status} {(error or {}).get('code', '')}".strip())
    return Reply(
        seconds=seconds,
        duration=float(body.get("duration") or 0.0),
        device=str(body.get("device", "")),
        compute_type=str(body.get("compute_type", "")),
        timings={name: float(value) for name, value in (body.get("timings") or {}).items()},
    )
