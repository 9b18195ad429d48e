"""A module whose activations overwrite what they read can be wrapped where no head reads it."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from anytimenet.nets import wrap


def module(*, identity: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    between = {"norm3": nn.Identity()} if identity else {}
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 4, 3),
            act1=nn.ReLU(inplace=True),
            conv2=nn.Conv2d(4, 8, 3),
            conv3=nn.Conv2d(8, 8, 3),
            **between,
            act3=nn.Hardswish(inplace=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(8, 3),
        )
    ).eval()


@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize("taps", [["act1"], ["act1", "conv2"]])
def test_an_activation_in_place_before_the_classifier_belongs_to_the_last_block(taps, identity):
    whole = module(identity=identity)
    net = wrap(whole, taps, input_shape=(1, 12, 12)).eval()
    x = torch.randn(2, 1, 12, 12)
    expected = whole(x)
    torch.testing.assert_close(net(x)[-1][0], expected)
    state, _ = net.segment(0, 1)((x,))
    before = [tensor.clone() for tensor in state]
    _, (logits,) = net.segment(1, net.num_stages)(state)
    torch.testing.assert_close(logits, expected)
    assert all(torch.equal(one, other) for one, other in zip(state, before, strict=True))


def test_a_tap_whose_features_are_overwritten_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"overwrites its input .*build its first layer with inplace=False"):
        wrap(module(), ["conv1"], input_shape=(1, 12, 12))
