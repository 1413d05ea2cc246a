"""The OpenAPI document, written from the routes and from the models that validate their input (ADR 0010)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from ... import __version__
from ...domain import errors as e
from ...formats.table import DOWNLOADS
from ..auth.security import SAFE_METHODS
from ..auth.sign_in import COOKIE
from ..errors import status_of_class
from ..openai_errors import is_openai, openai_status
from .answers import ErrorAnswer
from .operations import EVENTS, JSON, Operation, OperationAnswer, UploadBody, find_operation

Json = dict[str, Any]

#: The order in which the page shows the routes; a tag that is missing here fails a test.
TAGS = (
    "Transcribing",
    "OpenAI",
    "whisper-asr-webservice",
    "Jobs",
    "Uploads",
    "Models",
    "Keys",
    "Health",
    "About",
    "Pages",
)

_REF = "#/components/schemas/{model}"

#: Values of path parameters.
_PATH_SCHEMAS: Mapping[str, Json] = MappingProxyType(
    {
        "job_id": {"type": "string", "pattern": "^job_[A-Za-z0-9_-]{22,64}$"},
        "ending": {"type": "string", "enum": list(DOWNLOADS)},
        "upload_id": {"type": "string", "pattern": "^job_[A-Za-z0-9_-]{22,64}$"},
        "filename": {"type": "string"},
        "key_name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._@ -]{0,63}$"},
        "model_id": {
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$",
        },
    }
)

_REQUEST_HEADERS: Mapping[str, Json] = MappingProxyType(
    {
        "Idempotency-Key": {
            "description": "The same key with the same file and options is the same job.",
            "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        },
        "If-Match": {
            "description": "The ETag of the transcript that is changed.",
            "schema": {"type": "string", "pattern": '^(\\*|"r[0-9]{1,9}")$'},
        },
        "Range": {
            "description": "The part of the file that is wanted.",
            "schema": {"type": "string", "pattern": "^bytes=[0-9]{0,9}-[0-9]{0,9}$"},
        },
        "Last-Event-ID": {
            "description": "The id of the last event that was seen.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "Tus-Resumable": {
            "description": "The version of the upload protocol.",
            "required": True,
            "schema": {"type": "string", "enum": ["1.0.0"]},
        },
        "Upload-Length": {
            "description": "Bytes of the whole file.",
            "required": True,
            "schema": {"type": "integer", "minimum": 0, "maximum": 10**15},
        },
        "Upload-Offset": {
            "description": "Where in the file the body begins: what HEAD told.",
            "required": True,
            "schema": {"type": "integer", "minimum": 0, "maximum": 10**15},
        },
        "Upload-Metadata": {
            "description": "`filename` and the base64 of the file's name.",
            "schema": {"type": "string", "pattern": "^filename [A-Za-z0-9+/]{4,120}$"},
        },
    }
)

_FACT_HEADERS: Mapping[str, Json] = MappingProxyType(
    {
        "X-Job-Id": {"schema": {"type": "string"}, "required": False},
        "X-Gpu-Used": {"schema": {"type": "string", "enum": ["true", "false"]}},
        "X-Device": {"schema": {"type": "string"}},
        "X-Compute-Type": {"schema": {"type": "string"}},
        "X-Fallback-Code": {"schema": {"type": "string"}},
        "X-Warnings": {"schema": {"type": "string"}},
    }
)

_FILE: Mapping[str, Any] = MappingProxyType(
    {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/octet-stream",
        "description": "the audio or video file; the field may also be called 'file' or 'audio'",
    }
)


def make_document(app: Flask, *, needs_key: bool) -> Json:
    """The document for every route of the application."""
    operations = list(iter_operations(app))
    paths: dict[str, Json] = defaultdict(dict)
    for rule, method, operation, about in operations:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        paths[path][method.lower()] = _operation(rule, method, operation, about, needs_key)
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Transcriber",
            "version": __version__,
            "description": "Transcription that says where it really ran. Every error has one body.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in TAGS],
        "paths": dict(paths),
        "components": {"schemas": _schemas(operation for _, _, operation, _ in operations)},
    }
    if needs_key:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic"},
            "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        }
    return document


def iter_operations(app: Flask) -> Iterator[tuple[Rule, str, Operation, str]]:
    """Every route with its description and docstring. Raises LookupError for one that has none."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation = find_operation(view)
        if operation is None:
            raise LookupError(f"{rule.rule} has no description")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method, operation, (view.__doc__ or "").strip()


def _operation(rule: Rule, method: str, operation: Operation, about: str, needs_key: bool) -> Json:
    written: Json = {
        "operationId": f"{rule.endpoint.replace('.', '_')}",
        "summary": operation.summary,
        "description": about,
        "tags": [operation.tag],
        "parameters": [
            *({"name": n, "in": "path", "required": True, "schema": _PATH_SCHEMAS[n]} for n in _names(rule)),
            *_query_parameters(operation.query),
            *({"name": name, "in": "header", **_REQUEST_HEADERS[name]} for name in _headers(operation)),
        ],
        "responses": {str(s): _answer(answer) for s, answer in sorted(operation.answers.items())}
        | _refusals(rule.rule, method, operation, needs_key),
    }
    written |= {"requestBody": body} if (body := _request_body(operation)) else {}
    if needs_key and not operation.is_open:
        written["security"] = [{"bearer": []}, {"basic": []}, {"session": []}]
        written["responses"].setdefault(
            "303", {"description": "For browsers without a session: the sign-in page."}
        )
    return written


