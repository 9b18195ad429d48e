"""Every argument that a net was built with is remembered, so that a changed twin of it restates none."""

from __future__ import annotations

import inspect

import pytest

from anytimenet.nets import create_net, list_nets
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.remembered import remembered
from anytimenet.nets.slices.isresnext import ISResNeXt

TINY = list_nets("*_tiny")


@pytest.mark.parametrize("name", TINY)
def test_a_constructor_argument_is_remembered_or_an_attribute(name):
    net = create_net(name)
    for argument in inspect.signature(type(net)).parameters:
        is_part_of_a_graph = isinstance(net, ChainNet) and argument in ("stem", "exits", "head")
        assert argument in net.arguments or hasattr(net, argument) or is_part_of_a_graph, argument


@pytest.mark.parametrize("name", [name for name in TINY if create_net(name).arguments])
def test_the_arguments_build_the_net_again(name):
    net = create_net(name, 7)
    twin = type(net)(**net.arguments)
    shapes = {key: tensor.shape for key, tensor in twin.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in net.state_dict().items()}
    assert twin.arguments == net.arguments


def test_a_kept_net_remembers_what_it_was_made_with():
    kept = create_net("isresnext_tiny", init="pytorch").keep((1, 2))
    assert kept.arguments["slices"] == (1, 1)
    assert kept.arguments["init"] == "pytorch"


def test_a_list_that_changes_afterwards_and_an_iterator_change_nothing():
    slices = [1, 2]
    net = ISResNeXt(slices=slices, width=12, branch_width=2, blocks=iter((1, 1)))
    slices.append(3)
    assert (net.arguments["slices"], net.arguments["blocks"]) == ((1, 2), (1, 1))
    assert net.keep((1,)).num_stages == 1


class _Mine(ISResNeXt):
    @remembered
    def __init__(self, n: int = 3) -> None:
        super().__init__((4,), slices=(1,) * n, width=12, blocks=(1, 1), branch_width=2)


def test_a_derived_net_has_its_own_arguments_and_is_kept_by_those_of_its_family():
    net = _Mine(3)
    assert net.arguments == {"n": 3}
    assert net.keep((1,)).keep((1,)).num_stages == 1
