"""Heads by name: what each computes, on maps, channels-last maps and tokens; which place gets which."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anytimenet.layers.heads import HeadConfig, PooledHead, TokenHead, build_head, is_channels_last
from anytimenet.layers.heads.bodies import MixedPooling
from anytimenet.layers.heads.named import BodyHead
from anytimenet.nets import ExitNet, wrap
from anytimenet.testing import check_anytime_net

CLASSES = (5, 2)


def logits_of(head: BodyHead, vector: torch.Tensor) -> list[torch.Tensor]:
    return [level(vector) for level in head.levels]


@pytest.mark.parametrize(
    ("shape", "channels_last", "reduced"),
    [((6, 4, 5), False, (2, 3)), ((4, 5, 6), True, (1, 2)), ((7, 6), False, (1,))],
)
def test_a_linear_head_is_one_linear_layer_on_the_mean(shape, channels_last, reduced):
    head = build_head(HeadConfig("linear", channels_last=channels_last), shape, CLASSES)
    x = torch.randn(3, *shape)
    for found, wanted in zip(head(x), logits_of(head, x.mean(reduced)), strict=True):
        torch.testing.assert_close(found, wanted)


def test_an_mlp_has_gelu_between_its_linear_layers():
    head = build_head(HeadConfig("mlp", layers=3, pool="first"), (7, 6), CLASSES)
    linear = [part for part in head.body.hidden if isinstance(part, nn.Linear)]
    assert [tuple(part.weight.shape) for part in linear] == [(6, 6), (6, 6)]
    x = torch.randn(3, 7, 6)
    h = F.gelu(linear[1](F.gelu(linear[0](x[:, 0]))))
    for found, wanted in zip(head(x), logits_of(head, h), strict=True):
        torch.testing.assert_close(found, wanted)
    plain = build_head(HeadConfig("mlp", layers=1), (7, 6), CLASSES)
    assert not any(isinstance(part, nn.Linear) for part in plain.body.modules())


def test_a_token_head_is_the_same_on_tokens_and_on_both_kinds_of_map():
    tokens, first, last = (
        build_head(HeadConfig("token", channels_last=where), shape, CLASSES)
        for shape, where in (((20, 6), False), ((6, 4, 5), False), ((4, 5, 6), True))
    )
    own = TokenHead(6, CLASSES)
    own.levels.load_state_dict(tokens.levels.state_dict())
    x = torch.randn(3, 4, 5, 6)
    wanted = own(x.flatten(1, 2))
    for head, read in ((tokens, x.flatten(1, 2)), (first, x.permute(0, 3, 1, 2)), (last, x)):
        head.load_state_dict(tokens.state_dict())
        for found, logits in zip(head(read), wanted, strict=True):
            torch.testing.assert_close(found, logits)


def mixed_by_hand(x: np.ndarray, alpha: float, grid: tuple[int, int]) -> np.ndarray:
    """Cell i of n reads positions floor(i S / n) up to ceil((i + 1) S / n), cell for cell."""
    sides = list(zip(x.shape[2:], grid, strict=True))
    edges = [[(i * side // n, -(-(i + 1) * side // n)) for i in range(n)] for side, n in sides]
    cells = [[x[:, :, a:b, c:d] for c, d in edges[1]] for a, b in edges[0]]
    mixed = [[alpha * cell.max((2, 3)) + (1 - alpha) * cell.mean((2, 3)) for cell in row] for row in cells]
    return np.stack([np.stack(row, -1) for row in mixed], -2)


@pytest.mark.parametrize("side", [(14, 14), (9, 12), (11, 4)])
def test_a_convolutional_head_mixes_maximum_and_mean_of_a_4x4_grid(side):
    head = build_head(HeadConfig("conv"), (6, *side), CLASSES)
    conv, alpha = head.body.conv, head.body.pooling.alpha
    assert (conv.out_channels, conv.kernel_size, conv.stride, conv.padding) == (3, (3, 3), (2, 2), (0, 0))
    x = torch.randn(2, 6, *side)
    h = F.conv2d(F.relu(x), conv.weight, conv.bias, stride=2).detach().numpy()
    grid = tuple(min(4, positions) for positions in h.shape[2:])
    pooled = torch.from_numpy(mixed_by_hand(h, alpha.item(), grid)).flatten(1)
    assert pooled.shape[1] == 3 * grid[0] * grid[1]
    for found, wanted in zip(head(x), logits_of(head, pooled), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    last = build_head(HeadConfig("conv", channels_last=True), (*side, 6), CLASSES)
    last.load_state_dict(head.state_dict())
    torch.testing.assert_close(last(x.permute(0, 2, 3, 1)), head(x))


@pytest.mark.parametrize(
    ("side", "positions"), [((1, 1), 1), ((2, 2), 1), ((3, 3), 1), ((2, 8), 4), ((8, 8), 9), ((10, 9), 16)]
)
def test_a_convolutional_head_on_a_small_map_has_as_many_positions_as_there_are(side, positions):
    head = build_head(HeadConfig("conv"), (4, *side), (3,))
    assert head.levels[0].in_features == 2 * positions
    assert head(torch.randn(2, 4, *side))[0].shape == (2, 3)
    assert head.body.conv.padding == ((1, 1) if min(side) < 3 else (0, 0))
    assert not isinstance(head.body.pooling, MixedPooling)  # nothing to pool


def test_alpha_is_one_number_drawn_between_0_and_1_and_learns():
    torch.manual_seed(0)
    drawn = torch.cat([MixedPooling(4, 4).alpha for _ in range(300)])
    assert 0 <= drawn.min() < 0.05 < 0.95 < drawn.max() <= 1
    assert abs(drawn.mean().item() - 0.5) < 0.06
    pooling = MixedPooling(2, 2)
    x = torch.randn(1, 1, 4, 4)
    pooling(x).sum().backward()
    wanted = F.adaptive_max_pool2d(x, 2) - F.adaptive_avg_pool2d(x, 2)
    torch.testing.assert_close(pooling.alpha.grad, wanted.sum().reshape(1))


@pytest.mark.parametrize("kind", ["linear", "conv", "mlp", "token"])
def test_dropout_acts_in_training_alone(kind):
    torch.manual_seed(0)
    head = build_head(HeadConfig(kind, dropout=0.5), (40, 12, 12), (3,))
    x = torch.randn(2, 40, 12, 12)
    assert not torch.equal(head(x)[0], head(x)[0])
    head.eval()
    assert torch.equal(head(x)[0], head(x)[0])


@pytest.mark.parametrize(
    ("config", "stored"),
    [
        (HeadConfig("linear", dropout=0.5), (3, 6)),
        (HeadConfig("mlp"), (3, 6)),
        (HeadConfig("token"), (3, 20, 6)),
        (HeadConfig("conv"), (3, 6, 4, 5)),
    ],
)
def test_a_head_says_what_of_its_work_needs_no_weights_and_draws_nothing(config, stored):
    head = build_head(config, (6, 4, 5), CLASSES)
    x = torch.randn(3, 6, 4, 5)
    reduced = head.reduce(x)
    assert reduced.shape == stored
    assert torch.equal(reduced, head.reduce(x))
    assert not reduced.requires_grad
    head.eval()
    assert all(torch.equal(a, b) for a, b in zip(head.predict(reduced), head(x), strict=True))


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (HeadConfig("conv"), (9, 8), "reads maps"),
        (HeadConfig("mlp", pool="first"), (3, 4, 4), "no class token"),
    ],
)
def test_a_head_that_does_not_fit_its_features_is_refused(config, shape, message):
    with pytest.raises(ValueError, match=message):
        build_head(config, shape, (3,))


@pytest.mark.parametrize(
    "options", [{"kind": "cnn"}, {"dropout": 1.0}, {"layers": 0}, {"pool": "last"}, {"channels_last": 1}]
)
def test_options_that_do_not_exist_are_refused_by_name(options):
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        HeadConfig(**options)


def test_channels_are_found_where_a_square_image_makes_square_maps():
    assert is_channels_last((4, 4, 9))
    assert not is_channels_last((9, 4, 4))
    assert not is_channels_last((4, 4, 4))
    assert not is_channels_last((4, 9))


class ToChannelsLast(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class ToChannelsFirst(nn.Module):
    def forward(self, x):
        return x.permute(0, 3, 1, 2).contiguous()


def backbone() -> nn.Sequential:
    """Maps of 12x12, then of 6x6 with channels last, as in a Swin transformer."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(5, 8, 3, 2, 1), ToChannelsLast(), nn.LayerNorm(8)),
        nn.Sequential(ToChannelsFirst(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    )


def test_a_net_with_heads_by_name_keeps_the_contract():
    torch.manual_seed(0)
    heads = ["conv", "token", "mlp"]
    net = ExitNet(None, backbone()[:3], (1, 2, 3), heads=heads, num_classes=CLASSES, input_shape=(3, 12, 12))
    check_anytime_net(net, (3, 12, 12))


def test_the_default_head_of_a_map_with_channels_last_normalises_channels():
    net = ExitNet(None, backbone()[:2], (2,), num_classes=CLASSES, input_shape=(3, 12, 12))
    assert net.heads[0].head.body.norm.normalized_shape == (8,)


def test_each_stage_can_have_a_head_of_its_own():
    heads = ["mlp", HeadConfig("conv", dropout=0.5), lambda shape: PooledHead(shape[0], CLASSES), None]
    blocks = [*backbone()[:2], ToChannelsFirst(), nn.Conv2d(8, 8, 1)]
    net = ExitNet(None, blocks, (1, 2, 3, 4), heads=heads, num_classes=CLASSES, input_shape=(3, 12, 12))
    kinds = [type(part.head).__name__ for part in net.heads]
    assert kinds == ["BodyHead", "BodyHead", "PooledHead", "Head"]
    assert net.heads[1].head.body.conv.in_channels == 8  # 6x6x8: the channels are last
    wrapped = wrap(backbone(), ["0", "1"], heads=["linear", "token"], input_shape=(3, 12, 12))
    assert [type(wrapped.heads[k].head.body).__name__ for k in (0, 1)] == ["Perceptron", "NormedToken"]


def test_heads_that_are_not_one_a_stage_are_refused():
    def exits(**options):
        return ExitNet(None, backbone()[:2], (1, 2), **options, input_shape=(3, 12, 12))

    with pytest.raises(ValueError, match="2 are needed, one for each exit"):
        exits(heads=["conv"])
    with pytest.raises(ValueError, match="not both"):
        exits(head="conv", heads=["conv", "conv"])
    with pytest.raises(ValueError, match="head 'cnn' does not exist"):
        exits(head="cnn")
    with pytest.raises(TypeError, match="each of heads must be a function"):
        exits(heads=["conv", 3])
