"""NestedNet: levels nested in channels or in units, each with a classifier and BatchNorms of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from anytimenet.core.manifest.records import NetOrigin
from anytimenet.costs import stage_costs
from anytimenet.nets import AnytimeNet, create_net, net_entry, rebuild_net
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.nets.width.elastic_resnet import ElasticResNet
from anytimenet.nets.width.nestednet import nestednet
from anytimenet.schemes import RunFacts, scheme_preset
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

SUBSETS = (((1,), (1, 3)), ((1,), (1, 2, 3)), ((1, 2), (1, 2, 3)))
"""For each level and group the numbers of the units that run; the first level leaves one out."""


def on_meta(name: str, classes: int = 10, **arguments: Any) -> ElasticResNet:
    with torch.device("meta"):
        net = create_net(name, classes, **arguments)
    assert isinstance(net, ElasticResNet)
    return net


# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("nestednet_channel_tiny", {"in_channels": 1, "units": (2, 1)}, (1, 9, 13)),
        ("nestednet_channel_tiny", {"unit": "bottleneck", "ratios": (0.5, 1.0)}, (3, 8, 8)),
        ("nestednet_layer_tiny", {"stem": "imagenet", "level_units": None}, (3, 16, 9)),
        ("nestednet_layer_tiny", {"units": (2, 3), "level_units": SUBSETS, "unit": "bottleneck"}, (3, 8, 8)),
    ],
)
def test_keeps_the_contract(name: str, arguments: dict[str, Any], shape: tuple[int, int, int]) -> None:
    check_anytime_net(create_net(name, (6, 2), **arguments), shape, export=False)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("nestednet_channel_tiny", {"ratios": [0.34, 1]}),
        ("nestednet_layer_tiny", {"units": [2, 3], "level_units": [[[1], [1, 3]], [2, 3]]}),
    ],
)
def test_a_net_is_rebuilt_from_its_origin(name: str, arguments: dict[str, Any]) -> None:
    net = create_net(name, (4, 2), **arguments).keep((1,))
    assert net.origin is not None
    stored = json.loads(json.dumps(net.origin.arguments))
    twin = rebuild_net(NetOrigin(name, stored, net.origin.keep))
    twin.load_state_dict(net.state_dict())
    assert twin.parts() == net.parts()


# --- what the levels are ------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_a_level_of_layers_is_the_plain_net_of_its_units(training: bool) -> None:
    """Units that a level leaves out are jumped over: the others are those of a shallower net."""
    net = nestednet((4, 2), scheduling="layer", width=4, units=(2, 3), level_units=SUBSETS)
    redraw(net.double(), torch.Generator().manual_seed(0))
    net.train(training)
    x = torch.randn(3, 3, 9, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs = net(x)
    for stage, level in enumerate(SUBSETS, 1):
        counts = tuple(len(numbers) for numbers in level)
        plain = nestednet((4, 2), width=4, ratios=(1,), units=counts).double().train(training)
        weights = net.state_dict()

        def name_in_net(name: str, stage: int = stage, level: Any = level) -> str:
            name = name.replace("stage1.", f"stage{stage}.")
            for group, numbers in enumerate(level, 1):
                for place, number in reversed(list(enumerate(numbers, 1))):
                    name = name.replace(f"group{group}_unit{place}.", f"group{group}_unit{number}.")
            return name

        plain.load_state_dict({name: weights[name_in_net(name)] for name in plain.state_dict()})
        # In training mode running statistics have moved, which the output does not see.
        torch.testing.assert_close(plain(x)[0], outputs[stage - 1], rtol=1e-9, atol=1e-9)


def test_a_level_of_channels_is_cut_out_of_the_last_one() -> None:
    net = nestednet((4,), width=6, units=(1, 1), ratios=(0.34, 1), divisor=2).double().eval()
    redraw(net, torch.Generator().manual_seed(0))
    thin = nestednet((4,), width=2, units=(1, 1), ratios=(1,)).double().eval()
    weights = net.state_dict()
    thin.load_state_dict(
        {n: weights[n][tuple(slice(size) for size in t.shape)] for n, t in thin.state_dict().items()}
    )
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(thin(x), net(x, (1,)))


@pytest.mark.parametrize("name", ["nestednet_channel_tiny", "nestednet_layer_tiny"])
def test_every_level_has_a_classifier_and_norms_of_its_own(name: str) -> None:
    net = create_net(name, (4, 2))
    own = [part for part in net.parts() if "head." in part.name or ".norm." in part.name]
    assert all(len(part.stages) == 1 for part in own)
    assert {part.stages for part in own if part.name.startswith("head.")} == {(1,), (2,), (3,)}


def test_depths_and_widths_of_the_registered_nets() -> None:
    assert on_meta("nestednet_channel_cifar").plan.widths == ((16, 32, 64), (32, 64, 128), (64, 128, 256))
    rows = on_meta("nestednet_layer_cifar").plan.units
    assert [2 + 2 * sum(len(numbers) for numbers in row) for row in rows] == [14, 20, 26, 32]
    assert [row[0] for row in on_meta("nestednet_channel_small").plan.widths] == [6, 9, 12]
    assert [row[0] for row in on_meta("nestednet_channel_tiny").plan.widths] == [2, 4, 6]
    small = on_meta("nestednet_layer_small").plan.units
    assert [2 + 2 * sum(len(numbers) for numbers in row) for row in small] == [8, 14, 20]


def test_costs_in_closed_form() -> None:
    def costs(name: str) -> list[int]:
        return [cost.macs for cost in stage_costs(on_meta(name), net_entry(name).input_shape)]

    # A convolution within a group costs the same in each; one that enters a later group half, its shortcut a
    # ninth of that.
    def macs(w: int, units: int, pixels: int) -> int:
        within = pixels * 9 * w * w
        return pixels * 27 * w + (6 * units - 2) * within + 2 * (within // 2 + within // 18) + 4 * w * 10

    assert costs("nestednet_channel_cifar") == [macs(w, 5, 1024) for w in (16, 32, 64)]
    assert costs("nestednet_layer_cifar") == [macs(64, units, 1024) for units in (2, 3, 4, 5)]
    assert costs("nestednet_channel_small") == [macs(w, 1, 256) for w in (6, 9, 12)]
    assert costs("nestednet_layer_small") == [macs(6, units, 256) for units in (1, 2, 3)]


# --- training, keeping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["anytime", "coarse_to_fine", "distilled", "slimmable"])
@pytest.mark.parametrize("name", ["nestednet_channel_tiny", "nestednet_layer_tiny"])
def test_the_schemes_give_gradients(name: str, scheme: str) -> None:
    net = create_net(name, (4, 2)).train()
    built = scheme_preset(scheme).scheme.build(net, RunFacts())
    labels = (torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1]))

    def loss(output: Any, wanted: Any) -> torch.Tensor:
        pairs = zip(output, wanted, strict=True)
        return torch.stack([torch.nn.functional.cross_entropy(*pair) for pair in pairs]).sum()

    losses = built.step(net, torch.randn(4, 3, 8, 8), labels, loss, lambda tensor: tensor)
    assert set(losses) == {1, 2, 3}
    assert all(p.grad is not None for n, p in net.named_parameters() if not n.startswith("head."))


def test_a_kept_level_may_lack_units_in_the_middle() -> None:
    net: AnytimeNet = nestednet(scheduling="layer", width=4, units=(2, 3), level_units=SUBSETS).eval()
    redraw(net, torch.Generator().manual_seed(0))
    kept, x = net.keep((1,)), torch.randn(2, 3, 8, 8)
    assert isinstance(kept, ElasticResNet)
    assert list(kept.units) == ["group1_unit1", "group2_unit1", "group2_unit3"]
    torch.testing.assert_close(kept(x), net(x, (1,)))
    draw_weights(kept)
    assert not torch.allclose(kept(x)[0][0], net(x, (1,))[0][0])


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheduling": "layers"}, "no scheduling is named 'layers': did you mean 'layer'"),
        ({"level_units": ((1, 1), (2, 2))}, "says nothing in channel scheduling: .* scheduling='layer'"),
        ({"scheduling": "layer", "ratios": (0.5, 1)}, "says nothing in layer scheduling"),
        ({"ratios": (0.5, 0.51, 1)}, "both give"),
        ({"scheduling": "layer", "level_units": ((1, 1), (2, 1))}, "the last level must run all units"),
        ({"scheduling": "layer", "level_units": ((2, 1), (1, 2), (2, 2))}, "does not contain stage 1"),
        ({"scheduling": "layer", "level_units": ((2, 2), (2, 2))}, "are the same"),
        ({"scheduling": "layer", "level_units": (([2], 1), (2, 2))}, "begins with 1"),
        (
            {"scheduling": "layer", "level_units": 3},
            "level_units 3: a list with one entry a group",
        ),
        (
            {"scheduling": "layer", "level_units": ()},
            r"level_units \(\): a list with one entry a group is needed",
        ),
        ({"width": 0}, "width 0 must be at least 1"),
        ({"units": (0, 1)}, "for each group the number of units"),
        ({"normalisation": "shared"}, "no normalisation is named 'shared'"),
    ],
)
def test_arguments_that_make_no_net_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nestednet(**{"width": 4, "units": (2, 2), **arguments})
