"""The plain chain: its shapes, a run by hand that it must equal, its costs, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anytimenet.costs import stage_costs
from anytimenet.nets import ExitNet, create_net
from anytimenet.nets.depth.plain_chain import plain_chain
from anytimenet.testing import check_anytime_net


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"widths": (3, 4, 4, 6), "exits_after": (2, 4), "in_channels": 1}, (1, 9, 13)),
        ({"widths": (4, 2, 3)}, (3, 3, 2)),
        ({"widths": (4,)}, (3, 1, 1)),
    ],
)
def test_other_forms_keep_the_contract(arguments: dict[str, Any], shape: tuple[int, int, int]) -> None:
    check_anytime_net(create_net("plain_chain_tiny", (4, 2), **arguments), shape, export=False)


def test_forward_equals_a_run_by_hand() -> None:
    net = plain_chain((4, 2), widths=(4, 4, 6)).eval()
    weights = net.state_dict()
    x = torch.randn(2, 3, 9, 7)
    outputs = net(x)
    for stage, stride in enumerate((1, 1, 2), 1):
        block = f"blocks.{stage - 1}.block{stage}"
        x = F.conv2d(x, weights[f"{block}.conv.weight"], None, stride, 1)
        norm = [weights[f"{block}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *norm).relu()
        for level, logits in enumerate(outputs[stage - 1]):
            head = f"heads.{stage - 1}.head.levels.{level}"
            expected = x.mean((2, 3)) @ weights[f"{head}.weight"].T + weights[f"{head}.bias"]
            torch.testing.assert_close(logits, expected)


def test_a_block_that_is_wider_than_the_one_before_halves_the_image() -> None:
    net = create_net("plain_chain_small")
    assert isinstance(net, ExitNet)
    shapes = [net.node_shapes((3, 16, 16))[f"block{number}"] for number in range(1, 7)]
    assert shapes == [(32, 16, 16)] * 2 + [(64, 8, 8)] * 2 + [(128, 4, 4)] * 2
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.heads.modules())


def test_costs_of_the_small_net_in_closed_form() -> None:
    # Twice the channels meet a quarter of the pixels: a convolution costs the same in every scale, half where
    # the width grows.
    conv, first = 9 * 32 * 32 * 256, 9 * 3 * 32 * 256
    convs, widths = [0, 1, 1.5, 2.5, 3, 4], [32, 32, 64, 64, 128, 128]
    costs = stage_costs(create_net("plain_chain_small"), (3, 16, 16))
    assert [c.macs for c in costs] == [first + n * conv + 10 * w for n, w in zip(convs, widths, strict=True)]
    assert costs[-1].macs_cumulative == first + 4 * conv + 10 * sum(widths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exits_after": (1, 2)}, "the last of them 3"),
        ({"widths": ()}, "the channels of each block"),
        ({"widths": (4, 0, 4)}, "the channels of each block"),
        ({"widths": 4}, "widths 4: a list of whole numbers is needed"),
        ({"in_channels": 0}, "in_channels 0 must be at least 1"),
        ({"init": "mrsa"}, "no initialisation is named 'mrsa'"),
    ],
)
def test_arguments_that_make_no_net_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("plain_chain_tiny", **arguments)


def test_an_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images of 3x8 are too small .* at least 4x4"):
        create_net("plain_chain_small")(torch.zeros(2, 3, 3, 8))
