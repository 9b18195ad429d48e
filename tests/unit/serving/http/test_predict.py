"""`POST /v1/predict`: every way in gives the answer of the model, with its stage, its times and its name."""

from __future__ import annotations

import base64
import json

import httpx
import numpy as np
import pytest
from tests.unit.serving.http.serving import NAMES, PNG, client_of, png, resident_of, running, wait_for

from anytimenet.serving.http.settings import Limits, Settings


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def predict(
    client: httpx.Client, content: bytes | None = None, **params: str | int | float
) -> httpx.Response:
    return client.post(
        "/v1/predict", content=png() if content is None else content, headers=PNG, params=params
    )


def test_without_a_deadline_the_best_stage_answers_as_the_model_does(client, net):
    found = predict(client, top=0)
    told = found.json()
    expected = net.predictor().predict(net.manifest.preprocessing.decode(_pillow(png())), stage=3)
    assert found.status_code == 200
    assert told["label"] == expected.label
    assert told["stage"] == told["stages"] == 3
    assert [one["label"] for one in told["probabilities"]] == list(NAMES)
    np.testing.assert_allclose(
        [one["probability"] for one in told["probabilities"]], expected.probabilities, atol=2e-6
    )
    assert told["late"] is False
    assert 0 <= told["timings"]["run_ms"] <= told["timings"]["total_ms"]
    assert found.headers["x-anytime-stage"] == "3"
    assert found.headers["x-anytime-late"] == "false"
    assert found.headers["server-timing"].startswith("queue;dur=")
    assert found.headers["x-request-id"] == told["request_id"]


def _pillow(content: bytes) -> object:
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(content))


def test_bytes_json_and_form_of_one_image_are_answered_alike(client):
    content = png(3)
    as_bytes = predict(client, content).json()
    as_json = client.post("/v1/predict", json={"image": encoded(content), "top": 5}).json()
    as_form = client.post("/v1/predict", files=[("image", ("a.png", content))]).json()["answers"][0]
    as_list = client.post("/v1/predict", json={"images": [encoded(content)]}).json()["answers"][0]
    for told in (as_json, as_form, as_list):
        assert told["probabilities"] == as_bytes["probabilities"]


def test_a_form_of_several_images_answers_each_and_a_bad_one_fails_alone(client):
    files = [("image", ("a.png", png(1))), ("image", ("b.png", b"no image")), ("image", ("c.png", png(2)))]
    found = client.post("/v1/predict", files=files, data={"top": "1"})
    first, bad, last = found.json()["answers"]
    assert found.status_code == 200
    assert first["label"] == predict(client, png(1)).json()["label"]
    assert last["label"] == predict(client, png(2)).json()["label"]
    assert bad["reason"] == "bad_image"
    assert len(first["probabilities"]) == 1


def test_top_gives_the_most_probable_first(client):
    every = predict(client, top=0).json()["probabilities"]
    best = predict(client, top=4).json()["probabilities"]
    assert best == sorted(every, key=lambda one: -one["probability"])[:4]


def test_the_soonest_of_all_deadlines_counts(net):
    with running([resident_of(net, ms=20.0)]) as server, client_of(server) as client:
        generous = {"params": {"deadline_ms": 60_000}, "content": png()}
        for name in ("x-request-deadline-ms", "x-envoy-expected-rq-timeout-ms"):
            found = client.post("/v1/predict", headers=PNG | {name: "0.5"}, **generous)
            assert (found.status_code, found.json()["reason"]) == (504, "expired")
            assert client.post("/v1/predict", headers=PNG | {name: "60000"}, **generous).status_code == 200


@pytest.mark.parametrize(
    ("params", "ms", "stages"),
    [
        ({"deadline_ms": 50_000}, 20_000.0, {1, 2}),
        ({"deadline_ms": 60_000}, 1.0, {3}),
        ({"min_stage": 2}, 20_000.0, {2, 3}),
    ],
)
def test_a_deadline_chooses_the_stage_and_min_stage_holds_it_up(net, params, ms, stages):
    with running([resident_of(net, ms=ms)]) as server, client_of(server) as client:
        assert predict(client, **params).json()["stage"] in stages


def test_a_server_can_give_deadlines_to_requests_that_name_none(net):
    settings = Settings(port=0, deadline_ms=0.01, log="errors", watch_s=None)
    with running([resident_of(net, ms=50.0)], settings) as server, client_of(server) as client:
        assert predict(client).json()["reason"] == "expired"
        assert predict(client, deadline_ms=10_000).status_code == 200


