"""A sub-network is a module like any other: the stage's output, its own weights alone, and they learn."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from anytimenet.costs import stage_costs
from anytimenet.nets import create_net, list_nets
from anytimenet.nets.sub_network import SubNetwork
from anytimenet.testing.net_under_test import count_as_estimated, redraw

TINY = list_nets("*_tiny")
SHAPE = (1, 8, 8)


@pytest.mark.parametrize("name", TINY)
def test_each_stage_of_each_family_alone_answers_the_same_with_its_own_weights_only(name):
    net = create_net(name, num_classes=4, in_channels=1).eval()
    redraw(net, torch.Generator().manual_seed(0))
    count_as_estimated(net)
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    costs = stage_costs(net, SHAPE)
    memory = {tensor.untyped_storage().data_ptr() for tensor in net.state_dict().values()}
    with torch.no_grad():
        truth = net(x)
        for stage in range(1, net.num_stages + 1):
            small = SubNetwork(net, stage)
            torch.testing.assert_close(small(x), truth[stage - 1][0], rtol=1e-4, atol=1e-5)
            assert sum(p.numel() for p in small.parameters()) == costs[stage - 1].params
            assert memory.isdisjoint(t.untyped_storage().data_ptr() for t in small.state_dict().values())
            for tensor in small.state_dict().values():
                tensor.zero_()
    assert all(torch.equal(net.state_dict()[key], tensor) for key, tensor in before.items())


def test_several_label_levels_are_a_tuple_and_one_is_a_tensor():
    x = torch.zeros(3, *SHAPE)
    both = SubNetwork(create_net("resnet_ann_tiny", (4, 2), in_channels=1).eval(), 2)(x)
    assert isinstance(both, tuple)
    assert [tuple(level.shape) for level in both] == [(3, 4), (3, 2)]
    one = SubNetwork(create_net("resnet_ann_tiny", 4, in_channels=1).eval(), 2)(x)
    assert isinstance(one, torch.Tensor)


def test_it_learns_moves_and_is_copied_like_any_module():
    torch.manual_seed(0)
    net = create_net("isresnext_tiny", 3, in_channels=1)
    small = SubNetwork(net, 2)
    assert small.training
    x, labels = torch.randn(12, *SHAPE), torch.arange(12) % 3
    optimiser = torch.optim.SGD(small.parameters(), lr=0.1)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(small(x), labels)
        optimiser.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in small.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    twin = SubNetwork(net, 2)
    twin.load_state_dict(small.state_dict())
    small.eval()
    assert torch.equal(twin.eval()(x), small(x))
    double = copy.deepcopy(small).double()(x.double())
    torch.testing.assert_close(double, small(x).double(), rtol=1e-4, atol=1e-5)


def test_it_can_be_exported_by_torch():
    net = create_net("isresnext_tiny", 3, in_channels=1).eval()
    small, x = SubNetwork(net, 2).eval(), torch.randn(2, *SHAPE)
    with torch.no_grad():
        program = torch.export.export(small, (x,))
        torch.testing.assert_close(program.module()(x), small(x))


@pytest.mark.parametrize("stage", [0, 4, -1])
def test_a_stage_that_does_not_exist_is_refused(stage):
    with pytest.raises(ValueError, match="stage must be"):
        SubNetwork(create_net("isresnext_tiny"), stage)
