"""Any graph of nodes with exits on it keeps the contract; segments, states and blocks follow from it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from torch import Tensor, nn

from anytimenet.core.segments import INPUT
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.chain.graph import Graph, Link

WIDTH = 2


class Mix(nn.Module):
    """A random nonlinear map of any number of inputs, so that a wrong tensor shows in the result."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, dtype=torch.float64))

    def forward(self, *tensors: Tensor) -> Tensor:
        total = sum(w * t for w, t in zip(self.weight, tensors, strict=True))
        assert isinstance(total, Tensor)
        return torch.sin(total) + total


class Total(nn.Module):
    """Logits of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, WIDTH, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3)) @ self.weight.T


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random graphs without idle nodes; exits need not lie on each other's way."""
    stages = draw(st.integers(1, 4))
    links: list[Link] = []
    exits = []
    for block in range(1, stages + 1):
        for _ in range(draw(st.integers(1, 3))):
            known = [INPUT, *(link.name for link in links)]
            read = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
            links.append(Link(f"n{len(links)}", tuple(read), block))
        exits.append(draw(st.sampled_from([link.name for link in links])))
    needed = set(exits)
    for link in reversed(links):
        if link.name in needed:
            needed |= set(link.inputs)
    return Graph([link for link in links if link.name in needed], exits)


def net_of(graph: Graph) -> ChainNet:
    torch.manual_seed(0)
    blocks = [
        [Node(link.name, Mix(len(link.inputs)), link.inputs) for link in graph.links if link.block == block]
        for block in range(1, len(graph.exits) + 1)
    ]
    heads = [Total() for _ in graph.exits]
    return ChainNet(blocks, graph.exits, heads, num_classes=(2,), in_channels=WIDTH)


def literal_outputs(net: ChainNet, x: Tensor) -> list[Tensor]:
    """Every node once, nothing forgotten: what `forward` must equal."""
    tensors = {INPUT: x}
    for link in net.graph.links:
        tensors[link.name] = net.blocks[link.block - 1][link.name](*(tensors[name] for name in link.inputs))  # type: ignore[index]
    return [head.head(tensors[name]) for head, name in zip(net.heads, net.graph.exits, strict=True)]  # type: ignore[operator]


@examples(30)
@given(graphs())
def test_every_segment_of_every_graph_gives_the_output_and_the_state_of_forward(graph):
    net = net_of(graph)
    x = torch.randn(2, WIDTH, 2, 2, dtype=torch.float64)
    outputs = literal_outputs(net, x)
    for (ours,), theirs in zip(net(x), outputs, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12)
    states = {0: (x,)}
    for start in range(net.num_stages):
        for stop in range(start + 1, net.num_stages + 1):
            state, (output,) = net.segment(start, stop)(states[start])
            assert torch.allclose(output, outputs[stop - 1], rtol=1e-12), (start, stop)
            assert len(state) == len(net.state_spec(stop, (WIDTH, 2, 2)))
            first = states.setdefault(stop, state)
            assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(first, state, strict=True))


@examples(20)
@given(graphs())
def test_the_published_blocks_give_forwards_outputs(graph):
    net = net_of(graph)
    x = torch.randn(2, WIDTH, 2, 2, dtype=torch.float64)
    state: tuple[Tensor, ...] = (x,)
    for block, head, theirs in zip(net.blocks, net.heads, literal_outputs(net, x), strict=True):
        state = block(state)
        assert torch.allclose(head(state)[0], theirs, rtol=1e-12)


@examples(20)
@given(graphs(), st.data())
def test_a_kept_net_has_just_the_nodes_that_its_stages_need(graph, data):
    net = net_of(graph)
    every = list(range(1, net.num_stages + 1))
    stages = sorted(data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True)))
    kept = net.keep(stages)
    assert {link.name for link in kept.graph.links} == set(net.graph.needed(stages))
    x = torch.randn(2, WIDTH, 2, 2, dtype=torch.float64)
    for (ours,), (theirs,) in zip(kept(x), net(x, stages), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12)


@examples(20)
@given(graphs())
def test_a_segment_computes_what_its_stage_needs_and_the_start_lacks(graph):
    net = net_of(graph)
    for start in range(net.num_stages):
        for stop in range(start + 1, net.num_stages + 1):
            done = graph.need(start) if start else frozenset()
            assert set(net.segment(start, stop).nodes) == graph.need(stop) - done
