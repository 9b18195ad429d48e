"""Nets of tokens: patches, attention, exits whose heads read the tokens or a class token."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.segments import InputSpec
from anytimenet.costs import stage_costs
from anytimenet.layers.heads import TokenHead
from anytimenet.nets import ExitNet
from anytimenet.testing import check_anytime_net

WIDTH, HEADS, SIDE, PATCH = 8, 2, 8, 4
PATCHES = (SIDE // PATCH) ** 2


class Patches(nn.Module):
    """Images to tokens with learnt positions, and a class token in front where it is asked for."""

    def __init__(self, *, class_token: bool = False) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.first = nn.Parameter(torch.zeros(1, 1, WIDTH)) if class_token else None
        self.positions = nn.Parameter(0.02 * torch.randn(1, PATCHES + class_token, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.project(x).flatten(2).transpose(1, 2)
        if self.first is not None:
            tokens = torch.cat([self.first.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        return tokens + self.positions


class AttentionBlock(nn.Module):
    """Self-attention and a perceptron of twice the width, both behind LayerNorms and beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.perceptron = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(self.norm1(x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2])
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        y: Tensor = x + self.perceptron(self.norm2(x))
        return y


def vision_transformer(*, class_token: bool = False) -> ExitNet:
    return ExitNet(
        Patches(class_token=class_token),
        [AttentionBlock() for _ in range(3)],
        (1, 3),
        (lambda shape: TokenHead(shape[1], (5, 2), pool="first")) if class_token else None,
        num_classes=(5, 2),
        input_spec=InputSpec("images", 3, fixed=(SIDE, SIDE)),
    )


@pytest.mark.parametrize("class_token", [False, True])
def test_a_vision_transformer_with_exits_keeps_the_contract(class_token):
    check_anytime_net(vision_transformer(class_token=class_token), (3, SIDE, SIDE))


def test_a_net_that_reads_tokens_keeps_the_contract():
    net = ExitNet(
        None,
        [AttentionBlock(), AttentionBlock()],
        (1, 2),
        num_classes=4,
        input_spec=InputSpec("tokens", WIDTH, smallest=2),
    )
    assert [spec.shape for spec in net.state_spec(1, (6, WIDTH))] == [(6, WIDTH)]
    check_anytime_net(net, (6, WIDTH))
    with pytest.raises(ValueError, match="this net reads 8-channel tokens, got 3 channels"):
        net(torch.zeros(2, 5, 3))


@pytest.mark.parametrize(("class_token", "tokens"), [(False, PATCHES), (True, PATCHES + 1)])
def test_attention_and_token_heads_are_counted(class_token, tokens):
    patches = PATCHES * WIDTH * 3 * PATCH**2
    products = 2 * tokens * tokens * WIDTH
    linear = tokens * WIDTH * (3 * WIDTH + WIDTH + 2 * WIDTH + 2 * WIDTH)
    head = WIDTH * (5 + 2)
    costs = stage_costs(vision_transformer(class_token=class_token), (3, SIDE, SIDE))
    assert [cost.macs for cost in costs] == [
        patches + blocks * (products + linear) + head for blocks in (1, 3)
    ]


def test_the_class_token_is_what_its_head_reads():
    head = TokenHead(WIDTH, (3,), pool="first")
    x = torch.randn(2, 5, WIDTH)
    changed = torch.cat([x[:, :1], torch.randn(2, 4, WIDTH)], dim=1)
    assert torch.equal(head(x)[0], head(changed)[0])
    mean = TokenHead(WIDTH, (3,))
    torch.testing.assert_close(mean(x)[0], mean(x.flip(1))[0])
    with pytest.raises(ValueError, match="pool 'last' does not exist"):
        TokenHead(WIDTH, (3,), pool="last")


def test_a_token_net_reads_no_other_image():
    with pytest.raises(ValueError, match="images of 16x16 do not fit this net: it reads 8x8 only"):
        vision_transformer()(torch.zeros(2, 3, 16, 16))
