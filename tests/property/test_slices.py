"""Properties of sliced nets and of their pieces, for any slices."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.layers.transitions import append_zeros, append_zeros_in_slices
from anytimenet.nets.arguments import even_slices, split_like
from anytimenet.nets.contract import claim_slices
from anytimenet.nets.slices.convs import SlicewiseConv2d, TriangularConv2d
from anytimenet.nets.slices.isresnext import ISResNeXt
from anytimenet.nets.width.iresnext import IResNeXt
from anytimenet.testing import NetUnderTest, check_parts_cover, check_segment_size, check_state_spec
from anytimenet.testing.keeping import some_subsets
from anytimenet.testing.net_under_test import redraw
from anytimenet.testing.segments import some_paths

counts = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)
blocks = st.lists(st.integers(1, 2), min_size=1, max_size=2).map(tuple)
seeds = st.integers(0, 2**16)


@st.composite
def block_ranges(draw, places, slices):
    """What each block writes, or None for all of them in all; every slice is written somewhere."""
    if draw(st.booleans()):
        return None
    numbers = st.integers(1, slices)
    pairs = st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))
    ranges = draw(st.lists(st.none() | pairs, min_size=places, max_size=places))
    unwritten = set(range(1, slices + 1)) - {j for r in ranges if r for j in range(r[0], r[1] + 1)}
    if unwritten:
        ranges[draw(st.integers(0, places - 1))] = (1, slices)
    return ranges


@st.composite
def sliced_nets(draw):
    slices = draw(counts)
    exits = sorted(draw(st.sets(st.integers(1, len(slices)))) | {len(slices)})
    places = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple))
    return ISResNeXt(
        (3, 2),
        slices=slices,
        exits_after=exits,
        width=sum(slices) * draw(st.integers(1, 3)),
        branch_width=draw(st.integers(1, 2)),
        blocks=places,
        block_slices=draw(block_ranges(sum(places), len(slices))),
        stem=draw(st.sampled_from(["cifar", "imagenet"])),
        stem_bn=draw(st.booleans()),
    )


@st.composite
def branched_nets(draw):
    return IResNeXt(
        (3, 2),
        branches=tuple(accumulate(draw(counts))),
        width=draw(st.integers(1, 4)),
        branch_width=draw(st.integers(1, 2)),
        blocks=draw(blocks),
        normalisation=draw(st.sampled_from(["own", "shared"])),
    )


@examples(15)
@given(st.one_of(sliced_nets(), branched_nets()), seeds, st.data())
def test_any_path_and_any_kept_net_give_the_outputs_of_one_pass(net, seed, data):
    subject = NetUnderTest(net, (3, 8, 8), seed=seed)
    stops = sorted(data.draw(st.sets(st.sampled_from(subject.every_stage), min_size=1)))
    kept = subject.net.keep(stops)
    state = (subject.x,)
    with torch.no_grad():
        for (start, stop), of_kept in zip(pairwise([0, *stops]), kept(subject.x), strict=True):
            truth = subject.truth[stop - 1]
            alone = subject.segment(0, stop, last=True)((subject.x,))
            state, output = subject.segment(start, stop)(state)
            for result in (output, alone, of_kept):
                torch.testing.assert_close(result, truth, rtol=1e-9, atol=1e-9)


@examples(15)
@given(st.one_of(sliced_nets(), branched_nets()), seeds)
def test_parts_cover_and_count_what_sub_networks_hold(net, seed):
    subject = NetUnderTest(net, (3, 8, 8), seed=seed)
    for check in (check_parts_cover, check_segment_size, check_state_spec):
        check(subject)


@examples(15)
@given(sliced_nets(), seeds)
def test_no_tensor_of_a_state_is_carried_twice(net, seed):
    subject = NetUnderTest(net, (3, 8, 8), seed=seed)
    for state in subject.states:
        for i, tensor in enumerate(state):
            for other in state[:i]:
                if tensor.shape == other.shape:
                    assert not torch.equal(tensor, other)


@examples(15)
@given(counts, counts, st.integers(1, 4), seeds)
def test_row_blocks_are_a_dense_layer_with_zeros_above_the_diagonal(inputs, outputs, used, seed):
    size = min(len(inputs), len(outputs))
    inputs, outputs, used = inputs[:size], outputs[:size], min(used, size)
    layer = TriangularConv2d(inputs, outputs)
    dense = torch.zeros(sum(outputs), sum(inputs), 1, 1, dtype=torch.float64, requires_grad=True)
    _compare_with_dense(layer, list(layer.rows), dense, [0] * size, inputs, outputs, used, seed)


@examples(15)
@given(counts, counts, st.integers(1, 4), seeds)
def test_slice_blocks_are_a_dense_layer_with_zeros_off_the_diagonal(inputs, outputs, used, seed):
    size = min(len(inputs), len(outputs))
    inputs, outputs, used = inputs[:size], outputs[:size], min(used, size)
    layer = SlicewiseConv2d(inputs, outputs)
    dense = torch.zeros(sum(outputs), sum(inputs), 1, 1, dtype=torch.float64, requires_grad=True)
    firsts = [0, *accumulate(inputs)][:size]
    _compare_with_dense(layer, list(layer.blocks), dense, firsts, inputs, outputs, used, seed)


def _compare_with_dense(layer, pieces, dense, firsts, inputs, outputs, used, seed):
    """Outputs and gradients of the first `used` slices against one convolution with the zeros written out."""
    generator = torch.Generator().manual_seed(seed)
    redraw(layer.double(), generator)
    ins, outs = [0, *accumulate(inputs)], [0, *accumulate(outputs)]
    boxes = [
        (slice(*rows), slice(first, last))
        for rows, first, last in zip(pairwise(outs), firsts, ins[1:], strict=True)
    ]
    with torch.no_grad():
        for piece, box in zip(pieces, boxes, strict=True):
            dense[box] = piece
    x = torch.randn(2, ins[used], 3, 3, generator=generator, dtype=torch.float64)
    result, truth = layer(x, used), F.conv2d(x, dense[: outs[used], : ins[used]])
    torch.testing.assert_close(result, truth, rtol=1e-12, atol=1e-12)
    (result**2).sum().backward()
    (truth**2).sum().backward()
    for j, (piece, box) in enumerate(zip(pieces, boxes, strict=True)):
        if j < used:
            torch.testing.assert_close(piece.grad, dense.grad[box], rtol=1e-12, atol=1e-12)
        else:
            assert piece.grad is None


@examples(15)
@given(counts, seeds)
def test_a_transition_treats_every_slice_alone(slices, seed):
    x = torch.randn(2, sum(slices), 5, 4, generator=torch.Generator().manual_seed(seed))
    pieces = append_zeros_in_slices(x, slices).split([2 * count for count in slices], dim=1)
    for piece, alone in zip(pieces, x.split(slices, dim=1), strict=True):
        assert torch.equal(piece, append_zeros(alone))


@example(-1, (1,))
@given(st.integers(-3, 200), counts)
def test_a_width_is_divided_like_the_slices_or_the_nearest_one_is_named(width, slices):
    def divides(candidate):
        return candidate > 0 and all(candidate * count % sum(slices) == 0 for count in slices)

    if divides(width):
        widths = split_like(width, slices)
        assert sum(widths) == width
        assert [w * sum(slices) for w in widths] == [width * count for count in slices]
        return
    with pytest.raises(ValueError, match="the nearest width that can is") as caught:
        split_like(width, slices)
    named = int(str(caught.value).rpartition(" ")[2])
    assert divides(named)
    assert not any(
        divides(other) for other in range(width - abs(width - named) + 1, width + abs(width - named))
    )


@given(st.integers(1, 100), st.integers(-2, 100))
def test_branches_are_divided_evenly_or_the_nearest_number_of_slices_is_named(branches, stages):
    if stages > 0 and branches % stages == 0:
        assert even_slices(branches, stages) == (branches // stages,) * stages
        return
    with pytest.raises(ValueError, match="the nearest number of slices that can is") as caught:
        even_slices(branches, stages)
    named = int(str(caught.value).rpartition(" ")[2])
    assert branches % named == 0
    nearer = range(max(1, stages - abs(stages - named) + 1), stages + abs(stages - named))
    assert all(branches % other for other in nearer)


@given(counts, st.integers(0, 2))
def test_claimed_slices_are_disjoint_and_cover(sizes, dim):
    shape = [2, 3, 2]
    shape[dim] = sum(sizes)
    module = torch.nn.ParameterDict({"weight": torch.zeros(shape), "scalar": torch.zeros(())})
    users = [(k,) for k in range(1, len(sizes) + 1)]
    uses = {name: torch.zeros_like(tensor) for name, tensor in module.state_dict().items()}
    for part in claim_slices(module, "", tuple(accumulate(sizes)), users, dim=dim):
        part.of(uses[part.name]).add_(part.stages[0])
        assert part.numel == part.of(uses[part.name]).numel()
    expected = torch.repeat_interleave(torch.arange(1, len(sizes) + 1), torch.tensor(sizes)).float()
    assert torch.equal(
        uses["weight"].movedim(dim, -1), expected.expand(uses["weight"].movedim(dim, -1).shape)
    )
    assert uses["scalar"] == 1


@given(st.integers(1, 40))
def test_paths_are_all_paths_or_32_seeded_ones(num_stages):
    paths = some_paths(num_stages)
    assert len(paths) == min(2**num_stages - 1, 32)
    for path in paths:
        assert path[0][0] == 0
        assert all(stop == start for (_, stop), (start, _) in pairwise(path))
        assert all(0 <= start < stop <= num_stages for start, stop in path)
    if num_stages <= 5:
        assert len({tuple(path) for path in paths}) == 2**num_stages - 1
    assert [(k - 1, k) for k in range(1, num_stages + 1)] in paths


@given(st.integers(1, 12))
def test_subsets_are_every_prefix_and_up_to_four_others(num_stages):
    subsets = some_subsets(num_stages)
    assert len(subsets) == len(set(subsets)) == min(num_stages + 4, 2**num_stages - 1)
    assert {tuple(range(1, stop + 1)) for stop in range(1, num_stages + 1)} <= set(subsets)
    for subset in subsets:
        assert list(subset) == sorted(set(subset))
        assert set(subset) <= set(range(1, num_stages + 1))
