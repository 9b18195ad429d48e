"""RANet: the contract in its forms, a run by hand that it must equal, and what is refused."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.bundle import Bundle
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.costs import StageCost, count, stage_costs
from anytimenet.nets import AnytimeNet, create_net, rebuild_net
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.depth.ranet import ranet
from anytimenet.nets.depth.ranet_layers import FusionLayer, FusionTail, fitted
from anytimenet.nets.depth.ranet_plan import RANetPlan
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

FLOWS_3: dict[str, Any] = {
    "blocks": (2, 3, 5),
    "scales": (1, 2, 2),
    "growth_factors": (2, 1, 1),
    "bottleneck_factors": (2, 1, 1),
}
DEFAULTS: dict[str, Any] = {
    "blocks": (2, 3),
    "scales": (1, 2),
    "layers": 2,
    "step_mode": "even",
    "share": 0.25,
    "form": "cifar",
}
IMAGENET: dict[str, Any] = {"form": "imagenet", "classifier_width": None, "classifier": "linear"}


# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (3, 8, 8)),  # export included in test_contract.py
        ({"in_channels": 1, "classifier": "linear", "share": 0.5}, (1, 9, 7)),
        (FLOWS_3 | {"blocks": (2, 3, 4), "layers": 1, "classifier": "linear"}, (3, 7, 6)),
        ({"step_mode": "lin_grow", "layers": 1, "classifier": "linear"}, (3, 9, 8)),
        (IMAGENET, (3, 19, 16)),
        ({"blocks": (2,), "scales": (1,), "growth_factors": (1,), "bottleneck_factors": (1,)}, (3, 5, 4)),
    ],
    ids=["tiny", "grey", "three flows", "growing", "imagenet", "one flow"],
)
def test_other_forms_keep_the_contract(arguments: dict[str, Any], shape: tuple[int, int, int]) -> None:
    check_anytime_net(create_net("ranet_tiny", (6, 2), **arguments), shape, export=False)


def test_a_bundle_remembers_the_arguments(tmp_path: Path) -> None:
    lists: dict[str, Any] = {name: list(v) if isinstance(v, tuple) else v for name, v in FLOWS_3.items()}
    net = create_net("ranet_tiny", 2, **lists).eval()
    preprocessing = Preprocessing(8, 8, 3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    Bundle.create(net, class_names=(("a", "b"),), preprocessing=preprocessing).save(tmp_path / "saved")
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for stages in (3, 5):
        loaded = Bundle.load(tmp_path / "saved", stages=stages).net.eval()
        torch.testing.assert_close(loaded(x), net(x)[:stages])


def test_a_kept_net_is_rebuilt_from_its_origin() -> None:
    net = create_net("ranet_tiny", (4, 2), **FLOWS_3).keep((1, 3, 5))
    assert net.origin is not None
    stored = json.loads(json.dumps(net.origin.arguments))
    twin = rebuild_net(NetOrigin(net.origin.name, stored, net.origin.keep, net.origin.form))
    twin.load_state_dict(net.state_dict())
    assert twin.parts() == net.parts()


def test_weights_are_drawn_anew() -> None:
    net = create_net("ranet_tiny", channels=64)
    before = {name: tensor.clone() for name, tensor in net.named_parameters() if tensor.ndim > 1}
    draw_weights(net)
    after = dict(net.named_parameters())
    assert not any(torch.equal(tensor, after[name]) for name, tensor in before.items())
    _assert_first_layer_is_as_pytorch_draws_it(net)


@pytest.mark.parametrize("form", ["cifar", "imagenet"])
def test_the_first_layer_keeps_the_weights_that_pytorch_draws(form: str) -> None:
    _assert_first_layer_is_as_pytorch_draws_it(create_net("ranet_tiny", form=form, channels=64))


def _assert_first_layer_is_as_pytorch_draws_it(net: AnytimeNet) -> None:
    first, later = 0, 0
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            uniform = (
                module.weight.abs().max() <= fan_in**-0.5 + 1e-6
            )  # a normal of std sqrt(2 / 9 out) is not
            assert uniform == ("_first." in name), name
            assert module.bias is None or module.bias.abs().sum() > 0
            first, later = first + ("_first." in name), later + ("_first." not in name)
    assert first == 2
    assert later > 10


# --- what is computed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 12), (13, 9)])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        FLOWS_3,
        FLOWS_3 | {"layers": 1, "form": "imagenet"},
        FLOWS_3 | {"blocks": (2, 3, 4), "scales": (1, 2, 3), "layers": 3, "share": 0.5},
        FLOWS_3 | {"blocks": (2, 3, 7), "reduction": 0.8},
        FLOWS_3 | {"scales": (1, 2, 3), "blocks": (3, 4, 5), "step_mode": "lin_grow", "layers": 1},
    ],
    ids=["tiny", "three flows", "one layer", "three scales", "late flow", "growing"],
)
def test_forward_and_blocks_equal_a_run_by_hand(arguments: dict[str, Any], size: tuple[int, int]) -> None:
    net = create_net("ranet_tiny", (4, 2), **arguments)
    assert isinstance(net, ChainNet)
    redraw(net.double().eval(), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, *(4 * side for side in size), generator=generator, dtype=torch.float64)
    truth = _by_hand(net, x, **DEFAULTS | {name: v for name, v in arguments.items() if name in DEFAULTS})
    assert len(truth) == net.num_stages
    torch.testing.assert_close(net(x), truth, rtol=1e-9, atol=1e-9)
    state: tuple[Tensor, ...] = (x,)
    for block, head, output in zip(net.blocks, net.heads, truth, strict=True):
        state = block(state)
        torch.testing.assert_close(head(state), output, rtol=1e-9, atol=1e-9)


def test_a_fusing_layer_joins_old_borrowed_and_own_features_in_that_order() -> None:
    layer = FusionLayer(5, 4, bottleneck=1, coarse=3, borrowed=1, coarse_bottleneck=2).eval()
    own, coarse = torch.randn(2, 5, 6, 7), torch.randn(2, 4, 3, 4)
    y = layer(own, coarse)
    assert y.shape == (2, 9, 6, 7)
    assert torch.equal(y[:, :5], own)
    other = layer(own, torch.cat((coarse[:, :3] + 1, coarse[:, 3:]), 1))
    same = [torch.equal(other[:, i], y[:, i]) for i in range(9)]
    assert same == [True] * 5 + [False] + [True] * 3
    assert torch.equal(layer(own, coarse * torch.tensor([1, 1, 1, 9.0]).view(1, 4, 1, 1)), y)


def test_a_layer_with_a_stride_resizes_the_old_features() -> None:
    layer = FusionLayer(5, 4, bottleneck=1, coarse=3, borrowed=1, stride=2).eval()
    own = torch.randn(2, 5, 6, 7)
    y = layer(own, torch.randn(2, 3, 2, 2))
    assert y.shape == (2, 9, 3, 4)
    assert torch.equal(y[:, :5], _resized(own, y))


def test_a_tail_joins_its_features_behind_the_old() -> None:
    tail = FusionTail(coarse=3, borrowed=2).eval()
    own, coarse = torch.randn(2, 5, 6, 7), torch.randn(2, 3, 3, 4)
    y = tail(own, coarse)
    assert torch.equal(y[:, :5], own)
    assert torch.equal(y[:, 5:], _resized(_conv(tail.coarse, coarse), own))


def test_layers_leave_what_they_read_as_it_is() -> None:
    inputs = torch.randn(2, 5, 4, 4), torch.randn(2, 3, 4, 4)
    before = [tensor.clone() for tensor in inputs]
    FusionLayer(5, 4, bottleneck=1, coarse=3, borrowed=1)(*inputs)
    FusionTail(coarse=3, borrowed=2)(*inputs)
    assert all(map(torch.equal, inputs, before))


def test_fitted_is_bilinear_corner_on_corner_and_free_in_multiply_adds() -> None:
    x = torch.tensor([[0.0, 6.0]]).view(1, 1, 1, 2)
    wider = fitted(x, torch.zeros(1, 3, 1, 4))
    torch.testing.assert_close(wider.flatten(), torch.tensor([0.0, 2, 4, 6]))
    narrower = fitted(torch.arange(5.0).view(1, 1, 1, 5), torch.zeros(1, 3, 1, 3))
    torch.testing.assert_close(narrower.flatten(), torch.tensor([0.0, 2, 4]))
    assert fitted(x, torch.zeros(1, 3, 1, 2)) is x
    with torch.device("meta"):
        cost = count(lambda: fitted(torch.empty(1, 2, 3, 3), torch.empty(1, 1, 6, 6)))
    assert (cost.macs, cost.msd, cost.full) == (0, 0, 4 * 2 * 36)


# --- the graph ----------------------------------------------------------------------------------------------


def test_every_flow_ends_on_the_coarsest_level_and_never_reads_a_finer_flow() -> None:
    checked = 0
    for blocks in itertools.combinations(range(2, 9), 3):
        for scales in ((1, 2, 2), (1, 2, 3)):
            if blocks[1] < scales[2]:
                continue
            flows = _plan(
                blocks=blocks, scales=scales, growth_factors=(1, 1, 1), bottleneck_factors=(1, 1, 1)
            ).flows()
            for flow in flows:
                assert flow[-1].level_after == 0
                assert all(block.level == 0 for block in flow if block.has_exit)
            for before, flow in itertools.pairwise(flows):
                for coarse, block in zip(before, flow, strict=False):
                    assert coarse.level <= block.level
                    assert coarse.level_after <= block.level_after
                    checked += 1
    assert checked > 400


def test_exits_are_on_the_blocks_that_a_flow_adds() -> None:
    net = _on_meta("ranet_cifar_8", 100)
    places = [name.split("_")[:2] for name in net.graph.exits]
    flows = [1, 1, 2, 2, 3, 3, 4, 4]
    assert places == [[f"flow{flow}", f"block{number}"] for number, flow in enumerate(flows, 1)]


def test_a_later_flow_reads_one_tensor_a_block_and_two_of_a_shrinking_one() -> None:
    net = _on_meta("ranet_cifar_8", 100)
    assert not any(net.graph.need(stage) - net.graph.need(stage + 1) for stage in range(1, 8))
    firsts = ("flow4_first", "flow3_first", "flow2_first")
    assert net.graph.state(2) == (*firsts, "flow1_block1_layer4", "flow1_block2_layer4")
    assert net.graph.state(4) == (
        *firsts[:2],
        "flow2_block1_layer4",
        "flow2_block2_layer3",  # at 16 x 16: what the layers of flow 3's block 2 read
        "flow2_block2_layer4",  # at 8 x 8: what its tail reads
        "flow2_block3_layer4",
        "flow2_block4_layer4",
    )


def test_costs_of_sub_networks_rise_but_for_the_classifiers_of_the_imagenet_forms() -> None:
    for name in ("ranet_cifar_6", "ranet_small"):
        macs = [cost.macs for cost in _costs(name)]
        assert macs == sorted(set(macs))
    net, image = _on_meta("ranet_imagenet", 1000), torch.empty(1, 3, 224, 224, device="meta")
    second, third = (count(net.segment(0, stage, last=True), (image,)).macs for stage in (2, 3))
    assert third < second  # as the method card says


def test_the_small_net_costs_what_the_other_small_nets_cost() -> None:
    assert " ".join(f"{cost.macs / 1e6:.2f}" for cost in _costs("ranet_small")) == "0.44 0.88 1.26 1.48"


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": (2, 2)}, "each flow needs more blocks than the one before"),
        ({"blocks": (2, 3, 4)}, "one of each for every flow"),
        ({"blocks": ()}, "one of each for every flow"),
        ({"blocks": 3}, "blocks 3: a list of whole numbers"),
        ({"scales": (2, 2)}, "1 first"),
        ({"scales": (1, 3)}, "one more"),
        ({"scales": (1, 1)}, r"scales \(1, 1\): only the first flow has one scale"),
        ({"blocks": (1, 3)}, "give flow 1 at least 2 blocks"),
        ({"growth": 3}, r"flow 2 adds is none: growth must be at least 4"),
        ({"step_mode": "growing"}, "no step_mode is named 'growing'"),
        ({"share": 0}, "share 0: a share over 0 and below 1"),
        ({"share": 1.0}, "share 1.0: a share over 0 and below 1"),
        ({"reduction": "half"}, "reduction 'half': a share over 0 and up to 1"),
        ({"reduction": 0.01}, "no channels"),
        ({"layers": 0}, "layers 0"),
        ({"channels": 2.5}, "channels 2.5: a whole number"),
        ({"classifier_width": 0}, "classifier_width 0"),
        ({"in_channels": 0}, "in_channels 0"),
        ({"form": "imagnet"}, "did you mean 'imagenet'"),
        ({"classifier": "conf"}, "did you mean 'conv'"),
        ({"init": "mrsa"}, "no initialisation is named 'mrsa'"),
    ],
)
def test_what_makes_no_net_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("ranet_tiny", **arguments)


@pytest.mark.parametrize(("share", "factor", "least"), [(0.25, 2, 2), (0.3, 1, 4), (0.1, 3, 4), (0.9, 1, 2)])
def test_the_growth_that_is_advised_is_the_least_that_works(share: float, factor: int, least: int) -> None:
    factors: dict[str, Any] = {
        "growth_factors": (1, factor),
        "bottleneck_factors": (1, 1),
        "share": share,
        "channels": 10,
    }
    with pytest.raises(ValueError, match=f"growth must be at least {least}"):
        create_net("ranet_tiny", growth=least - 1, **factors)
    assert create_net("ranet_tiny", growth=least, **factors).num_stages == 3


def test_images_too_small_for_the_scales() -> None:
    with pytest.raises(ValueError, match="too small"):
        create_net("ranet_small")(torch.zeros(2, 3, 3, 8))


# --- helpers ------------------------------------------------------------------------------------------------


def _by_hand(
    net: ChainNet,
    x: Tensor,
    *,
    blocks: tuple[int, ...],
    scales: tuple[int, ...],
    layers: int,
    step_mode: str,
    share: float,
    form: str,
) -> list[tuple[Tensor, ...]]:
    """Every output of `net`, flow by flow, with what every layer of the flow before read in memory."""
    modules = {name: module for block in net.blocks for name, module in block.named_children()}
    firsts = [_first(modules[f"flow{len(blocks)}_first"], x, form)]
    for flow in range(len(blocks) - 1, 0, -1):
        firsts.insert(0, _conv(modules[f"flow{flow}_first"], firsts[0]))
    outputs: list[tuple[Tensor, ...]] = []
    rows: list[list[Tensor]] = []  # of the flow before: of each block, z_1 .. z_(L+1)
    for flow, (count_, scale) in enumerate(zip(blocks, scales, strict=True), 1):
        h, borders = firsts[flow - 1], [0, *blocks[: flow - 1]]
        shrinking = borders[len(borders) - (scale - 1) :] if scale > 1 else []
        here: list[list[Tensor]] = []
        for number in range(1, count_ + 1):
            name, row = f"flow{flow}_block{number}", [h]
            last = layers * (number if step_mode == "lin_grow" else 1)
            for layer in range(1, last + 1):
                module = modules[f"{name}_layer{layer}"]
                new = _edge(module.same, h, stride=2 if number in shrinking and layer == last else 1)
                joined = [_resized(h, new), new]
                if number <= borders[-1]:
                    z = rows[number - 1][layer - 1]
                    assert module.up.conv1.in_channels == z.shape[1]  # type: ignore[union-attr]
                    low = _edge(module.up, z)
                    assert low.shape[1] == int(share * (new.shape[1] + low.shape[1]))
                    joined.insert(1, _resized(low, new))
                h = torch.cat(joined, 1)
                row.append(h)
            if number <= borders[-1]:
                low = _conv(modules[f"{name}_tail"].coarse, rows[number - 1][-1])
                assert low.shape[1] == int(share * h.shape[1])
                h = torch.cat((h, _resized(low, h)), 1)
            if number in [j * count_ // scale for j in range(1, scale)]:
                h = _conv(modules[f"{name}_transition"], h)
            here.append(row)
            if number > borders[-1]:
                head = net.heads[len(outputs)].head
                outputs.append(tuple(_classify(level, h) for level in head.levels))  # type: ignore[union-attr]
        rows = here
    return outputs


def _first(layer: Any, x: Tensor, form: str) -> Tensor:
    return _conv(layer, x) if form == "cifar" else F.max_pool2d(_conv(layer.first, x), 3, 2, 1)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)


def _edge(edge: Any, x: Tensor, *, stride: int = 1) -> Tensor:
    x = _conv_norm_relu(edge.conv1, edge.norm1, x)
    assert edge.conv2.stride == (stride, stride)
    return _conv_norm_relu(edge.conv2, edge.norm2, x)


def _conv(layer: Any, x: Tensor) -> Tensor:
    return _conv_norm_relu(layer.conv, layer.norm, x)


def _conv_norm_relu(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    x = F.conv2d(x, conv.weight, conv.bias, stride=conv.stride, padding=conv.weight.shape[-1] // 2)
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()


def _classify(level: Any, x: Tensor) -> Tensor:
    y: Tensor = level.fc(_conv(level.conv2, _conv(level.conv1, x)).mean((2, 3)))
    return y


def _plan(**changes: Any) -> RANetPlan:
    arguments: dict[str, Any] = {
        "blocks": (2, 4, 6, 8),
        "scales": (1, 2, 3, 3),
        "layers": 4,
        "channels": 16,
        "growth": 6,
        "growth_factors": (4, 2, 1, 1),
        "bottleneck_factors": (4, 2, 1, 1),
    }
    return RANetPlan(**arguments | changes)


@cache
def _costs(name: str) -> list[StageCost]:
    classes, size = (10, 16) if "small" in name else (100, 32)
    return stage_costs(_on_meta(name, classes), (3, size, size))


@cache
def _on_meta(name: str, classes: int) -> ChainNet:
    with torch.device("meta"):
        net = create_net(name, classes)
    assert isinstance(net, ChainNet)
    return net.eval()


def test_default_arguments_are_the_registered_cifar_net() -> None:
    with torch.device("meta"):
        assert ranet((100,)).parts() == _on_meta("ranet_cifar_8", 100).parts()
