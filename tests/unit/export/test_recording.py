"""Segments written down without values give the programs that `torch.export` gives."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from anytimenet import create_net
from anytimenet.core.errors import BackendError
from anytimenet.costs.segment_specs import segment_specs
from anytimenet.export import native_files
from anytimenet.export.native_check import check_program
from anytimenet.export.recording import Recorded, record
from anytimenet.export.stored import StoredWeights
from anytimenet.export.structure import structure_of
from anytimenet.export.tracing import parameters_of, segment_name, trace, user_inputs
from anytimenet.export.unknown import UnknownOperatorError
from anytimenet.native.library import is_there
from anytimenet.nets.segment import Segment

SHAPE = (3, 8, 8)


def by_export(segment, spec) -> Recorded:
    traced = trace(segment, spec)
    names = [tensor.name for tensor in traced.inputs]
    return Recorded(
        list(traced.program.graph.nodes),
        dict(zip(user_inputs(traced.program), names, strict=True)),
        {place: segment_name(name) for place, name in parameters_of(traced.program).items()},
    )


@pytest.mark.parametrize(
    "name", ["isresnext_tiny", "iresnext_tiny", "efficientnet_lite_tiny", "msdnet_tiny", "densenet_tiny"]
)
def test_programs_are_those_of_torch_export(name, monkeypatch):
    net = create_net(name).eval()
    stored = StoredWeights(net)
    recorded = native_files.program_of(net, SHAPE, stored)
    monkeypatch.setattr(native_files, "record", by_export)
    assert recorded == native_files.program_of(net, SHAPE, stored)


class Odd(Segment):
    """A segment that does something that its operators do not tell."""

    def __init__(self, net, work) -> None:
        super().__init__(net, 0, 1, last=False)
        self.layer, self.odd = nn.Conv2d(3, 3, 1), work
        self.carries, self.writes, self.changes = False, (), {}

    def work(self, state):
        return (), (self.odd(self.layer, state[0]).mean((2, 3)),)


def recorded_odd(work) -> Recorded:
    net = create_net("isresnext_tiny", num_classes=3)
    spec = segment_specs(net, SHAPE)[0]
    return record(Odd(net, work), replace(spec, changes=()))


def test_what_python_decides_by_a_value_is_refused():
    with pytest.raises(BackendError, match=r"segment \(0, 1\) cannot be followed without values"):
        recorded_odd(lambda layer, x: layer(x) if x.sum() > 0 else x)
    with pytest.raises(BackendError, match="without values"):
        recorded_odd(lambda layer, x: x * layer.weight.flatten().tolist()[0] if x.max().item() else x)


def test_tensors_from_elsewhere_and_changed_weights_are_refused():
    with pytest.raises(UnknownOperatorError, match="neither a weight"):
        recorded_odd(lambda layer, x: layer(x) + torch.ones(1, 3, 1, 1).numpy().sum() * elsewhere)
    with pytest.raises(UnknownOperatorError, match="of a weight"):
        recorded_odd(lambda layer, x: (layer.weight.mul_(2), layer(x))[1])


elsewhere = torch.full((1, 3, 1, 1), 2.0)


def test_a_hook_is_refused_and_nothing_was_changed():
    net = create_net("isresnext_tiny", num_classes=3)
    segment, spec = Odd(net, lambda layer, x: layer(x)), replace(segment_specs(net, SHAPE)[0], changes=())
    before = segment.layer.weight.clone()
    recorded = record(segment, spec)
    assert [str(node.target) for node in recorded.nodes if node.op == "call_function"] == [
        "aten.conv2d.default",
        "aten.mean.dim",
    ]
    assert torch.equal(before, segment.layer.weight)
    segment.layer.register_forward_hook(lambda layer, given, result: result + 1)
    with pytest.raises(UnknownOperatorError, match="hook"):
        record(segment, spec)


@pytest.mark.skipif(not is_there(), reason="no engine")
def test_a_program_that_computes_something_else_is_refused():
    net = create_net("isresnext_tiny").eval()
    stored = StoredWeights(net)
    program, shards = native_files.program_of(net, SHAPE, stored), [data for _, data in stored.files]
    check_program(program, net, SHAPE, shards)
    words = np.frombuffer(program, "<i4")
    first = 16 + 6 * words[4] + 8 * words[5] + 4 * words[6]
    ops = words[first : first + 32 * words[7]].reshape(-1, 32)
    clamped = int(np.flatnonzero(ops[:, 27] == 0)[0])  # the least number that a ReLU lets through
    at = 4 * (first + 32 * clamped + 27)
    wrong = program[:at] + struct.pack("<f", 0.5) + program[at + 4 :]
    with pytest.raises(BackendError, match="does not compute stage 1 of this net"):
        check_program(wrong, net, SHAPE, shards)


def test_the_structure_is_told_without_the_values_of_weights():
    net, other = create_net("isresnext_tiny"), create_net("isresnext_tiny")
    same = structure_of(net)
    assert same is not None
    assert structure_of(other) == same
    other.get_submodule("stem")  # nothing is changed by a look
    layer = next(layer for layer in other.modules() if isinstance(layer, nn.BatchNorm2d))
    layer.eps = 0.1
    assert structure_of(other) not in (same, None)
    layer.eps = 1e-5
    assert structure_of(other) == same
    layer.register_forward_hook(lambda layer, given, result: result)
    assert structure_of(other) is None
    assert structure_of(net, (3, 8, 8)) != structure_of(net, (3, 9, 9))


def test_the_structure_tells_whether_a_counter_has_counted_and_which_layers_are_one():
    net, other = create_net("isresnext_tiny"), create_net("isresnext_tiny")
    counter = next(tensor for name, tensor in other.named_buffers() if name.endswith("num_batches_tracked"))
    counter.fill_(7)
    known = structure_of(other)
    assert known != structure_of(net)
    counter.fill_(8)
    assert structure_of(other) == known
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    net.extra, other = nn.Sequential(one, one), create_net("isresnext_tiny")
    other.extra = nn.Sequential(one, two)
    assert structure_of(net) != structure_of(other)
