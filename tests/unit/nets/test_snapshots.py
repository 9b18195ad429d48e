"""A snapshot: all sub-networks and segments of a net in the memory of one net."""

from __future__ import annotations

import copy
import gc
import re
from collections import Counter

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from anytimenet.layers.folding import fold_norms
from anytimenet.nets import AnytimeNet, Segment, create_net, list_nets, rows
from anytimenet.nets.registry import net_entry
from anytimenet.nets.snapshot import frozen_copy
from anytimenet.testing import NetUnderTest, check_snapshots
from anytimenet.testing.net_under_test import count_as_estimated, redraw

FORMS = [name for name in list_nets() if re.search(r"_(tiny|small)(_|$)", name)]


def filled(name: str) -> AnytimeNet:
    """The net with random weights and statistics."""
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    count_as_estimated(net)
    return net


def every_pair(net: AnytimeNet) -> list[tuple[int, int]]:
    return [(start, stop) for stop in range(1, net.num_stages + 1) for start in range(stop)]


def bytes_reached(*roots: nn.Module) -> int:
    """The bytes of the distinct storages of all tensors that the roots lead to, found by walking objects."""
    seen: set[int] = set()
    storages: dict[int, int] = {}
    waiting: list[object] = list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, type):
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        elif isinstance(item, nn.Module | dict | list | tuple | set | frozenset):
            waiting += gc.get_referents(item)
    return sum(storages.values())


@pytest.mark.parametrize("name", FORMS)
def test_all_segments_take_the_memory_of_one_net(name):
    net = filled(name)
    own = bytes_reached(net)
    snapshot = net.snapshot()
    segments = [snapshot.segment(*pair, last=last) for pair in every_pair(net) for last in (False, True)]
    held = bytes_reached(*segments)
    assert held == snapshot.nbytes
    assert held <= 1.1 * own


@pytest.mark.parametrize("name", FORMS)
def test_views_give_bit_for_bit_what_own_weights_give(name):
    net = filled(name)
    snapshot = net.snapshot()
    shape = net_entry(name).input_shape
    states = [(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)),)]
    pairs = every_pair(net)
    if net.num_stages > 5:  # the steps and the sub-networks say it all
        pairs = [(start, stop) for start, stop in pairs if start in (0, stop - 1)]
    with torch.inference_mode():
        for stop in range(1, net.num_stages + 1):
            states.append(snapshot.segment(stop - 1, stop)(states[-1])[0])
        for start, stop in pairs:
            for got, truth in zip(
                snapshot.segment(start, stop)(states[start]),
                net.segment(start, stop)(states[start]),
                strict=True,
            ):
                assert len(got) == len(truth)
                assert all(torch.equal(a, b) for a, b in zip(got, truth, strict=True))


@pytest.mark.parametrize("name", [name for name in FORMS if "small" in name])
def test_snapshots_of_small_forms_keep_their_promise(name):
    """Of tiny ones the proof of the whole contract, which they have to themselves, says so."""
    check_snapshots(NetUnderTest(create_net(name), net_entry(name).input_shape))


def test_a_segment_is_built_once_while_it_is_in_use():
    snapshot = create_net("isresnext_tiny").snapshot()
    segment = snapshot.segment(0, 2)
    assert snapshot.segment(0, 2) is segment
    assert snapshot.nbytes > 0
    del segment
    gc.collect()
    assert snapshot.nbytes == 0


def test_a_snapshot_stays_when_the_net_goes_on_learning():
    net = filled("iresnext_tiny")
    x = torch.randn(2, 3, 8, 8)
    segment = net.snapshot().segment(0, 3, last=True)
    before = segment((x,))[0]
    redraw(net, torch.Generator().manual_seed(1))
    assert torch.equal(segment((x,))[0], before)
    assert not torch.equal(net(x)[2][0], before)


