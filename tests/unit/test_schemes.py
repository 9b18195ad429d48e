"""A scheme is the composition of four hooks, and one step of it fills the gradients."""

from __future__ import annotations

import pytest
import torch

from anytimenet.nets import create_net
from anytimenet.schemes import ConstantWeights, Scheme, list_schemes, scheme_preset
from anytimenet.tasks import Classification

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
