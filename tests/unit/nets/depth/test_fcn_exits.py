"""The segmentation net: its published size and cost, and the shapes of its label maps."""

from __future__ import annotations

import pytest
import torch

from anytimenet.core.labels.mask_classes import IGNORED
from anytimenet.costs import stage_costs
from anytimenet.nets import build_on_meta, create_net
from anytimenet.schemes import RunFacts, list_schemes, scheme_preset
from anytimenet.tasks import Segmentation
from anytimenet.testing import check_anytime_net


def test_stages_3_and_4_are_the_published_fcn_resnet_50():
    """torchvision's weights FCN_ResNet50: 35,322,218 parameters and 152.717 G multiply-adds at 520x520."""
    net = build_on_meta(lambda: create_net("fcn_exits", 21).keep((3, 4)))
    assert sum(p.numel() for p in net.parameters()) == 35_322_218
    cost = stage_costs(net, (3, 520, 520))[-1]
    assert round(cost.macs_cumulative / 1e9, 3) == 152.717


def test_label_maps_have_a_quarter_of_the_side_and_then_an_eighth():
    net = create_net("fcn_exits_tiny", 5)
    shapes = [tuple(logits.shape) for (logits,) in net(torch.zeros(2, 3, 48, 64))]
    assert shapes == [(2, 5, 12, 16), (2, 5, 6, 8), (2, 5, 6, 8), (2, 5, 6, 8)]


def test_the_small_net_costs_less_than_200_million_multiply_adds_at_96x128():
    net = build_on_meta(lambda: create_net("fcn_exits_small", 11))
    costs = [cost.macs for cost in stage_costs(net, (3, 96, 128))]
    assert costs == sorted(costs)
    assert costs[-1] < 200_000_000


def test_a_new_net_gives_every_class_nearly_the_same_probability():
    net = create_net("fcn_exits_small", 11)
    for (logits,) in net(torch.randn(2, 3, 96, 128)):
        assert (logits.softmax(1) - 1 / 11).abs().max() < 0.05


def test_the_blocks_are_the_view_that_rules_between_blocks_walk():
    net = create_net("fcn_exits_tiny", 5).eval()
    x, state = torch.randn(2, 3, 16, 24), None
    outputs = net(x)
    state = (x,)
    for block, head, (expected,) in zip(net.blocks, net.heads, outputs, strict=True):
        state = block(state)
        assert torch.equal(head(state)[0], expected)


@pytest.mark.parametrize(
    "name", [name for name in list_schemes() if name not in ("teacher", "coarse_to_fine")]
)
def test_every_scheme_takes_a_step_with_finite_losses_and_moves_the_weights(name):
    torch.manual_seed(0)
    net, task = create_net("fcn_exits_tiny", 3), Segmentation((3,))
    mask = torch.randint(0, 3, (4, 16, 24))
    mask[:, :2] = IGNORED
    facts = RunFacts(stage_macs=lambda: [cost.macs for cost in stage_costs(net, (3, 16, 24))])
    scheme = scheme_preset(name).scheme.build(net, facts).train()
    before = {key: value.clone() for key, value in net.named_parameters()}
    losses = scheme.step(net.train(), torch.randn(4, 3, 16, 24), (mask,), task.loss)
    assert losses
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    moved = {
        key.split(".")[0] for key, value in net.named_parameters() if not torch.equal(value, before[key])
    }
    assert {"blocks", "heads"} <= moved


def test_bottlenecks_and_other_lists_of_blocks_keep_the_contract():
    arguments = {
        "blocks": (1, 2, 1),
        "widths": (4, 6, 8),
        "unit": "bottleneck",
        "stem_kernel": 5,
        "in_channels": 1,
    }
    check_anytime_net(create_net("fcn_exits_tiny", 4, **arguments), (1, 17, 24), export=False)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"blocks": (1, 1)}, "one number of channels for each of 2 blocks"),
        ({"widths": (8, 8, 8, 0)}, "widths"),
        ({"unit": "bottelneck"}, "did you mean 'bottleneck'"),
        ({"stem_kernel": 4}, "an odd side is needed, for example 5"),
        ({"head_divisor": 0}, "head_divisor 0 must be at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, why):
    with pytest.raises(ValueError, match=why):
        create_net("fcn_exits_tiny", 4, **arguments)
