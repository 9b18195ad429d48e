"""A scheme is the composition of four hooks, and one step of it fills the gradients."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anytimenet.nets import create_net
from anytimenet.schemes import (
    AlternatingWeights,
    BlockDependent,
    CalledWeights,
    ConstantWeights,
    Distillation,
    GivenWeights,
    GradientEquilibrium,
    GroupedLosses,
    LinearWeights,
    RunFacts,
    Scheme,
    SieveWeights,
    TDLambda,
    Weighting,
    list_schemes,
    override,
    scheme_preset,
    scheme_to_dict,
)
from anytimenet.tasks import Classification
from anytimenet.training import TrainConfig

NETS = ["isresnext_tiny", "iresnext_tiny", "resnet_tiny"]


def batch(classes: tuple[int, ...] = (4,)) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, tuple(torch.randint(0, count, (6,), generator=generator) for count in classes)


def build(name: str, classes: tuple[int, ...] = (4,)) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_net(name, classes).double()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("classes", [(4,), (4, 2)])
def test_the_default_step_is_the_gradient_of_the_plain_sum_of_cross_entropies(name, classes):
    x, labels = batch(classes)
    net, reference = build(name, classes), build(name, classes)
    losses = Scheme().build(net).step(net, x, labels, Classification(classes).loss)

    outputs = reference(x)
    each = [
        sum(torch.nn.functional.cross_entropy(z.float(), y) for z, y in zip(output, labels, strict=True))
        for output in outputs
    ]
    sum(each).backward()
    assert list(losses) == list(range(1, net.num_stages + 1))
    torch.testing.assert_close(torch.stack(list(losses.values())), torch.stack(each).detach())
    for (parameter_name, ours), theirs in zip(net.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12, msg=parameter_name)


def test_a_constant_weight_scales_the_gradient_but_not_the_reported_losses():
    x, labels = batch()
    net, plain = build("isresnext_tiny"), build("isresnext_tiny")
    scaled = (
        Scheme(weighting=ConstantWeights(0.25)).build(net).step(net, x, labels, Classification((4,)).loss)
    )
    losses = Scheme().build(plain).step(plain, x, labels, Classification((4,)).loss)
    assert scaled == losses
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad / 4, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_weights_that_are_no_positive_number_are_refused(weight):
    with pytest.raises(ValueError, match="positive number"):
        ConstantWeights(weight)


def test_presets_are_found_by_name_and_a_typo_gets_a_suggestion():
    assert "anytime" in list_schemes()
    assert scheme_preset("anytime").scheme == Scheme()
    with pytest.raises(ValueError, match="did you mean 'anytime'"):
        scheme_preset("anytme")


def test_more_label_levels_than_the_net_predicts_is_an_error_with_the_cure():
    with pytest.raises(ValueError, match="one entry of num_classes per level"):
        Classification((4,)).loss((torch.zeros(2, 4),), (torch.zeros(2).long(), torch.zeros(2).long()))


# --- schemes as words -------------------------------------------------------------------------------


def test_presets_differ_and_each_becomes_json_values():
    described = [json.dumps(scheme_to_dict(scheme_preset(name).scheme)) for name in list_schemes()]
    assert len(set(described)) == len(described) > 20


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weighting": "sieve"}, Scheme(weighting=SieveWeights())),
        ({"weighting": "sieve", "weighting.version": "v2"}, Scheme(weighting=SieveWeights("v2"))),
        (
            {"weighting": "alternating", "weighting.base": "linear", "weighting.base.total": 2},
            Scheme(weighting=AlternatingWeights(LinearWeights(total=2))),
        ),
        (
            {"gradients": "grouped", "gradients.groups": [2, 1]},
            Scheme(gradients=GroupedLosses(groups=(2, 1))),
        ),
        (
            {"gradients": "block_dependent", "targets": "td", "targets.decay": 0.1},
            Scheme(targets=TDLambda(0.1), gradients=BlockDependent()),
        ),
    ],
)
def test_words_change_hooks_and_fields_in_their_order(changes, expected):
    assert override(Scheme(), changes) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gradient": "sum"}, "no hook 'gradient': did you mean 'gradients'"),
        ({"gradients": "summ"}, "did you mean 'sum'"),
        ({"weighting": "sieve", "weighting.versin": "v2"}, "did you mean 'version'"),
        ({"gradients.window": 2}, "sum has no field 'window'; it has no fields"),
        ({"weighting.total.deeper": 2}, "weighting.total is a value and has no fields"),
        ({"weighting": "alternating", "weighting.base": "sive"}, "did you mean 'sieve'"),
        ({"weighting.weight": "much"}, "weighting.weight=much: a number is needed"),
    ],
)
def test_words_that_mean_nothing_are_refused_with_the_nearest_that_do(changes, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        override(Scheme(), changes)


# --- combinations ------------------------------------------------------------------------------------


def test_block_dependent_losses_compose_with_distillation_and_sieve():
    """Against losses that are written out, of blocks that run again for every exit."""
    x, labels = batch()
    net, reference = build("resnext_exits_tiny"), build("resnext_exits_tiny")
    distillation = Distillation(mixing=0.3, temperature=1.5, squared_temperature=False, label_weight=1.0)
    rule = BlockDependent(window=2)
    scheme = Scheme(targets=distillation, weighting=SieveWeights(), gradients=rule)
    scheme.build(net).step(net, x, labels, lambda output, y: F.cross_entropy(output[0], y[0]))

    logits = []
    for exit_, first in enumerate(rule.first_blocks(3), 1):
        state = (x,)
        for number in range(1, exit_ + 1):
            state = tuple(t.detach() for t in state) if number == first else state
            state = reference.blocks[number - 1](state)
        logits.append(reference.heads[exit_ - 1](state)[0])
    teacher = (logits[-1].detach() / 1.5).softmax(1)
    total = F.cross_entropy(logits[-1], labels[0])
    for weight, z in zip((1 / 3, 2 / 3), logits, strict=False):
        divergence = F.kl_div((z / 1.5).log_softmax(1), teacher, reduction="batchmean")
        total = total + weight * (F.cross_entropy(z, labels[0]) + 0.3 * divergence)
    total.backward()
    for (name, ours), theirs in zip(net.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_sieve_composes_with_equilibrium():
    x, labels = batch()
    nets = [build("msdnet_tiny") for _ in range(3)]

    def criterion(output, y):
        return F.cross_entropy(output[0], y[0])

    def only(stage: int) -> Scheme:
        weights = tuple(float(k == stage) for k in (1, 2, 3))
        return Scheme(weighting=GivenWeights(weights), gradients=GradientEquilibrium())

    Scheme(weighting=SieveWeights(), gradients=GradientEquilibrium()).build(nets[0]).step(
        nets[0], x, labels, criterion
    )
    sieve = SieveWeights().build(nets[0], RunFacts()).weights((1, 2, 3))
    expected = [torch.zeros_like(p) for p in nets[1].parameters()]
    for stage in (1, 2, 3):
        nets[1].zero_grad(set_to_none=True)
        only(stage).build(nets[1]).step(nets[1], x, labels, criterion)
        for sum_, p in zip(expected, nets[1].parameters(), strict=True):
            sum_ += sieve[stage] * (0 if p.grad is None else p.grad)
    for ours, sum_ in zip(nets[0].parameters(), expected, strict=True):
        torch.testing.assert_close(ours.grad, sum_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "scheme", [name for name in list_schemes() if name not in ("teacher", "coarse_to_fine")]
)
def test_with_one_stage_every_scheme_is_ordinary_training(scheme):
    x, labels = batch()
    net, plain = build("resnet_tiny"), build("resnet_tiny")
    built = scheme_preset(scheme).scheme
    if isinstance(built.gradients, BlockDependent | GroupedLosses | GradientEquilibrium):
        with pytest.raises(ValueError, match="between the blocks of a chain"):
            built.build(net)
        return
    facts = RunFacts(stage_macs=lambda: (1,))
    built.build(net, facts).step(net, x, labels, Classification((4,)).loss)
    Scheme().build(plain).step(plain, x, labels, Classification((4,)).loss)
    # Alternating weights add the last stage's weight to a drawn one, which is the same here.
    factor = 2 if scheme == "sieve_alternating" else 1
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, factor * theirs.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scheme", [name for name in list_schemes() if name != "coarse_to_fine"])
def test_a_step_in_bfloat16_is_near_the_one_in_float32(scheme):
    x, labels = batch()
    losses, gradients = [], []
    for low in (False, True):
        torch.manual_seed(0)
        net = create_net("resnext_exits_tiny", 4, exits_after=(1, 2, 3, 4, 5), blocks=(2, 2, 1))
        teacher = build("resnet_tiny").float() if scheme == "teacher" else None
        facts = RunFacts(seed=3, stage_macs=lambda: (1, 2, 3, 4, 5), teacher=teacher)
        built = scheme_preset(scheme).scheme.build(net, facts)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            found = built.step(net, x.float(), labels, Classification((4,)).loss)
        losses.append(torch.stack(list(found.values())))
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.05)
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.9


# --- hooks that make no sense ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Scheme(targets="distillation"), "targets must be a member of that hook, not 'distillation'"),  # type: ignore[arg-type]
        (lambda: Scheme(weighting=SieveWeights), "not the class SieveWeights"),  # type: ignore[arg-type]
        (
            lambda: Scheme(BlockDependent(2)).build(build("msdnet_tiny")),  # type: ignore[arg-type]
            "BlockDependent is no member of sampl",
        ),
    ],
)
def test_what_is_no_member_of_a_hook_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_functions_are_told_apart_by_what_they_do():
    def told(function):
        return scheme_to_dict(Scheme(weighting=CalledWeights(function)))["weighting"]["function"]

    def flat(count):
        return [1.0] * count

    assert told(lambda count: [1.0] * count) != told(lambda count: [2.0] * count)
    assert told(flat) == told(flat)
    assert "flat" in told(functools.partial(flat, count=3))


@dataclass(frozen=True)
class OwnWeights:
    """Gives what it is told to."""

    given: object

    def build(self, net, facts):
        weighting = Weighting()
        weighting.weights = lambda stages: self.given
        return weighting


@pytest.mark.parametrize("given", [{1: 1.0, 2: -1.0, 3: 1.0}, {1: 1.0}, [1.0, 1.0, 1.0], None])
def test_weights_of_ones_own_that_are_none_are_refused_in_the_first_step(given):
    x, labels = batch()
    net = build("isresnext_tiny")
    with pytest.raises(ValueError, match=r"a mapping from each of the stages .* to a number of 0 or more"):
        Scheme(weighting=OwnWeights(given)).build(net).step(net, x, labels, Classification((4,)).loss)


def test_a_field_that_a_bundle_cannot_remember_is_refused_before_training():
    with pytest.raises(ValueError, match="must be numbers, words, lists or functions"):
        TrainConfig(scheme=Scheme(weighting=OwnWeights(np.ones(3))))
