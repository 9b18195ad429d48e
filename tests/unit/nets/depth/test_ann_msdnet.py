"""The multi-scale dense nets of Hu et al.: the authors' costs, and a run by hand that they must equal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.costs import count
from anytimenet.nets import create_net
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.depth.ann_msdnet import ann_msdnet
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

# Exits, and multiply-adds of convolutions and linear layers up to each of them, in millions.
COSTS = {
    "ann_msdnet_26": ("6 10 14 18 22", "456.3 741.3 1012.4 1213.6 1325.8", 19),
    "ann_msdnet_36": ("8 14 20 26 32", "721.8 1301.0 1881.5 2374.1 2600.9", 29),
    "ann_msdnet_41": ("9 16 23 30 37", "840.7 1588.8 2345.0 3042.8 3346.9", 34),
}
TINY: dict[str, Any] = {"growth_factors": (1, 2, 2), "bottleneck_factors": (1, 3, 2), "classifier_width": 4}


@pytest.mark.parametrize("name", COSTS)
def test_every_exit_costs_what_the_authors_net_costs(name: str) -> None:
    exits, costs, dense_layers = COSTS[name]
    with torch.device("meta"):
        net, image = create_net(name, 1000).eval(), torch.empty(1, 3, 224, 224)
    assert isinstance(net, ChainNet)
    assert net.graph.exits == tuple(f"unit{unit}_scale3" for unit in exits.split())
    state: tuple[Tensor, ...] = (image,)
    spent = [0]
    for block, head in zip(net.blocks, net.heads, strict=True):
        macs = count(block, state).macs
        with torch.inference_mode():
            state = block(state)
        spent.append(spent[-1] + macs + count(head, state).macs)
    assert " ".join(f"{macs / 1e6:.1f}" for macs in spent[1:]) == costs
    layers = [name for block in net.blocks for name, node in block.named_children() if hasattr(node, "same")]
    assert len([name for name in layers if name.endswith("scale3")]) == dense_layers


@pytest.mark.parametrize(
    "arguments",
    [
        TINY | {"units": (3, 2, 3), "stack": 2, "growth": 3},
        TINY | {"units": (2, 3, 2), "form": "imagenet", "stack": 3, "first_exit": 1},
    ],
    ids=["odd growth", "imagenet"],
)
def test_forward_and_blocks_equal_a_run_by_hand(arguments: dict[str, Any]) -> None:
    net = create_net("ann_msdnet_tiny", (4, 2), **arguments)
    assert isinstance(net, ChainNet)
    redraw(net.double().eval(), torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 36, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    truth = _by_hand(net, x, arguments["units"])
    torch.testing.assert_close(net(x), truth, rtol=1e-9, atol=1e-9)
    state: tuple[Tensor, ...] = (x,)
    for block, head, output in zip(net.blocks, net.heads, truth, strict=True):
        state = block(state)
        torch.testing.assert_close(head(state), output, rtol=1e-9, atol=1e-9)


def test_bottlenecks_follow_the_scale_that_they_read_and_may_widen() -> None:
    with torch.device("meta"):
        net = ann_msdnet()
    node = net.blocks[0]["unit1_scale2"]  # type: ignore[index]
    # At scale 2 both edges add 32 channels: half of 16 * 4. The finer scale's factor is 2, the own one's 4.
    assert (node.down.conv1.out_channels, node.same.conv1.out_channels) == (64, 128)
    # 4 * 32 at scale 3, which reads 128 channels; at scale 0 alone 16 are added.
    assert net.blocks[0]["unit1_scale0"].same.conv1.out_channels == 16  # type: ignore[index]
    wide = ann_msdnet((4,), form="cifar", channels=2, growth=6)
    assert wide.blocks[0]["unit1_scale1"].same.conv1.out_channels == 12  # type: ignore[index]  # of 4 channels


def test_keeps_the_contract_in_the_imagenet_form() -> None:
    net = create_net("ann_msdnet_tiny", 3, form="imagenet", in_channels=1)
    check_anytime_net(net, (1, 12, 9), export=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": (2,)}, "one of each for every scale"),
        ({"units": (1, 3)}, "a dense layer and one more"),
        ({"units": 3}, "units 3: a list of whole numbers"),
        ({"stack": 0}, "stack 0"),
        ({"first_exit": 9}, "first_exit 9 leaves no exit among 4 units"),
        ({"form": "imagnet"}, "did you mean 'imagenet'"),
        ({"classifier_width": 0}, "classifier_width 0"),
    ],
)
def test_what_makes_no_net_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("ann_msdnet_tiny", **arguments)


def _by_hand(net: ChainNet, x: Tensor, units: tuple[int, ...]) -> list[tuple[Tensor, ...]]:
    """Every output, with the features of every scale of every unit."""
    nodes = {name: module for block in net.blocks for name, module in block.named_children()}
    scales = range(len(units))
    held: dict[int, Tensor] = {0: _first(nodes["unit0_scale0"], x)}
    for scale in scales[1:]:
        held[scale] = _conv(nodes[f"unit0_scale{scale}"], held[scale - 1])
    unit = 0
    outputs: list[tuple[Tensor, ...]] = []
    for block, count_ in enumerate(units):
        for number in range(1, count_ + (block < len(units) - 1)):
            unit, before = unit + 1, dict(held)
            for scale in scales[block:]:
                node = nodes[f"unit{unit}_scale{scale}"]
                if number == count_:
                    held[scale] = _conv(node, before[scale])
                    continue
                new = [before[scale], _edge(node.same, before[scale])]
                if scale > max(0, block - (number == 1)):
                    new.append(_edge(node.down, before[scale - 1]))
                held[scale] = torch.cat(new, 1)
            if f"unit{unit}_scale{scales[-1]}" in net.graph.exits:
                head = net.heads[len(outputs)].head
                outputs.append(tuple(_classify(level, held[scales[-1]]) for level in head.levels))  # type: ignore[union-attr]
    return outputs


def _first(layer: Any, x: Tensor) -> Tensor:
    return F.max_pool2d(_conv(layer.first, x), 3, 2, 1) if hasattr(layer, "first") else _conv(layer, x)


def _edge(edge: Any, x: Tensor) -> Tensor:
    return _conv_norm_relu(edge.conv2, edge.norm2, _conv_norm_relu(edge.conv1, edge.norm1, x))


def _conv(layer: Any, x: Tensor) -> Tensor:
    return _conv_norm_relu(layer.conv, layer.norm, x)


def _conv_norm_relu(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    x = F.conv2d(x, conv.weight, stride=conv.stride, padding=conv.weight.shape[-1] // 2)
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()


def _classify(level: Any, x: Tensor) -> Tensor:
    y: Tensor = level.fc(_conv(level.conv2, _conv(level.conv1, x)).mean((2, 3)))
    return y