def test_a_snapshot_has_the_number_format_that_is_asked_for():
    net = filled("isresnext_tiny")
    x = torch.randn(2, 3, 8, 8)
    segment = net.snapshot(dtype=torch.float64).segment(0, 3, last=True)
    assert {parameter.dtype for parameter in segment.parameters()} == {torch.float64}
    assert {buffer.dtype for buffer in segment.buffers()} == {torch.float64, torch.int64}
    torch.testing.assert_close(segment((x.double(),))[0].float(), net(x)[2][0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"dtype torch.int8: a floating format such as .float32."):
        net.snapshot(dtype=torch.int8)


@pytest.mark.parametrize("name", ["isresnext_tiny", "slimmable_tiny", "msdnet_tiny", "eann_tiny"])
def test_it_works_on_the_meta_device(name):
    net = create_net(name)
    own = bytes_reached(net)
    snapshot = net.to("meta").snapshot()
    segments = [snapshot.segment(*pair) for pair in every_pair(net)]
    assert all(tensor.is_meta for segment in segments for tensor in segment.state_dict().values())
    assert 0 < snapshot.nbytes <= 1.1 * own
    state = (torch.empty(1, 3, 8, 8, device="meta"),)
    assert all(logits.is_meta for logits in segments[0](state)[1])


@pytest.mark.parametrize("convert", ["half", "double", "bfloat16"])
def test_a_segment_refuses_to_be_converted(convert):
    net = create_net("isresnext_tiny")
    for segment in (net.segment(0, 1), net.snapshot().segment(0, 1)):
        with pytest.raises(RuntimeError, match=r"net\.snapshot\(device, dtype\)\.segment"):
            getattr(segment, convert)()
        assert segment.to("cpu", torch.float32) is segment  # nothing would change


@pytest.mark.parametrize(("start", "stop"), [(1, 1), (0, 4), (-1, 2), (2, 1), ([0], 1), (0, "1")])
def test_a_segment_that_does_not_exist_is_refused(start, stop):
    with pytest.raises((ValueError, TypeError), match=r"segment|start|stop"):
        create_net("isresnext_tiny").snapshot().segment(start, stop)


class Copies(AnytimeNet):
    """A user's net from before there were snapshots: its segments copy what they need, and more."""

    def __init__(self):
        super().__init__()
        self.num_stages, self.num_classes, self.in_channels = 2, (4,), 3
        self.layer = nn.Conv2d(3, 4, 1)

    def state_spec(self, stage, input_shape):
        return [self.spec("x", input_shape)] if stage < 2 else []

    def _segment(self, start, stop, *, last):
        return CopiedLayer(self, start, stop, last=last)


class CopiedLayer(Segment):
    def __init__(self, net, start, stop, *, last):
        super().__init__(net, start, stop, last=last)
        self.layer = copy.deepcopy(net.layer).requires_grad_()

    def work(self, state):
        return state, (self.layer(state[0]).mean((2, 3)),)


def test_a_net_whose_segments_copy_is_right_though_not_thin():
    net, x = Copies(), torch.randn(2, 3, 8, 8)
    snapshot = net.snapshot()
    first, second = snapshot.segment(0, 1), snapshot.segment(1, 2)
    with torch.no_grad():
        truth = net.layer(x).mean((2, 3))
        net.layer.weight.zero_()
        assert torch.equal(first((x,))[1][0], truth)
        assert torch.equal(second((x,))[1][0], truth)
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert snapshot.nbytes == 2 * bytes_reached(net)


# --- prepared for speed -------------------------------------------------------------------------------------


class Readers(TorchFunctionMode):
    """Counts for each tensor how many operators read it; keeps all of them, so that no number comes twice."""

    def __init__(self):
        super().__init__()
        self.kept, self.count = [], Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        read = [item for item in tree_leaves((args, kwargs)) if isinstance(item, torch.Tensor)]
        if any(isinstance(item, torch.Tensor) for item in tree_leaves(result)):  # not the shape and the like
            self.kept += [*read, result]
            self.count.update(id(tensor) for tensor in read)
        return result


def norms_behind_a_convolution(segment, state) -> set[str]:
    """Names of the BatchNorms that alone read what a convolution gives, seen in a run."""
    given, found, handles = {}, {}, []
    for name, layer in segment.named_modules():
        if isinstance(layer, nn.Conv2d):
            handles.append(
                layer.register_forward_hook(lambda _, __, output, name=name: given.update({id(output): name}))
            )
        if isinstance(layer, nn.BatchNorm2d):
            handles.append(
                layer.register_forward_hook(lambda _, inputs, __, name=name: found.update({name: inputs[0]}))
            )
    with Readers() as readers, torch.no_grad():
        segment(state)
    for handle in handles:
        handle.remove()
    return {name for name, read in found.items() if id(read) in given and readers.count[id(read)] == 1}


def norms_of(segment) -> set[str]:
    return {name for name, layer in segment.named_modules() if isinstance(layer, nn.BatchNorm2d)}


@pytest.mark.parametrize("name", FORMS)
def test_norms_are_folded_where_they_alone_read_a_convolution_and_only_there(name):
    net = filled(name).double()
    x = torch.randn(2, *net_entry(name).input_shape, dtype=torch.float64)
    snapshot = net.snapshot()
    folded = snapshot.prepare()
    state = (x,)
    for stage in range(1, net.num_stages + 1):
        plain, fast = snapshot.segment(stage - 1, stage), folded.segment(stage - 1, stage)
        expected = norms_behind_a_convolution(plain, state)
        gone = norms_of(plain) - norms_of(fast)
        # Row blocks are joined before their norm reads them, so that a run does not show it behind one.
        assert expected <= gone
        assert all(re.search(r"^(inner\.)*blocks\.\d+\.norm2$", norm) for norm in gone - expected)
        with torch.no_grad():
            truth, got = plain(state), fast(state)
        for a, b in zip((*got[0], *got[1]), (*truth[0], *truth[1]), strict=True):
            assert (a - b).abs().max() <= 1e-9 * b.abs().max()
        state = truth[0]


@pytest.mark.parametrize("name", ["iresnext_tiny", "slimmable_tiny", "isresnext_tiny"])
def test_contiguous_weights_give_bit_for_bit_the_same(name):
    net = filled(name)
    x = torch.randn(2, *net_entry(name).input_shape)
    snapshot = net.snapshot()
    own = snapshot.prepare(fold=False)
    for stage in range(1, net.num_stages + 1):
        segment = own.segment(0, stage, last=True)
        assert all(tensor.is_contiguous() for tensor in segment.state_dict().values())
        with torch.no_grad():
            assert torch.equal(segment((x,))[0], snapshot.segment(0, stage, last=True)((x,))[0])


def test_a_prepared_snapshot_says_what_it_pays():
    snapshot = filled("slimmable_tiny").snapshot()
    copies = {
        (fold, contiguous): snapshot.prepare(fold=fold, contiguous=contiguous)
        for fold in (False, True)
        for contiguous in (False, True)
    }
    kept = [[one.segment(0, stage) for stage in (1, 2, 3)] for one in (snapshot, *copies.values())]
    assert [one.nbytes for one in (snapshot, *copies.values())] == [bytes_reached(*held) for held in kept]
    assert copies[False, False].nbytes == snapshot.nbytes
    assert snapshot.nbytes < copies[False, True].nbytes


@pytest.mark.parametrize("fold", [False, True])
def test_prefix_convolutions_merge_into_one_with_zeros(fold):
    net = filled("isresnext_small")
    x = torch.randn(2, 3, 16, 16)
    plain, merged = (net.snapshot().prepare(fold=fold, merge=merge) for merge in (False, True))
    state = (x,)
    for start, stop in ((0, 2), (2, 4)):
        one, other = plain.segment(start, stop), merged.segment(start, stop)
        convs = [sum(isinstance(layer, nn.Conv2d) for layer in each.modules()) for each in (one, other)]
        assert convs[1] == convs[0] - 3  # a block of each scale, of two slices
        with torch.no_grad():
            (state, output), (same_state, same) = one(state), other(state)
        for got, expected in zip((*same_state, *same), (*state, *output), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_wide_convolutions_do_not_merge():
    with torch.device("meta"):
        net = create_net("isresnext_62_imagenet").eval()
    plain, merged = (net.snapshot().prepare(merge=merge).segment(0, 2) for merge in (False, True))
    convs = [sum(isinstance(layer, nn.Conv2d) for layer in each.modules()) for each in (plain, merged)]
    assert convs[0] - convs[1] == 15  # at the last of four scales two slices read more than 384 channels


class ReadsTwice(nn.Module):
    """A norm behind a convolution whose output is read elsewhere, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        h = self.conv(x)
        return self.norm(h) + h


class OfPieces(nn.Sequential):
    """A sequence that reads what is between its layers."""

    def forward(self, x):
        h = self[0](x)
        return self[1](h) + h


def shared_norm() -> nn.Module:
    norm = nn.BatchNorm2d(4)
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), norm), nn.Sequential(nn.Conv2d(4, 4, 1), norm))


def watched() -> nn.Module:
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    layers[0].register_forward_hook(lambda *_: None)
    return layers


@pytest.mark.parametrize(
    "build",
    [
        ReadsTwice,
        lambda: OfPieces(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)),
        shared_norm,
        watched,
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 1), nn.BatchNorm2d(4)),
    ],
    ids=["read twice", "read between", "shared", "watched", "of the batch", "transposed"],
)
def test_what_cannot_be_folded_stays(build):
    layers = build().eval()
    redraw(layers, torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        before = layers(x)
        fold_norms(layers)
        assert torch.equal(layers(x), before)
    assert not any(isinstance(layer, nn.Identity) for layer in layers.modules())


def test_norms_without_scales_and_convolutions_with_biases_fold():
    layers = nn.Sequential(nn.Conv2d(3, 4, 1, bias=True), nn.BatchNorm2d(4, affine=False)).double().eval()
    redraw(layers, torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        before = layers(x)
        fold_norms(layers)
        torch.testing.assert_close(layers(x), before, rtol=1e-12, atol=1e-12)
    assert isinstance(layers[1], nn.Identity)


@pytest.mark.parametrize("index", [(2, 0), [2, 0], torch.tensor([2, 0])], ids=["tuple", "list", "tensor"])
def test_rows_are_examples_however_they_are_given(index):
    state = (torch.arange(24.0).view(4, 3, 2), torch.arange(4.0))
    for got, tensor in zip(rows(state, index), state, strict=True):
        torch.testing.assert_close(got, torch.stack([tensor[2], tensor[0]]))


def test_rows_may_be_a_mask_a_slice_or_none_and_never_one_number():
    state = (torch.arange(12.0).view(4, 3),)
    assert rows(state, (True, False, True, False))[0].shape == (2, 3)
    assert rows(state, slice(1, 3))[0].shape == (2, 3)
    assert rows(state, ())[0].shape == rows(state, [])[0].shape == (0, 3)
    with pytest.raises(TypeError, match="several examples are needed"):
        rows(state, 3)


def test_a_module_that_comes_twice_in_a_sequence_is_no_neighbour_of_itself():
    relu = nn.ReLU()
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), relu, nn.Conv2d(8, 8, 3), relu, nn.BatchNorm2d(8)).eval()
    redraw(layers, torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 9, 9)
    before = layers(x)
    fold_norms(layers)
    torch.testing.assert_close(layers(x), before)
    assert isinstance(layers[4], nn.BatchNorm2d)


def test_a_convolution_whose_weight_is_computed_is_not_folded():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    layers = nn.Sequential(conv, nn.BatchNorm2d(4)).eval()
    fold_norms(layers)
    assert isinstance(layers[1], nn.BatchNorm2d)


def test_a_list_of_parameters_may_hold_other_things():
    holder = nn.Module()
    holder.mixed = nn.ParameterList([nn.Parameter(torch.ones(2)), "a word", nn.Parameter(torch.zeros(3))])
    frozen = frozen_copy(holder, torch.device("cpu"), None)
    assert frozen.mixed[1] == "a word"
    assert torch.equal(frozen.mixed[0], torch.ones(2))
    assert torch.equal(frozen.mixed[2], torch.zeros(3))
