"""ResANN: the published shapes, a run by hand that it must equal, and the places of its predictors."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.manifest.records import NetOrigin
from anytimenet.costs import stage_costs
from anytimenet.layers.heads import LevelHead, PooledHead
from anytimenet.nets import ExitNet, create_net, rebuild_net
from anytimenet.nets.depth.resnet_ann import BasicUnit, BottleneckUnit, resnet_ann
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"units": (2, 1), "exits_after": (1, 3), "in_channels": 1}, (1, 9, 13)),
        ({"units": (1, 2, 2), "stack": 2, "width": 3}, (3, 7, 6)),
        ({"units": (2,), "width": 1}, (3, 1, 2)),
        ({"units": (1, 2), "width": 2, "unit": "bottleneck"}, (3, 7, 6)),
        ({"units": (1, 1), "stem": "imagenet", "in_channels": 1}, (1, 9, 13)),
        ({"units": (2, 1), "width": 2, "unit": "bottleneck", "stem": "imagenet", "stack": 2}, (3, 8, 8)),
    ],
)
def test_other_forms_keep_the_contract(arguments: dict[str, Any], shape: tuple[int, int, int]) -> None:
    check_anytime_net(create_net("resnet_ann_tiny", (4, 2), **arguments), shape, export=False)


def test_a_net_is_rebuilt_from_its_origin() -> None:
    forms = {"unit": "bottleneck", "stem": "imagenet"}
    net = create_net("resnet_ann_tiny", (4, 2), units=[1, 2, 2], stack=2, **forms).keep((1, 3))
    assert net.origin is not None
    assert net.origin.keep is not None
    stored = json.loads(json.dumps(net.origin.arguments))
    twin = rebuild_net(NetOrigin(net.origin.name, stored, net.origin.keep))
    twin.load_state_dict(net.state_dict())
    assert twin.parts() == net.parts()


# --- what is computed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(16, 12), (13, 9)])
def test_forward_equals_a_run_by_hand(training: bool, size: tuple[int, int]) -> None:
    net = resnet_ann((4, 2), units=(2, 1, 2), width=4)
    redraw(net.double(), torch.Generator().manual_seed(0))
    net.train(training)
    x = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    truth = _by_hand(weights, x, starts=(3, 4), training=training)
    torch.testing.assert_close(net(x), truth, rtol=1e-9, atol=1e-9)


def test_the_identity_lies_between_equally_many_zeros_where_the_width_changes() -> None:
    unit = BasicUnit(8, shrinks=True)
    nn.init.zeros_(unit.norm3.weight)  # nothing but the identity is left
    x = torch.randn(2, 4, 6, 6)
    y = unit(x)
    torch.testing.assert_close(y[:, 2:6], F.avg_pool2d(x, 2))
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_a_unit_leaves_the_features_that_it_reads_as_they_are() -> None:
    for unit in (BasicUnit(4, shrinks=False), BasicUnit(8, shrinks=True)):
        x = torch.randn(2, 4, 6, 6)
        before = x.clone()
        unit(x)
        assert torch.equal(x, before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("channels", "shrinks"), [(12, False), (4, False), (4, True), (12, True)])
def test_a_bottleneck_equals_a_run_by_hand(channels: int, shrinks: bool, training: bool) -> None:
    unit = BottleneckUnit(channels, 3, shrinks=shrinks).double().requires_grad_(False).train(training)
    redraw(unit, torch.Generator().manual_seed(0))
    weights = {key: tensor.clone() for key, tensor in unit.state_dict().items()}
    x = torch.randn(2, channels, 7, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    h, before, stride = x, x.clone(), 2 if shrinks else 1
    for number, (step, padding) in enumerate(((1, 0), (stride, 1), (1, 0)), start=1):
        h = _normed(weights, h, f"norm{number}", training=training).relu()
        h = F.conv2d(h, weights[f"conv{number}.weight"], None, step, padding)
    shortcut = x
    if shrinks or channels != 12:
        shortcut = F.conv2d(x[:, :, ::stride, ::stride], weights["shortcut.0.weight"])
        shortcut = _normed(weights, shortcut, "shortcut.1", training=training)
    truth = _normed(weights, h, "norm4", training=training) + shortcut
    torch.testing.assert_close(unit(x), truth, rtol=1e-9, atol=1e-9)
    assert torch.equal(x, before)


def test_only_a_bottleneck_that_changes_the_shape_has_a_projection() -> None:
    net = create_net("resnet_ann_tiny", units=(2, 2, 1), unit="bottleneck")
    owners = {key.split(".")[2] for key in net.state_dict() if "shortcut" in key}
    assert owners == {"block1", "block3", "block5"}


def test_the_imagenet_stem_leaves_a_quarter_of_the_side() -> None:
    net = create_net("resnet_ann_tiny", stem="imagenet", unit="bottleneck", width=4)
    assert isinstance(net, ExitNet)
    shapes = net.node_shapes((3, 32, 48))
    assert shapes["stem"] == (4, 8, 12)
    assert [shapes[name] for name in net.graph.exits] == [(16, 8, 12), (32, 4, 6), (64, 2, 3)]


@pytest.mark.parametrize("arguments", [{}, {"unit": "bottleneck", "stem": "imagenet"}])
def test_weights_are_drawn_as_the_net_was_built(arguments: dict[str, Any]) -> None:
    torch.manual_seed(3)
    built = create_net("resnet_ann_tiny", **arguments)
    net = create_net("resnet_ann_tiny", **arguments)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.fill_(7)
    torch.manual_seed(3)
    draw_weights(net)
    for name, tensor in built.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name]), name


def test_the_stem_and_the_units_convolutions_are_he_normal_over_the_fan_out() -> None:
    torch.manual_seed(0)
    net = create_net("resnet_ann_45", width=16, units=(1, 1, 1))
    for key, weight in net.state_dict().items():
        if "conv" in key or "stem" in key:
            assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * len(weight))), rel=0.1)
        if key.endswith("levels.0.bias"):
            assert not weight.any()


# --- predictors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "predictors"),
    [
        ("resnet_ann_45", {}, 21),
        ("resnet_ann_81", {}, 39),
        ("resnet_ann_153", {}, 75),
        ("resnet_ann_153", {"stack": 3}, 25),
        ("resnet_ann_50_imagenet", {}, 16),
        ("resnet_ann_101_imagenet", {}, 33),
        ("resnet_ann_101_imagenet", {"stack": 3}, 11),
        ("resnet_ann_bottleneck_small", {}, 5),
        ("resnet_ann_small", {}, 9),
        ("resnet_ann_small_6", {}, 6),
        ("resnet_ann_tiny", {}, 3),
    ],
)
def test_number_of_predictors(name: str, arguments: dict[str, Any], predictors: int) -> None:
    with torch.device("meta"):
        net = create_net(name, **arguments)
    assert net.num_stages == predictors


@pytest.mark.parametrize("stack", [1, 2, 3, 4, 6, 7, 9])
def test_a_stack_is_counted_from_the_last_unit(stack: int) -> None:
    after = [i + 1 for i in range(7) if (6 - i) % stack == 0]
    with torch.device("meta"):
        by_stack = resnet_ann(units=(2, 4, 1), width=1, stack=stack)
        by_list = resnet_ann(units=(2, 4, 1), width=1, exits_after=after)
    assert list(by_stack.graph.exits) == [f"block{unit}" for unit in after]
    assert by_stack.parts() == by_list.parts()


def test_every_predictor_reads_the_width_of_its_own_group_without_batch_norm() -> None:
    net = create_net("resnet_ann_small", (10, 2))
    assert isinstance(net, ExitNet)
    fine = [head.head.levels[0].in_features for head in net.heads]  # type: ignore[index, union-attr]
    assert fine == [16] * 3 + [32] * 3 + [64] * 3
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.heads.modules())


def test_costs_of_the_small_net_in_closed_form() -> None:
    # 16x16 images, 16 channels: a unit is two convolutions of 9 * 16 * 16 * 256 multiply-adds wherever it is,
    # since twice the channels meet a quarter of the pixels; where the width grows the first one costs half.
    conv, stem = 9 * 16 * 16 * 256, 9 * 3 * 16 * 256
    convs = [2, 4, 6, 7.5, 9.5, 11.5, 13, 15, 17]
    widths = [16] * 3 + [32] * 3 + [64] * 3
    costs = stage_costs(create_net("resnet_ann_small"), (3, 16, 16))
    assert [c.macs for c in costs] == [stem + n * conv + 10 * w for n, w in zip(convs, widths, strict=True)]
    assert costs[-1].macs_cumulative == stem + 17 * conv + 10 * sum(widths)


@pytest.mark.parametrize(
    ("name", "units", "macs", "parameters"),
    [
        ("resnet_ann_50_imagenet", (3, 4, 6, 3), 4_089_184_256, 25_557_032),
        ("resnet_ann_101_imagenet", (3, 4, 23, 3), 7_801_405_440, 44_549_160),
    ],
)
def test_the_last_stage_costs_what_the_resnet_of_that_depth_costs(
    name: str, units: tuple[int, ...], macs: int, parameters: int
) -> None:
    # The convolutions are those of torchvision's ResNet-50 and -101, whose 3x3 convolutions have the stride,
    # too. Each unit has one BatchNorm more, on what it reads.
    reads = [64]
    for group, count in enumerate(units):
        reads += [256 * 2**group] * count
    more = 2 * sum(reads[:-1])
    with torch.device("meta"):
        net = create_net(name, 1000, exits_after=(sum(units),))
    (cost,) = stage_costs(net, (3, 224, 224))
    assert (cost.macs, cost.params) == (macs, parameters + more)


def test_every_other_predictor_of_the_imagenet_form_costs_one_linear_layer() -> None:
    with torch.device("meta"):
        net = create_net("resnet_ann_50_imagenet", 1000)
    last = stage_costs(net, (3, 224, 224))[-1]
    others = 3 * 256 + 4 * 512 + 6 * 1024 + 2 * 2048
    assert last.macs_cumulative - last.macs == 1000 * others


def test_costs_of_the_small_net_of_bottlenecks_in_closed_form() -> None:
    # c = 8 and 16x16 pixels: inside a group 1x1 from 4c to c, 3x3 from c to c, 1x1 from c to 4c at any scale.
    inner, stem = 256 * (32 * 8 + 9 * 64 + 8 * 32), 256 * 27 * 8
    first = 256 * (8 * 8 + 9 * 64 + 8 * 32 + 8 * 32)  # reads c, and projects it
    # Reads twice the channels of its inner 1x1 at four times the pixels, and projects them.
    shrinks = 256 * 32 * 16 + 64 * (9 * 16 * 16 + 16 * 64 + 32 * 64)
    trunk = [first, first + inner, first + inner + shrinks, first + 2 * inner + shrinks]
    trunk.append(first + 2 * inner + 2 * shrinks)
    costs = stage_costs(create_net("resnet_ann_bottleneck_small"), (3, 16, 16))
    widths = (32, 32, 64, 64, 128)
    assert [c.macs for c in costs] == [stem + t + 10 * w for t, w in zip(trunk, widths, strict=True)]


# --- heads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_a_pooled_head_is_a_linear_layer_on_the_mean(relu: bool, grad: bool) -> None:
    head = PooledHead(5, (3, 2), relu=relu)
    x = torch.randn(2, 5, 4, 3)
    before = x.clone()
    with torch.set_grad_enabled(grad):
        logits = head(x)
    mean = (x.clamp(min=0) if relu else x).mean((2, 3))
    for level, found in zip(head.levels, logits, strict=True):
        torch.testing.assert_close(found, mean @ level.weight.T + level.bias)  # type: ignore[operator]
    assert torch.equal(x, before)


def test_a_level_head_and_a_pooled_head_share_how_they_pool() -> None:
    level, pooled = LevelHead(5, 3).eval(), PooledHead(5, (3,))
    nn.init.constant_(level.norm.running_var, 1 - level.norm.eps)  # type: ignore[arg-type]  # a BatchNorm that changes nothing
    pooled.levels[0].load_state_dict(level.fc.state_dict())
    x = torch.randn(2, 5, 4, 3)
    torch.testing.assert_close(level(x), pooled(x)[0])


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exits_after": (1, 2)}, "the last of them 3"),
        ({"exits_after": (3,), "stack": 1}, "give one of them, and None for the other"),
        ({"stack": 0}, "stack 0 must be at least 1"),
        ({"stack": 1.5}, "stack 1.5: a whole number is needed"),
        ({"units": ()}, "for each group the number of units"),
        ({"units": (1, 0)}, "for each group the number of units"),
        ({"units": 3}, "units 3: a list of whole numbers is needed"),
        ({"unit": "bottelneck"}, "no unit is named 'bottelneck': did you mean 'bottleneck'"),
        ({"stem": "imagnet"}, "no stem is named 'imagnet': did you mean 'imagenet'"),
        ({"width": 0}, "width 0 must be at least 1"),
        ({"in_channels": 0}, "in_channels 0 must be at least 1"),
        ({"init": "mrsa"}, "no initialisation is named 'mrsa'"),
    ],
)
def test_arguments_that_make_no_net_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("resnet_ann_tiny", **arguments)


def test_an_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images of 3x8 are too small .* at least 4x4"):
        create_net("resnet_ann_tiny")(torch.zeros(2, 3, 3, 8))


def _by_hand(
    weights: dict[str, Tensor], x: Tensor, *, starts: tuple[int, ...], training: bool
) -> list[tuple[Tensor, ...]]:
    """All outputs of a net with a predictor after each unit; units `starts` begin a new group."""

    def norm(h: Tensor, key: str) -> Tensor:
        return _normed(weights, h, key, training=training)

    x = F.conv2d(x, weights["blocks.0.stem.weight"], padding=1)
    outputs: list[tuple[Tensor, ...]] = []
    while f"heads.{len(outputs)}.head.levels.0.weight" in weights:
        number = len(outputs) + 1
        unit = f"blocks.{number - 1}.block{number}"
        stride = 2 if number in starts else 1
        h = F.conv2d(norm(x, f"{unit}.norm1").relu(), weights[f"{unit}.conv1.weight"], None, stride, 1)
        h = norm(
            F.conv2d(norm(h, f"{unit}.norm2").relu(), weights[f"{unit}.conv2.weight"], padding=1),
            f"{unit}.norm3",
        )
        if number in starts:
            x = _averaged(x)
            zeros = torch.zeros_like(x[:, : x.shape[1] // 2])
            x = torch.cat([zeros, x, zeros], 1)
        x = x + h
        pooled = x.relu().mean((2, 3))
        head = f"heads.{number - 1}.head.levels"
        outputs.append(
            tuple(pooled @ weights[f"{head}.{d}.weight"].T + weights[f"{head}.{d}.bias"] for d in (0, 1))
        )
    return outputs


def _normed(weights: dict[str, Tensor], h: Tensor, key: str, *, training: bool) -> Tensor:
    """BatchNorm `key` of `h`."""
    mean, var = weights[f"{key}.running_mean"], weights[f"{key}.running_var"]
    if training:
        mean, var = h.mean((0, 2, 3)), h.var((0, 2, 3), correction=0)
    h = (h - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    return h * weights[f"{key}.weight"][:, None, None] + weights[f"{key}.bias"][:, None, None]


def _averaged(x: Tensor) -> Tensor:
    """The mean of each 2x2 square; at an odd border, of the pixels that are there."""
    rows = [
        torch.stack([x[:, :, i : i + 2, j : j + 2].mean((2, 3)) for j in range(0, x.shape[3], 2)], 2)
        for i in range(0, x.shape[2], 2)
    ]
    return torch.stack(rows, 2)
