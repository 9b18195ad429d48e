"""Which stages run in a step: order, frequencies, and draws that a checkpoint remembers."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import Any

import pytest
import torch

from anytimenet.nets import create_net
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes import AllStages, RunFacts, Scheme
from anytimenet.schemes.sampling import DrawnStages, Sandwich
from anytimenet.tasks import Classification


def net_of(num_stages: int) -> AnytimeNet:
    net = AnytimeNet()
    net.num_stages = num_stages
    return net


def build(config, num_stages: int, seed: int = 1):
    return config.build(net_of(num_stages), RunFacts(seed=seed))


def chi_square(counts: Counter[Any], expected: dict[Any, float], draws: int) -> float:
    assert set(counts) <= {key for key, chance in expected.items() if chance}
    return sum((counts[key] - draws * p) ** 2 / (draws * p) for key, p in expected.items() if p)


def successive(weights, count) -> dict[Any, float]:
    """The chance of every ordered draw without replacement, each in proportion to what is left."""
    chances = {}
    for order in permutations(range(len(weights)), count):
        left, chance = sum(weights), 1.0
        for i in order:
            chance *= weights[i] / left if left else 0.0
            left -= weights[i]
        chances[tuple(i + 1 for i in order)] = chance
    return chances


def test_all_stages_run_from_the_cheapest_on():
    sampling = build(AllStages(), 4)
    assert sampling.draw() == sampling.draw() == (1, 2, 3, 4)
    assert sampling.every_stage


@pytest.mark.parametrize("num_stages", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("random", [0, 1, 2, 9])
def test_a_sandwich_is_the_largest_the_smallest_and_distinct_ones_of_those_between(num_stages, random):
    sampling = build(Sandwich(random), num_stages)
    between = max(num_stages - 2, 0)
    for _ in range(20):
        stages = sampling.draw()
        ends = (num_stages, 1) if num_stages > 1 else (1,)
        assert stages[: len(ends)] == ends
        drawn = stages[len(ends) :]
        assert len(drawn) == len(set(drawn)) == min(random, between)
        assert all(1 < stage < num_stages for stage in drawn)
    assert sampling.every_stage == (random >= between)


def test_a_sandwich_draws_every_pair_between_equally_often():
    draws = 3000
    sampling = build(Sandwich(2), 6)
    counts = Counter(tuple(sampling.draw()[2:]) for _ in range(draws))
    expected = dict.fromkeys(permutations((2, 3, 4, 5), 2), 1 / 12)
    assert chi_square(counts, expected, draws) < 31.3  # 11 degrees of freedom: exceeded by one seed in 1000


@pytest.mark.parametrize(
    ("weights", "count", "bound"),
    [((1, 2, 3, 4), 1, 16.3), ((1, 2, 3, 4), 2, 31.3), ((0.5, 0, 0.1), 2, 10.8)],
)
def test_stages_are_drawn_in_proportion_to_their_weights(weights, count, bound):
    draws = 3000
    sampling = build(DrawnStages(count, weights), len(weights))
    counts = Counter(tuple(sampling.draw()) for _ in range(draws))
    assert chi_square(counts, successive(weights, count), draws) < bound  # one seed in 1000 exceeds it


def test_stages_are_drawn_uniformly_without_weights():
    draws = 3000
    sampling = build(DrawnStages(), 5)
    counts = Counter(tuple(sampling.draw()) for _ in range(draws))
    assert chi_square(counts, {(k,): 1 / 5 for k in range(1, 6)}, draws) < 18.5


def test_stages_that_always_run_come_first_and_the_drawn_ones_beside_them():
    draws = 2000
    sampling = build(DrawnStages(1, (9, 1, 3, 0), always=("smallest", "largest")), 4)
    counts = Counter(tuple(sampling.draw()) for _ in range(draws))
    assert chi_square(counts, {(4, 1, 2): 1 / 4, (4, 1, 3): 3 / 4}, draws) < 10.8


@pytest.mark.parametrize("config", [Sandwich(1), DrawnStages(2, (1, 2, 3, 4, 5))])
def test_draws_depend_on_the_seed_alone_and_go_on_after_a_checkpoint(config):
    whole, twin, other = build(config, 5), build(config, 5), build(config, 5, seed=2)
    before = [whole.draw() for _ in range(10)]
    assert before == [twin.draw() for _ in range(10)]
    assert before != [other.draw() for _ in range(10)]

    resumed = build(config, 5)
    resumed.load_state_dict(whole.state_dict())
    assert [whole.draw() for _ in range(10)] == [resumed.draw() for _ in range(10)]


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny"])
def test_a_step_gives_the_gradient_of_the_drawn_stages_alone(name):
    torch.manual_seed(0)
    net = create_net(name, (4,)).double()
    torch.manual_seed(0)
    reference = create_net(name, (4,)).double()
    x, labels = torch.randn(6, 3, 8, 8, dtype=torch.float64), (torch.arange(6) % 4,)
    losses = Scheme(sampling=Sandwich(0)).build(net).step(net, x, labels, Classification((4,)).loss)

    outputs = reference(x, [1, net.num_stages])
    sum(torch.nn.functional.cross_entropy(z.float(), labels[0]) for (z,) in outputs).backward()
    assert list(losses) == [1, net.num_stages]
    for ours, theirs in zip(net.parameters(), reference.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sandwich(1.5), "whole number is needed, 0 or more"),  # type: ignore[arg-type]
        (lambda: DrawnStages(always="largest"), "a list is needed"),  # type: ignore[arg-type]
        (lambda: build(DrawnStages(always=("largest", "smallest")), 2), "leave always out"),
        (lambda: Sandwich(-1), "whole number is needed, 0 or more"),
        (lambda: DrawnStages(0), "whole number is needed, 1 or more"),
        (lambda: DrawnStages(weights=(1, -1)), "give a finite number, 0 or more"),
        (lambda: DrawnStages(weights=(1, float("nan"))), "give a finite number, 0 or more"),
        (lambda: DrawnStages(weights=(0, 0)), "no stage has a weight above 0"),
        (lambda: DrawnStages(always=("largst",)), "take one of largest, smallest"),  # type: ignore[arg-type]
        (lambda: build(DrawnStages(weights=(1, 2)), 3), "2 weights for a net of 3 stages"),
        (lambda: build(DrawnStages(4), 3), "draw at most 3"),
        (lambda: build(DrawnStages(2, (1, 0, 0)), 3), "1 of 3 have a positive weight"),
        (lambda: build(DrawnStages(1, (1, 0, 0), always=("smallest",)), 3), "do not run anyway"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
