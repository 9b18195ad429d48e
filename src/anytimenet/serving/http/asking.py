"""What a request asks for: its parameters, from the query, the headers, JSON or a form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from anytimenet.core.checks import shown
from anytimenet.core.errors import suggest
from anytimenet.serving.http.problems import bad_request

DEADLINE_HEADERS = ("x-request-deadline-ms", "x-envoy-expected-rq-timeout-ms")
"""Milliseconds that are left when the request is sent; the second is what Envoy tells services."""
_MOST_MS = 86_400_000.0
_MOST_FIELDS = 32


@dataclass(frozen=True)
class Ask:
    """The parameters of a prediction.

    Attributes:
        model: its name; None where there is one alone.
        deadline_ms: from the request's arrival to its answer; None for the server's default.
        min_stage: no earlier stage answers.
        min_accuracy: no stage of a lower validated accuracy answers.
        priority: higher ones are served first where not everybody can be.
        stream: whether every stage is told.
        top: classes of the answer that are told, the most probable first; 0 for all, in their own order.
        label: the true class where the client knows it, so that right answers can be counted.
    """

    model: str | None = None
    deadline_ms: float | None = None
    min_stage: int = 1
    min_accuracy: float | None = None
    priority: int = 0
    stream: bool = False
    top: int = 5
    label: str | None = None


def asked(query: bytes, headers: Mapping[str, str]) -> Ask:
    """What the address and the headers of a request say.

    Raises:
        Problem: 400 for a parameter that is unknown, or a value that cannot be.

    >>> found = asked(b"deadline_ms=50&top=1", {"x-request-deadline-ms": "20"})
    >>> found.deadline_ms, found.top
    (20.0, 1)
    """
    found = _in_query(query) if len(query) > _SHORT_QUERY else _in_short_query(query)
    for name in DEADLINE_HEADERS:
        if (value := headers.get(name)) is not None:
            for one in value.split(","):  # a header that came several times
                found = replace(found, deadline_ms=_sooner(found.deadline_ms, _milliseconds(one, name)))
    if "text/event-stream" in headers.get("accept", ""):
        found = replace(found, stream=True)
    return found


def _in_query(query: bytes) -> Ask:
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise bad_request(
            "the query of the address cannot be read: name=value&name=value is needed"
        ) from None
    return with_fields(Ask(), pairs) if pairs else Ask()


_SHORT_QUERY = 256
_in_short_query = lru_cache(1024)(_in_query)
"""Most clients ask the same of every image."""


def with_fields(ask: Ask, fields: Iterable[tuple[str, Any]]) -> Ask:
    """`ask` with fields of a query, a form or a JSON object; of two deadlines the sooner counts.

    Raises:
        Problem: as `asked`.
    """
    values: dict[str, Any] = {}
    for name, value in fields:
        if name not in _READERS:
            raise bad_request(f"no parameter is named {shown(name)}: {suggest(name, _READERS)}")
        if name in values:
            raise bad_request(f"{name} is given twice")
        values[name] = _READERS[name](value, name)
    if "deadline_ms" in values:
        values["deadline_ms"] = _sooner(ask.deadline_ms, values["deadline_ms"])
    return replace(ask, **values)


def number_in(
    values: Mapping[str, Any], name: str, least: float, most: float, *, default: float | None = None
) -> float:
    """The number of that name in a JSON object.

    Raises:
        Problem: 400 if it is none, out of range, or missing and without a default.
    """
    if name not in values and default is not None:
        return default
    found = _number(values.get(name), name)
    if not least <= found <= most:
        raise bad_request(f"{name} must be from {least:g} to {most:g}, not {shown(values[name])}")
    return found


def _sooner(first: float | None, second: float) -> float:
    return second if first is None else min(first, second)


def _milliseconds(value: Any, name: str) -> float:
    found = _number(value, name)
    if math.isnan(found):
        raise bad_request(f"{name} must be milliseconds, not {shown(value)}")
    return min(max(found, 0.0), _MOST_MS)  # a deadline that is over is told as one, and is no mistake


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > 40:
        raise bad_request(f"{name} must be a number, not {shown(value)}")
    try:
        return float(value.replace("_", "?") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        raise bad_request(f"{name} must be a number, not {shown(value)}") from None


def _fraction(value: Any, name: str) -> float:
    found = _number(value, name)
    if not 0 <= found <= 1:
        raise bad_request(f"{name} must be from 0 to 1, not {shown(value)}")
    return found


def _whole(least: int, most: int) -> Callable[[Any, str], int]:
    def read(value: Any, name: str) -> int:
        found = _number(value, name)
        if not (least <= found <= most and found == int(found)):
            raise bad_request(f"{name} must be a whole number from {least} to {most}, not {shown(value)}")
        return int(found)

    return read


def _flag(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    found = _FLAGS.get(str(value).lower()) if isinstance(value, str | int) else None
    if found is None:
        raise bad_request(f"{name} must be true or false, not {shown(value)}")
    return found


def _words(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise bad_request(f"{name} must be words, not {shown(value)}")
    return value


_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_READERS: dict[str, Callable[[Any, str], Any]] = {
    "model": _words,
    "deadline_ms": _milliseconds,
    "min_stage": _whole(1, 10_000),
    "min_accuracy": _fraction,
    "priority": _whole(-1000, 1000),
    "stream": _flag,
    "top": _whole(0, 1_000_000),
    "label": _words,
}
