"""What every segment reads, gives and costs, told without torch: it is what the segments really do."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from anytimenet.core.segments import SegmentSpec, TensorSpec
from anytimenet.costs import count, segment_specs
from anytimenet.layers.snapshots import tensors_of
from anytimenet.nets import AnytimeNet, ExitNet, Segment, create_net, list_nets, net_entry
from anytimenet.testing.net_under_test import count_as_estimated

TINY = list_nets("*_tiny")


def told(net: AnytimeNet, shape: tuple[int, ...]) -> dict[tuple[int, int], SegmentSpec]:
    return {(spec.start, spec.stop): spec for spec in segment_specs(net, shape)}


@pytest.mark.parametrize("name", TINY)
def test_the_table_says_what_the_segments_do(name):
    net, shape = create_net(name, (4, 2)), net_entry(name).input_shape
    count_as_estimated(net)
    specs, snapshot = told(net, shape), net.eval().snapshot()
    states = [(torch.randn(2, *shape),)]
    for stage in range(1, net.num_stages + 1):
        states.append(snapshot.segment(stage - 1, stage)(states[-1])[0])
    assert list(specs) == [(a, b) for a in range(net.num_stages) for b in range(a + 1, net.num_stages + 1)]
    for (start, stop), spec in specs.items():
        segment = snapshot.segment(start, stop)
        (state, output), changes = segment(states[start]), segment.changes
        assert [tensor.name for tensor in spec.reads] == list(segment.reads)
        assert [tensor.shape for tensor in spec.reads] == [t.shape[1:] for t in states[start]]
        assert {t.name: t.continues and (t.continues, t.grows) for t in spec.changes} == dict(changes)
        new = dict(zip(segment.writes, state, strict=True))
        assert all(tensor.shape == new[tensor.name].shape[1:] for tensor in spec.changes)
        assert [level.shape for level in spec.outputs] == [t.shape[1:] for t in output]
        assert spec.macs == count(segment, tuple(t[:1] for t in states[start])).macs
        assert spec.weight_bytes == sum(t.numel() * t.element_size() for t in tensors_of(segment))
        assert spec.state_bytes == sum(t[0].numel() * t.element_size() for t in state)


def test_what_is_carried_and_what_changes_make_the_next_state():
    specs = told(create_net("isresnext_tiny"), (3, 8, 8))
    step = specs[1, 2]
    grown = {tensor.name: tensor for tensor in step.changes}
    assert {tensor.continues for tensor in step.changes} <= {tensor.name for tensor in step.reads}
    assert specs[2, 3].reads[0].name == "x"
    assert [tensor.shape for tensor in specs[2, 3].reads[1:]] == [t.shape for t in grown.values()]


def test_a_spec_survives_json():
    for spec in segment_specs(create_net("doubling_both_tiny", (4, 2)), (3, 8, 8)):
        assert SegmentSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stop": 1}, "stop must be at least 2"),
        ({"macs": -1}, "macs must be at least 0"),
        ({"reads": []}, r"segment \(1, 2\): 'u1' continues 'u1', which is none of"),
        ({"speed": 1}, "unknown: \\['speed'\\]"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(changed, message):
    x = TensorSpec("u1", (4, 8, 8))
    spec = SegmentSpec(1, 2, (x,), (TensorSpec("u1", (6, 8, 8), "float32", "u1", 0),), (), 1, 1, 1)
    with pytest.raises(ValueError, match=message):
        SegmentSpec.from_dict({**spec.to_dict(), **changed})


def test_the_modules_of_a_long_chain_are_counted_once():
    runs = 0

    class Counted(nn.Conv2d):
        def forward(self, x):
            nonlocal runs
            runs += 1
            return super().forward(x)

    net = ExitNet(None, [Counted(3, 3, 1) for _ in range(12)], range(1, 13), input_shape=(3, 4, 4))
    runs = 0
    assert len(segment_specs(net, (3, 4, 4))) == 78
    assert runs <= 4 * 12  # one by one they would be 364


def test_an_operator_that_no_rule_counts_can_be_told():
    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.rfft2(x).real

    net = ExitNet(None, [nn.Conv2d(3, 3, 1), Fourier()], (1, 2), input_shape=(3, 4, 4))
    free, dear = segment_specs(net, (3, 4, 4)), segment_specs(net, (3, 4, 4), rules={"fft_rfft2": 100})
    assert [b.macs - a.macs for a, b in zip(free, dear, strict=True)] == [0, 100, 100]


class _Carries(AnytimeNet):
    """A net of the old contract: its segments write `work` and say nothing of what stays."""

    num_stages, num_classes, in_channels = 3, (4,), 3

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def state_spec(self, stage, input_shape):
        if stage == 0:
            return [self.spec("x", input_shape)]
        return [self.spec("x", input_shape), self.spec("h", (4, *input_shape[1:]))] * (stage < 3)

    def _segment(self, start, stop, *, last):
        net = self

        class Work(Segment):
            def __init__(self) -> None:
                super().__init__(net, start, stop, last=last)
                self.conv = net.conv

            def work(self, state):
                h = self.conv(state[0]) if start == 0 else state[1]
                return (state[0], h), (h.mean((2, 3)),)

        return Work()

    def forward(self, x, stages=None):
        return [(self.conv(x).mean((2, 3)),) for _ in self.check_stages(stages)]


def test_what_a_net_of_the_old_contract_carries_is_not_among_its_changes():
    specs = told(_Carries(), (3, 8, 8))
    assert [spec.name for spec in specs[0, 1].changes] == ["h"]
    assert specs[1, 2].changes == ()
