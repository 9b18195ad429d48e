"""MSDNet: the published shapes, the contract in its forms, and a run by hand that it must equal."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anytimenet.core.manifest.records import NetOrigin
from anytimenet.nets import create_net, rebuild_net
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.depth.msdnet import msdnet
from anytimenet.nets.depth.msdnet_plan import MSDNetPlan
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

TINY = {"exits": 3, "base": 2, "step": 1, "channels": 3, "growth": 2, "classifier_width": 4}
CIFAR_PLAN: dict[str, Any] = {
    "channels": 16,
    "growth": 6,
    "growth_factors": (1, 2, 4),
    "bottleneck_factors": (1, 2, 4),
}


# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"prune": "min", "num_classes": (4, 2)},
        {"classifier": "linear", "bottleneck": False, "step_mode": "lin_grow", "base": 1},
        {"form": "imagenet", "classifier_width": None, "prune": "min", "classifier": "linear"},
        {"form": "imagenet", "classifier_width": None, "exits": 2},
    ],
    ids=["min", "linear", "imagenet-min", "imagenet"],
)
def test_keeps_the_contract(arguments: dict[str, Any]) -> None:
    arguments = dict(arguments)  # msdnet_tiny as it is, export included, is in test_contract.py
    net = create_net("msdnet_tiny", arguments.pop("num_classes", 4), **arguments)
    size = 8 if net.input_spec.smallest <= 8 else 16
    check_anytime_net(net, (3, size, size), export=False)


def test_arguments_survive_json() -> None:
    net = create_net("msdnet_tiny", (4, 2), exits=2, growth_factors=[1, 2], bottleneck_factors=[1, 2])
    assert net.origin is not None
    stored = json.loads(json.dumps({"name": net.origin.name, "arguments": net.origin.arguments}))
    twin = rebuild_net(NetOrigin(stored["name"], stored["arguments"], (1,)))
    assert list(twin.state_dict()) == list(net.keep([1]).state_dict())


# --- what is computed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["cifar", "imagenet"])
@pytest.mark.parametrize(("prune", "step"), [("max", 1), ("max", 2), ("min", 1), ("min", 2)])
@pytest.mark.parametrize("bottleneck", [True, False])
def test_forward_and_blocks_equal_a_run_by_hand(form: str, prune: str, step: int, bottleneck: bool) -> None:
    arguments: dict[str, Any] = {**TINY, "step": step, "form": form, "prune": prune, "bottleneck": bottleneck}
    net = msdnet((4, 2), **arguments)
    redraw(net.double().eval(), torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 36, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    truth = _by_hand(net, x, form=form, prune=prune, layers=(2, step, step))
    torch.testing.assert_close(net(x), truth, rtol=1e-9, atol=1e-9)
    state = (x,)
    for block, head, output in zip(net.blocks, net.heads, truth, strict=True):
        state = block(state)
        torch.testing.assert_close(head(state), output, rtol=1e-9, atol=1e-9)


def test_bottlenecks_follow_the_input_scale_and_never_widen() -> None:
    net = _on_meta("msdnet_cifar_7", 10, bottleneck_factors=(1, 3, 4))
    node = net.blocks[0]["layer1_scale1"]  # type: ignore[index]
    # At scale 1 both edges add 6 channels: half of 6 * 2. The finer scale's factor is 1, the own one's 3.
    assert (node.down.conv1.out_channels, node.same.conv1.out_channels) == (6, 18)
    # 4 * 12 channels at scale 2 are fewer than the 64 there, 4 * 24 at scale 2 would be more.
    assert net.blocks[0]["layer1_scale2"].same.conv1.out_channels == 48  # type: ignore[index]
    wide = _on_meta("msdnet_cifar_7", 10, growth=12)
    assert wide.blocks[0]["layer1_scale2"].same.conv1.out_channels == 64  # type: ignore[index]


def test_scales_and_transitions_with_prune_max() -> None:
    layers = MSDNetPlan(exits=7, base=4, step=2, **CIFAR_PLAN).layers()
    assert [layer.finest for layer in layers] == [0] * 6 + [1] * 6 + [2] * 4
    assert [layer.number for layer in layers if layer.transition is not None] == [7, 13]
    # 16 + 7 * 6 = 58, halved 29; 29 + 6 * 6 = 65, halved 32 and then times the factors, not 65 * 4 / 2.
    assert [layer.transition for layer in layers if layer.transition is not None] == [29, 32]


def test_scales_and_transitions_with_prune_min() -> None:
    layers = MSDNetPlan(exits=3, base=4, step=2, prune="min", **CIFAR_PLAN).layers()
    assert [3 - layer.finest for layer in layers] == [min(3, 8 - number + 1) for number in range(1, 9)]
    assert [layer.number for layer in layers if layer.transition is not None] == [8 // 3, 2 * 8 // 3]


def test_layers_per_block() -> None:
    even = MSDNetPlan(exits=4, base=4, step=2, **CIFAR_PLAN)
    growing = MSDNetPlan(exits=4, base=1, step=2, step_mode="lin_grow", **CIFAR_PLAN)
    assert (even.layers_per_block(), growing.layers_per_block()) == ((4, 2, 2, 2), (1, 3, 5, 7))


def test_nodes_that_lead_nowhere_are_left_out() -> None:
    # Four layers over three scales: a scale is dropped after two, so that the fourth layer still has two.
    net = msdnet(exits=2, base=2, step=2, channels=4, growth=2)
    assert [name for name, _ in net.blocks[1].named_children() if name.endswith("scale1")] == [
        "layer3_scale1",
        "transition3_scale1",
    ]
    for exits in (7, 10):
        plan = MSDNetPlan(exits=exits, base=4, step=2, **CIFAR_PLAN)
        planned = sum((3 - layer.finest) * (1 + (layer.transition is not None)) for layer in plan.layers())
        published = _on_meta(f"msdnet_cifar_{exits}", 10)
        assert sum(len(list(block.children())) for block in published.blocks) == 3 + planned


def test_initialisation() -> None:
    he = msdnet(channels=64, exits=1, base=1, growth=32)
    effective = msdnet(channels=64, exits=1, base=1, growth=32, init="pytorch")
    for net, wanted in ((he, math.sqrt(2 / (9 * 64))), (effective, 1 / math.sqrt(3 * 27))):
        weight = net.blocks[0]["layer0_scale0"].conv.weight  # type: ignore[index]
        assert weight.std().item() == pytest.approx(wanted, rel=0.05)
    assert not he.heads[0].head.levels[0].fc.bias.any()  # type: ignore[index, union-attr]


def test_pooled_sizes_other_than_the_published_ones() -> None:
    net = create_net("msdnet_tiny", 4).eval()
    assert [tuple(logits.shape) for (logits,) in net(torch.zeros(2, 3, 19, 50))] == [(2, 4)] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"growth": 3, "growth_factors": (1, 1, 2)}, "odd"),
        ({"growth_factors": (1, 2)}, "one of each for every scale"),
        ({"growth_factors": 3}, "a list of whole numbers"),
        ({"step_mode": "eve"}, "did you mean 'even'"),
        ({"prune": "most"}, "no prune is named 'most'"),
        ({"form": "imagnet"}, "did you mean 'imagenet'"),
        ({"classifier": "conf"}, "did you mean 'conv'"),
        ({"exits": 0}, "exits 0"),
        ({"reduction": 0.0}, "reduction 0.0"),
        ({"reduction": 0.01}, "no channels"),
        ({"classifier_width": 0}, "classifier_width 0"),
    ],
)
def test_what_makes_no_net_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("msdnet_tiny", 10, **arguments)


def test_images_too_small_for_the_scales() -> None:
    with pytest.raises(ValueError, match="too small"):
        create_net("msdnet_tiny", 10)(torch.zeros(2, 3, 3, 8))


# --- helpers ------------------------------------------------------------------------------------------------


def _by_hand(
    net: ChainNet, x: torch.Tensor, *, form: str, prune: str, layers: tuple[int, ...]
) -> list[tuple[torch.Tensor, ...]]:
    """Every output of `net`, layer by layer and scale by scale, from the description in the paper's code."""
    modules = {name: module for block in net.blocks for name, module in block.named_children()}
    total, scales = sum(layers), 3
    kept = {
        "max": lambda n: scales - max(0, n - 1) // math.ceil(total / scales),
        "min": lambda n: min(scales, total - n + 1),
    }[prune]

    first = _conv(modules["layer0_scale0"] if form == "cifar" else modules["layer0_scale0"].first, x)
    row = {0: first if form == "cifar" else F.max_pool2d(first, 3, 2, 1)}
    for scale in (1, 2):
        row[scale] = _conv(modules[f"layer0_scale{scale}"], row[scale - 1])

    outputs, number = [], 0
    for stage, layers_here in enumerate(layers):
        for _ in range(layers_here):
            number += 1
            before, after = kept(max(1, number - 1)), kept(number)
            new = {}
            for scale in range(scales - after, scales):
                name = f"layer{number}_scale{scale}"
                if name not in modules:  # read by no exit
                    continue
                pieces = [row[scale]]
                if scale > scales - before:
                    pieces.append(_edge(modules[name].down, row[scale - 1]))
                new[scale] = torch.cat([*pieces, _edge(modules[name].same, row[scale])], 1)
            in_min = number in (total // 3, 2 * total // 3)
            if in_min if prune == "min" else after < before:
                new = {s: _conv(modules[f"transition{number}_scale{s}"], h) for s, h in new.items()}
            row = new
        outputs.append(tuple(_classify(level, row[2]) for level in net.heads[stage].head.levels))  # type: ignore[union-attr]
    return outputs


def _conv(layer: Any, x: torch.Tensor) -> torch.Tensor:
    return _conv_norm_relu(layer.conv, layer.norm, x)


def _edge(edge: Any, x: torch.Tensor) -> torch.Tensor:
    if edge.has_bottleneck:
        x = _conv_norm_relu(edge.conv1, edge.norm1, x)
    return _conv_norm_relu(edge.conv2, edge.norm2, x)


def _conv_norm_relu(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    x = F.conv2d(x, conv.weight, stride=conv.stride, padding=conv.weight.shape[-1] // 2)
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()


def _classify(level: Any, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = level.fc(_conv(level.conv2, _conv(level.conv1, x)).mean((2, 3)))
    return y


@cache
def _on_meta(name: str, classes: int, **overrides: Any) -> ChainNet:
    with torch.device("meta"):
        net = create_net(name, classes, **overrides)
    assert isinstance(net, ChainNet)
    return net.eval()


@pytest.mark.parametrize(
    "arguments",
    [{"bottleneck": "False"}, {"exits": 2.5}, {"exits": "two"}, {"reduction": "half"}, {"prune": None}],
)
def test_arguments_of_the_wrong_kind_are_refused_by_name(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=name):
        create_net("msdnet_tiny", **arguments)
