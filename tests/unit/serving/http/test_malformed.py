"""Requests that are wrong in some way: no 500, no crash, and nothing leaks into answers.

`make attack` tries so many that a thousand are refused; `make test` a share of them.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.serving.http.malformed import EXAMPLES, PROMISED, REFUSED, check
from tests.unit.serving.http.serving import PNG, Running, client_of, png, resident_of, running

from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.serving.http.settings import Limits, Settings

ATTACKS = Path(__file__).resolve().parents[4] / "examples" / "attacks"
FEW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def open_server(net: ExportedNet) -> Iterator[Running]:
    limits = Limits(body_bytes=2**20, pixels=4_000_000, body_seconds=2.0)
    with running([resident_of(net)], Settings(port=0, log="errors", watch_s=None, limits=limits)) as server:
        yield server


@pytest.fixture(scope="module")
def asking(open_server: Running) -> Iterator[httpx.Client]:
    with client_of(open_server) as client:
        yield client


def test_requests_made_from_the_description(open_server, asking):
    schemathesis = pytest.importorskip("schemathesis")
    document = asking.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @FEW
        @given(case=operation.as_strategy())
        def ask(case):
            nonlocal tried
            tried += 1
            kwargs = case.as_transport_kwargs(base_url=open_server.url)
            try:
                request = asking.build_request(
                    kwargs["method"],
                    kwargs["url"],
                    params=kwargs.get("params"),
                    headers={str(k): str(v) for k, v in (kwargs.get("headers") or {}).items()},
                    content=kwargs["data"] if isinstance(kwargs.get("data"), bytes) else None,
                    json=kwargs.get("json"),
                    files=kwargs.get("files"),
                )
                response = asking.send(request)
            except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError, TypeError, ValueError):
                return  # what this client cannot send
            except AttributeError:
                return  # a form with values that are no files, which this client does not write
            check(response)

        ask()
    assert tried >= 100
    assert asking.post("/v1/predict", content=png(), headers=PNG).status_code == 200


@FEW
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda start, at, junk: start[:at] + junk + start[at + len(junk) :],
            st.sampled_from([png(format=name) for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]),
            st.integers(0, 400),
            st.binary(min_size=1, max_size=20),
        ),
    ),
    kind=st.sampled_from(["image/png", "application/octet-stream", "application/json", "text/plain"]),
)
def test_images_with_damage_anywhere(asking, content, kind):
    check(asking.post("/v1/predict", content=content, headers={"content-type": kind}))


@FEW
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=12,
    ),
    names=st.lists(
        st.sampled_from(["image", "images", "deadline_ms", "top", "inputs", "outputs", "parameters", "id"]),
        max_size=4,
    ),
)
def test_json_of_any_shape(asking, value, names):
    for path in ("/v1/predict", "/v2/models/small/infer"):
        for one in (dict.fromkeys(names, value), value):  # as text: this client writes no NaN and no infinity
            kind = {"content-type": "application/json"}
            check(asking.post(path, content=json.dumps(one), headers=kind))


@FEW
@given(query=st.text(max_size=60), head=st.text(st.characters(codec="ascii", min_codepoint=32), max_size=40))
def test_queries_and_headers_of_any_kind(asking, query, head):
    with suppress(httpx.InvalidURL):  # what this client cannot send
        check(asking.post("/v1/predict?" + query, content=png(), headers=PNG))
    for name in ("x-request-deadline-ms", "content-type", "x-request-id", "accept", "authorization"):
        check(asking.post("/v1/predict", content=png(), headers=PNG | {name: head.strip()}))


@FEW
@given(body=st.binary(max_size=400), boundary=st.text(st.characters(codec="ascii"), max_size=20))
def test_forms_of_any_kind(asking, body, boundary):
    kind = "multipart/form-data; boundary=" + "".join(c for c in boundary if c.isprintable()).strip() + "x"
    whole = b"--x\r\ncontent-disposition: form-data; name=image\r\n\r\n" + body + b"\r\n--x--\r\n"
    check(asking.post("/v1/predict", content=body, headers={"content-type": kind}))
    check(
        asking.post("/v1/predict", content=whole, headers={"content-type": "multipart/form-data; boundary=x"})
    )


def hostile_images() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("hostile_images", ATTACKS / "hostile_images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    images: dict[str, Any] = module.IMAGES
    return images


@pytest.mark.parametrize("name", sorted(hostile_images()))
def test_hostile_images_of_the_examples(asking, name):
    check(asking.post("/v1/predict", content=hostile_images()[name](), headers=PNG))
    assert asking.post("/v1/predict", content=png(), headers=PNG).status_code == 200


@pytest.mark.skipif(not PROMISED, reason="make attack counts them")
def test_as_many_were_refused_as_promised():
    assert sum(REFUSED.values()) >= PROMISED, REFUSED
