"""Heads that read standardised features while they learn answer as they would from others."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from anytimenet.layers.heads import PooledHead
from anytimenet.training.standardising import standardised


class Skipping(nn.Module):
    """A head whose features are read by something else than its linear layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def predict(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.linear(x) + x,)


class Parted(nn.Module):
    """A head with a linear layer that reads the first half of the features, where they begin."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rest = nn.Linear(3, 6), nn.Linear(3, 6)

    def predict(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.first(x[:, :3]) + self.rest(x[:, 3:]),)


def features(count: int = 50, width: int = 6) -> Tensor:
    """Channels of different means and deviations."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.5, 1.0, 10.0, 20.0, 3.0, 0.7])[:width]
    return torch.randn(count, width, generator=generator) * scale + 2 * scale.flip(0)


@pytest.mark.parametrize("levels", [(4,), (4, 2)])
def test_a_head_answers_alike_in_both_forms_and_comes_back(levels):
    head, x = PooledHead(6, levels, dropout=0.3).eval(), features()
    before, expected = copy.deepcopy(head.state_dict()), head.predict(x)
    form = standardised(head, head.predict, x)
    assert form is not None
    assert len(form.layers) == len(levels)
    assert all(torch.equal(before[name], tensor) for name, tensor in head.state_dict().items())
    z = form(x)
    assert torch.allclose(z.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(z.std(0), torch.ones(6), atol=1e-5)
    form.enter()
    for one, other in zip(head.predict(z), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    form.leave()
    for one, other in zip(head.predict(x), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_without_a_bias_the_mean_stays():
    head, x = nn.Linear(6, 3, bias=False), features()
    form = standardised(head, lambda z: (head(z),), x)
    assert form is not None
    assert torch.equal(form.mean, torch.zeros(6))
    expected = head(x)
    form.enter()
    assert torch.allclose(head(form(x)), expected, atol=1e-4)


def test_a_channel_that_never_varies_gains_no_huge_weights():
    x = features()
    x[:, 2] = 5.0
    head = nn.Linear(6, 3)
    form = standardised(head, lambda z: (head(z),), x)
    assert form is not None
    assert form.deviation.min() >= 0.009 * x.std(0).mean()


@pytest.mark.parametrize(
    ("head", "x"),
    [
        (Skipping(), features()),
        (Parted(), features()),
        (nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)), features()),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), features()[:, :, None, None]),
        (nn.Linear(6, 3).requires_grad_(False), features()),
    ],
)
def test_other_heads_read_their_features_as_they_are(head, x):
    head.eval()
    before = copy.deepcopy(head.state_dict())
    predict = head.predict if isinstance(head, Skipping | Parted) else lambda z: (head(z),)
    assert standardised(head, predict, x) is None
    assert all(torch.equal(before[name], tensor) for name, tensor in head.state_dict().items())
