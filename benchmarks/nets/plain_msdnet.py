"""MSDNet as a person would write it from its description: lists of scales, layer by layer."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTH, GROWTH, FACTORS, HEAD = 16, 6, (1, 2, 4), 128


class PlainMSDNet(nn.Module):
    """The CIFAR form with 7 exits: base 4, step 2, transitions where a scale is dropped.

    Returns the logits of every exit, or with `last=True` of the last one alone. Its modules are registered
    in the order in which they run.
    """

    def __init__(self, classes: int, exits: int = 7, base: int = 4, step: int = 2) -> None:
        super().__init__()
        scales = len(FACTORS)
        self.first = nn.ModuleList([_conv(3, WIDTH, 3)])
        for finer, factor in pairwise(FACTORS):
            self.first.append(_conv(WIDTH * finer, WIDTH * factor, 3, 2))
        blocks, heads = [], []
        total = base + step * (exits - 1)
        width, number = WIDTH, 0
        for block in range(exits):
            layers: list[nn.Module] = []
            for _ in range(step if block else base):
                number += 1
                every = math.ceil(total / scales)
                dropped, dropped_before = (number - 1) // every, max(0, number - 2) // every
                layers.append(PlainLayer(width, dropped_before, dropped))
                width += GROWTH
                if dropped > dropped_before:
                    layers.append(PlainTransition(width, width // 2, dropped))
                    width //= 2
            blocks.append(nn.Sequential(*layers))
            heads.append(_classifier(width * FACTORS[-1], classes))
        self.blocks = nn.ModuleList(blocks)
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor, last: bool = False) -> list[Tensor]:
        features = []
        for layer in self.first:
            x = layer(x)
            features.append(x)
        logits = []
        for block, head in zip(self.blocks, self.heads, strict=True):
            features = block(features)
            if not last or head is self.heads[-1]:
                logits.append(head(features[-1]))
        return logits


class PlainLayer(nn.Module):
    """One layer on the list of its scales' features; it may drop the finest."""

    def __init__(self, width: int, dropped_before: int, dropped: int) -> None:
        super().__init__()
        self.drops = dropped > dropped_before
        self.down, self.same = nn.ModuleList(), nn.ModuleList()
        for scale in range(dropped, len(FACTORS)):
            new = GROWTH * FACTORS[scale]
            if scale > dropped_before:
                new //= 2
                finer = FACTORS[scale - 1]
                self.down.append(_edge(width * finer, new, finer, 2))
            self.same.append(_edge(width * FACTORS[scale], new, FACTORS[scale], 1))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        own = features[1:] if self.drops else features
        result = []
        for i, (x, same) in enumerate(zip(own, self.same, strict=True)):
            j = i if self.drops else i - 1
            if j < 0:
                result.append(torch.cat([x, same(x)], dim=1))
            else:
                result.append(torch.cat([x, self.down[j](features[j]), same(x)], dim=1))
        return result


class PlainTransition(nn.Module):
    """A 1x1 convolution for each kept scale."""

    def __init__(self, width: int, after: int, dropped: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_conv(width * f, after * f, 1) for f in FACTORS[dropped:])

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [scale(x) for scale, x in zip(self.scales, features, strict=True)]


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Fills `target` from `source`, whose leaf modules run in the same order on the same shapes."""
    image = torch.zeros(2, 3, 32, 32)
    pairs = zip(_leaves_as_run(source, image), _leaves_as_run(target, image), strict=True)
    for theirs, ours in pairs:
        ours.load_state_dict(theirs.state_dict())


def _leaves_as_run(net: nn.Module, image: Tensor) -> list[nn.Module]:
    """Modules with weights, in the order of their calls."""
    called: list[nn.Module] = []
    leaves = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    hooks = [m.register_forward_hook(lambda module, *_: called.append(module)) for m in leaves]
    training = net.training
    with torch.no_grad():
        net.eval()(image)
    net.train(training)
    for hook in hooks:
        hook.remove()
    return called


def _conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _edge(before: int, after: int, factor: int, stride: int) -> nn.Sequential:
    middle = min(before, factor * after)
    return nn.Sequential(_conv(before, middle, 1), _conv(middle, after, 3, stride))


def _classifier(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(width, HEAD, 3, 2),
        _conv(HEAD, HEAD, 3, 2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(HEAD, classes),
    )
