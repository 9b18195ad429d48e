"""The OpenAPI document: written by hand, for the endpoints read their bodies by hand."""

from __future__ import annotations

from typing import Any

from anytimenet.core.version import __version__

_ANSWER = {
    "model": "digits",
    "label": "7",
    "labels": ["7"],
    "level": 1,
    "stage": 3,
    "stages": 4,
    "probability": 0.98,
    "probabilities": [{"label": "7", "index": 7, "probability": 0.98}],
    "late": False,
    "timings": {"queued_ms": 0.1, "run_ms": 1.4, "total_ms": 2.3},
    "request_id": "9f1c2ab34d5e6f70",
}
_NUMBER, _TEXT, _FLAG = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
_WHOLE = {"type": "integer"}
_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "model": (
        {"type": "string", "minLength": 1, "maxLength": 1000},
        "which model answers; needed where there are several",
    ),
    "deadline_ms": (
        {"type": "number", "minimum": 0, "maximum": 86_400_000},
        "milliseconds from the request's arrival to its answer; of several deadlines the soonest counts",
    ),
    "min_stage": ({"type": "integer", "minimum": 1, "maximum": 10_000}, "no earlier stage answers"),
    "min_accuracy": (
        {"type": "number", "minimum": 0, "maximum": 1},
        "no stage of a lower validated accuracy answers",
    ),
    "priority": (
        {"type": "integer", "minimum": -1000, "maximum": 1000},
        "higher ones come first where there is not time for all",
    ),
    "stream": ({"type": "boolean"}, "send every stage as a server-sent event"),
    "top": (
        {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "classes that are told, the most probable first; 0 for all in their own order",
    ),
    "label": (
        {"type": "string", "minLength": 1, "maxLength": 1000},
        "the true class, where it is known, so that right answers are counted in the metrics",
    ),
}


def document(*, demo: bool, keys: bool) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        demo: whether the endpoints that make load are there.
        keys: whether a key is needed.
    """
    paths: dict[str, Any] = {
        "/v1/predict": {"post": _predict()},
        "/v1/models": {"get": _told("the models, their stages and what they take here", _object())},
        "/v1/model": {"get": _told("one model", _object(), [_parameter("model")], errors=("400", "404"))},
        "/v1/models/{name}": {
            "get": _told(
                "the model of that name",
                _object(),
                [
                    {
                        "name": "name",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "minLength": 1},
                    }
                ],
                errors=("400", "404"),
            )
        },
        "/v1/load": {"get": _told("how busy the server is, and what became of requests", _object())},
        "/healthz": {"get": _told("whether the process answers", _object())},
        "/readyz": {"get": _told("whether requests should be sent here", _object(), errors=("503",))},
        "/metrics": {
            "get": {
                "summary": "counters and distributions for Prometheus",
                "responses": {"200": {"description": "text", "content": {"text/plain": {}}}} | _errors(),
            }
        },
    }
    if demo:
        paths |= {
            "/v1/demo/burst": {"post": _demo("rate_hz", 2000, "requests at random instants")},
            "/v1/demo/steal": {"post": _demo("cores", 1, "processes that take cores")},
        }
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "anytimenet",
            "version": __version__,
            "description": "Every request is answered by its deadline, as well as there is time for.",
        },
        "paths": paths,
        "components": {"schemas": {"Answer": _answer_schema(), "Error": _error_schema()}},
    }
    if keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def _predict() -> dict[str, Any]:
    image = {"type": "string", "contentEncoding": "base64"}
    fields = {name: schema for name, (schema, _) in _PARAMETERS.items()}
    answer, several = {"$ref": "#/components/schemas/Answer"}, {"type": "array", "items": {"type": "object"}}
    answers = {
        "type": "object",
        "properties": {"answers": several, "request_id": _TEXT},
        "required": ["answers", "request_id"],
    }
    headers = [
        {
            "name": name,
            "in": "header",
            "schema": {"type": "number", "minimum": 0},
            "description": "milliseconds that are left when the request is sent",
        }
        for name in ("x-request-deadline-ms", "x-envoy-expected-rq-timeout-ms")
    ]
    return {
        "summary": "what an image shows, by a deadline",
        "parameters": [*map(_parameter, _PARAMETERS), *headers],
        "requestBody": {
            "required": True,
            "content": {
                "image/png": {"schema": {"type": "string", "format": "binary"}},
                "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "image": {"type": "array", "items": {"type": "string", "format": "binary"}}
                        },
                        "required": ["image"],
                    }
                },
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {"image": image, **fields},
                        "required": ["image"],
                        "additionalProperties": False,
                    },
                    "example": {"image": "iVBORw0KGgo...", "deadline_ms": 50},
                },
            },
        },
        "responses": {
            "200": {
                "description": "the answer; of a form one an image, or what went wrong with it",
                "headers": {
                    "x-anytime-stage": {"schema": _WHOLE},
                    "x-anytime-late": {"schema": _FLAG},
                    "server-timing": {"schema": _TEXT},
                    "x-request-id": {"schema": _TEXT},
                },
                "content": {
                    "application/json": {"schema": {"anyOf": [answer, answers]}, "example": _ANSWER},
                    "text/event-stream": {"schema": _TEXT},
                },
            },
            **_errors("400", "404", "408", "413", "415", "429", "503", "504"),
        },
    }


def _parameter(name: str) -> dict[str, Any]:
    schema, said = _PARAMETERS[name]
    return {"name": name, "in": "query", "schema": schema, "description": said}


def _told(
    said: str,
    schema: dict[str, Any],
    parameters: list[dict[str, Any]] | None = None,
    errors: tuple[str, ...] = (),
) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    responses = {"200": {"description": said, "content": content}} | _errors(*errors)
    return {"summary": said, "parameters": parameters or [], "responses": responses}


def _demo(what: str, most: float, said: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            what: {"type": "number", "minimum": 1, "maximum": most},
            "seconds": {"type": "number", "minimum": 0.1, "maximum": 30},
        },
        "required": [what, "seconds"],
        "additionalProperties": False,
    }
    return {
        "summary": said,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {"description": "it has begun", "content": {"application/json": {"schema": _object()}}},
            **_errors("400", "404", "408", "413", "415", "429", "503"),
        },
    }


def _errors(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    always = ("401", "403", "421")
    return {status: {"description": "why not", "content": content} for status in (*always, *statuses)}


def _object() -> dict[str, Any]:
    return {"type": "object"}


def _error_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"error": _TEXT, "reason": _TEXT, "retry_after_s": _NUMBER},
        "required": ["error", "reason"],
    }


def _answer_schema() -> dict[str, Any]:
    one = {
        "type": "object",
        "properties": {"label": _TEXT, "index": _WHOLE, "probability": _NUMBER},
        "required": ["label", "index", "probability"],
    }
    times = dict.fromkeys(("queued_ms", "run_ms", "total_ms"), _NUMBER)
    properties = {
        "model": _TEXT,
        "label": _TEXT,
        "labels": {"type": "array", "items": _TEXT},
        "level": _WHOLE,
        "stage": _WHOLE,
        "stages": _WHOLE,
        "probability": _NUMBER,
        "probabilities": {"type": "array", "items": one},
        "late": _FLAG,
        "timings": {"type": "object", "properties": times, "required": list(times)},
        "request_id": _TEXT,
    }
    return {"type": "object", "properties": properties, "required": list(properties)}
