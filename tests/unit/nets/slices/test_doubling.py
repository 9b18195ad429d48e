"""Nested nets that double: what each stage runs and costs, what states hold, and what `keep` leaves."""

from __future__ import annotations

import json
import random
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import nn

from anytimenet.core.manifest.records import NetOrigin
from anytimenet.costs import StageCost, stage_costs
from anytimenet.nets import AnytimeNet, build_on_meta, create_net, net_entry, rebuild_net
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.nets.slices import convs as sliced_convs
from anytimenet.nets.slices.blocks import SlicedBlock, leading
from anytimenet.nets.slices.doubling import doubling
from anytimenet.nets.slices.isresnext import ISResNeXt
from anytimenet.nets.slices.plan import Range, SlicePlan
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

GROWTHS = pytest.mark.parametrize("growth", ["width", "depth", "both"])


def blocks_of(net: AnytimeNet) -> dict[int, SlicedBlock]:
    """The blocks that are there, by place."""
    return {place: block for place, block in enumerate(net.blocks) if isinstance(block, SlicedBlock)}  # type: ignore[arg-type]


def costs_of(name: str, **arguments: Any) -> list[StageCost]:
    return stage_costs(build_on_meta(lambda: create_net(name, **arguments)), net_entry(name).input_shape)


# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("doubling_width_tiny", {"blocks": (1,), "in_channels": 1}, (1, 5, 4)),
        ("doubling_depth_tiny", {"blocks": (1,), "stem": "imagenet", "stem_bn": True}, (3, 9, 8)),
        ("doubling_both_tiny", {"stages": 2, "width": 3, "branches": 2}, (3, 5, 4)),
    ],
)
def test_other_forms_keep_the_contract(
    name: str, arguments: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    check_anytime_net(create_net(name, (4, 2), **arguments), shape, export=False)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_of_any_ranges_keep_the_contract(seed: int) -> None:
    draw = random.Random(seed)
    slices = [draw.randint(1, 2) for _ in range(3)]
    firsts = [draw.randint(1, 3) for _ in range(3)]
    ranges: list[Range | None] = [(first, draw.randint(first, 3)) for first in firsts]
    ranges.insert(draw.randint(0, 3), None)
    ranges.insert(draw.randint(0, 4), (1, 3))
    exits = (1, 2, 3) if seed == 1 else (2, 3)
    net = ISResNeXt(
        (3, 2),
        slices=slices,
        exits_after=exits,
        width=2 * sum(slices),
        branch_width=2,
        blocks=(2, 3),
        block_slices=ranges,
    )
    check_anytime_net(net, (3, 4, 4), export=False, seed=seed)


def test_a_segment_over_skipped_blocks_can_be_exported() -> None:
    check_anytime_net(create_net("doubling_depth_tiny", 3, blocks=(1,), stages=2), (3, 4, 4))


# --- what each stage runs -----------------------------------------------------------------------------------


def test_blocks_of_later_stages_stand_halfway_between_earlier_ones() -> None:
    assert doubling(growth="depth", stages=1, blocks=(2,)).plan.ranges == ((1, 1), (1, 1))
    net = doubling(growth="depth", stages=4, blocks=(1,))
    assert [run[0] for run in net.plan.ranges if run] == [1, 4, 3, 4, 2, 4, 3, 4]
    assert all(run and run[0] == run[1] for run in net.plan.ranges)
    net = doubling(growth="both", stages=2, blocks=(2, 1))
    assert net.plan.ranges == ((1, 2), (2, 2), (1, 2), (2, 2), (1, 2), (2, 2))
    assert net.blocks_per_scale == (4, 2)


@GROWTHS
def test_width_or_depth_doubles_from_stage_to_stage(growth: Any) -> None:
    net = doubling(growth=growth, stages=4, branches=2, width=4, branch_width=2, blocks=(1, 2))
    for stage in range(1, 5):
        times = 2 ** (stage - 1)
        runs = [block for block in blocks_of(net).values() if block.first <= stage]
        assert len(runs) == 3 * (1 if growth == "width" else times)
        slices = (1,) * stage if growth == "depth" else (times,)
        assert sum(net.slices[:stage]) == 2 * sum(slices)
        assert sum(net.slice_widths[:stage]) == 4 * sum(slices)


@GROWTHS
def test_fewer_stages_are_the_same_net_without_the_later_ones(growth: Any) -> None:
    kept = doubling(growth=growth, stages=3, width=4, branch_width=2, blocks=(1, 2)).keep((1, 2))
    built = doubling(growth=growth, stages=2, width=4, branch_width=2, blocks=(1, 2))
    assert [t.shape for t in kept.state_dict().values()] == [t.shape for t in built.state_dict().values()]
    built.load_state_dict(dict(zip(built.state_dict(), kept.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(kept.eval()(x), built.eval()(x))


@GROWTHS
def test_multiply_adds_are_those_of_the_real_weights(growth: Any) -> None:
    """Each weight of a stage's parts is multiplied once a pixel of its scale, one of the head once."""
    net = doubling((10,), growth=growth, stages=3, width=4, branch_width=2, blocks=(1, 2))
    pixels = {f"blocks.{place}": 64 // 4**scale for place, scale in enumerate(net.plan.scales[:-1])}
    for cost in stage_costs(net, (3, 8, 8)):
        expected = 0
        for part in net.parts():
            if cost.stage in part.stages and len(part.box) > 1:
                place = ".".join(part.name.split(".")[:2])
                expected += part.numel * (1 if place.startswith("heads") else pixels.get(place, 64))
        assert cost.macs == expected


def test_the_first_two_widths_are_two_equal_slices() -> None:
    """With the branches and blocks of IS-ResNeXt's CIFAR form, the costs of its first two stages."""
    nested = costs_of("doubling_width_cifar", branches=3, blocks=(5, 5, 5))
    for ours, theirs in zip(nested[:2], costs_of("isresnext_47"), strict=False):
        assert (ours.macs, ours.params) == (theirs.macs, theirs.params)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("doubling_width_cifar", "5.457 12.093 32.443 101.455"),
        ("doubling_depth_cifar", "8.259 18.877 43.946 102.634"),
        ("doubling_both_cifar", "5.457 18.286 97.029"),
        ("doubling_width_small", "0.378 0.793 1.844"),
        ("doubling_depth_small", "0.414 0.889 1.892"),
        ("doubling_both_small", "0.143 0.413 1.782"),
    ],
)
def test_costs_of_registered_nets_stay_as_they_are(name: str, millions: str) -> None:
    assert " ".join(f"{cost.macs / 1e6:.3f}" for cost in costs_of(name)) == millions


# --- what a state holds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "blocks", "slices", "names"),
    [
        # Every block writes everything: the paper's net.
        (((1, 2), (1, 2)), (2,), 1, "u1 u2 features"),
        # A block that old slices alone write needs nothing later.
        (((1, 1), (2, 2)), (2,), 1, "features"),
        # The trunk before a new block, and before the next one it is still the same.
        (((1, 1), (2, 2), (2, 2), (1, 1)), (4,), 1, "t2 features"),
        # An old block changes it, a transition too; a gap does not.
        (((2, 2), (1, 1), None, (2, 2), (1, 2)), (3, 2), 1, "t1 t4 u5 features"),
        # It is named after the first place since which it is the same, here after a gap.
        (((1, 1), None, (2, 2), (1, 2)), (4,), 1, "t2 u4 features"),
        # What the third slice reads of the first two.
        (((1, 3), (3, 3), (2, 3), (3, 3)), (4,), 2, "u1 t2 u3 features"),
    ],
)
def test_a_state_holds_what_later_slices_read_once(
    ranges: tuple[Range | None, ...], blocks: tuple[int, ...], slices: int, names: str
) -> None:
    assert " ".join(SlicePlan(ranges, blocks).state(slices)) == names


# --- keep ---------------------------------------------------------------------------------------------------


def test_a_kept_net_holds_no_block_that_it_never_runs_and_renames_none() -> None:
    net = doubling(growth="depth", stages=3, width=4, branch_width=2, blocks=(1, 1))
    kept = net.keep((1,))
    assert list(blocks_of(kept)) == [0, 4]
    assert sum(p.numel() for p in kept.parameters()) == stage_costs(net, (3, 8, 8))[0].params
    assert list(blocks_of(net.keep((2,)))) == [0, 2, 4, 6]
    assert {name.split(".")[1] for name in kept.state_dict() if name.startswith("blocks.")} == {"0", "4"}


@pytest.mark.parametrize("stages", [(1,), (1, 3), (2,)])
def test_nets_with_ranges_are_rebuilt_from_their_origin(stages: tuple[int, ...]) -> None:
    net = create_net("isresnext_tiny", (4, 2), block_slices=[[1, 2], None, [3, 3]]).keep(stages)
    assert net.origin is not None
    stored = json.loads(json.dumps(net.origin.arguments))
    twin = rebuild_net(NetOrigin(net.origin.name, stored, net.origin.keep))
    twin.load_state_dict(net.state_dict())
    assert twin.parts() == net.parts()


@GROWTHS
def test_a_kept_net_can_be_drawn_anew(growth: str) -> None:
    kept = create_net(f"doubling_{growth}_tiny").keep((1, 2))
    with torch.no_grad():
        for parameter in kept.parameters():
            parameter.fill_(float("nan"))
    draw_weights(kept)
    assert all(parameter.isfinite().all() for parameter in kept.parameters())


# --- the layers ---------------------------------------------------------------------------------------------


def test_a_block_adds_to_its_own_slices_only() -> None:
    block = SlicedBlock((1, 1, 2, 1), (2, 2, 4, 2), branch_width=2, factor=1, first=2, last=3)
    redraw(block, torch.Generator().manual_seed(0))
    x = torch.randn(2, 10, 4, 4)
    for slices, reads in ((2, 4), (3, 8), (4, 10)):
        before = x[:, :reads].clone()
        changed = (block(x[:, :reads], slices) != before).any(0).flatten(1).any(1)
        assert changed.nonzero().flatten().tolist() == list(range(2, min(reads, 8)))
        assert torch.equal(x[:, :reads], before)
    assert torch.equal(block(x[:, :2], 1), x[:, :2])


def test_its_convolutions_read_slices_up_to_their_own() -> None:
    block = SlicedBlock((1, 1, 2, 1), (2, 2, 4, 2), branch_width=3, factor=2, first=2, last=3)
    assert [tuple(row.shape[:2]) for row in block.conv1.rows] == [(6, 8), (12, 16)]
    assert [tuple(piece.shape[:2]) for piece in block.conv3.blocks] == [(4, 6), (8, 12)]
    assert block.norm1.num_features == 16
    assert block.conv2.groups == 3
    assert list(accumulate(block.branches)) == [6, 18]


@pytest.mark.parametrize("slices", [2, 3, 4])
def test_products_on_prefixes_equal_the_dense_convolution_in_such_a_block(
    monkeypatch: pytest.MonkeyPatch, slices: int
) -> None:
    block = SlicedBlock((1, 1, 2, 1), (2, 2, 4, 2), branch_width=2, factor=1, first=2, last=3).double()
    redraw(block, torch.Generator().manual_seed(0))
    widths = (2, 4, 8, 10)
    x = torch.randn(2, widths[slices - 1], 4, 3, dtype=torch.float64, requires_grad=True)
    wide = x.contiguous(memory_format=torch.channels_last)
    assert leading(wide, 2).is_contiguous(memory_format=torch.channels_last)
    used = [p for name, p in block.named_parameters() if slices > 2 or not name.endswith(".1")]
    found = []
    for threshold in (10**6, 1):
        monkeypatch.setattr(sliced_convs, "_WIDE", threshold)
        found.append(torch.autograd.grad(block(wide, slices).square().sum(), [x, *used]))
    torch.testing.assert_close(*found)


def test_row_blocks_of_a_block_that_writes_some_slices_scale_with_its_own_fan_out() -> None:
    torch.manual_seed(0)
    net = doubling(growth="depth", stages=2, branches=8, width=64, branch_width=8, blocks=(1,))
    block = net.blocks[1]
    assert isinstance(block, SlicedBlock)
    for weight, fan_out in ((block.conv1.rows[0], 64), (block.conv3.blocks[0], 64)):
        assert float(weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_a_gap_holds_nothing() -> None:
    net = ISResNeXt((2,), slices=(1,), width=4, branch_width=2, blocks=(2,), block_slices=(None, (1, 1)))
    assert isinstance(net.blocks[0], nn.Identity)
    assert not any(name.startswith("blocks.0.") for name in net.state_dict())


# --- what cannot be built says why --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"growth": "deep"}, "no growth is named 'deep': did you mean 'depth'"),
        ({"growth": None}, "no growth is named None"),
        ({"stages": 0}, "stages 0 must be at least 1"),
        ({"stages": 1.5}, "stages 1.5: a whole number is needed"),
        ({"branches": 0}, "branches 0 must be at least 1"),
        ({"width": -1}, "width -1 must be at least 1"),
        ({"branch_width": 0}, "branch_width 0 must be at least 1"),
        ({"blocks": (1, 0)}, "for each scale the number of blocks, 1 or more, is needed"),
        ({"in_channels": 0}, "in_channels 0 must be at least 1"),
        ({"stem": "cifr"}, "'cifar' or 'imagenet' is needed"),
        ({"init": "msr"}, "no initialisation is named 'msr': did you mean 'msra'"),
    ],
)
def test_a_net_that_cannot_be_built_says_why(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("doubling_both_tiny", **arguments)
