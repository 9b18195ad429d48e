"""Layers whose first channels work alone equal plain layers of sliced weights, and keep statistics apart."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anytimenet.core.errors import SharedTrainingError
from anytimenet.layers.heads import PooledHead
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.width.elastic_layers import (
    ConvNorm,
    OwnNorms,
    PrefixConv2d,
    PrefixHead,
    PrefixLinear,
    SharedAffineNorm,
    StageStatistics,
)
from anytimenet.nets.width.elastic_parts import claim_conv_norm, claim_nested
from anytimenet.testing.net_under_test import redraw
from anytimenet.training.sync_batchnorm import to_synchronised

CHANNELS = {1: 2, 2: 2, 4: 5}
INPUTS = {1: 1, 2: 3, 4: 4}
NORMALISATIONS = pytest.mark.parametrize("normalisation", ["own", "recalibrate"])


def random_layer(layer):
    redraw(layer.double(), torch.Generator().manual_seed(0))
    return layer


def images(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- prefixes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
def test_a_prefix_convolution_is_the_convolution_of_the_sliced_weight(kernel, stride):
    layer = random_layer(PrefixConv2d(4, 6, kernel, stride, kernel // 2, bias=False))
    for inputs, outputs in ((1, 6), (4, 2), (3, 5), (4, 6)):
        plain = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False).double()
        plain.weight.data = layer.weight.data[:outputs, :inputs].clone()
        x = images(2, inputs, 9, 8)
        torch.testing.assert_close(layer(x, outputs), plain(x))


def test_a_prefix_classifier_reads_the_first_columns_and_the_whole_bias():
    layer = random_layer(PrefixLinear(6, 3))
    x = images(2, 4)
    torch.testing.assert_close(layer(x), x @ layer.weight[:, :4].T + layer.bias)
    head = random_layer(PrefixHead(6, (3, 2)))
    whole = PooledHead(6, (3, 2), relu=False).double()
    whole.load_state_dict(head.state_dict())
    torch.testing.assert_close(head(images(2, 6, 4, 4)), whole(images(2, 6, 4, 4)))
    narrow = images(2, 4, 3, 3)
    padded = F.pad(narrow, (0, 0, 0, 0, 0, 2))
    torch.testing.assert_close(head(narrow), whole(padded))


# --- normalisation ------------------------------------------------------------------------------------------


def test_own_norms_leave_each_other_alone():
    norms = random_layer(OwnNorms(CHANNELS)).train()
    before = copy.deepcopy(norms.state_dict())
    norms(images(3, 5, 4, 4), 4)
    moved = [name for name, tensor in norms.state_dict().items() if not torch.equal(tensor, before[name])]
    assert moved == ["stage4.running_mean", "stage4.running_var", "stage4.num_batches_tracked"]


def test_training_normalises_with_the_batch_and_tracks_nothing():
    norm = random_layer(SharedAffineNorm(CHANNELS)).train()
    before = copy.deepcopy(norm.state_dict())
    x = images(3, 2, 4, 4)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    scale, shift = norm.weight[:2].view(1, 2, 1, 1), norm.bias[:2].view(1, 2, 1, 1)
    torch.testing.assert_close(norm(x, 1), (x - mean) / (variance + 1e-5).sqrt() * scale + shift)
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())


def test_evaluation_uses_the_statistics_of_the_stage():
    norm = random_layer(SharedAffineNorm(CHANNELS)).eval()
    x = images(3, 2, 4, 4)
    for stage in (1, 2):
        own = norm.of_stage(stage)
        truth = F.batch_norm(x, own.running_mean, own.running_var, norm.weight[:2], norm.bias[:2])
        torch.testing.assert_close(norm(x, stage), truth)
    assert not torch.allclose(norm(x, 1), norm(x, 2))


@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_statistics_in_training_mode_update_as_a_batch_norm_does(momentum):
    statistics, plain = StageStatistics(3).double(), nn.BatchNorm2d(3, affine=False).double()
    statistics.momentum = plain.momentum = momentum
    for seed in range(3):
        x = images(4, 3, 5, 5, seed=seed) * (seed + 1) + seed
        torch.testing.assert_close(statistics(x), plain(x))
    for name, tensor in statistics.state_dict().items():
        torch.testing.assert_close(tensor, plain.state_dict()[name])
    assert statistics.counter == 3


def test_only_the_statistics_of_the_stage_that_runs_are_estimated():
    norm = SharedAffineNorm(CHANNELS).eval()
    for stage in CHANNELS:
        norm.of_stage(stage).train()
    norm(torch.randn(3, 2, 4, 4), 2)
    assert [int(norm.of_stage(stage).counter) for stage in CHANNELS] == [0, 1, 0]


@NORMALISATIONS
@pytest.mark.parametrize("stage", CHANNELS)
def test_a_plain_layer_is_the_stage_in_the_memory_of_the_layer(normalisation, stage):
    layer = random_layer(ConvNorm(INPUTS, CHANNELS, 3, stride=2, normalisation=normalisation)).eval()
    x = images(2, INPUTS[stage], 7, 6)
    truth = layer(x, stage)
    plain = layer.plain(stage).eval()
    assert [type(part) for part in plain] == [nn.Conv2d, nn.BatchNorm2d]
    memory = {tensor.untyped_storage().data_ptr() for tensor in layer.state_dict().values()}
    for tensor in plain.state_dict().values():
        assert tensor.untyped_storage().data_ptr() in memory
    torch.testing.assert_close(plain(x), truth)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match=r"no normalisation is named 'shared': known are: own, recalibrate"):
        ConvNorm(INPUTS, CHANNELS, 3, normalisation="shared")


def test_only_norms_that_track_can_be_synchronised_between_processes():
    to_synchronised(ConvNorm(INPUTS, CHANNELS, 3))
    with pytest.raises(SharedTrainingError, match="stage1 is a StageStatistics, which cannot be"):
        to_synchronised(ConvNorm(INPUTS, CHANNELS, 3, normalisation="recalibrate"))


# --- parts --------------------------------------------------------------------------------------------------


class Holder(AnytimeNet):
    """Something that claims the parts of one layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer


