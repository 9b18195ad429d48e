"""The same server on real engines: answers are those of a plain run, in time where there is time."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.export import export
from anytimenet.native import library
from anytimenet.runtime import ExportedNet, profile_backend
from anytimenet.runtime.model import Model
from anytimenet.serving import Done, ModelServer, Request
from anytimenet.serving.request import Refused, StageDone, Update
from anytimenet.testing.net_under_test import redraw

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    net = create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    names = [[f"class {i}" for i in range(net.num_classes[0])]]
    return Bundle.create(net, class_names=names, preprocessing=Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3))


@pytest.fixture(scope="module", params=["native", "onnxruntime", "torch"])
def model(request, bundle: Bundle, tmp_path_factory) -> Model:
    if request.param == "torch":
        return bundle
    if request.param == "native":
        if not library.is_there():
            pytest.skip("no engine")
        form = "native"
    else:
        pytest.importorskip("onnxruntime")
        form = "onnx"
    return ExportedNet.load(export(bundle, tmp_path_factory.mktemp("net") / "folder", format=form))


@pytest.fixture(scope="module")
def server(model):
    table = profile_backend(model.backend, SHAPE, minutes=0.02, repeats=5, warmup=1)
    with ModelServer(model, table=table, threads=2) as found:
        yield found


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, *SHAPE), dtype=np.float32)


def ask(server: ModelServer, x: np.ndarray, **more) -> tuple[threading.Event, list[Update]]:
    over, updates = threading.Event(), []

    def notify(update: Update) -> None:
        updates.append(update)
        if not isinstance(update, StageDone):
            over.set()

    server.submit(x, Request(time.monotonic(), **more), notify)
    return over, updates


def test_answers_are_those_of_a_plain_run_for_many_at_once(server, bundle):
    asked = [(image(seed), *ask(server, image(seed), stream=True)) for seed in range(20)]
    for x, over, updates in asked:
        assert over.wait(30)
        end = updates[-1]
        assert isinstance(end, Done)
        with torch.no_grad():
            outputs = bundle.net(torch.from_numpy(x))
        for update in updates:
            prediction = update.prediction
            wanted = torch.softmax(outputs[prediction.stage - 1][0][0], 0).numpy()
            np.testing.assert_allclose(prediction.probabilities, wanted, atol=1e-4)
        assert end.prediction.stage == bundle.net.num_stages


def test_cancelling_in_the_middle_harms_no_other(server):
    over = [ask(server, image(0)) for _ in range(4)]
    ends = [threading.Event() for _ in range(4)]
    for end in ends:
        server.submit(image(1), Request(time.monotonic()), lambda _, end=end: end.set()).cancel()
    assert all(each.wait(30) for each in ends)
    assert all(each.wait(30) for each, _ in over)
    assert all(isinstance(updates[-1], Done) for _, updates in over)
    later, updates = ask(server, image(2))
    assert later.wait(30)
    assert not isinstance(updates[-1], Refused)
