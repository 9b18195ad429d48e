"""Who answers where nobody names a backend, and that nobody answers with weights of before."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import anytimenet as an
from anytimenet.bundle import Bundle
from anytimenet.bundle.changes import WeightsSeen
from anytimenet.core.answers.prediction import Prediction
from anytimenet.core.errors import BackendError, NotFiniteError, StatisticsMissingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.export import live
from anytimenet.layers.snapshots import copied
from anytimenet.native.library import is_there
from anytimenet.runtime import Session
from anytimenet.runtime.saved_session import SavedSession
from anytimenet.testing.net_under_test import redraw

if not is_there():
    pytest.skip("no engine", allow_module_level=True)

X = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)


def bundle_of(name: str = "isresnext_tiny", side: int = 8, **arguments) -> Bundle:
    net = an.create_net(name, num_classes=3, **arguments).eval()
    redraw(net, torch.Generator().manual_seed(1))
    preprocessing = Preprocessing(side, side, 3, (0.5,) * 3, (0.5,) * 3)
    return Bundle.create(net, class_names=[list("abc")], preprocessing=preprocessing)


def truth(bundle: Bundle, stage: int = 3) -> np.ndarray:
    twin = copied(bundle.net).float().eval()
    with torch.inference_mode():
        return torch.softmax(twin(torch.from_numpy(X))[stage - 1][0], 1)[0].numpy()


def answered(bundle: Bundle, stage: int = 3) -> np.ndarray:
    return np.array(bundle.predict(X, stage=stage).probabilities)


def agree(bundle: Bundle, backend: str = "native") -> None:
    """All ways of asking give what the net gives now."""
    for stage in (1, 3):
        wanted = pytest.approx(truth(bundle, stage), abs=1e-5)
        assert answered(bundle, stage) == wanted
        (many,) = bundle.predict_many(X, stage=stage)
        assert isinstance(many, Prediction)
        assert np.array(many.probabilities) == wanted
        output = bundle.segment_for(stage)((torch.from_numpy(X),))[0].float()
        assert torch.softmax(output, 1)[0].numpy() == wanted
    assert bundle.backend.name == backend


def test_the_engine_answers_in_every_way_of_asking(tmp_path):
    bundle = bundle_of()
    agree(bundle)
    assert bundle.predictor().model.backend.name == "native"
    assert Session(bundle, X)._run.backend.name == "native"
    agree(Bundle.load(bundle.save(tmp_path / "bundle")))
    agree(copy.copy(bundle))


def test_every_path_that_pytorch_runs_is_run():
    bundle = bundle_of()
    assert bundle.backend.segments == bundle.prepared("eager").backend.segments
    session = Session(bundle, X)
    session.run([(0, 1), (1, 3)])
    assert session.path == ((0, 1), (1, 3))


def step(net: nn.Module) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    net.train()
    sum(output[0].square().mean() for output in net(torch.from_numpy(X).expand(4, 3, 8, 8))).backward()
    optimizer.step()


def one_number(net: nn.Module) -> None:
    weight = max(net.parameters(), key=lambda tensor: tensor.numel())
    with torch.no_grad():
        weight.view(-1)[weight.numel() // 3] += 5


def norms(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_var is not None
            layer.running_var.mul_(3)


def behind_pytorch(net: nn.Module) -> None:
    for tensor in net.parameters():
        tensor.data.mul_(1.25)


def by_numpy(net: nn.Module) -> None:
    for tensor in net.parameters():
        array = tensor.detach().numpy()
        array *= 1.25


def other_tensor(net: nn.Module) -> None:
    layer = next(layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d))
    layer.weight = nn.Parameter(layer.weight.detach() * 2)


def other_memory(net: nn.Module) -> None:
    tensor = next(net.parameters())
    tensor.data = tensor.data * 2


def loaded(net: nn.Module) -> None:
    net.load_state_dict({name: 1.5 * tensor for name, tensor in net.state_dict().items()})


CHANGES = [step, one_number, norms, behind_pytorch, by_numpy, other_tensor, other_memory, loaded]


@pytest.mark.parametrize("change", CHANGES)
def test_nobody_answers_with_the_weights_of_before(change):
    bundle = bundle_of()
    agree(bundle)
    before = answered(bundle)
    change(bundle.net)
    assert not np.allclose(truth(bundle), before, atol=1e-6)
    agree(bundle)


@pytest.mark.parametrize("change", CHANGES)
def test_nor_does_pytorch(change, monkeypatch):
    monkeypatch.setattr("anytimenet.runtime.backends.preferred.is_there", lambda: False)
    bundle = bundle_of()
    agree(bundle, "eager")
    change(bundle.net)
    agree(bundle, "eager")


def test_training_mode_and_other_number_formats_answer_as_the_net_in_eval_mode():
    bundle = bundle_of()
    bundle.net.train()
    agree(bundle)
    assert bundle.net.training
    bundle.net.double()
    assert answered(bundle) == pytest.approx(truth(bundle), abs=1e-5)
    bundle.net.half()
    assert answered(bundle) == pytest.approx(truth(bundle), abs=1e-5)  # of the weights, rounded to half


def test_a_net_that_stays_as_it_is_is_made_ready_once(monkeypatch):
    made, make = [], live.exported_backend

    def counted(*asked):
        made.append(asked)
        return make(*asked)

    monkeypatch.setattr(live, "exported_backend", counted)
    bundle = bundle_of()
    for _ in range(3):
        answered(bundle)
        list(bundle.predict_many(X))
    bundle.net(torch.from_numpy(X))  # a look changes nothing
    answered(bundle)
    assert len(made) == 1
    step(bundle.net)
    answered(bundle)
    assert len(made) == 2


def test_a_session_and_a_predictor_go_on_with_the_weights_that_they_began_with():
    bundle = bundle_of()
    predictor, session, whole = bundle.predictor(), Session(bundle, X), Session(bundle, X)
    wanted, (until,) = predictor.predict(X, stage=3).probabilities, whole.run([(0, 3)])
    session.run([(0, 1)])
    step(bundle.net)
    (answer,) = session.run([(1, 3)])
    assert answer.output[0].tobytes() == until.output[0].tobytes()
    assert np.array_equal(predictor.predict(X, stage=3).probabilities, wanted)
    agree(bundle)


def test_hooks_are_left_to_pytorch_also_when_they_come_later(caplog):
    bundle = bundle_of()
    agree(bundle)
    layer = next(layer for layer in bundle.net.modules() if isinstance(layer, nn.BatchNorm2d))
    handle = layer.register_forward_hook(lambda layer, given, result: None)
    with caplog.at_level(logging.INFO):
        agree(bundle, "eager")
    assert "PyTorch runs this net" in caplog.text
    assert "hooks" in caplog.text
    with pytest.raises(BackendError, match="hooks"):
        bundle.prepared("native")
    handle.remove()
    agree(bundle)


def test_pruned_weights_are_answered_as_the_net_has_them():
    bundle = bundle_of()
    agree(bundle)
    layer = next(layer for layer in bundle.net.modules() if isinstance(layer, nn.Linear))
    prune.random_unstructured(layer, "weight", 0.5)
    agree(bundle, "eager")  # with a hook, and a weight that is no parameter
    prune.remove(layer, "weight")
    agree(bundle)


def test_a_net_that_does_not_lower_is_pytorchs_and_by_name_refused(caplog):
    net = an.create_net("ranet_tiny", num_classes=3)
    side = net.input_spec.smallest_shape[1]
    bundle = bundle_of("ranet_tiny", side)
    x = np.zeros((1, 3, side, side), np.float32)
    with caplog.at_level(logging.INFO):
        bundle.predict(x, stage=1)
    assert bundle.backend.name == bundle.predictor().model.backend.name == "eager"
    assert "upsample_bilinear2d" in caplog.text
    with pytest.raises(BackendError, match="upsample_bilinear2d"):
        bundle.prepared("native")


def test_where_no_folder_can_be_written_pytorch_answers(monkeypatch, caplog):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(live.tempfile, "TemporaryDirectory", full)
    with caplog.at_level(logging.INFO):
        agree(bundle_of(), "eager")
    assert "No space left" in caplog.text


def test_statistics_that_were_not_estimated_are_missing_and_come_to_the_engine():
    bundle = bundle_of("universally_slimmable_tiny")
    for name, tensor in bundle.net.named_buffers():
        if not tensor.is_floating_point():
            assert "counter" in name or "num_batches" in name
            tensor.zero_()
    with pytest.raises(StatisticsMissingError):
        answered(bundle, 1)
    for tensor in bundle.net.buffers():
        if not tensor.is_floating_point():
            tensor.fill_(9)
    last = bundle.num_stages
    assert answered(bundle, last) == pytest.approx(truth(bundle, last), abs=1e-5)
    assert bundle.backend.name == "native"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_broken_weights_are_told_as_pytorch_tells_them(number):
    bundle = bundle_of()
    with torch.no_grad():
        next(bundle.net.parameters()).view(-1)[0] = number
    with pytest.raises(NotFiniteError):
        answered(bundle)
    with pytest.raises(NotFiniteError):
        bundle.predictor()
    assert bundle.backend.name == "eager"
    with pytest.raises(BackendError, match="a weight is not finite"):
        bundle.predictor("native")


def test_an_equal_value_written_again_is_only_work_and_nan_is_equal_to_itself():
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.fill_(float("nan"))
    seen = WeightsSeen(layer)
    assert seen.still()
    with torch.inference_mode():
        layer.bias = nn.Parameter(torch.zeros(2))
    assert not seen.still()
    seen = WeightsSeen(layer)  # whose bias PyTorch does not count
    assert seen.still()
    with torch.inference_mode():
        layer.bias.add_(1)
    assert not seen.still()


@pytest.mark.parametrize(("before", "after"), [("eager", "native"), ("native", "eager")])
@pytest.mark.parametrize("name", ["isresnext_tiny", "msdnet_tiny", "iresnext_tiny"])
def test_a_session_goes_on_with_the_other_backend(name, before, after):
    bundle = bundle_of(name)
    one, other = bundle.prepared(before), bundle.prepared(after)
    session = Session(one, np.concatenate([X, 0.5 * X]))
    session.run([(0, 1)])
    went_on = Session.restore(other, SavedSession.from_bytes(session.save().to_bytes()))
    for _ in range(2, bundle.num_stages + 1):
        wanted, found = session.step().output[0], went_on.step().output[0]
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