def users_of(parts, tensors):
    """For each scalar of each tensor the stages that its part names, as bits; 0 where no part has it."""
    users = {name: torch.zeros(tensor.shape, dtype=torch.int64) for name, tensor in tensors.items()}
    for part in parts:
        piece = part.of(users[part.name])
        assert not piece.any(), "parts overlap"
        piece.fill_(sum(1 << stage for stage in part.stages))
    return users


def test_two_growing_dimensions_by_brute_force():
    layer = ConvNorm(INPUTS, CHANNELS, 1)
    parts = claim_nested(layer, "conv.weight", CHANNELS, INPUTS)
    users = users_of(parts, {"conv.weight": layer.conv.weight})["conv.weight"]
    for row in range(5):
        for column in range(4):
            uses = [stage for stage in CHANNELS if row < CHANNELS[stage] and column < INPUTS[stage]]
            assert users[row, column] == sum(1 << stage for stage in uses)
    assert all(part.numel for part in parts)


@NORMALISATIONS
def test_a_layers_parts_cover_it(normalisation):
    net = Holder(ConvNorm(INPUTS, CHANNELS, 3, normalisation=normalisation))
    users = users_of(claim_conv_norm(net, "layer", net.layer), net.state_dict())
    assert all((tensor > 0).all() for tensor in users.values())
    alone = [name for name, tensor in users.items() if (tensor == 1 << 2).all()]
    prefix = "layer.norm." if normalisation == "own" else "layer.norm.statistics."
    assert alone == [name for name in users if name.startswith(f"{prefix}stage2.")]
    if normalisation == "recalibrate":
        assert users["layer.norm.weight"].tolist() == [0b10110] * 2 + [0b10000] * 3