def test_a_stream_tells_every_stage_and_then_the_answer_that_stands(client):
    for ask in ({"params": {"stream": "true"}}, {"headers": PNG | {"accept": "text/event-stream"}}):
        events = []
        with client.stream("POST", "/v1/predict", content=png(), **({"headers": PNG} | ask)) as found:
            assert found.headers["content-type"].startswith("text/event-stream")
            for line in found.iter_lines():
                if line.startswith("event: "):
                    events.append([line.removeprefix("event: ")])
                elif line.startswith("data: "):
                    events[-1].append(json.loads(line.removeprefix("data: ")))
        kinds, told = zip(*events, strict=True)
        assert set(kinds[:-1]) == {"stage"}
        assert kinds[-1] == "answer"
        stages = [one["stage"] for one in told]
        assert stages[:-1] == sorted(set(stages[:-1]))
        assert told[-1]["probabilities"] == predict(client).json()["probabilities"]
        assert "timings" in told[-1]


def test_a_request_id_of_the_client_is_kept_and_a_strange_one_is_not(client):
    assert client.get("/v1/load", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/v1/load", headers={"x-request-id": "a b<"}).headers["x-request-id"] != "a b<"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"deadline_ms": "soon"}, "deadline_ms must be a number"),
        ({"deadline_ms": "nan"}, "deadline_ms must be milliseconds"),
        ({"min_stage": 9}, "min_stage must be from 1 to 3"),
        ({"min_stage": 0}, "min_stage must be a whole number"),
        ({"min_accuracy": 2}, "min_accuracy must be from 0 to 1"),
        ({"top": -1}, "top must be a whole number"),
        ({"stream": "perhaps"}, "stream must be true or false"),
        ({"deadlin_ms": 5}, "did you mean 'deadline_ms'"),
    ],
)
def test_a_wrong_parameter_is_named(client, params, words):
    found = predict(client, **params)
    assert found.status_code == 400
    assert words in found.json()["error"]
    assert found.json()["reason"] == "bad_request"


def test_a_parameter_that_is_given_twice_is_refused(client):
    """In JSON, too: one reader takes the first of two, another the last, and nobody knows which was meant."""
    body = f'{{"image": "{encoded(png())}", "deadline_ms": 50000, "deadline_ms": 0}}'
    for found in (
        client.post("/v1/predict?deadline_ms=50000&deadline_ms=0", content=png(), headers=PNG),
        client.post("/v1/predict", content=body, headers={"content-type": "application/json"}),
    ):
        assert found.status_code == 400
        assert "deadline_ms" in found.json()["error"]
        assert "is given twice" in found.json()["error"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "reason"),
    [
        (b"", "image/png", 400, "bad_request"),
        (b"no image", "image/png", 400, "bad_image"),
        (png()[:-40], "image/png", 400, "bad_image"),
        (b"x", "text/plain", 415, "unsupported_media_type"),
        (b"x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"{", "application/json", 400, "bad_request"),
        (b"[" * 100_000, "application/json", 400, "bad_request"),
        (b'{"image": NaN}', "application/json", 400, "bad_request"),
        (b'{"image": "http://127.0.0.1/cat.png"}', "application/json", 400, "bad_request"),
        (b'{"image": "/etc/passwd"}', "application/json", 400, "bad_request"),
        (b'{"image": "", "images": []}', "application/json", 400, "bad_request"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x", 400, "bad_request"),
        (b"--x--", "multipart/form-data", 400, "bad_request"),
    ],
)
def test_a_body_that_holds_no_image_is_refused_with_a_reason(client, content, kind, status, reason):
    found = client.post("/v1/predict", content=content, headers={"content-type": kind})
    assert (found.status_code, found.json()["reason"]) == (status, reason)
    assert "/" not in found.json()["error"].replace("image/", "").replace("application/", "").replace(
        "multipart/", ""
    )


def test_images_beyond_the_limits_are_refused_before_they_are_decoded(net):
    limits = Limits(body_bytes=20_000, pixels=1000, images=2)
    settings = Settings(port=0, limits=limits, log="errors", watch_s=None)
    with running([resident_of(net)], settings) as server, client_of(server) as client:
        assert predict(client, png(size=(40, 30))).status_code == 413
        assert predict(client, bytes(20_001)).status_code == 413
        assert predict(client, png(size=(10, 10))).status_code == 200
        three = [("image", (f"{at}.png", png(at, (10, 10)))) for at in range(3)]
        assert client.post("/v1/predict", files=three).status_code == 413
        chunks = (bytes(1000) for _ in range(30))  # its length is not announced
        assert client.post("/v1/predict", content=chunks, headers=PNG).status_code == 413
        wait_for(lambda: server.service.bodies.held_bytes == 0)


def test_several_models_are_asked_by_name(net):
    with running([resident_of(net, "one"), resident_of(net, "two")]) as server, client_of(server) as client:
        assert predict(client, model="two").json()["model"] == "two"
        assert predict(client).status_code == 400
        assert predict(client, model="three").status_code == 404
        assert [one["name"] for one in client.get("/v1/models").json()["models"]] == ["one", "two"]
        assert client.get("/v1/models/two").json()["name"] == "two"
