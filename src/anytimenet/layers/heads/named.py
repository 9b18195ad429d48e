"""Heads by name, with their options, `HeadConfig("mlp", layers=3)`, and the default head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from anytimenet.core.checks import MOST_SIDE, choice, flag, number, optional, settle, whole_number
from anytimenet.core.records import JsonForm, Record
from anytimenet.layers.heads.bodies import Body, Convolutional, NormedToken, Perceptron, Pooling
from anytimenet.layers.heads.pooling import Head, TokenHead

HEADS = ("linear", "conv", "mlp", "token")


@dataclass(frozen=True)
class HeadConfig(Record):
    """A head by name. The last layer of each is linear, one for each label level.

    Attributes:
        kind: "linear": pooling, dropout. "conv": ReLU, a convolution to half the channels, mixed pooling to
            4x4 (`bodies.Convolutional`); of maps only. "mlp": pooling, `layers` - 1 linear layers with GELU.
            "token": LayerNorm, pooling; positions of a map are tokens, too.
        dropout: chance of each value that the last layer reads to be left out in training.
        layers: linear layers of "mlp", the last included.
        pool: "mean" of positions or tokens, or the "first" token, where the net has put a class token there.
        channels_last: whether maps are `(N, H, W, C)`, as Swin transformers have them. None: taken from the
            shape, where the net reads square images, see `is_channels_last`.

    >>> HeadConfig("mlp", layers=3, dropout=0.1).layers
    3
    """

    kind: str = "linear"
    dropout: float = 0.0
    layers: int = 2
    pool: str = "mean"
    channels_last: bool | None = None
    json_form = JsonForm(what="a head", strict=True, defaults=True)

    def __post_init__(self) -> None:
        settle(self, "kind", choice, HEADS)
        settle(self, "dropout", number, 0, below=1)
        settle(self, "layers", whole_number, 1, MOST_SIDE)
        settle(self, "pool", choice, ("mean", "first"))
        object.__setattr__(self, "channels_last", optional(self.channels_last, "channels_last", flag))


class BodyHead(nn.Module):
    """A body, features to a vector, and one linear layer for each entry of `num_classes`.

    Called on features it returns an output, a tuple of logits `(N, classes)`.
    """

    def __init__(self, body: Body, num_classes: Sequence[int]) -> None:
        super().__init__()
        self.body = body
        self.levels = nn.ModuleList(nn.Linear(body.width, classes) for classes in num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.predict(self.reduce(x))

    def reduce(self, x: Tensor) -> Tensor:
        """What needs no weights, the pooling; a body that does not begin with one gets the features."""
        h: Tensor = self.body.reduce(x)
        return h

    def predict(self, h: Tensor) -> tuple[Tensor, ...]:
        """The output from what `reduce` gave."""
        vector = self.body.learned(h)
        return tuple(level(vector) for level in self.levels)


def build_head(
    config: HeadConfig, shape: Sequence[int], num_classes: Sequence[int], *, channels_last: bool = False
) -> BodyHead:
    """The head for features of `shape`: (C, H, W), (H, W, C) where channels are last, or tokens (T, D).

    Args:
        channels_last: what holds where the configuration leaves it open.

    Raises:
        ValueError: for a convolution of tokens, or the first token of a map.

    >>> import torch
    >>> head = build_head(HeadConfig("conv"), (8, 9, 9), (10, 2))
    >>> [tuple(t.shape) for t in head(torch.zeros(3, 8, 9, 9))]
    [(3, 10), (3, 2)]
    """
    return BodyHead(build_body(config, shape, channels_last=channels_last), num_classes)


def build_body(config: HeadConfig, shape: Sequence[int], *, channels_last: bool = False) -> Body:
    """What `build_head` puts before the last layer, for other last layers."""
    is_map = len(shape) == 3
    if config.pool == "first" and is_map:
        raise ValueError(f'a map of shape {tuple(shape)} has no class token: use pool="mean"')
    if config.channels_last is not None:
        channels_last = config.channels_last
    channels_last = is_map and channels_last
    channels = shape[0] if is_map and not channels_last else shape[-1]
    if config.kind == "conv":
        if not is_map:
            raise ValueError(
                f'a "conv" head reads maps (C, H, W), not tokens of shape {tuple(shape)}: '
                'use "mlp" or "token"'
            )
        sides = shape[:2] if channels_last else shape[1:]
        return Convolutional((channels, *sides), channels_last=channels_last, dropout=config.dropout)
    pooling = Pooling(config.pool, channels_last=channels_last)
    if config.kind == "linear":
        return Perceptron(channels, pooling, config.dropout, 1)
    if config.kind == "mlp":
        return Perceptron(channels, pooling, config.dropout, config.layers)
    return NormedToken(channels, pooling, config.dropout)


def default_head(
    shape: Sequence[int], num_classes: Sequence[int], *, channels_last: bool = False
) -> nn.Module:
    """What predicts from features `(C, H, W)` or tokens `(T, D)` if nothing else is said.

    >>> type(default_head((5, 16), (10,))).__name__
    'TokenHead'
    """
    if len(shape) == 2:
        return TokenHead(shape[1], num_classes)
    if channels_last:
        return build_head(HeadConfig("token"), shape, num_classes, channels_last=True)
    return Head(shape[0], num_classes)


def is_channels_last(shape: Sequence[int]) -> bool:
    """Whether features of a net that reads square images are `(H, W, C)` and not `(C, H, W)`.

    A square image makes square maps: the two sides that are alike are height and width. Where all three
    numbers are alike it cannot be told, and channels are taken to be first.

    >>> is_channels_last((7, 7, 96)), is_channels_last((96, 7, 7)), is_channels_last((8, 8, 8))
    (True, False, False)
    """
    return len(shape) == 3 and shape[0] == shape[1] != shape[2]
