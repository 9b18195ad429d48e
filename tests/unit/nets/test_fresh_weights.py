"""A sub-network with fresh weights is the net that its shapes would have been built as."""

import pytest
import torch
from torch import nn

from anytimenet.nets import create_net, list_nets
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.nets.slices.isresnext import ISResNeXt
from anytimenet.nets.width.iresnext import IResNeXt


def spoiled(net):
    """Everything in `net` is 7, BatchNorm statistics too."""
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.fill_(7)
    return net


def assert_equal(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("init", ["msra", "msra_ungrouped", "pytorch"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_thin_stage_is_drawn_as_a_net_built_with_so_many_branches(stage, init):
    net = spoiled(create_net("iresnext_tiny", 5, init=init).keep((stage,)))
    torch.manual_seed(3)
    draw_weights(net)
    torch.manual_seed(3)
    built = IResNeXt((5,), branches=(stage,), width=8, branch_width=2, blocks=(1, 1, 1), init=init)
    assert_equal(net, built)


@pytest.mark.parametrize("init", ["msra", "pytorch"])
def test_the_first_slices_are_drawn_as_a_net_of_so_many_slices(init):
    net = spoiled(create_net("isresnext_tiny", 5, init=init).keep((2,)))
    torch.manual_seed(3)
    draw_weights(net)
    torch.manual_seed(3)
    built = ISResNeXt(
        (5,), slices=(1, 1), exits_after=(2,), width=8, branch_width=2, blocks=(1, 1, 1), init=init
    )
    assert_equal(net, built)


def test_the_draw_follows_the_seed_and_nothing_of_the_old_weights_is_left():
    def drawn(seed):
        net = spoiled(create_net("isresnext_tiny").keep((1, 3)))
        torch.manual_seed(seed)
        draw_weights(net)
        return net

    assert_equal(drawn(1), drawn(1))
    one, other = drawn(1).state_dict(), drawn(2).state_dict()
    assert not torch.equal(one["stem.conv.weight"], other["stem.conv.weight"])
    assert not any((tensor == 7).any() for tensor in one.values())


def test_a_layer_that_nobody_can_draw_is_named():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

    net = create_net("resnet_tiny")
    net.extra = Scaled()
    with pytest.raises(ValueError, match=r"extra\.scale cannot be drawn anew: give Scaled a method"):
        draw_weights(net)


@pytest.mark.parametrize("name", list_nets("*_tiny"))
def test_every_family_can_be_drawn_anew_with_the_spread_that_it_is_built_with(name):
    torch.manual_seed(0)
    built = create_net(name).state_dict()
    net = spoiled(create_net(name))
    draw_weights(net)
    for key, tensor in net.state_dict().items():
        assert not (tensor == 7).any(), key
        if tensor.numel() > 60:
            ratio = tensor.double().std() / built[key].double().std()
            assert 0.6 < ratio < 1.6, key
