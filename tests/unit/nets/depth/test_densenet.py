"""DenseNet: the published sizes and costs, a run by hand that it must equal, and the places of its exits."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anytimenet.bundle import Bundle
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.costs import StageCost, stage_costs
from anytimenet.nets import AnytimeNet, ExitNet, build_on_meta, create_net, net_entry
from anytimenet.nets.depth.densenet import densenet
from anytimenet.nets.depth.densenet_layers import DenseLayer, DenseTransition
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

RGB = Preprocessing(8, 8, 3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
PLAIN = {"bottleneck": False, "reduction": 1.0}

# --- the contract -------------------------------------------------------------------------------------------


def test_the_tiny_net_keeps_the_contract() -> None:
    check_anytime_net(create_net("densenet_tiny", (6, 2)), (3, 8, 8))


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({**PLAIN, "layers": (1, 2), "exits_after": (2, 3), "in_channels": 1}, (1, 9, 5)),
        ({"layers": (3, 1), "exits_after": (1, 2, 4), "stem": "imagenet"}, (3, 16, 9)),
        ({"layers": (2,), "exits_after": (1, 2), "reduction": 1.0, "stem_channels": 1}, (3, 1, 2)),
    ],
)
def test_other_forms_keep_the_contract(arguments: dict[str, Any], shape: tuple[int, int, int]) -> None:
    check_anytime_net(create_net("densenet_tiny", (4, 2), **arguments), shape, export=False)


# --- published sizes and costs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "parameters"),
    [
        ("densenet_40_12", {}, "1.0"),
        ("densenet_40_12", {"layers": (32, 32, 32)}, "7.0"),
        ("densenet_40_12", {"layers": (32, 32, 32), "growth": 24}, "27.2"),
        ("densenet_bc_100_12", {}, "0.8"),
        ("densenet_bc_100_12", {"layers": (41, 41, 41), "growth": 24}, "15.3"),
        ("densenet_bc_190_40", {}, "25.6"),
    ],
)
def test_parameters_are_those_of_the_papers_table(
    name: str, arguments: dict[str, Any], parameters: str
) -> None:
    assert f"{_scalars(_on_meta(name, 10, **arguments)) / 1e6:.1f}" == parameters


def test_exact_parameters_of_the_usual_nets_for_small_images() -> None:
    assert _scalars(_on_meta("densenet_40_12", 10)) == 1_019_722
    assert _scalars(_on_meta("densenet_bc_100_12", 10)) == 769_162


@pytest.mark.parametrize(
    ("layers", "growth", "parameters"),
    [
        ((6, 12, 24, 16), 32, 7_978_856),
        ((6, 12, 32, 32), 32, 14_149_480),
        ((6, 12, 48, 32), 32, 20_013_928),
        ((6, 12, 36, 24), 48, 28_681_000),
    ],
    ids=["121", "169", "201", "161"],
)
def test_the_imagenet_form_has_the_parameters_that_torchvision_publishes(
    layers: tuple[int, ...], growth: int, parameters: int
) -> None:
    assert _scalars(_on_meta("densenet_121_imagenet", 1000, layers=layers, growth=growth)) == parameters


def test_densenet_121_costs_the_multiply_adds_that_torchvision_publishes() -> None:
    assert f"{_costs('densenet_121_imagenet')[-1].macs / 1e9:.3f}" == "2.834"


def test_the_imagenet_form_predicts_what_torchvisions_densenet_predicts(torchvision: Any) -> None:
    theirs = torchvision.models.densenet121(num_classes=7)
    redraw(theirs.requires_grad_(False), torch.Generator().manual_seed(0))
    ours = create_net("densenet_121_imagenet", 7)
    values, state = list(theirs.state_dict().values()), ours.state_dict()
    ours.load_state_dict(dict(zip(state, values, strict=True)))  # the same tensors in the same order
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x)[0][0], theirs.eval()(x), rtol=1e-4, atol=1e-4)


def test_predictors_on_the_way_change_nothing_of_the_last_stage() -> None:
    (alone,), stages = _costs("densenet_121_imagenet"), _costs("densenet_121_imagenet_exits")
    assert stages[-1].macs == alone.macs
    assert stages[-1].params == alone.params


def test_costs_in_closed_form() -> None:
    # Two blocks of two layers, k = 4, on 8x8 images and then 4x4: the stem gives 8 channels, a layer reads c
    # of them for 16 c + 9 * 16 * 4 multiply-adds a pixel, the transition reads 16 and gives 8 at 8x8.
    net = densenet((10,), layers=(2, 2), growth=4, exits_after=(1, 2, 3, 4))
    first = 64 * (9 * 3 * 8 + 16 * 8 + 576)
    second = first + 64 * (16 * 12 + 576)
    third = second + 64 * 16 * 8 + 16 * (16 * 8 + 576)
    fourth = third + 16 * (16 * 12 + 576)
    found = [cost.macs for cost in stage_costs(net, (3, 8, 8))]
    assert found == [first + 120, second + 160, third + 120, fourth + 160]


def test_the_small_net_is_comparable_with_the_other_small_nets() -> None:
    macs = [cost.macs / 1e6 for cost in _costs("densenet_small")]
    assert [f"{cost:.2f}" for cost in macs] == ["0.49", "0.93", "1.47", "1.79"]


# --- what is computed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bottleneck", [True, False])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_forward_equals_a_run_by_hand(stem: str, bottleneck: bool, training: bool) -> None:
    net = densenet(
        (4, 2), layers=(2, 1, 2), growth=3, bottleneck=bottleneck, stem=stem, exits_after=(1, 2, 3, 5)
    )
    redraw(net.double().requires_grad_(False), torch.Generator().manual_seed(0))
    net.train(training)
    x = torch.randn(3, 3, 21, 18, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    truth = _by_hand(weights, x, starts=(3, 4), exits=(1, 2, 3, 5), training=training)
    torch.testing.assert_close(net(x), truth, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bottleneck", [True, False])
def test_a_layer_appends_to_what_it_reads_and_leaves_it_as_it_is(bottleneck: bool) -> None:
    layer, x = DenseLayer(5, 3, bottleneck=bottleneck), torch.randn(2, 5, 6, 6)
    before = x.clone()
    y = layer(x)
    assert y.shape == (2, 8, 6, 6)
    assert torch.equal(y[:, :5], before)
    assert torch.equal(x, before)
    DenseTransition(5, 2)(x)
    assert torch.equal(x, before)


def test_the_state_is_the_concatenated_features_of_the_block() -> None:
    net = densenet(layers=(3, 2), growth=4, exits_after=(1, 2, 3, 4, 5))
    shapes = [spec.shape for stage in range(1, 5) for spec in net.state_spec(stage, (3, 8, 6))]
    assert shapes == [(12, 8, 6), (16, 8, 6), (20, 8, 6), (14, 4, 3)]


@pytest.mark.parametrize(
    ("arguments", "channels"),
    [
        ({}, 24),
        (PLAIN, 16),
        ({**PLAIN, "reduction": 0.5}, 16),
        ({"reduction": 1}, 16),
        ({**PLAIN, "stem": "imagenet"}, 24),
        ({"stem_channels": 5}, 5),
    ],
)
def test_channels_of_the_stem(arguments: dict[str, Any], channels: int) -> None:
    with torch.device("meta"):
        net = densenet(layers=(1,), exits_after=(1,), **arguments)
    assert net.get_submodule("blocks.0.block1.norm1").num_features == channels


@pytest.mark.parametrize(("reduction", "channels"), [(0.5, 7), (1, 15), (0.7, 10), (0.1, 1)])
def test_a_transition_keeps_its_part_of_the_channels_rounded_down(reduction: float, channels: int) -> None:
    with torch.device("meta"):
        net = densenet(layers=(2, 1), growth=5, reduction=reduction, stem_channels=5)
    assert net.get_submodule("blocks.0.block3.transition.conv").out_channels == channels


# --- exits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exits_after", "read"), [(None, [6]), ("block_ends", [1, 4, 6]), ((2, 4, 5, 6), [2, 4, 5, 6])]
)
def test_places_of_the_exits(exits_after: Any, read: list[int]) -> None:
    with torch.device("meta"):
        net = densenet(layers=(1, 3, 2), growth=2, exits_after=exits_after)
    assert list(net.graph.exits) == [f"block{layer}" for layer in read]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("densenet_bc_100_12_exits", [(216, 32), (300, 16), (342, 8)]),
        ("densenet_121_imagenet_exits", [(256, 56), (512, 28), (1024, 14), (1024, 7)]),
    ],
)
def test_exits_at_block_ends_read_before_the_transition(name: str, read: list[tuple[int, int]]) -> None:
    net = _on_meta(name, 10)
    assert isinstance(net, ExitNet)
    shapes = net.node_shapes(net_entry(name).input_shape)
    assert [shapes[block] for block in net.graph.exits] == [(width, side, side) for width, side in read]


def test_a_kept_stage_is_the_net_that_ends_there() -> None:
    net = create_net("densenet_tiny", layers=(2, 2, 1)).keep((2,))
    short = create_net("densenet_tiny", layers=(2, 2), exits_after=None)
    assert [t.shape for t in net.state_dict().values()] == [t.shape for t in short.state_dict().values()]


# --- saving and drawing -------------------------------------------------------------------------------------


def test_a_bundle_remembers_the_arguments(tmp_path: Path) -> None:
    net = create_net(
        "densenet_tiny", 2, layers=[1, 2], exits_after="block_ends", reduction=0.75, stem="imagenet"
    )
    bundle = Bundle.create(net, class_names=(("a", "b"),), preprocessing=RGB)
    bundle.save(tmp_path / "saved")
    loaded = Bundle.load(tmp_path / "saved")
    x = torch.randn(2, 3, 8, 8)
    for ours, theirs in zip(net.eval()(x), loaded.net.eval()(x), strict=True):
        assert torch.equal(ours[0], theirs[0])


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_weights_are_drawn_as_the_net_was_built(stem: str) -> None:
    torch.manual_seed(3)
    built = create_net("densenet_tiny", stem=stem)
    net = create_net("densenet_tiny", stem=stem)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.fill_(7)
    torch.manual_seed(3)
    draw_weights(net)
    for name, tensor in built.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name]), name


def test_convolutions_are_he_normal_over_the_fan_out() -> None:
    torch.manual_seed(0)
    net = densenet(layers=(2, 1), growth=32)
    for key, weight in net.state_dict().items():
        if weight.ndim == 4:
            fan_out = len(weight) * weight[0, 0].numel()
            assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1), key


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exits_after": (1, 2)}, "the last of them 4"),
        ({"exits_after": 4}, "exits_after 4: a list of whole numbers is needed"),
        ({"exits_after": "block_end"}, "did you mean 'block_ends'"),
        ({"layers": ()}, "for each block the number of dense layers"),
        ({"layers": (1, 0)}, "for each block the number of dense layers"),
        ({"layers": 3}, "layers 3: a list of whole numbers is needed"),
        ({"growth": 0}, "growth 0 must be at least 1"),
        ({"stem": "imagnet"}, "no stem is named 'imagnet': did you mean 'imagenet'"),
        ({"stem_channels": 0}, "stem_channels 0 must be at least 1"),
        ({"reduction": 0}, "reduction 0: a number over 0 and at most 1"),
        ({"reduction": 1.5}, "reduction 1.5: a number over 0 and at most 1"),
        ({"reduction": "half"}, "reduction 'half': a number over 0"),
        ({"reduction": 0.05}, r"reduction 0.05 leaves none of 12 channels: at least 0.083"),
        ({"in_channels": 0}, "in_channels 0 must be at least 1"),
        ({"init": "mrsa"}, "no initialisation is named 'mrsa'"),
    ],
)
def test_arguments_that_make_no_net_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("densenet_tiny", **arguments)


def test_an_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images of 3x8 are too small .* at least 4x4"):
        create_net("densenet_tiny")(torch.zeros(2, 3, 3, 8))


# --- the run by hand ----------------------------------------------------------------------------------------


def _by_hand(
    weights: dict[str, Tensor], x: Tensor, *, starts: tuple[int, ...], exits: tuple[int, ...], training: bool
) -> list[tuple[Tensor, ...]]:
    """The outputs at `exits`; layers `starts` begin a new block."""

    def normed(h: Tensor, key: str) -> Tensor:
        mean, var = weights[f"{key}.running_mean"], weights[f"{key}.running_var"]
        if training:
            mean, var = h.mean((0, 2, 3)), h.var((0, 2, 3), correction=0)
        h = (h - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        return (h * weights[f"{key}.weight"][:, None, None] + weights[f"{key}.bias"][:, None, None]).relu()

    if "blocks.0.stem.weight" in weights:
        x = F.conv2d(x, weights["blocks.0.stem.weight"], padding=1)
    else:
        stem = "blocks.0.stem.first"
        h = normed(F.conv2d(x, weights[f"{stem}.conv.weight"], None, 2, 3), f"{stem}.norm")
        padded = F.pad(h, (1, 1, 1, 1), value=-math.inf)
        x = padded.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))
    outputs: list[tuple[Tensor, ...]] = []
    for number in range(1, exits[-1] + 1):
        layer = f"blocks.{len(outputs)}.block{number}"
        if number in starts:
            h = normed(x, f"{layer}.transition.norm")
            h = F.conv2d(h, weights[f"{layer}.transition.conv.weight"])
            x = h.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
        h = normed(x, f"{layer}.norm1")
        if f"{layer}.conv2.weight" in weights:
            h = normed(F.conv2d(h, weights[f"{layer}.conv1.weight"]), f"{layer}.norm2")
            h = F.conv2d(h, weights[f"{layer}.conv2.weight"], padding=1)
        else:
            h = F.conv2d(h, weights[f"{layer}.conv1.weight"], padding=1)
        x = torch.cat([x, h], 1)
        if number in exits:
            levels = [f"heads.{len(outputs)}.head.levels.{d}" for d in (0, 1)]
            outputs.append(
                tuple(
                    normed(x, f"{level}.norm").mean((2, 3)) @ weights[f"{level}.fc.weight"].T
                    + weights[f"{level}.fc.bias"]
                    for level in levels
                )
            )
    return outputs


def _on_meta(name: str, classes: int, **arguments: Any) -> AnytimeNet:
    return build_on_meta(lambda: create_net(name, classes, **arguments))


@cache
def _costs(name: str) -> list[StageCost]:
    shape = net_entry(name).input_shape
    return stage_costs(_on_meta(name, 1000 if "imagenet" in name else 10), shape)


def _scalars(net: AnytimeNet) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
