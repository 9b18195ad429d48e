"""How much each stage counts: closed forms, the published tables, draws and running means."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Literal

import pytest
import torch

from anytimenet.nets import create_net
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes import RunFacts, Scheme, scheme_preset, scheme_to_dict
from anytimenet.schemes.weighting.adaloss import AdaLossWeights
from anytimenet.schemes.weighting.alternating import AlternatingWeights
from anytimenet.schemes.weighting.cost import CostWeights
from anytimenet.schemes.weighting.fixed import (
    CalledWeights,
    ConstantWeights,
    GivenWeights,
    HalfEndWeights,
    LinearWeights,
)
from anytimenet.schemes.weighting.sieve import SieveWeights, sieve_units
from anytimenet.tasks import Classification

# (stages, version): the units of all stages but the last, and their sum, as published.
PUBLISHED = {
    (10, "text"): ("2 1 3 2 4 2 1 3 2", 20),
    (10, "from_end"): ("1 4 1 2 1 3 1 2 1", 16),
    (10, "v2"): ("1 1 2 1 1 3 1 2 1", 13),
    (25, "text"): ("1 2 3 1 2 4 1 2 3 1 2 1 5 2 1 3 2 1 4 2 1 3 2 1", 50),
    (25, "from_end"): ("4 1 2 1 3 1 2 1 5 1 2 1 3 1 2 1 4 1 2 1 3 1 2 1", 46),
    (25, "v2"): ("1 2 1 3 2 1 4 2 1 3 2 1 5 1 2 3 1 2 4 1 2 3 1 2", 50),
    (41, "text"): (
        "2 1 3 2 4 2 1 3 2 5 1 2 3 2 4 1 2 3 2 1 6 2 3 2 1 4 2 3 2 1 5 2 3 1 2 4 2 3 1 2",
        97,
    ),
    (41, "from_end"): (
        "4 1 2 1 3 1 2 1 6 1 2 1 3 1 2 1 4 1 2 1 3 1 2 1 5 1 2 1 3 1 2 1 4 1 2 1 3 1 2 1",
        78,
    ),
    (41, "v2"): (
        "1 1 2 1 1 3 1 2 1 1 4 1 2 1 1 3 1 2 1 1 5 1 1 2 1 3 1 1 2 1 4 1 1 2 1 3 1 1 2 1",
        66,
    ),
}
VERSIONS: list[Literal["text", "from_end", "v2", "heavy_end"]] = ["text", "from_end", "v2", "heavy_end"]


class Stages(AnytimeNet):
    """No more of a net than a weighting asks for."""

    def __init__(self, num_stages: int) -> None:
        super().__init__()
        self.num_stages = num_stages


def build(config, num_stages, **facts):
    return config.build(Stages(num_stages), RunFacts(**facts))


def weights(config, num_stages, **facts):
    stages = range(1, num_stages + 1)
    given = build(config, num_stages, **facts).weights(stages)
    return [given[stage] for stage in stages]


def losses(*values):
    return {stage: torch.tensor(value) for stage, value in enumerate(values, 1)}


# Closed forms


def test_constant_and_linear_weights_follow_their_formulas():
    assert weights(ConstantWeights(0.5), 3) == [0.5, 0.5, 0.5]
    assert weights(LinearWeights(), 4) == [0.25, 0.5, 0.75, 1]


def test_half_end_gives_the_last_stage_as_much_as_all_others_together():
    assert weights(HalfEndWeights(), 5) == [0.25, 0.25, 0.25, 0.25, 1]


@pytest.mark.parametrize("config", [LinearWeights(), HalfEndWeights(), *map(SieveWeights, VERSIONS)])
def test_a_single_stage_has_the_weight_one(config):
    assert weights(config, 1) == [1]


def test_given_and_called_weights_are_what_was_given():
    assert weights(GivenWeights((0, 0, 2)), 3) == [0, 0, 2]
    assert weights(CalledWeights(lambda stages: [k * stages for k in range(stages)]), 3) == [0, 3, 6]


def test_given_weights_from_json_equal_those_from_python():
    assert GivenWeights([1, 2]) == GivenWeights((1.0, 2.0))


def test_cost_weights_follow_the_inverse_cost_with_mean_one():
    assert weights(CostWeights(), 2, stage_macs=lambda: [1e6, 3e6]) == pytest.approx([1.5, 0.5], rel=1e-12)


def test_cost_weights_follow_any_power_of_the_cost():
    macs = [2e6, 3e6, 7e6]
    squares = weights(CostWeights(power=2), 3, stage_macs=lambda: macs)
    assert squares == pytest.approx([3 * 4 / 62, 3 * 9 / 62, 3 * 49 / 62], rel=1e-9)
    assert weights(CostWeights(power=0), 3, stage_macs=lambda: macs) == [1, 1, 1]
    assert weights(CostWeights(power=-1000), 3, stage_macs=lambda: macs) == pytest.approx([3, 0, 0])


def test_a_stage_keeps_its_weight_where_only_some_stages_run():
    built = build(LinearWeights(), 4)
    assert built.weights([4, 2]) == {4: 1, 2: 0.5}


# SIEVE


@pytest.mark.parametrize(("stages", "version"), PUBLISHED)
def test_sieve_equals_the_published_tables_digit_for_digit(stages, version):
    units, whole = PUBLISHED[stages, version]
    assert sieve_units(stages, version) == [int(unit) for unit in units.split()]
    assert sum(sieve_units(stages, version)) == whole


@pytest.mark.parametrize(
    ("version", "published"),
    [
        ("text", "0.10 0.05 0.15 0.10 0.20 0.10 0.05 0.15 0.10 1"),
        ("from_end", "0.0625 0.25 0.0625 0.125 0.0625 0.1875 0.0625 0.125 0.0625 1"),
        ("v2", "0.0769 0.0769 0.1538 0.0769 0.0769 0.2308 0.0769 0.1538 0.0769 1"),
    ],
)
def test_ten_sieve_weights_are_the_published_ones(version, published):
    expected = [float(weight) for weight in published.split()]
    assert [round(weight, 4) for weight in weights(SieveWeights(version), 10)] == expected


@pytest.mark.parametrize(
    ("version", "two", "three"),
    [("text", [1], [1, 2]), ("from_end", [1], [2, 1]), ("v2", [1], [1, 2]), ("heavy_end", [9], [14, 23])],
)
def test_sieve_of_very_few_stages(version, two, three):
    assert sieve_units(1, version) == []
    assert sieve_units(2, version) == two
    assert sieve_units(3, version) == three


def test_the_heavy_end_of_ten_stages_by_hand():
    # Ones, plus 5, 2.5, 1.25 and 0.625 at places 4, 2, 1 and 0, plus 10/8 at place 6; times 8.
    units = [1 + 0.625, 1 + 1.25, 1 + 2.5, 1, 1 + 5, 1, 1 + 1.25, 1, 1]
    assert sieve_units(10, "heavy_end") == [unit * 8 for unit in units]


# EXP-LIN: the earlier weights, which sum to 1, beside a last weight of 1, as released.
EXP_LIN = {
    5: [0.1806, 0.25, 0.4583, 0.1111],
    10: [0.0828, 0.1146, 0.1783, 0.051, 0.3057, 0.051, 0.1146, 0.051, 0.051],
    21: [0.0385, 0.0538, 0.0844, *[0.0233] * 2, 0.1455, *[0.0233] * 4, 0.2676, *[0.0233] * 3, 0.0844]
    + [0.0233] * 5,
}


@pytest.mark.parametrize("stages", [5, 10, 21])
def test_exp_lin_is_the_released_form(stages):
    found = weights(scheme_preset("exp_lin").scheme.weighting, stages)
    assert found[-1] == 1
    assert found[:-1] == pytest.approx(EXP_LIN[stages], abs=6e-5)


# Equal sums


ALL = [
    ConstantWeights(3.0),
    LinearWeights(),
    HalfEndWeights(),
    GivenWeights((1, 2, 3, 4)),
    CalledWeights(lambda stages: range(stages)),
    CostWeights(),
    *map(SieveWeights, VERSIONS),
    AlternatingWeights(),
    AdaLossWeights(every=1),
]


@pytest.mark.parametrize("config", ALL, ids=lambda config: f"{type(config).__name__}")
def test_a_total_rescales_the_weights_and_keeps_their_proportions(config):
    facts = RunFacts(seed=3, stage_macs=lambda: [1e6, 2e6, 3e6, 5e6])
    plain, rescaled = (choice.build(Stages(4), facts) for choice in (config, replace(config, total=2.5)))
    for _ in range(3):
        ours, theirs = ([*built.weights(range(1, 5)).values()] for built in (rescaled, plain))
        assert sum(ours) == pytest.approx(2.5, rel=1e-12)
        assert ours == pytest.approx([weight * 2.5 / sum(theirs) for weight in theirs], rel=1e-12)
        for built in (plain, rescaled):
            built.observe(losses(2.0, 1.5, 1.0, 0.5))


# Alternating


def test_alternating_weights_add_the_last_stages_weight_to_one_stage_a_step():
    base = weights(SieveWeights(), 7)
    built = build(AlternatingWeights(), 7)
    for _ in range(20):
        now = built.weights(range(1, 8))
        more = [now[stage] - base[stage - 1] for stage in range(1, 8)]
        assert sorted(more) == pytest.approx([0] * 6 + [1])


def drawn_stages(built, steps, base, stages):
    """For each step the stage whose weight is above its base."""
    found = []
    for _ in range(steps):
        now = built.weights(stages)
        found.append(next(stage for stage in stages if now[stage] > base[stage - 1] + 0.5))
    return found


def test_stages_are_drawn_as_often_as_they_weigh_and_the_last_half_of_the_time():
    base, steps = weights(SieveWeights(), 5), 4000
    counts = Counter(drawn_stages(build(AlternatingWeights(), 5), steps, base, range(1, 6)))
    for stage, weight in enumerate(base, 1):
        chance = weight / 2
        spread = math.sqrt(chance * (1 - chance) / steps)
        assert abs(counts[stage] / steps - chance) < 4 * spread
    assert abs(counts[5] / steps - 0.5) < 0.03


def test_draws_are_equal_for_equal_seeds_and_differ_between_steps_and_seeds():
    base, stages = weights(SieveWeights(), 6), range(1, 7)

    def draws(seed, order=stages):
        return drawn_stages(build(AlternatingWeights(), 6, seed=seed), 40, base, order)

    assert draws(1) == draws(1)
    assert len(set(draws(1))) > 1
    assert draws(1) != draws(2)


def test_the_draw_does_not_depend_on_the_order_that_the_stages_run_in():
    up, down = (build(AlternatingWeights(), 6, seed=5) for _ in range(2))
    for _ in range(20):
        assert up.weights([1, 2, 3, 4, 5, 6]) == down.weights([6, 5, 4, 3, 2, 1])


def test_the_draw_is_among_the_stages_that_run_and_those_without_weight_get_nothing():
    built = build(AlternatingWeights(GivenWeights((0, 0, 1, 2))), 4)
    for _ in range(10):
        assert built.weights([1, 3]) == {1: 0, 3: 3}
    assert built.weights([1, 2]) == {1: 0, 2: 0}


def test_alternating_draws_go_on_after_a_checkpoint_as_without_one():
    whole, first = (build(AlternatingWeights(), 6, seed=2) for _ in range(2))
    expected = [whole.weights(range(1, 7)) for _ in range(10)]
    for _ in range(4):
        first.weights(range(1, 7))
    resumed = build(AlternatingWeights(), 6, seed=2)
    resumed.load_state_dict(first.state_dict())
    assert [resumed.weights(range(1, 7)) for _ in range(6)] == expected[4:]


def test_alternating_weights_pass_the_losses_on_to_a_base_that_learns():
    built = build(AlternatingWeights(AdaLossWeights(every=1, uniform=0)), 2)
    built.observe(losses(4.0, 1.0))
    assert sorted(built.weights([1, 2]).values()) in ([0.25, 2], [1, 1.25])


@pytest.mark.parametrize("base", [ConstantWeights(), LinearWeights(), GivenWeights((1, 2, 0))])
def test_the_drawn_stage_gets_half_of_the_sum_where_that_is_asked_for(base):
    before = weights(base, 3)
    for total in (None, 4.5):
        built = build(AlternatingWeights(base, extra="half", total=total), 3, seed=1)
        scale = 1 if total is None else total / (1.5 * sum(before))
        for _ in range(10):
            now = built.weights([1, 2, 3])
            more = sorted(now[stage] / scale - before[stage - 1] for stage in (1, 2, 3))
            assert more == pytest.approx([0, 0, sum(before) / 2])


def test_half_of_the_sum_is_the_last_weight_with_sieve():
    last, half = (build(AlternatingWeights(extra=extra), 6, seed=3) for extra in ("last", "half"))
    for _ in range(10):
        assert last.weights(range(1, 7)) == pytest.approx(half.weights(range(1, 7)))


def test_fields_that_came_later_are_told_only_where_they_are_set():
    plain = scheme_to_dict(Scheme(weighting=AlternatingWeights(AdaLossWeights())))["weighting"]
    assert set(plain) == {"member", "base", "total"}
    assert "renormalise" not in plain["base"]
    changed = AlternatingWeights(AdaLossWeights(renormalise=True), extra="half")
    told = scheme_to_dict(Scheme(weighting=changed))["weighting"]
    assert (told["extra"], told["base"]["renormalise"]) == ("half", True)


# AdaLoss


def test_adaloss_starts_with_ones_and_changes_only_every_so_many_steps():
    built = build(AdaLossWeights(every=3, uniform=0), 2)
    for _ in range(2):
        built.observe(losses(2.0, 1.0))
        assert built.weights([1, 2]) == {1: 1, 2: 1}
    built.observe(losses(2.0, 1.0))
    assert built.weights([1, 2]) == {1: 0.5, 2: 1}


@pytest.mark.parametrize("uniform", [0.0, 0.07, 0.3, 1.0])
@pytest.mark.parametrize("extra", [0.0, 1.0])
def test_constant_losses_lead_to_their_inverses_mixed_with_equal_weights(uniform, extra):
    constants = [2.5, 2.0, 0.8, 1.25]
    built = build(AdaLossWeights(every=5, uniform=uniform, final_extra=extra), 4)
    for _ in range(25):
        built.observe(losses(*constants))
    inverse = [0.8 / loss for loss in constants]
    inverse[-1] += extra
    expected = [(1 - uniform) * value + uniform for value in inverse]
    assert [*built.weights(range(1, 5)).values()] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("uniform", [0.0, 0.07])
def test_the_released_commit_divides_by_the_largest_weight_once_more(uniform):
    constants = [2.0, 1.0, 0.5, 1.0]
    built = build(AdaLossWeights(every=1, uniform=uniform, final_extra=1.0, renormalise=True), 4)
    built.observe(losses(*constants))
    inverse = [0.25, 0.5, 1.0, 1.5]
    expected = [(1 - uniform) * value / 1.5 + uniform for value in inverse]
    assert [*built.weights(range(1, 5)).values()] == pytest.approx(expected, rel=1e-6)
    plain, without = (build(AdaLossWeights(every=1, renormalise=r), 4) for r in (False, True))
    for one in (plain, without):
        one.observe(losses(*constants))
    assert plain.weights(range(1, 5)) == without.weights(range(1, 5))


def test_the_running_mean_begins_with_the_first_loss_and_then_forgets_by_the_momentum():
    built = build(AdaLossWeights(momentum=0.75, every=1, uniform=0), 2)
    for first in (4.0, 8.0, 2.0):
        built.observe(losses(first, 1.0))
    mean = 0.75 * (0.75 * 4 + 0.25 * 8) + 0.25 * 2
    assert built.weights([1, 2]) == pytest.approx({1: 1 / mean, 2: 1})


def test_stages_that_did_not_run_keep_their_mean_and_those_that_never_ran_the_weight_one():
    built = build(AdaLossWeights(momentum=0.5, every=1, uniform=0), 3)
    built.observe(losses(4.0, 2.0))
    assert built.weights([1, 2, 3]) == {1: 0.5, 2: 1, 3: 1}
    built.observe({2: torch.tensor(4.0)})
    assert built.weights([1, 2, 3]) == {1: 0.75, 2: 1, 3: 1}


def test_without_equal_weights_adaloss_follows_the_gradient_of_the_geometric_mean():
    parameter = torch.linspace(-1, 1, 5, dtype=torch.float64).requires_grad_()
    centres = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    each = ((parameter - centres) ** 2).sum(1)
    built = build(AdaLossWeights(every=4, uniform=0), 3).double()
    for _ in range(4):
        built.observe({stage: loss.detach() for stage, loss in enumerate(each, 1)})
    now = built.weights([1, 2, 3])
    weighted = sum(now[stage] * loss for stage, loss in enumerate(each, 1))
    (ours,) = torch.autograd.grad(weighted, parameter, retain_graph=True)
    (theirs,) = torch.autograd.grad(each.log().sum(), parameter)
    # w_i = min_j l_j / l_i, so that the two differ by the factor min_j l_j alone.
    torch.testing.assert_close(ours, theirs * each.min().detach(), rtol=1e-12, atol=1e-12)


def test_adaloss_goes_on_bit_for_bit_after_a_checkpoint_between_two_updates():
    config = AdaLossWeights(every=3)
    whole, first = (build(config, 3) for _ in range(2))
    seen = [losses(*row) for row in torch.rand(20, 3, generator=torch.Generator().manual_seed(1)).tolist()]
    for step in seen[:7]:
        first.observe(step)
        whole.observe(step)
    resumed = build(config, 3)
    resumed.load_state_dict(first.state_dict())
    for step in seen[7:]:
        assert resumed.weights([1, 2, 3]) == whole.weights([1, 2, 3])
        resumed.observe(step)
        whole.observe(step)
    assert resumed.weights([1, 2, 3]) == whole.weights([1, 2, 3])
    assert torch.equal(resumed.means, whole.means)


def test_a_loss_of_zero_leaves_finite_weights_and_a_negative_one_is_refused():
    built = build(AdaLossWeights(every=1, uniform=0.1), 2)
    built.observe(losses(0.0, 1.0))
    assert built.weights([1, 2]) == pytest.approx({1: 1, 2: 0.1})
    with pytest.raises(ValueError, match=r"losses of 0 or more.*choose a loss"):
        build(AdaLossWeights(every=1), 2).observe(losses(-1.0, 1.0))


def test_a_loss_that_is_no_number_is_left_to_the_loop_to_report():
    built = build(AdaLossWeights(every=1), 2)
    built.observe(losses(math.nan, math.nan))
    assert built.weights([1, 2]) == {1: 1, 2: 1}


# In a scheme


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny", "msdnet_tiny"])
@pytest.mark.parametrize("config", [SieveWeights(), AlternatingWeights(), AdaLossWeights(every=1)])
def test_a_step_descends_the_losses_in_the_proportion_of_the_weights(name, config):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 16, 16, generator=generator, dtype=torch.float64)
    labels = (torch.randint(0, 4, (4,), generator=generator),)
    task = Classification((4,))
    torch.manual_seed(0)
    net = create_net(name, (4,)).double()
    built, twin = (Scheme(weighting=config).build(net, RunFacts(seed=1)) for _ in range(2))
    for _ in range(2):  # AdaLoss has its own weights from the second step on
        net.zero_grad()
        observed = built.step(net, x, labels, task.loss)
    stages = range(1, net.num_stages + 1)
    twin.weighting.weights(stages)
    twin.weighting.observe(observed)
    now = twin.weighting.weights(stages)
    ours = [parameter.grad.clone() for parameter in net.parameters()]
    outputs = net(x)
    loss = sum(now[stage] * task.loss(outputs[stage - 1], labels) for stage in stages)
    theirs = torch.autograd.grad(loss, list(net.parameters()))
    for first, second in zip(ours, theirs, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-8)


# Bad input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GivenWeights((1, -1)), "stage 2 is -1.0: give a finite number"),
        (lambda: GivenWeights((math.inf, 1)), "stage 1 is inf"),
        (lambda: GivenWeights((math.nan,)), "stage 1 is nan"),
        (lambda: GivenWeights((0, 0)), "no stage has a weight above 0"),
        (lambda: CostWeights(power=math.nan), "power of the cost must be a finite number"),
        (lambda: SieveWeights("txt"), "did you mean 'text'"),  # type: ignore[arg-type]
        (lambda: sieve_units(0), "at least one stage"),
        (lambda: AlternatingWeights(AlternatingWeights()), "give a base that does not draw"),
        (lambda: AdaLossWeights(momentum=1.0), r"momentum of AdaLoss must be in \[0, 1\)"),
        (lambda: AdaLossWeights(every=0), "every 0: a whole number is needed, 1 or more"),
        (lambda: AdaLossWeights(uniform=1.5), r"uniform share of AdaLoss must be in \[0, 1\]"),
        (lambda: AdaLossWeights(final_extra=-1.0), "final_extra must be a finite number"),
    ],
)
def test_a_value_out_of_its_range_is_a_one_line_error(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("total", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("config", ALL, ids=lambda config: f"{type(config).__name__}")
def test_a_total_that_is_no_positive_number_is_refused(config, total):
    with pytest.raises(ValueError, match="give a positive number, or None"):
        replace(config, total=total)


@pytest.mark.parametrize("config", [GivenWeights((1, 2)), CalledWeights(lambda stages: [1, 2])])
def test_another_number_of_weights_than_stages_is_refused(config):
    with pytest.raises(ValueError, match="2 weights for a net of 3 stages"):
        build(config, 3)


def test_given_weights_that_are_not_given_are_refused_when_built():
    with pytest.raises(ValueError, match=r"0 weights for a net of 3 stages: give one for each"):
        build(GivenWeights(), 3)


def test_called_weights_are_checked_as_given_ones_are():
    with pytest.raises(ValueError, match="weight of stage 1 is -3"):
        build(CalledWeights(lambda stages: [-stages] * stages), 3)
    with pytest.raises(ValueError, match="no stage has a weight above 0"):
        build(CalledWeights(lambda stages: [0] * stages), 3)


def test_cost_weights_without_costs_say_what_to_give():
    with pytest.raises(ValueError, match=r"give input_shape to training\.train, or use fit"):
        build(CostWeights(), 3)
    with pytest.raises(ValueError, match="stage 2 costs 0"):
        build(CostWeights(), 2, stage_macs=lambda: [1e6, 0])


def test_alternating_weights_need_a_weight_on_the_last_stage():
    with pytest.raises(ValueError, match="last stage's weight, which is 0"):
        build(AlternatingWeights(GivenWeights((1, 0))), 2).weights([1, 2])
