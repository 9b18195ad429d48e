"""The counter, run on the real modules, gives every printed digit of MSDNet's published cost tables."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from anytimenet.costs import StageCost, count, stage_costs
from anytimenet.nets import create_net
from anytimenet.nets.chain.chain import ChainNet

# Cumulative costs in the `msd` convention and cumulative parameters, in millions.
PUBLISHED = {
    ("msdnet_cifar_10", 10): (
        "15.13 25.48 37.75 52.02 62.12 74.00 87.65 99.95 110.02 121.56",
        "0.42 0.85 1.35 1.78 2.22 2.72 3.29 3.77 4.27 4.84",
    ),
    ("msdnet_cifar_10", 100): (
        "15.14 25.51 37.79 52.06 62.18 74.07 87.73 100.04 110.12 121.68",
        "0.43 0.88 1.38 1.83 2.28 2.79 3.37 3.86 4.38 4.96",
    ),
    ("msdnet_cifar_7", 100): (
        "15.14 25.51 37.10 46.33 57.34 66.96 75.94",
        "0.43 0.88 1.27 1.70 2.18 2.60 3.07",
    ),
    ("msdnet_cifar_batch_5", 100): ("6.86 14.35 27.54 41.71 58.48", "0.30 0.65 1.02 1.49 2.08"),
    ("msdnet_cifar_batch_7", 100): (
        "6.86 14.35 27.29 48.45 76.43 108.85 137.28",
        "0.30 0.65 1.11 1.73 2.38 3.05 3.97",
    ),
    ("msdnet_imagenet_step4", 1000): (
        "339.90 685.46 1008.16 1254.47 1360.53",
        "4.24 8.77 13.07 16.75 23.96",
    ),
    ("msdnet_imagenet_step6", 1000): (
        "514.66 1171.18 1844.52 2501.40 2742.06",
        "7.08 15.69 24.01 42.19 56.53",
    ),
    ("msdnet_imagenet_step7", 1000): (
        "615.69 1436.39 2283.21 2967.42 3253.79",
        "8.76 20.15 31.73 41.86 62.31",
    ),
}


@pytest.mark.parametrize(("name", "classes"), PUBLISHED)
def test_published_table(name: str, classes: int) -> None:
    costs, params = PUBLISHED[name, classes]
    assert " ".join(f"{cost.msd / 1e6:.2f}" for cost in _costs(name, classes)) == costs
    net = _on_meta(name, classes)
    sums = [_scalars(net.blocks[:k]) + _scalars(net.heads[:k]) for k in range(1, net.num_stages + 1)]
    assert " ".join(f"{total / 1e6:.2f}" for total in sums) == params
    assert _costs(name, classes)[-1].params_cumulative == sums[-1] == _scalars(net)


def test_eleven_exits() -> None:
    net = _on_meta("msdnet_cifar_10", 100, exits=11)
    assert f"{stage_costs(net, (3, 32, 32))[-1].msd / 1e6:.1f}" == "134.7"


@pytest.mark.parametrize(
    ("step", "widths"),
    [(4, [384, 384, 352, 304, 560]), (6, [512, 544, 496, 880, 792]), (7, [576, 640, 608, 528, 976])],
)
def test_pooled_feature_widths(step: int, widths: list[int]) -> None:
    net = _on_meta(f"msdnet_imagenet_step{step}", 1000)
    assert [head.head.levels[0].fc.in_features for head in net.heads] == widths  # type: ignore[index, union-attr]


def test_first_exit_leaves_what_only_later_exits_need() -> None:
    net = _on_meta("msdnet_cifar_7", 100)
    image = torch.empty(1, 3, 32, 32, device="meta")
    published = count(net.blocks[0], image[None]).macs
    head = count(net.heads[0], net.blocks[0]((image,))).macs
    lazy = _costs("msdnet_cifar_7", 100)[0].macs - head
    assert (published, published - lazy) == (11_415_552, 1_711_104)


def test_costs_with_only_the_active_classifier() -> None:
    net = _on_meta("msdnet_cifar_7", 100)
    state, trunk, active = (torch.empty(1, 3, 32, 32, device="meta"),), 0, []
    for block, head in zip(net.blocks, net.heads, strict=True):
        trunk += count(block, state).macs
        state = block(state)
        active.append(trunk + count(head, state).macs)
    assert [f"{macs / 1e6:.2f}" for macs in (active[0], active[-1])] == ["14.97", "51.89"]
    lazy = [cost.macs for cost in _costs("msdnet_cifar_7", 100)]
    assert lazy[-1] == active[-1]
    assert all(a <= b for a, b in zip(lazy, active, strict=True))
    assert lazy[0] < active[0]
    assert lazy == sorted(lazy)


@pytest.mark.parametrize(("channels", "full"), [(16, "11.8"), (32, "22.1")])
def test_one_layer_classifiers_cost_what_the_slicing_paper_compared_with(channels: int, full: str) -> None:
    net = _on_meta("msdnet_cifar_10", 10, channels=channels, classifier="linear")
    image = torch.empty(1, 3, 32, 32, device="meta")
    cost = count(lambda: net.heads[0](net.blocks[0]((image,))))
    assert f"{cost.full / 1e6:.1f}" == full


@pytest.mark.parametrize(("channels", "macs", "full"), [(64, "1.55", "1.56"), (32, "1.21", "1.21")])
def test_one_layer_classifiers_of_the_imagenet_form(channels: int, macs: str, full: str) -> None:
    net = _on_meta("msdnet_imagenet_step4", 1000, channels=channels, classifier="linear")
    last = stage_costs(net, (3, 224, 224))[-1]
    assert (f"{last.macs / 1e9:.2f}", f"{last.full / 1e9:.2f}") == (macs, full)


@cache
def _costs(name: str, classes: int) -> list[StageCost]:
    size = 224 if "imagenet" in name else 32
    return stage_costs(_on_meta(name, classes), (3, size, size))


@cache
def _on_meta(name: str, classes: int, **overrides: Any) -> ChainNet:
    with torch.device("meta"):
        net = create_net(name, classes, **overrides)
    assert isinstance(net, ChainNet)
    return net.eval()


def _scalars(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
