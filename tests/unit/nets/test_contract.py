"""Every registered family keeps the contract, at its tiny size and in the forms that its arguments allow."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from anytimenet.core.registered import registered
from anytimenet.nets import create_net, list_nets, net_entry, rebuild_net
from anytimenet.testing import check_anytime_net, parametrize_with_checks

TINY = list_nets("*_tiny")

_COSTS = {record["name"]: record["costs"] for record in registered("nets")}
MANY_STAGES = [name for name in TINY if _COSTS[name]["num_stages"] > 2]
FEW_STAGES = [name for name in TINY if name not in MANY_STAGES]

FORMS: list[tuple[str, dict[str, Any], tuple[int, int, int]]] = [
    ("isresnext_tiny", {"slices": (1, 2, 1), "stem_bn": True}, (3, 8, 8)),
    ("isresnext_tiny", {"slices": (1, 2, 1, 2), "exits_after": (2, 4), "blocks": (1, 2)}, (3, 6, 4)),
    ("isresnext_tiny", {"slices": (2,), "in_channels": 1}, (1, 9, 13)),
    ("isresnext_tiny", {"stem": "imagenet", "slices": (1, 2), "blocks": (1, 1)}, (3, 19, 16)),
    ("isresnext_tiny", {"slices": (1, 1), "blocks": (2,), "branch_width": 1, "width": 2}, (3, 3, 2)),
    ("iresnext_tiny", {"branches": (1, 3, 4), "blocks": (1, 2)}, (3, 8, 8)),
    ("iresnext_tiny", {"branches": (2,), "in_channels": 1}, (1, 9, 13)),
    ("iresnext_tiny", {"normalisation": "shared", "branches": (2, 3, 5), "width": 6}, (3, 8, 8)),
    ("resnext_tiny", {"branches": 3, "in_channels": 1}, (1, 9, 8)),
    ("resnet_tiny", {"width": 6, "blocks": (1, 2), "in_channels": 1}, (1, 9, 8)),
]


def test_every_family_has_a_tiny_net():
    families = {net_entry(name).family for name in list_nets()}
    assert families == {net_entry(name).family for name in TINY}


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_net_is_tiny(name):
    assert sum(p.numel() for p in create_net(name).parameters()) < 50_000


@parametrize_with_checks(
    {name: partial(create_net, name, num_classes=(5, 2)) for name in TINY},
    {name: net_entry(name).input_shape for name in TINY},
)
def test_a_tiny_net_keeps_the_contract(check):
    """With two label levels; the kept nets below have one."""
    check()


@pytest.mark.parametrize("name", FEW_STAGES)
def test_a_tiny_net_of_which_no_stage_can_be_left_out_keeps_the_contract_with_one_level(name):
    check_anytime_net(create_net(name, num_classes=5), net_entry(name).input_shape, seed=1, export=False)


@pytest.mark.parametrize(("name", "arguments", "shape"), FORMS)
def test_other_forms_keep_the_contract(name, arguments, shape):
    check_anytime_net(create_net(name, num_classes=(4, 2), **arguments), shape, export=False)


@pytest.mark.parametrize("name", MANY_STAGES)
def test_a_kept_net_keeps_the_contract(name):
    net = create_net(name, num_classes=4)
    kept = net.keep((1, *range(3, net.num_stages + 1)))
    check_anytime_net(kept, net_entry(name).input_shape, export=False)


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny"])
@pytest.mark.parametrize("arguments", [{}, {"uneven": True}])
def test_a_net_is_rebuilt_from_its_origin_also_after_keep(name, arguments):
    uneven = {"slices": (1, 2, 1)} if name == "isresnext_tiny" else {"branches": (1, 3, 4)}
    net = create_net(name, num_classes=(4, 2), **(uneven if arguments else {})).keep((1, 3)).keep((2,))
    assert net.origin.keep == (3,)
    rebuilt = rebuild_net(net.origin)
    shapes = {key: tensor.shape for key, tensor in net.state_dict().items()}
    assert {key: tensor.shape for key, tensor in rebuilt.state_dict().items()} == shapes
    rebuilt.load_state_dict(net.state_dict())
    assert rebuilt.parts() == net.parts()
