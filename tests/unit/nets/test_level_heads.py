"""A head for every stage and label level: the sizes of section 4.3 of the sliced-networks paper."""

from __future__ import annotations

import pytest
import torch

from anytimenet.nets import create_net, list_nets


@pytest.mark.parametrize(
    ("name", "classes", "heads", "head_params", "trunk"),
    [
        ("isresnext_47", (100, 20), 12, 167_376, 835_872),
        ("isresnext_50_cub", (200, 183, 149, 80), 24, 3_336_792, 8_898_624),
    ],
)
def test_the_heads_of_all_levels_have_the_published_size(name, classes, heads, head_params, trunk):
    with torch.device("meta"):
        net = create_net(name, num_classes=classes)
    assert sum(len(head.levels) for head in net.heads) == heads
    in_heads = sum(p.numel() for p in net.heads.parameters())
    assert in_heads == head_params
    assert sum(p.numel() for p in net.parameters()) - in_heads == trunk


@pytest.mark.parametrize("name", list_nets("*_tiny"))
def test_every_net_gives_logits_of_every_level_at_every_stage(name):
    with torch.device("meta"):
        net = create_net(name, num_classes=(5, 3, 2)).eval()
        outputs = net(torch.empty(2, net.in_channels, 16, 16))
    assert net.num_classes == (5, 3, 2)
    assert len(outputs) == net.num_stages
    assert all([logits.shape[:2] for logits in output] == [(2, 5), (2, 3), (2, 2)] for output in outputs)
