"""Where exits go: places that can be cut, and the best of them, compared with trying all."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.nets.wrapped import toys
from torch import nn

from anytimenet.nets import wrap
from anytimenet.nets.wrapped.placement import best_taps, equal_cost_taps, possible_taps, probe_scores

EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PLACES = st.lists(st.integers(1, 99), min_size=3, max_size=8, unique=True).map(
    lambda found: {f"block{n}": n / 100 for n in sorted(found)}
)


def test_places_are_blocks_after_which_one_tensor_carries_all_with_their_share_of_the_work():
    costs = possible_taps(toys.ViT(depth=4), EXAMPLE)
    # A class token, positions and 17 tokens of 8 numbers: each layer costs the same.
    assert list(costs) == ["patch", "layers.0", "layers.1", "layers.2"]
    steps = [b - a for a, b in pairwise(costs[f"layers.{n}"] for n in range(3))]
    assert steps[0] == pytest.approx(steps[1])
    assert all(0 < cost < 1 for cost in costs.values())


def test_no_place_lies_under_a_connection_that_goes_across():
    costs = possible_taps(toys.UNet(), EXAMPLE)
    assert list(costs) == ["down1"]  # all else goes across what comes after it


@pytest.mark.parametrize("build", [toys.ViT, toys.Windows])
def test_exits_by_number_are_placed_at_equal_shares_of_the_work(build):
    net = wrap(build(), exits=3, input_shape=(3, 8, 8))
    assert net.num_stages == 3
    again = equal_cost_taps(possible_taps(build(), EXAMPLE), 2)
    assert list(net.graph.exits[:2]) == [tap.replace(".", "_") for tap in again]


def test_taps_and_exits_say_the_same_thing_so_one_is_given():
    for arguments in ({}, {"taps": ["layers.0"], "exits": 2}):
        with pytest.raises(ValueError, match=r"give taps, .* or exits"):
            wrap(toys.ViT(), input_shape=(3, 8, 8), **arguments)
    with pytest.raises(ValueError, match="exits are the most"):
        wrap(toys.ViT(), exits=9, input_shape=(3, 8, 8))


@given(PLACES, st.integers(1, 3))
def test_equal_cost_places_are_the_nearest_of_all_to_equal_shares(costs, count):
    def distance(taps):
        return sum((costs[tap] - n / (count + 1)) ** 2 for n, tap in enumerate(taps, 1))

    found = equal_cost_taps(costs, count)
    assert distance(found) == pytest.approx(min(distance(each) for each in combinations(costs, count)))


@given(PLACES, st.integers(1, 3), st.data())
def test_the_best_places_have_the_largest_area_of_all(costs, count, data):
    scores = {tap: data.draw(st.integers(0, 100)) / 100 for tap in costs}

    def area(taps):
        ends = [*(costs[tap] for tap in taps[1:]), 1.0]
        return sum(scores[tap] * (end - costs[tap]) for tap, end in zip(taps, ends, strict=True))

    found = best_taps(costs, scores, count)
    assert len(found) == count
    assert area(found) == pytest.approx(max(area(each) for each in combinations(costs, count)))


def test_a_score_for_each_place_is_needed_and_costs_that_increase():
    with pytest.raises(ValueError, match="scores says nothing of 'b'"):
        best_taps({"a": 0.2, "b": 0.5}, {"a": 0.5}, 1)
    with pytest.raises(ValueError, match="must increase"):
        equal_cost_taps({"a": 0.5, "b": 0.2}, 1)


def test_a_probe_scores_features_that_tell_classes_apart_above_those_that_do_not():
    class Halves(nn.Module):
        """First the mean of all channels, which says nothing, then the channels."""

        def __init__(self) -> None:
            super().__init__()
            self.blind, self.seeing = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            with torch.no_grad():
                self.blind.weight.fill_(0)
                self.seeing.weight.copy_(torch.eye(3)[:, :, None, None])

        def forward(self, x):
            self.blind(x)
            return self.seeing(x).mean((2, 3))

    labels = torch.arange(60) % 3
    images = torch.randn(60, 3, 4, 4) * 0.1 + torch.eye(3)[labels][:, :, None, None]
    scores = probe_scores(Halves(), ["blind", "seeing"], images, labels)
    assert scores["seeing"] == 1
    assert scores["blind"] < 0.6


def test_a_classifier_of_several_layers_is_no_place_for_an_exit():
    features = nn.Sequential(toys.conv(3, 4), toys.conv(4, 4), toys.conv(4, 4), nn.AdaptiveAvgPool2d(2))
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 5))
    costs = possible_taps(nn.Sequential(features, classifier), EXAMPLE)
    assert list(costs) == ["0.0", "0.1"]
