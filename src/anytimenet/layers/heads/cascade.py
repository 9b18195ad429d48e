"""A cascade of heads and ensembles of its answers: what Zero Time Waste puts on a backbone.

Source: Wojcik et al., "Zero time waste in pre-trained early exit neural networks" (Neural Networks 2023; the
conference form is Wolczyk et al., NeurIPS 2021). Logits travel as one tensor `(N, sum(num_classes))`, the
label levels side by side, so that they can be tensors of a state; `Levels` takes them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anytimenet.layers.heads.bodies import Body

FIRST_SPREAD = 0.01
"""Standard deviation of the logarithms of an ensemble's weights before training."""


class CascadeHead(nn.Module):
    """Logits from features, and from the answer of the head before.

    `body(features)` and LayerNorm(previous logits) side by side go through one linear layer for each label
    level, which reads the previous logits of its own level. The previous logits are detached: a head learns
    to use them, never to change them.

    Args:
        body: features to a vector.
        num_classes: classes of each label level.
        first: whether there is no head before.

    >>> from anytimenet.layers.heads import HeadConfig
    >>> from anytimenet.layers.heads.named import build_body
    >>> head = CascadeHead(build_body(HeadConfig("linear"), (8, 4, 4)), (5, 2), first=False)
    >>> head(torch.zeros(3, 8, 4, 4), torch.zeros(3, 7)).shape
    torch.Size([3, 7])
    """

    def __init__(self, body: Body, num_classes: Sequence[int], *, first: bool) -> None:
        super().__init__()
        self.body = body
        self.sizes = list(num_classes)
        self.norms = nn.ModuleList(() if first else (nn.LayerNorm(classes) for classes in num_classes))
        self.levels = nn.ModuleList(
            nn.Linear(body.width + (0 if first else classes), classes) for classes in num_classes
        )

    def forward(self, features: Tensor, previous: Tensor | None = None) -> Tensor:
        return self.predict(self.reduce(features), previous)

    def reduce(self, features: Tensor) -> Tensor:
        """The part of its work on features that needs no weights; see `layers.reducing`."""
        return self.body.reduce(features)

    def predict(self, reduced: Tensor, previous: Tensor | None = None) -> Tensor:
        """The logits from what `reduce` gave."""
        vector = self.body.learned(reduced)
        if previous is None:
            return torch.cat([level(vector) for level in self.levels], 1)
        before = previous.detach().split(self.sizes, 1)
        parts = zip(self.levels, self.norms, before, strict=True)
        return torch.cat([level(torch.cat([vector, norm(z)], 1)) for level, norm, z in parts], 1)


class Ensemble(nn.Module):
    """One answer from those of several heads: weights of the heads, a bias for each class, nothing else.

    Both kinds start close to the plain mean: the weights are exp(v) with v drawn from N(0, 0.01^2), the
    biases are 0. Called on the logits of each head, `(N, sum(num_classes))`, it returns logits. Each label
    level has an ensemble of its own.

    Args:
        heads: how many there are.
        num_classes: classes of each label level.
    """

    def __init__(self, heads: int, num_classes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(num_classes)
        self.log_weights = nn.Parameter(torch.empty(len(self.sizes), heads))
        self.bias = nn.Parameter(torch.empty(sum(num_classes)))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws it anew."""
        self.log_weights.normal_(0, FIRST_SPREAD)
        self.bias.zero_()

    def forward(self, *logits: Tensor) -> Tensor:
        heads = zip(*(z.split(self.sizes, 1) for z in logits), strict=True)
        biases = self.bias.split(self.sizes)
        together = [
            self.combined([z.log_softmax(1) for z in level], self.log_weights[place].exp(), biases[place])
            for place, level in enumerate(heads)
        ]
        return torch.cat(together, 1)

    def combined(self, log_p: list[Tensor], weights: Tensor, bias: Tensor) -> Tensor:
        """Logits of one level from each head's log-probabilities `(N, classes)`."""
        raise NotImplementedError


class GeometricEnsemble(Ensemble):
    """mean over j of exp(v_j) log p_j, plus b: a weighted geometric mean once a softmax has normalised it.

    >>> GeometricEnsemble(2, (5,))(torch.zeros(3, 5), torch.zeros(3, 5)).shape
    torch.Size([3, 5])
    """

    def combined(self, log_p: list[Tensor], weights: Tensor, bias: Tensor) -> Tensor:
        return _weighted(log_p, weights) / len(log_p) + bias


class ArithmeticEnsemble(Ensemble):
    """log of the sum over j of exp(v_j) p_j, plus exp(b), normalised over the classes.

    >>> ArithmeticEnsemble(1, (5,))(torch.zeros(3, 5)).exp().sum(1)
    tensor([1.0000, 1.0000, 1.0000], grad_fn=<SumBackward1>)
    """

    def combined(self, log_p: list[Tensor], weights: Tensor, bias: Tensor) -> Tensor:
        p = _weighted([each.exp() for each in log_p], weights) + bias.exp()
        return (p / p.sum(1, keepdim=True)).log()


class Levels(nn.Module):
    """Logits of all label levels side by side, taken apart to an output."""

    def __init__(self, num_classes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(num_classes)

    def forward(self, logits: Tensor) -> tuple[Tensor, ...]:
        return tuple(logits.split(self.sizes, 1))


def _weighted(tensors: list[Tensor], weights: Tensor) -> Tensor:
    total = tensors[0] * weights[0]
    for place in range(1, len(tensors)):
        total = total + tensors[place] * weights[place]
    return total
