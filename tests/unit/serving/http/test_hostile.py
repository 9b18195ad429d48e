"""Requests that no decent client sends, byte by byte: each was a fault once, or is the brother of one."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.serving.http.malformed import EXAMPLES, check_told, count_if_refused
from tests.unit.serving.http.serving import Running, png, resident_of, running, wait_for

from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.serving.http.settings import Limits, Settings

IMAGE = png()


@contextmanager
def limited(net: ExportedNet, seconds: float) -> Iterator[Running]:
    limits = Limits(body_bytes=2**20, body_seconds=seconds, header_seconds=seconds)
    with running([resident_of(net)], Settings(port=0, log="errors", watch_s=None, limits=limits)) as server:
        yield server


@pytest.fixture(scope="module")
def open_server(net: ExportedNet) -> Iterator[Running]:
    with limited(net, 60.0) as server:
        yield server


@pytest.fixture(scope="module")
def hasty_server(net: ExportedNet) -> Iterator[Running]:
    """One that waits for nobody: for requests of which parts never come, whatever the answer is."""
    with limited(net, 0.3) as server:
        yield server


def ask(
    server: Running,
    *headers: tuple[str, str],
    path: str = "/v1/predict",
    body: bytes = IMAGE,
    kind: str = "image/png",
    host: str | None = None,
    method: str = "POST",
) -> tuple[int, bytes]:
    """Status and body of the answer to exactly these headers."""
    names = {name.lower() for name, _ in headers}
    own = server.url.removeprefix("http://")
    lines = [f"{method} {path} HTTP/1.1", f"host: {own if host is None else host}", f"content-type: {kind}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not names & {"content-length", "transfer-encoding"}:
        lines.append(f"content-length: {len(body)}")
    return send(server, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)


def send(server: Running, data: bytes) -> tuple[int, bytes]:
    """Status and body of what comes back for these bytes; 0 if the connection ends without a word."""
    found = b""
    with socket.create_connection(server.address, timeout=20) as client:
        try:
            client.sendall(data)
            while not _is_whole(found) and (more := client.recv(65536)):
                found += more
        except ConnectionError:  # the server has closed before all was sent
            pass
    head, _, body = found.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


def _is_whole(response: bytes) -> bool:
    head, end, body = response.partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    lengths = [int(value) for name, _, value in lines if name == b"content-length"]
    return bool(end and lengths) and len(body) >= lengths[0]


@pytest.mark.parametrize("name", ["x-request-deadline-ms", "x-envoy-expected-rq-timeout-ms"])
@pytest.mark.parametrize(
    ("value", "status"),
    [
        *((value, 504) for value in ("-5", "-inf", "0", "90000, 0")),
        *((value, 200) for value in ("inf", "1e308", "90000, 80000")),
        *((value, 400) for value in ("nan", "", "1_000", "0x10", "9" * 5000, "50ms", ",")),
    ],
)
def test_deadlines_in_headers(open_server, name, value, status):
    assert ask(open_server, (name, value))[0] == status


def test_of_a_header_that_comes_twice_none_is_overlooked(open_server):
    soon, late = ("x-request-deadline-ms", "0"), ("x-request-deadline-ms", "90000")
    assert ask(open_server, soon, late)[0] == ask(open_server, late, soon)[0] == 504
    own, other = ("origin", open_server.url), ("origin", "http://evil.example")
    assert ask(open_server, own, other)[0] == ask(open_server, other, own)[0] == 403
    same, cross = ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")
    assert ask(open_server, same, cross)[0] == ask(open_server, cross, same)[0] == 403


def test_a_form_of_another_page_is_no_link_that_somebody_follows(open_server):
    """Browsers say so of forms, too; only what changes nothing here may come from elsewhere."""
    followed = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ]
    assert ask(open_server, *followed)[0] == 403
    assert ask(open_server, *followed, method="GET", path="/healthz", body=b"")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost:1", "[::1]:8000", "LOCALHOST")),
        *(
            (host, 421)
            for host in ("[::1].evil.example", "[::1", "127.0.0.1:80:90", "127.0.0.1.evil.example")
        ),
        *((host, 421) for host in ("localhost:x", "127.1", "0.0.0.0", "localhost@evil.example")),
    ],
)
def test_hosts_that_only_look_like_this_one(open_server, host, status):
    assert ask(open_server, path="/healthz", method="GET", body=b"", host=host)[0] == status


@pytest.mark.parametrize("path", ["/v1/predict", "/v2/models/small/infer"])
def test_compressed_bodies_are_refused_everywhere(open_server, path):
    status, told = ask(open_server, ("content-encoding", "gzip"), path=path)
    assert (status, json.loads(told)["reason"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "lengths",
    [["-1"], ["+5"], ["9" * 30], ["10", "20"], ["10, 20"], ["x"]],
)
def test_lengths_that_are_none(open_server, lengths):
    assert ask(open_server, *[("content-length", one) for one in lengths])[0] == 400


def test_lengths_in_two_ways_are_refused(open_server):
    """Two servers that read them differently would see different requests (smuggling)."""
    assert ask(open_server, ("content-length", "5"), ("transfer-encoding", "chunked"))[0] == 400


def chunked(size: int, count: int) -> bytes:
    return (b"%x\r\n" % size + bytes(size) + b"\r\n") * count + b"0\r\n\r\n"


def test_chunks_are_counted_while_they_come(open_server):
    sent = ("transfer-encoding", "chunked")
    assert ask(open_server, sent, body=chunked(2**16, 20))[0] == 413
    assert ask(open_server, sent, body=b"zz\r\nabc\r\n0\r\n\r\n")[0] == 400
    whole = b"%x\r\n" % len(IMAGE) + IMAGE + b"\r\n0\r\nx-request-deadline-ms: 0\r\n\r\n"
    assert ask(open_server, sent, body=whole)[0] == 200  # what comes behind a body is no header
    wait_for(lambda: open_server.service.bodies.held_bytes == 0)  # the answer is read before that


def inference(**tensor: object) -> bytes:
    own = {"name": "input", "datatype": "FP32", "shape": [1, 3, 16, 16], "data": [0.0] * 768}
    return json.dumps({"inputs": [own | tensor]}).encode()


WHOLE = json.loads(inference())


@pytest.mark.parametrize(
    ("body", "length", "status"),
    [
        (inference(), "0" * 12 + "1" * 5000, 400),
        (inference(), "9" * 5000, 400),
        (inference(), "-1", 400),
        (inference(), "\xb2", 400),
        (inference(), None, 200),
        (json.dumps(WHOLE | {"parameters": {"timeout": 10**400}}).encode(), None, 200),
        (json.dumps(WHOLE | {"parameters": {"deadline_ms": 10**400}}).encode(), None, 400),
        (json.dumps({"inputs": WHOLE["inputs"] * 2}).encode(), None, 400),
        (inference(shape=[0, 3, 16, 16], data=[]), None, 400),
        (inference(name="image", datatype="BYTES", shape=[0], data=[]), None, 400),
        (inference(shape=[17, 3, 16, 16], data=[0.0] * 768 * 17), None, 413),
        (inference(shape=[2**30] * 4), None, 400),
        (inference(data=[10**400] * 768), None, 400),
        (inference(datatype="FP64"), None, 400),
        (inference(data=[None] * 768), None, 400),
        (b'{"inputs":[{"name":"\\ud800","datatype":"FP32","shape":[1],"data":[1]}]}', None, 400),
    ],
)
def test_tensors_that_are_none(open_server, body, length, status):
    headers = [] if length is None else [("inference-header-content-length", length)]
    kind = "application/octet-stream"
    found, told = ask(open_server, *headers, path="/v2/models/small/infer", body=body, kind=kind)
    assert found == status, told


@pytest.mark.parametrize(
    "text", ["%%%", "data:image/png;base64,AAAA", "http://192.0.2.1/", "/etc/passwd", "\ud800"]
)
def test_what_is_no_base64_is_no_image_and_nothing_is_fetched(open_server, text):
    status, told = ask(open_server, body=json.dumps({"image": text}).encode(), kind="application/json")
    assert (status, json.loads(told)["reason"]) == (400, "bad_request")


def form(*parts: tuple[str, bytes]) -> bytes:
    whole = [f"--B\r\ncontent-disposition: {said}\r\n\r\n".encode() + held + b"\r\n" for said, held in parts]
    return b"".join(whole) + b"--B--\r\n"


FILE = 'form-data; name="image"; filename="x.png"'


@pytest.mark.parametrize(
    ("body", "status", "answers"),
    [
        (form((FILE, IMAGE), (FILE, IMAGE)), 200, 2),
        (form((FILE, IMAGE), (FILE, b"none")), 200, 2),
        (form((FILE.replace("x.png", "../../etc/passwd"), IMAGE)), 200, 1),
        (form(*[(FILE, IMAGE)] * 17), 413, 0),
        (form(('form-data; name="top"', b"1")), 400, 0),
        (form(('form-data; name="top"', b"1"), ('form-data; name="top"', b"2"), (FILE, IMAGE)), 400, 0),
        (form(*[('form-data; name="top"', b"1")] * 40), 413, 0),
        (form((FILE, b"")), 400, 0),
        (form(), 400, 0),
        (form((FILE, IMAGE))[:-8], 400, 0),
    ],
)
def test_forms_that_are_strange(open_server, body, status, answers):
    found, told = ask(open_server, body=body, kind="multipart/form-data; boundary=B")
    assert found == status, told
    assert len(json.loads(told).get("answers", ())) == answers


REQUEST = (
    b"POST /v1/predict?deadline_ms=5000&top=1 HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n"
    b"content-type: application/json\r\nx-request-deadline-ms: 5000\r\ncontent-length: %d\r\n\r\n%s"
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    at=st.integers(0, 260),
    junk=st.one_of(
        st.binary(min_size=1, max_size=8),
        st.sampled_from([b"\r\n", b"\r\n\r\n", b"\x00", b": ", b"%00", b" HTTP/1.1\r\n"]),
    ),
    over=st.booleans(),
)
def test_requests_with_damage_anywhere(hasty_server, at, junk, over):
    """Bytes put into a request, or over some of it: an answer, a refusal, or the end of the connection."""
    body = json.dumps({"image": base64.b64encode(IMAGE).decode()}).encode()
    whole = REQUEST % (len(body), body)
    status, told = send(hasty_server, whole[:at] + junk + whole[at + len(junk) * over :])
    count_if_refused(status)
    assert status != 500, told
    if status >= 400 and told:
        check_told(told.split(b"HTTP/1.1 ")[0].decode())


@pytest.mark.parametrize("which", ["open_server", "hasty_server"])
def test_the_server_answers_after_all_of_it(which, request):
    server = request.getfixturevalue(which)
    wait_for(lambda: ask(server)[0] == 200)
    wait_for(lambda: server.service.under_way == 0)
