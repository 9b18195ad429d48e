"""The Open Inference Protocol as Triton's own client speaks it: metadata, health, images, tensors."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.unit.serving.http.serving import NAMES, PNG, png

triton = pytest.importorskip("tritonclient.http")


@pytest.fixture
def asking(server) -> Iterator[Any]:
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield client
    client.close()


def images(*contents: bytes) -> Any:
    tensor = triton.InferInput("image", [len(contents)], "BYTES")
    tensor.set_data_from_numpy(np.array(contents, np.object_))
    return tensor


def floats(x: np.ndarray, *, binary: bool = True) -> Any:
    tensor = triton.InferInput("input", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x, binary_data=binary)
    return tensor


def test_server_and_model_tell_of_themselves(asking):
    assert asking.is_server_live()
    assert asking.is_server_ready()
    assert asking.is_model_ready("small")
    assert not asking.is_model_ready("large")
    assert asking.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    told = asking.get_model_metadata("small", "1")
    assert [one["name"] for one in told["inputs"]] == ["image", "input"]
    assert {one["name"]: one["shape"] for one in told["outputs"]}["probabilities"] == [-1, len(NAMES)]


def test_images_in_bytes_are_answered_as_the_other_endpoint_answers_them(asking, client):
    found = asking.infer("small", [images(png(1), png(2))], parameters={"deadline_ms": 60_000})
    for at, seed in enumerate((1, 2)):
        told = client.post("/v1/predict?top=0", content=png(seed), headers=PNG).json()
        assert found.as_numpy("label")[at].decode() == told["label"]
        np.testing.assert_allclose(
            found.as_numpy("probabilities")[at],
            [one["probability"] for one in told["probabilities"]],
            atol=1e-5,
        )
    assert found.as_numpy("stage").tolist() == [3, 3]
    assert found.as_numpy("late").tolist() == [False, False]


@pytest.mark.parametrize("binary", [True, False])
def test_standardised_tensors_and_chosen_outputs(asking, net, binary):
    preprocessing = net.manifest.preprocessing
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "stage")]
    found = asking.infer(
        "small", [floats(x, binary=binary)], outputs=wanted, request_id="mine", parameters={"min_stage": 3}
    )
    expected = [net.predictor().predict(one[None], stage=3).probabilities for one in x]
    np.testing.assert_allclose(found.as_numpy("probabilities"), expected, atol=1e-5)
    assert found.get_response()["id"] == "mine"
    assert found.as_numpy("label") is None
    assert preprocessing.channels == x.shape[1]


def test_an_accepted_stream_is_no_wish_for_one(client):
    """The protocol has one answer; a gateway may add the header to whatever it sends."""
    body = {
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(png()).decode()]}
        ]
    }
    found = client.post("/v2/models/small/infer", json=body, headers={"accept": "*/*, text/event-stream"})
    assert found.status_code == 200
    assert found.json()["outputs"][0]["name"] == "label"


def test_numbers_at_which_the_net_overflows_are_no_fault_of_the_server(asking):
    x = np.full((1, 3, 16, 16), 3e38, np.float32)
    with pytest.raises(triton.InferenceServerException, match="must be standardised"):
        asking.infer("small", [floats(x)])


def test_images_in_json_are_base64(client):
    ask = {
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(png()).decode()]}
        ]
    }
    told = client.post("/v2/models/small/infer", json=ask).json()
    outputs = {one["name"]: one["data"] for one in told["outputs"]}
    assert outputs["label"] == [client.post("/v1/predict", content=png(), headers=PNG).json()["label"]]
    assert told["model_name"] == "small"


def test_a_timeout_of_triton_is_a_deadline(asking, server):
    before = next(iter(server.service.residents)).server.snapshot().outcomes["expired"]
    with pytest.raises(triton.InferenceServerException, match="deadline"):
        asking.infer("small", [images(png())], timeout=1)  # microseconds
    assert next(iter(server.service.residents)).server.snapshot().outcomes["expired"] >= before


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"name": "image", "datatype": "INT8", "shape": [1], "data": [1]}, "datatype must be BYTES or FP32"),
        ({"name": "input", "datatype": "FP32", "shape": [1, 3, 16, 16], "data": [1]}, "as many numbers"),
        ({"name": "input", "datatype": "FP32", "shape": [1, 3, 9, 9], "data": [0.0] * 243}, "must be finite"),
        ({"name": "input", "datatype": "FP32", "shape": [2**20] * 4, "data": []}, "larger than a body"),
        ({"name": "image", "datatype": "BYTES", "shape": [2], "data": ["aaaa"]}, "as many images"),
        ({"name": "x", "datatype": "BYTES", "shape": [1], "data": ["aaaa"]}, "one input is needed"),
        (
            {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 99}},
            "bytes",
        ),
        ({"name": "image", "datatype": "BYTES", "shape": [-1], "data": []}, "shape must be"),
        ({"datatype": "BYTES", "shape": [1], "data": ["aaaa"]}, "needs a name"),
    ],
)
def test_tensors_that_are_none_are_refused(client, tensor, words):
    found = client.post("/v2/models/small/infer", json={"inputs": [tensor]})
    assert found.status_code == 400
    assert words in found.json()["error"]


def test_a_model_that_does_not_exist_and_a_compressed_body(client, asking):
    with pytest.raises(triton.InferenceServerException, match="no model has that name"):
        asking.infer("large", [images(png())])
    with pytest.raises(triton.InferenceServerException, match="compressed bodies are not read"):
        asking.infer("small", [images(png())], request_compression_algorithm="gzip")
