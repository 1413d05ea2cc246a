"""One upload to POST /transcribe, by the standard library."""

from __future__ import annotations

import http.client
import json
import uuid
from pathlib import Path
from typing import Any


def multipart(name: str, audio: bytes, fields: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """A body and its headers."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="audio"; filename="{name}"\r\n\r\n'.encode()
    body = b"".join([*parts, head, audio, f"\r\n--{boundary}--\r\n".encode()])
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": "application/json"}
    return body, headers


def post_audio(
    address: str, file: Path, fields: dict[str, str] | None = None, timeout: float = 120
) -> tuple[int, dict[str, Any]]:
    """Status and answer; status 0 with the error where none came."""
    body, headers = multipart(file.name, file.read_bytes(), fields or {})
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("POST", "/transcribe", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 0, {"error": f"{type(error).__name__}: {error}"}
    finally:
        connection.close()
