"""Slimmable nets: published costs, runs by hand, and statistics that are never silently wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anytimenet.bundle import Bundle
from anytimenet.core.errors import StatisticsMissingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.costs import StageCost, stage_costs
from anytimenet.nets import AnytimeNet, create_net, list_nets, net_entry, rebuild_net
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.nets.width.elastic_layers import StageStatistics
from anytimenet.nets.width.elastic_resnet import ElasticResNet
from anytimenet.nets.width.slimmable import make_divisible, slimmable, universally_slimmable, widths_at
from anytimenet.schemes import Scheme
from anytimenet.schemes.sampling import Sandwich
from anytimenet.schemes.targets.distillation import Distillation
from anytimenet.tasks import Classification
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw
from anytimenet.training import TrainConfig, train
from anytimenet.training.statistics import reestimate_statistics

RGB = Preprocessing(8, 8, 3, mean=(0.5,) * 3, std=(0.25,) * 3)


class Given:
    """Batches of random images, the same in every epoch."""

    def __init__(self, *seeds: int, count: int = 6, channels: int = 3, classes: int = 4) -> None:
        self.batches = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            x = torch.randn(count, channels, 8, 8, generator=generator) * (1 + seed) + seed
            self.batches.append((x, (torch.randint(classes, (count,), generator=generator),)))

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        yield from self.batches[start:]


def calibrated(net: AnytimeNet) -> AnytimeNet:
    dtype = next(net.parameters()).dtype
    batches = Given(0, 1, channels=net.in_channels)
    batches.batches = [(x.to(dtype), labels) for x, labels in batches.batches]
    reestimate_statistics(net, batches)
    return net


def counted(net: AnytimeNet) -> AnytimeNet:
    """`net` with statistics that pass for estimated; `check_anytime_net` draws their values anew."""
    for module in net.modules():
        if isinstance(module, StageStatistics):
            module.counter.fill_(1)
    return net


def recalibrated_net(num_classes: Any = 4, **arguments: Any) -> ElasticResNet:
    torch.manual_seed(0)
    net = create_net("slimmable_tiny", num_classes, normalisation="recalibrate", **arguments)
    assert isinstance(net, ElasticResNet)
    return net.eval()


# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (3, 8, 8)),
        ({"unit": "bottleneck", "stem": "imagenet", "in_channels": 1, "width": 4}, (1, 9, 13)),
        ({"units": (2,), "ratios": (0.25, 1.0), "unit": "bottleneck"}, (3, 3, 2)),
    ],
    ids=["basic", "bottleneck-imagenet-grey", "bottleneck"],
)
@pytest.mark.parametrize("normalisation", ["own", "recalibrate"])
def test_keeps_the_contract(
    arguments: dict[str, Any], shape: tuple[int, int, int], normalisation: str
) -> None:
    net = create_net("slimmable_tiny", (6, 2), normalisation=normalisation, **arguments)
    check_anytime_net(counted(net), shape, export=False)


def test_the_universal_net_keeps_the_contract_once_it_has_statistics() -> None:
    check_anytime_net(counted(create_net("universally_slimmable_tiny", 5)), (3, 8, 8), export=False)


# --- what is computed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalisation", ["own", "recalibrate"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [{"units": (2, 1)}, {"units": (1, 2), "unit": "bottleneck", "stem": "imagenet", "divisor": 1}],
    ids=["basic-cifar", "bottleneck-imagenet"],
)
def test_every_stage_equals_a_plain_net_of_sliced_weights(
    arguments: dict[str, Any], training: bool, normalisation: str
) -> None:
    net = create_net("slimmable_tiny", (4, 2), normalisation=normalisation, **arguments).double()
    redraw(net if normalisation == "own" else calibrated(net), torch.Generator().manual_seed(0))
    weights = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    x = torch.randn(3, 3, 11, 13, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs = net.train(training)(x)
    for stage, (first, second) in enumerate(((4, 8), (6, 12), (8, 16)), 1):
        truth = _by_hand(
            weights,
            x,
            stage,
            widths=(first, second),
            units=arguments["units"],
            bottleneck="unit" in arguments,
            large="stem" in arguments,
            training=training,
        )
        torch.testing.assert_close(outputs[stage - 1], truth, rtol=1e-9, atol=1e-9)


def test_channels_are_multiples_of_the_divisor_and_never_lose_a_tenth() -> None:
    for divisor in (1, 2, 8):
        for tenths in range(1, 1000):
            exact = tenths / 10
            found = make_divisible(exact, divisor)
            assert found % divisor == 0
            assert found >= 0.9 * exact
            assert found == divisor or found - exact <= divisor
            nearest = divisor * max(1, int(exact / divisor + 0.5))
            assert found == nearest or nearest < 0.9 * exact
    assert widths_at((0.35, 1), 64, 2, 8) == [[24, 48], [64, 128]]


def test_a_universal_net_has_every_admissible_width() -> None:
    with torch.device("meta"):
        net = universally_slimmable(lowest=0.3, width=40, units=(1, 1), divisor=8)
        exact = universally_slimmable(lowest=0.7, width=10, units=(1,), divisor=1)
    assert list(net.plan.widths) == [(w, 2 * w) for w in (16, 24, 32, 40)]
    assert exact.plan.widths[0] == (7,)  # although 0.7 * 10 is more than 7 in floating point


def test_all_stages_share_one_classifier_and_its_bias() -> None:
    net = recalibrated_net((4, 2))
    assert [name for name in net.state_dict() if name.startswith("head.")] == [
        "head.levels.0.weight",
        "head.levels.0.bias",
        "head.levels.1.weight",
        "head.levels.1.bias",
    ]
    stages = {part.stages for part in net.parts() if part.name.endswith("levels.0.bias")}
    assert stages == {(1, 2, 3)}


# --- costs --------------------------------------------------------------------------------------------------


def test_published_costs_of_the_slimmable_resnet_50() -> None:
    costs = _costs("slimmable_50_imagenet", 1000)
    assert [f"{cost.macs / 1e6:.0f}" for cost in costs[:1]] == ["278"]
    assert [f"{cost.macs / 1e9:.1f}" for cost in costs[1:]] == ["1.1", "2.3", "4.1"]
    # What PyTorch's own ResNet-50 has.
    assert (costs[-1].params, costs[-1].macs) == (25_557_032, 4_089_184_256)


def test_the_universal_resnet_50_contains_the_slimmable_one() -> None:
    few, many = _costs("slimmable_50_imagenet", 1000), _costs("universally_slimmable_50_imagenet", 1000)
    assert {cost.macs for cost in few} <= {cost.macs for cost in many}
    assert len(many) == 7


def test_costs_of_the_small_nets_in_closed_form() -> None:
    # 3x16x16 images, a unit a group, w channels at first: a convolution within a group costs the same in each
    # (twice the channels, a quarter of the pixels), one that enters a later group half, its shortcut a ninth
    # of that.
    def macs(w: int) -> int:
        within = 256 * 9 * w * w
        return 256 * 27 * w + 4 * within + 2 * (within // 2 + within // 18) + 4 * w * 10

    assert [cost.macs for cost in _costs("slimmable_small", 10)] == [macs(w) for w in (6, 8, 10, 12)]
    universal = _costs("universally_slimmable_small", 10)
    assert [cost.macs for cost in universal] == [macs(w) for w in range(6, 13)]


def test_scales_are_stored_once_with_recalibration_and_for_every_stage_without() -> None:
    own, shared = recalibrated_net(), create_net("slimmable_tiny", 4)
    norms = sum(layer.numel() for name, layer in own.named_parameters() if ".norm." in name)
    # Stem, two units of two convolutions, one shortcut: 8 * 3 + 16 * 3 channels with a scale and a shift.
    assert norms == 2 * (8 * 3 + 16 * 3)
    every = sum(layer.numel() for name, layer in shared.named_parameters() if ".norm." in name)
    assert every == norms * (4 + 6 + 8) / 8


# --- statistics that training does not track ----------------------------------------------------------------


def test_a_net_without_statistics_refuses_to_predict() -> None:
    net, x = recalibrated_net(), torch.zeros(2, 3, 8, 8)
    assert not net.tracks_statistics
    assert net.stages_without_statistics() == (1, 2, 3)
    cure = r"an\.reestimate\(bundle\), or of a net alone training\.statistics"
    with pytest.raises(StatisticsMissingError, match=rf"stages 2, 3 cannot predict.*{cure}"):
        net(x, (2, 3))
    with pytest.raises(StatisticsMissingError, match=cure):
        next(net.passes(x))
    with pytest.raises(StatisticsMissingError, match="stage 2 cannot predict"):
        net.segment(1, 2)
    with pytest.raises(ValueError, match="does not exist"):
        net.segment(2, 1)


def test_statistics_are_the_means_over_batches_of_each_stage_alone() -> None:
    net = recalibrated_net().double()
    redraw(net, torch.Generator().manual_seed(0))
    batches = Given(0, 1, 2)
    batches.batches = [(x.double(), labels) for x, labels in batches.batches]
    assert reestimate_statistics(net, batches) == 3
    for stage in (1, 2, 3):
        channels = net.plan.stem_channels[stage]
        weight = net.stem.layer.conv.weight[:channels]
        seen = [F.conv2d(x, weight, padding=1) for x, _ in batches.batches]
        found = net.stem.layer.norm.of_stage(stage)  # type: ignore[operator]
        torch.testing.assert_close(found.running_mean, torch.stack([h.mean((0, 2, 3)) for h in seen]).mean(0))
        torch.testing.assert_close(found.running_var, torch.stack([h.var((0, 2, 3)) for h in seen]).mean(0))
        assert found.counter == 3
        # Deep inside, too: as a net of this stage alone finds them.
        alone = net.keep((stage,))
        reestimate_statistics(alone, batches)
        for (name, tensor), other in zip(alone.named_buffers(), net.keep((stage,)).buffers(), strict=True):
            torch.testing.assert_close(tensor, other, msg=name)


def test_on_one_batch_evaluation_after_estimation_is_training() -> None:
    net = recalibrated_net().double()
    redraw(net, torch.Generator().manual_seed(0))
    batches = Given(0)
    batches.batches = [(x.double(), labels) for x, labels in batches.batches]
    (x, _) = batches.batches[0]
    truth = net.train()(x)
    seen = {}
    for module in net.modules():
        if isinstance(module, StageStatistics):
            module.register_forward_hook(
                lambda which, given, _: seen.update({which: given[0].numel() / which.num_features})
            )
    reestimate_statistics(net, batches)
    for module, count in seen.items():
        module.running_var *= (count - 1) / count  # the estimate divides by n - 1, a batch by n
    torch.testing.assert_close(net.eval()(x), truth, rtol=1e-9, atol=1e-9)


def test_stages_are_estimated_one_by_one() -> None:
    net, x = recalibrated_net(), torch.zeros(2, 3, 8, 8)
    reestimate_statistics(net, Given(0), stages=(2,))
    assert net.stages_without_statistics() == (1, 3)
    net(x, (2,))
    net.segment(0, 2)
    before = net(x, (2,))
    reestimate_statistics(net, Given(1), stages=(1, 3))
    assert net.stages_without_statistics() == ()
    assert torch.equal(net(x, (2,))[0][0], before[0][0])


@pytest.mark.parametrize("how", ["forward", "passes"])
def test_a_run_in_training_mode_makes_all_statistics_stale(how: str) -> None:
    net = calibrated(recalibrated_net())
    x = torch.randn(4, 3, 8, 8)
    assert net.stages_without_statistics() == ()
    net.train()
    net(x, (1,)) if how == "forward" else list(net.passes(x, (1,)))
    assert net.stages_without_statistics() == (1, 2, 3)
    with pytest.raises(StatisticsMissingError):
        net.eval()(x)


def test_nothing_is_known_on_the_meta_device() -> None:
    with torch.device("meta"):
        net = create_net("universally_slimmable_tiny")
        assert net.stages_without_statistics() == ()
        assert len(net.eval()(torch.zeros(1, 3, 8, 8))) == 3


def test_a_net_with_norms_of_its_own_never_lacks_statistics() -> None:
    net = create_net("slimmable_tiny").train()
    assert net.tracks_statistics
    net(torch.randn(2, 3, 8, 8))
    assert net.stages_without_statistics() == ()


def test_a_kept_net_keeps_the_statistics_of_its_stages_and_their_absence() -> None:
    assert recalibrated_net().keep((1, 3)).stages_without_statistics() == (1, 2)
    net = recalibrated_net()
    reestimate_statistics(net, Given(0), stages=(1, 3))
    assert net.keep((2, 3)).stages_without_statistics() == (1,)
    kept, x = net.keep((1, 3)), torch.randn(2, 3, 8, 8)
    for (one,), (other,) in zip(kept(x), net(x, (1, 3)), strict=True):
        torch.testing.assert_close(one, other)


# --- saving, drawing, training ------------------------------------------------------------------------------


@pytest.mark.parametrize("estimated", [True, False])
def test_a_bundle_carries_the_statistics_or_their_absence(tmp_path: Path, estimated: bool) -> None:
    torch.manual_seed(0)
    net = create_net("universally_slimmable_tiny", 4, lowest=0.4, width=5)
    if estimated:
        calibrated(net)
    Bundle.create(net.eval(), class_names=[list("abcd")], preprocessing=RGB).save(tmp_path / "b")
    for stages in (None, 2):
        loaded = Bundle.load(tmp_path / "b", stages=stages).net
        twin = net if stages is None else net.keep((1, 2))
        assert loaded.stages_without_statistics() == (() if estimated else (1, 2, 3, 4)[:stages])
        for name, tensor in twin.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_net_is_rebuilt_from_its_origin() -> None:
    net = create_net("slimmable_tiny", (4, 2), ratios=[0.25, 0.5, 1], unit="bottleneck").keep((1, 3))
    assert net.origin is not None
    stored = json.loads(json.dumps(net.origin.arguments))
    twin = rebuild_net(NetOrigin(net.origin.name, stored, net.origin.keep))
    twin.load_state_dict(net.state_dict())
    assert twin.parts() == net.parts()


@pytest.mark.parametrize("normalisation", ["own", "recalibrate"])
def test_a_stage_is_drawn_as_a_net_of_so_many_channels(normalisation: Literal["own", "recalibrate"]) -> None:
    net = calibrated(create_net("slimmable_tiny", 4, normalisation=normalisation)).keep((2,))
    torch.manual_seed(3)
    draw_weights(net)
    torch.manual_seed(3)
    built = slimmable((4,), ratios=(1,), width=6, units=(1, 1), divisor=2, normalisation=normalisation)
    assert list(net.state_dict()) == list(built.state_dict())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, built.state_dict()[name]), name


@pytest.mark.parametrize("normalisation", ["own", "recalibrate"])
def test_it_learns_with_the_sandwich_rule_and_goes_on_after_a_stop(
    tmp_path: Path, normalisation: str
) -> None:
    scheme = Scheme(sampling=Sandwich(random=1), targets=Distillation("largest", mixing=1.0))
    config = TrainConfig(epochs=4, batch_size=6, lr=0.1, schedule="cosine", device="cpu", scheme=scheme)

    def run(epochs: int, **options: Any) -> tuple[AnytimeNet, Any]:
        torch.manual_seed(0)
        net = create_net("slimmable_tiny", 4, normalisation=normalisation)
        batches = Given(0, 1, 2)
        found = train(net, batches, batches, Classification((4,)), replace(config, epochs=epochs), **options)
        return net, found

    whole, expected = run(4)
    assert expected.history[-1]["loss"] < expected.history[0]["loss"]
    assert whole.stages_without_statistics() == ()

    from anytimenet.training.run import Run

    finish = Run.finish_epoch

    def cut_off(self: Any) -> Any:
        if self.position.epoch == 2:
            raise KeyboardInterrupt
        return finish(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "finish_epoch", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run(4, folder=tmp_path)
    resumed, result = run(4, folder=tmp_path, resume=True)
    assert result.history == expected.history
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratios": (0.5, 0.55, 1)}, r"ratios 0\.5 and 0\.55 both give \[4, 8\] channels in multiples of 2"),
        ({"ratios": (0.5, 0.25, 1)}, "increasing shares over 0, the last of them 1"),
        ({"ratios": (0.5, 0.75)}, "the last of them 1"),
        ({"ratios": (0, 1)}, "increasing shares over 0"),
        ({"ratios": ()}, r"for example \(0\.25, 0\.5, 0\.75, 1\)"),
        ({"ratios": 0.5}, "ratios 0.5: increasing shares"),
        ({"width": 0}, "width 0 must be at least 1"),
        ({"divisor": 0}, "divisor 0 must be at least 1"),
        ({"in_channels": 0}, "in_channels 0 must be at least 1"),
        ({"units": (1, 0)}, "for each group the number of units"),
        ({"units": ()}, "for each group the number of units"),
        ({"units": 3}, "units 3: a list of whole numbers"),
        ({"unit": "basik"}, "did you mean 'basic'"),
        ({"stem": "imagnet"}, "did you mean 'imagenet'"),
        ({"normalisation": "shared"}, "no normalisation is named 'shared': known are: own, recalibrate"),
        ({"init": "mrsa"}, "no initialisation is named 'mrsa'"),
    ],
)
def test_arguments_that_make_no_net_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("slimmable_tiny", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 13, "divisor": 4}, "nearest width that is one is 12"),
        ({"lowest": 0}, "lowest 0: a share of the width over 0 and up to 1"),
        ({"lowest": 1.5}, "lowest 1.5"),
        ({"units": (0,)}, "for each group the number of units"),
    ],
)
def test_universal_arguments_that_make_no_net_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_net("universally_slimmable_tiny", **arguments)


@pytest.mark.parametrize(
    ("widths", "units", "message"),
    [
        ([(8, 4), (4, 8)], [(1, 1)] * 2, r"stage 2 \(widths \(4, 8\).* does not contain stage 1"),
        ([(4,), (8,)], [(2,), (1,)], "does not contain stage 1"),
        ([(4,), (4,)], [([1, 3],), (2,)], "does not contain stage 1"),
        ([(4, 8), (4, 8)], [(1, 1)] * 2, "stages 1 and 2 are the same"),
        ([(4,)], [(1,), (2,)], "one row of each for every stage"),
        ([(4, 8)], [(1,)], "one entry for every group"),
        ([4, 8], [(1,)] * 2, "a list with one entry a group is needed for every stage"),
        ([], [], "a list with one entry a group"),
        ([(0,)], [(1,)], "width 0 must be at least 1"),
        ([(4,)], [(0,)], "how many first units run"),
        ([(4,)], [([2, 3],)], "begins with 1"),
        ([(4,)], [([1, 3, 2],)], "an increasing list of their numbers"),
    ],
)
def test_stages_that_do_not_nest_are_refused(widths: Any, units: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ElasticResNet(widths=widths, units=units)


@pytest.mark.parametrize(("stem", "least"), [("cifar", 2), ("imagenet", 8)])
def test_an_image_that_is_too_small_is_refused(stem: str, least: int) -> None:
    net = create_net("slimmable_tiny", stem=stem)
    with pytest.raises(ValueError, match=rf"too small .* at least {least}x{least}"):
        net(torch.zeros(2, 3, least - 1, 9))
    net.eval()(torch.zeros(2, 3, least, least))


def test_registered_nets_say_the_widths_that_they_have() -> None:
    for name in list_nets("*slimmable_*"):
        summary = net_entry(name).summary
        with torch.device("meta"):
            net = create_net(name)
        assert isinstance(net, ElasticResNet)
        first = [str(row[0]) for row in net.plan.widths]
        if name != "slimmable_50_imagenet":
            said = summary.partition(" at first")[0].replace(",", "").split()
            assert said[-1] == first[-1]
            assert first[0] in said
            assert first[1] in said


@cache
def _costs(name: str, classes: int) -> list[StageCost]:
    with torch.device("meta"):
        net = create_net(name, classes)
    return stage_costs(net, net_entry(name).input_shape)


def _by_hand(
    weights: dict[str, Tensor],
    x: Tensor,
    stage: int,
    *,
    widths: tuple[int, ...],
    units: tuple[int, ...],
    bottleneck: bool,
    large: bool,
    training: bool,
) -> tuple[Tensor, ...]:
    """A plain post-activation residual net with the first channels of every weight."""

    def layer(name: str, h: Tensor, channels: int, stride: int = 1) -> Tensor:
        filters = weights[f"{name}.conv.weight"][:channels, : h.shape[1]]
        h = F.conv2d(h, filters, stride=stride, padding=filters.shape[-1] // 2)
        own = f"{name}.norm.stage{stage}."
        scale, shift = f"{own}weight", f"{own}bias"
        if scale not in weights:
            own = f"{name}.norm.statistics.stage{stage}."
            scale, shift = f"{name}.norm.weight", f"{name}.norm.bias"
        mean, variance = weights[f"{own}running_mean"], weights[f"{own}running_var"]
        if training:
            mean, variance = h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False)
        columns = (1, channels, 1, 1)
        h = (h - mean.view(columns)) / (variance + 1e-5).sqrt().view(columns)
        return h * weights[scale][:channels].view(columns) + weights[shift][:channels].view(columns)

    x = layer("stem.layer", x, widths[0], 2 if large else 1).clamp(min=0)
    if large:
        x = F.max_pool2d(x, 3, 2, 1)
    for group, (width, count) in enumerate(zip(widths, units, strict=True), 1):
        for number in range(1, count + 1):
            name = f"units.group{group}_unit{number}"
            stride = 2 if number == 1 and group > 1 else 1
            if bottleneck:
                h = layer(f"{name}.branch.0", x, width).clamp(min=0)
                h = layer(f"{name}.branch.1", h, width, stride).clamp(min=0)
                h = layer(f"{name}.branch.2", h, 4 * width)
            else:
                h = layer(f"{name}.branch.0", x, width, stride).clamp(min=0)
                h = layer(f"{name}.branch.1", h, width)
            if h.shape != x.shape:
                x = layer(f"{name}.shortcut", x, h.shape[1], stride)
            x = (x + h).clamp(min=0)
    pooled = x.mean((2, 3))
    return tuple(
        pooled @ weights[f"head.levels.{i}.weight"][:, : pooled.shape[1]].T + weights[f"head.levels.{i}.bias"]
        for i in range(2)
    )


def test_scales_that_come_without_statistics_make_those_of_other_scales_count_as_missing():
    net = counted(recalibrated_net())
    assert net.stages_without_statistics() == ()
    parameters = {name: tensor.clone() for name, tensor in net.named_parameters()}
    net.load_state_dict(parameters, strict=False)
    assert net.stages_without_statistics() == (1, 2, 3)
    estimated = counted(recalibrated_net())
    net.load_state_dict(estimated.state_dict())
    assert net.stages_without_statistics() == ()


def test_a_width_between_two_multiples_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="the nearest width that is one is 16"):
        slimmable(width=12, units=(1, 1))


def test_an_estimated_net_can_be_exported_whole():
    net = counted(recalibrated_net()).eval()
    x = torch.randn(2, 3, 8, 8, dtype=next(net.parameters()).dtype)
    program = torch.export.export(net, (x,)).module()
    torch.testing.assert_close(program(x), net(x))
