"""EfficientNet-Lite: published sizes and costs, padding as in TensorFlow, equality with timm."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from anytimenet.costs import stage_costs
from anytimenet.nets import AnytimeNet, build_on_meta, create_net
from anytimenet.nets.depth.inverted_residual import ConvNorm, InvertedResidual, same_padding
from anytimenet.testing import check_anytime_net


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"exits_after": (2, 4), "in_channels": 1}, (1, 9, 5)),
        ({"exits_after": (4,), "dropout": 0.0}, (3, 1, 1)),
        ({"groups": ((5, 2, 3, 4, 2), (3, 1, 1, 5, 1)), "exits_after": (1, 2, 3), "width": 0.5}, (3, 7, 8)),
    ],
)
def test_other_forms_keep_the_contract(arguments: dict[str, Any], shape: tuple[int, int, int]) -> None:
    check_anytime_net(create_net("efficientnet_lite_tiny", (4, 2), **arguments), shape, export=False)


def test_multiply_adds_are_those_that_were_published_and_counted() -> None:
    (plain,) = stage_costs(on_meta("efficientnet_lite0", exits_after=(16,)), (3, 224, 224))
    assert f"{plain.macs / 1e6:.1f}" == "385.2"
    stages = stage_costs(on_meta("efficientnet_lite0"), (3, 224, 224))
    assert [round(stage.macs / plain.macs, 2) for stage in stages] == [0.2, 0.3, 0.41, 0.63, 1.0]


@pytest.mark.parametrize(
    ("size", "parameters", "millions"),
    [
        (0, 4_652_008, "4.7"),
        (1, 5_416_680, "5.4"),
        (2, 6_092_072, "6.1"),
        (3, 8_197_096, "8.2"),
        (4, 13_006_568, "13.0"),
    ],
)
def test_parameters_are_the_published_ones(size: int, parameters: int, millions: str) -> None:
    net = on_meta(f"efficientnet_lite{size}")
    plain = net.keep((net.num_stages,))
    assert sum(parameter.numel() for parameter in plain.parameters()) == parameters
    assert f"{parameters / 1e6:.1f}" == millions


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_is_that_of_tensorflow_at_every_size(kernel: int, stride: int) -> None:
    """Window i begins at i * stride - left, and what lies outside the image is zero."""
    layer = ConvNorm(1, 1, kernel=kernel, stride=stride, activates=False).eval()
    layer.norm.eps = 0.0
    for height, width in ((1, 2), (4, 7), (5, 5), (8, 3)):
        image = torch.randn(1, 1, height, width)
        rows, columns = (math.ceil(side / stride) for side in (height, width))
        top = max(0, (rows - 1) * stride + kernel - height) // 2
        left = max(0, (columns - 1) * stride + kernel - width) // 2
        expected = torch.zeros(rows, columns)
        for i, j, a, b in torch.cartesian_prod(*map(torch.arange, (rows, columns, kernel, kernel))).tolist():
            y, x = i * stride - top + a, j * stride - left + b
            if 0 <= y < height and 0 <= x < width:
                expected[i, j] += layer.conv.weight[0, 0, a, b].detach() * image[0, 0, y, x]
        torch.testing.assert_close(layer(image)[0, 0].detach(), expected, rtol=1e-5, atol=1e-5)
    assert same_padding(8, 3, 2) == (0, 1), "more at the end where the number is odd"


def test_a_block_adds_its_input_only_where_nothing_changes_its_shape() -> None:
    x = torch.randn(2, 8, 6, 6)
    for block, adds in (
        (InvertedResidual(8, 8, kernel=3, stride=1, expansion=2), True),
        (InvertedResidual(8, 8, kernel=3, stride=2, expansion=2), False),
        (InvertedResidual(8, 9, kernel=3, stride=1, expansion=2), False),
    ):
        torch.nn.init.zeros_(block.project.norm.weight)
        assert torch.equal(block(x), x if adds else torch.zeros_like(block(x)))


def test_batchnorms_are_those_of_the_released_net() -> None:
    norms = [m for m in on_meta("efficientnet_lite0").modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 2 + 16 * 3 - 1
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_heads_drop_features_in_training_only() -> None:
    net = create_net("efficientnet_lite_tiny", 4, dropout=0.5)
    x = torch.randn(2, 3, 8, 8)
    net.train()
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.eval()
    torch.manual_seed(0)
    outputs = [net(x) for _ in range(8)]
    for stage in range(3):
        assert any(not torch.equal(outputs[0][stage][0], other[stage][0]) for other in outputs[1:])
    net.eval()
    for (one,), (other,) in zip(net(x), net(x), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"exits_after": (1, 3)}, "the last of them 4"),
        ({"groups": ((2, 1, 1, 4, 1),)}, "an odd kernel"),
        ({"groups": ()}, "groups is empty"),
        ({"dropout": 1.0}, "dropout"),
        ({"width": 0}, "width"),
        ({"top_channels": 0}, "top_channels"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        create_net("efficientnet_lite_tiny", **arguments)


def test_it_is_the_net_of_timm(torchvision: ModuleType) -> None:
    """With the same random weights; at sizes of both parities, where padding differs."""
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = timm.create_model("tf_efficientnet_lite0", num_classes=7).eval()
        for name, tensor in theirs.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
    ours = create_net("efficientnet_lite0", 7, exits_after=(16,)).eval()
    source, target = list(theirs.state_dict().values()), list(ours.state_dict().values())
    assert [t.shape for t in source] == [t.shape for t in target]
    for new, tensor in zip(source, target, strict=True):
        tensor.copy_(new)
    for height, width in ((64, 64), (65, 49), (50, 34)):
        x = torch.randn(1, 3, height, width)
        with torch.no_grad():
            expected: Tensor = theirs(x)
            torch.testing.assert_close(ours(x)[0][0], expected, rtol=1e-4, atol=1e-5)


def on_meta(name: str, **arguments: Any) -> AnytimeNet:
    return build_on_meta(lambda: create_net(name, 1000, **arguments))