def _headers(operation: Operation) -> tuple[str, ...]:
    return operation.headers if operation.upload is None else (*operation.headers, "Idempotency-Key")


def _names(rule: Rule) -> list[str]:
    return sorted(rule.arguments, key=rule.rule.index)


def _query_parameters(model: type[BaseModel] | None) -> list[Json]:
    if model is None:
        return []
    schema = _plain(model.model_json_schema(ref_template=_REF))
    schema.pop("$defs", None)
    found = schema["properties"].items()
    return [
        {"name": name, "in": "query", "schema": part, "description": part.pop("description", "")}
        for name, part in found
    ]


def _request_body(operation: Operation) -> Json | None:
    if operation.upload is not None:
        return _body(operation.upload)
    if operation.body is not None:
        return {"required": True, "content": {JSON: {"schema": _schema_of(operation.body)}}}
    if operation.bytes_type is not None:
        return {"required": True, "content": {operation.bytes_type: {}}}
    if operation.form is not None:
        schema = _plain(operation.form.model_json_schema(ref_template=_REF))
        return {"content": {"application/x-www-form-urlencoded": {"schema": schema}}}
    return None


def _body(upload: UploadBody) -> Json:
    schema: Json = {"type": "object", "properties": {}}
    if upload.form is not None:
        schema = _plain(upload.form.model_json_schema(ref_template=_REF))
    schema["properties"] = {upload.field: dict(_FILE)} | schema["properties"]
    # Or `upload`, where that is taken, as its description says: generators of clients make little of a choice.
    schema["required"] = [upload.field]
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _answer(answer: OperationAnswer) -> Json:
    written: Json = {"description": answer.description}
    if answer.bodies:
        written["content"] = {media: _content(media, kind) for media, kind in answer.bodies.items()}
    headers = {name: {"schema": {"type": "string"}} for name in answer.headers}
    if answer.has_facts:
        headers |= _FACT_HEADERS
    return written | ({"headers": headers} if headers else {})


def _content(media: str, kind: type[BaseModel] | type[str]) -> Json:
    """OpenAPI 3.1 has no schema of a stream: of events, tools take it for that of a single one."""
    return {} if media == EVENTS else {"schema": _schema_of(kind)}


def _schema_of(kind: type[BaseModel] | type[str]) -> Json:
    if issubclass(kind, BaseModel):
        return {"$ref": _REF.format(model=kind.__name__)}
    return {"type": "string"}


def _refusals(path: str, method: str, operation: Operation, needs_key: bool) -> Json:
    """The statuses of the errors this route raises, each with the codes behind it."""
    kinds: list[type[e.TranscriberError]] = [*operation.raises, e.HostNotAllowedError, e.TranscriberError]
    if method not in SAFE_METHODS:
        kinds.append(e.OriginNotAllowedError)
    if needs_key and not operation.is_open:
        kinds += [e.UnauthorizedError, e.TooManyTriesError, e.RoleNotAllowedError]
        if method not in SAFE_METHODS:
            kinds.append(e.CsrfTokenError)
    codes: dict[int, list[str]] = defaultdict(list)
    for kind in kinds:
        status = status_of_class(kind)
        codes[openai_status(status) if is_openai(path) else status].append(kind.code)
    return {
        str(status): {
            "description": "Error: " + ", ".join(f"`{code}`" for code in dict.fromkeys(found)),
            "content": {
                JSON: {"schema": _schema_of(ErrorAnswer)},
                "text/html": {"schema": {"type": "string"}},
            },
        }
        for status, found in sorted(codes.items())
        if status not in operation.answers
    }


def _schemas(operations: Iterator[Operation]) -> Json:
    """Every model of an answer or a JSON body, with those it is made of."""
    models: dict[type[BaseModel], None] = {ErrorAnswer: None}
    bodies: dict[type[BaseModel], None] = {}
    for operation in operations:
        for answer in operation.answers.values():
            models |= {kind: None for kind in answer.bodies.values() if issubclass(kind, BaseModel)}
        bodies |= {operation.body: None} if operation.body is not None else {}
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "serialization") for model in models]
    modes += [(model, "validation") for model in bodies]
    _, found = models_json_schema(modes, ref_template=_REF)
    schemas: Json = found["$defs"]
    return schemas


def _plain(schema: Any) -> Any:
    """A form's schema without null and without what it refers to: forms and queries know no null."""
    definitions = schema.get("$defs", {})

    def walk(part: Any) -> Any:
        if isinstance(part, list):
            return [walk(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return walk(definitions[part["$ref"].rpartition("/")[2]])
        choices = [one for one in part.get("anyOf", ()) if one.get("type") != "null"]
        rest = {name: value for name, value in part.items() if name != "anyOf"}
        if len(choices) == 1:
            rest = choices[0] | rest
        if "$ref" in rest:
            named = definitions[rest.pop("$ref").rpartition("/")[2]]
            rest = named | rest
        if rest.get("default", 0) is None:
            del rest["default"]
        return {name: walk(value) for name, value in rest.items() if name not in ("title", "$defs")}

    return walk(schema)
