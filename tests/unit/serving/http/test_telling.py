"""What the server says of its models, of its load and of its health, and what Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from tests.unit.serving.http.serving import NAMES, PNG, client_of, png, resident_of, running


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name.removeprefix("anytimenet_"), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_model_tells_its_classes_stages_and_latencies(client, net):
    told = client.get("/v1/model").json()
    assert told["name"] == "small"
    assert told["class_names"] == [list(NAMES)]
    assert told["input"] == {"channels": 3, "height": 16, "width": 16}
    assert [one["macs"] for one in told["stages"]] == [record.macs for record in net.manifest.stages]
    assert [one["latency_ms"]["median_ms"] for one in told["stages"]] == [0.5, 1.0, 1.5]
    assert (told["backend"], told["policy"], told["threads"]) == ("onnxruntime", "anytime", 1)


def test_metrics_and_load_count_what_became_of_requests(net):
    with running([resident_of(net, ms=100.0)]) as server, client_of(server) as client:

        def ask(**params):
            return client.post("/v1/predict", content=png(), headers=PNG, params=params)

        right = ask().json()["label"]
        ask(label=right)
        ask(label="another")
        ask(deadline_ms=1, label=right)
        client.post("/v1/predict", content=b"no image", headers=PNG)
        found = samples(client.get("/metrics").text)
        assert found["requests_total", ("small", "answered")] == 3
        assert found["requests_total", ("small", "expired")] == 1
        assert found["requests_total", ("small", "invalid")] == 1
        assert found["answers_total", ("small", "3")] == 3
        assert found["in_time_answers_total", ("small",)] == 3
        assert abs(found["expected_correct_total", ("small",)] - 3 * 0.7) < 1e-9
        assert found["labelled_total", ("small", "correct")] == 1
        assert found["labelled_total", ("small", "wrong")] == 1
        assert found["labelled_total", ("small", "unanswered")] == 1
        assert found["request_seconds_count", ("small",)] == 3
        assert found["queue_length", ("small",)] == 0
        assert found["slowdown", ("small",)] > 0
        assert found["buffered_bytes", ()] == 0
        load = client.get("/v1/load").json()["models"]["small"]
        assert load["outcomes"]["answered"] == 3
        assert load["stages"] == {"1": 0, "2": 0, "3": 3}
        assert load["late_rate"] == 0


def test_health_is_told_and_readiness_ends_with_draining(net):
    with running([resident_of(net)]) as server, client_of(server) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").status_code == 200
        server.service.drain()
        found = client.get("/readyz")
        assert (found.status_code, found.json()["reason"]) == (503, "closing")
        assert found.headers["connection"] == "close"
        assert client.get("/healthz").status_code == 200


def test_paths_and_methods_that_do_not_exist_are_told_in_json(client):
    found = client.get("/v1/nothing")
    assert (found.status_code, found.json()["reason"]) == (404, "not_found")
    found = client.get("/v1/predict")
    assert (found.status_code, found.json()["reason"]) == (405, "method_not_allowed")
    assert found.headers["allow"] == "POST"
